"""Deep reservoirs: each layer against a reservoir of its own, time scales by depth, what is sufficient and what is necessary to forget."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.analysis.lyapunov.carrier import subject_of
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn.models.reservoirs import DeepESN
from dynrnn_kernels.reservoir import Layer, Weights, run
from tests.models.families import with_readout

KINDS = {
    "leaky": {"leak": (0.6, 0.3, 0.9), "density": 0.3}, "random": {"branch": "random", "alpha": 0.6, "beta": 0.5}, "cycle": {"branch": "cycle", "beta": 0.3},
}


def states(model, x, start=None):
    """Units [T, n] after each sample x [T, N], from h = 0 or from ``start``."""
    first = np.concatenate([x[0], np.zeros(model.n_units) if start is None else start])
    return run(model.weights(0), first, len(x), x[1:])[0][:, x.shape[1] :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_a_reservoir_of_its_own(kind):
    """Driven by the layer before it, whose units after a step are the input of that step; the states lie in the order of the layers."""
    model = DeepESN(2, 50, 3, bias_scaling=0.4, random_state=1, **KINDS[kind])
    x = np.random.default_rng(0).standard_normal((80, 2))
    h, units = states(model, x), model.layer_units
    assert model.layer_dims == (18, 16, 16)
    for k, layer in enumerate(model.layers(0)):
        u = x if k == 0 else h[:, units[k - 1]]
        alone = Layer(layer.W, layer.keep, layer.gain, layer.b, source=layer.source, mixing=layer.mixing)
        own = run(Weights((alone,), np.zeros((0, len(layer.b))), np.zeros(u.shape[1])), np.concatenate([u[0], np.zeros(len(layer.b))]), len(u), u[1:])[0]
        np.testing.assert_allclose(h[:, units[k]], own[:, u.shape[1] :], rtol=0, atol=1e-12)
    if kind == "leaky":                                                         # the first layer by another family's equation
        V, W = (model.of_layer(name, 0)[0].numpy() for name in "VW")
        esn = dr.ESN(2, 18, leak=0.6, W=W, W_in=V)
        esn.b[0] = model.of_layer("b", 0)[0]
        np.testing.assert_allclose(states(esn, x), h[:, units[0]], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_compiled_loop_is_the_chain(kind):
    """Free runs layer by layer in compiled code against the composed additive maps, with inputs."""
    model = DeepESN(2, 30, 3, bias_scaling=0.4, input_dim=1, n_fits=2, random_state=1, **KINDS[kind])
    g = torch.Generator().manual_seed(0)
    model.W_out.copy_(0.2 * torch.randn(model.W_out.shape, generator=g, dtype=torch.float64))
    z, u = torch.randn(2, 1, 32, generator=g, dtype=torch.float64), torch.randn(2, 1, 15, 1, generator=g, dtype=torch.float64)
    orbit = model.free_runner()(z, 15, u)
    for t in range(15):
        z = model.step(z, u[:, :, t])
        torch.testing.assert_close(orbit[:, :, t], z, rtol=1e-10, atol=1e-12)


def test_perturbations_of_the_input_last_longer_in_deeper_layers():
    """After Gallicchio, Micheli and Pedrelli: one input is changed, and the mean delay of the difference is taken in each layer, weighted by its size."""
    u = np.random.default_rng(0).uniform(-0.8, 0.8, (400, 1))
    other = u.copy()
    other[100] += 1
    delays = []
    for seed in range(5):
        model = DeepESN(1, 300, 5, leak=0.5, spectral_radius=0.9, input_scaling=0.1, inter_scaling=1.0, random_state=seed)
        apart = np.abs(states(model, u) - states(model, other))[100:]
        sizes = np.stack([np.linalg.norm(apart[:, units], axis=1) for units in model.layer_units])
        delays.append((sizes * np.arange(300)).sum(1) / sizes.sum(1))
    assert (np.diff(np.median(delays, 0)) > 0).all()


def test_effective_rescaling_and_echo_numbers():
    model = DeepESN(1, 40, 2, leak=(0.2, 0.7), spectral_radius=((0.95, 0.5), (0.85, 1.1)), density=0.4, n_fits=2, random_state=0)
    np.testing.assert_allclose(model.effective_radius(), [[0.95, 0.5], [0.85, 1.1]], rtol=1e-10)
    for k in range(2):
        W, leak = model.of_layer("W", k)[0].numpy(), model.leak[0, k].item()
        assert abs(np.abs(np.linalg.eigvals((1 - leak) * np.eye(20) + leak * W)).max() - [0.95, 0.5][k]) < 1e-10
    norm = lambda name, k: np.linalg.norm(model.of_layer(name, k)[0].numpy(), 2)  # noqa: E731
    first = 0.8 + 0.2 * norm("W", 0)
    np.testing.assert_allclose(model.echo_numbers()[0], [first, 0.3 + 0.7 * (norm("W", 1) + norm("V", 1) * first)], rtol=1e-12)
    assert abs(norm("V", 1) - 1) < 1e-12


@pytest.mark.parametrize("branch", [None, "random", "cycle", "identity"])
def test_layers_that_are_sufficient_contract(branch):
    """C_l < 1 in all layers: twenty pairs of states come together under one input in every step, in the largest of the layers' norms."""
    kind = {"leak": 0.7} if branch is None else {"branch": branch, "alpha": 0.4, "beta": 0.5}
    model = DeepESN(1, 60, 3, spectral_radius=0.5, rescaling="norm", inter_scaling=0.4, density=0.4, random_state=0, **kind)
    bound = float(model.echo_numbers().max())
    assert bound < 1
    g = np.random.default_rng(0)
    for _ in range(20):
        u, starts = g.standard_normal((30, 1)), g.standard_normal((2, 60))
        one, other = (states(model, u, start) for start in starts)
        sizes = lambda d: np.max([np.linalg.norm(d[..., units], axis=-1) for units in model.layer_units], 0)  # noqa: E731
        before, after = sizes(np.concatenate([starts[:1] - starts[1:], one - other])[:-1]), sizes(one - other)
        assert (after <= bound * before + 1e-14).all()


def test_a_deep_reservoir_is_fitted_like_any():
    """One step ahead by readouts of all layers and of the last, which has a third of the units: within a hundredth of the signal, and five."""
    x = np.sin(0.2 * np.arange(1_500))[:, None] * np.cos(0.031 * np.arange(1_500))[:, None]
    for readout, numbers, within in (("all", 91, 0.01), ("last", 31, 0.05)):
        run = dr.fit(DeepESN(1, 90, 3, leak=0.7, bias_scaling=0.5, readout=readout, random_state=0), x[:1_000], ridge=1e-8, progress=False)
        assert run.model.parameters_per_fit == numbers
        starts = np.stack([np.zeros(400, int), np.arange(1_000, 1_400)], 1)
        one = dr.forecast(run, x, starts, 1).values[0, :, 0, 0]
        assert np.sqrt(np.mean((one - x[1_001:1_401, 0]) ** 2)) < within * x.std()


@pytest.mark.slow
def test_exponents_of_chains_and_polynomials():
    """A polynomial's tangents go through J, a chain's through its stages. Henon's map: they add up to ln .3, the largest is .419. A chain at a stable cycle:
    those of its Jacobians' product; the prediction is a function of the units, so that one direction dies at once."""
    henon = dr.NextGenerationReservoir(1, 2, increment=False, random_state=0)
    henon.W_out.copy_(torch.tensor([[[0.0, 0.3, -1.4, 0.0, 0.0]]]))
    henon.b_out.fill_(1.0)
    starts = 0.1 * torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = dr.analysis.lyapunov_spectrum(henon, n_steps=500, n_segments=4, transient=100, initial=starts).value.values[0]
    assert abs(found.sum() - np.log(0.3)) < 1e-6                                   # frames are orthonormal to the root of eps
    assert abs(found[0] - 0.419) < 0.03
    deep = DeepESN(1, 9, 3, leak=0.8, density=0.9, spectral_radius=1.5, bias_scaling=1.0, random_state=0)
    deep.W_out.copy_(torch.linspace(-1, 1, 9, dtype=torch.float64)[None, None])
    orbit = dr.generate(deep, 40, initial=torch.zeros(1, 1, 10, dtype=torch.float64), transient=500).latent.values[:, 0]
    np.testing.assert_allclose(orbit[:, 2:], orbit[:, :-2], atol=1e-9)             # of period 2
    one, two = deep.jacobian(torch.tensor(orbit[:, :2]))[0].numpy()
    want = np.log(np.abs(np.linalg.eigvals(two @ one)).max()) / 2
    found = dr.analysis.lyapunov_spectrum(deep, n_steps=200, n_segments=2, transient=300, initial=torch.zeros(1, 1, 10, dtype=torch.float64)).value.values[0]
    assert abs(found[0] - want) < 0.01
    assert np.isneginf(found[-1])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"n_layers": 0}, ArgumentError, "n_layers must be at least 1"),
        ({"n_layers": 21}, ArgumentError, "reservoir_dim must be at least 21"),
        ({"leak": (0.1, 0.2)}, ArgumentError, "one for each of 3 layers"),
        ({"leak": 0.05}, ArgumentError, "Take spectral_radius above 0.95"),
        ({"branch": "random", "leak": 0.5}, ArgumentError, "residual layers .* have none"),
        ({"alpha": 0.5}, ArgumentError, "leaky layers .* have none"),
        ({"branch": "cicle"}, UnknownNameError, "cycle"),
        ({"branch": "cycle", "rescaling": "effective"}, UnknownNameError, "rescaling"),
        ({"readout": "first"}, UnknownNameError, "readout"),
        ({"density": 0.05}, ArgumentError, "no loop"),
    ],
)
def test_bad_arguments(options, error, said):
    with pytest.raises(error, match=said):
        DeepESN(2, 20, random_state=0, **{"n_layers": 3} | options)


@pytest.mark.parametrize("kind", [*KINDS, "identity", "last", "memory"])
def test_analysis_carries_what_the_model_does(kind):
    """Compiled orbits and tangents that analysis takes, of every kind of deep reservoir and of the memory network, against the model's step and Jacobian."""
    options = {"bias_scaling": 0.4, "input_dim": 1, "n_fits": 2, "random_state": 1}
    if kind == "memory":
        model = dr.ResidualMemoryNetwork(2, 14, 9, memory_radius=0.9, **options)
    else:
        layers = KINDS | {"identity": {"branch": "identity", "alpha": 0.6, "beta": 0.5}, "last": {"readout": "last", "density": 0.5, "leak": 0.6}}
        model = DeepESN(2, 23, 3, **options, **layers[kind])
    g = torch.Generator().manual_seed(0)
    model.W_out.copy_(0.2 * torch.randn(model.W_out.shape, generator=g, dtype=torch.float64))
    carrier, T = subject_of(model, inputs=[0.3]).carrier, 6
    M = carrier.dim
    z, one = torch.randn(2, 9, M, generator=g, dtype=torch.float64), torch.ones(2, dtype=torch.int64)
    Q = torch.linalg.qr(torch.randn(2, 9, M, 3, generator=g, dtype=torch.float64))[0].mT.contiguous()
    u, now, vectors, path = torch.full((2, 9, 1), 0.3, dtype=torch.float64), z, Q.mT, [z]
    for _ in range(T):
        vectors, now = model.jacobian(now, u) @ vectors, model.step(now, u)
        path.append(now)
    torch.testing.assert_close(carrier.path(z, T + 1), torch.stack(path, 2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(carrier.advance(z, T), now, rtol=1e-12, atol=1e-12)
    carried = carrier.carry(z, Q, T, one, None, None, one.double(), False)
    torch.testing.assert_close(carried.z, now, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(carried.log_r.sum(-1), torch.linalg.svdvals(vectors).log().sum(-1), rtol=0, atol=1e-9)      # volumes, however thin: as ln
    first = torch.linalg.vector_norm(vectors[..., 0], dim=-1).log()
    torch.testing.assert_close(carried.log_r[..., 0], first, rtol=0, atol=1e-11)


def test_few_tangent_vectors_of_a_polynomial_go_without_its_jacobian():
    """Two vectors by the derivative of the step along them, as many as the line is long by J; the first two of a frame do not depend on the others."""
    carrier = subject_of(with_readout(dr.NextGenerationReservoir(2, 4, n_fits=2, random_state=0))).carrier
    g = torch.Generator().manual_seed(0)
    M = carrier.dim
    z, one = 0.1 * torch.randn(2, 3, M, generator=g, dtype=torch.float64), torch.ones(2, dtype=torch.int64)
    Q = torch.linalg.qr(torch.randn(2, 3, M, M, generator=g, dtype=torch.float64))[0].mT.contiguous()
    few, all_of_them = (carrier.carry(z, q, 4, one, None, None, one.double(), False) for q in (Q[:, :, :2].contiguous(), Q))
    torch.testing.assert_close(few.Q, all_of_them.Q[:, :, :2], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(few.log_r, all_of_them.log_r[..., :2], rtol=1e-9, atol=1e-9)
