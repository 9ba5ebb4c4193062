"""Which reservoirs forget: branches, what is sufficient, certificates of the driven map, the echo-state test along inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.analysis import contraction_certificate, verify_certificate
from dynrnn.errors import ArgumentError
from dynrnn_kernels.additive import step
from dynrnn_kernels.reservoir import run

FORGETFUL = {
    "esn": lambda: dr.ESN(2, 40, leak=0.6, spectral_radius=0.8, rescaling="norm", bias_scaling=0.3, input_dim=1, random_state=0),
    **{
        f"residual-{branch}": lambda branch=branch: dr.ResidualESN(
            2, 40, branch=branch, alpha=0.5, beta=0.6, spectral_radius=0.7, rescaling="norm", bias_scaling=0.3, input_dim=1, random_state=0
        )
        for branch in ("random", "cycle", "identity")
    },
    "memory": lambda: dr.ResidualMemoryNetwork(
        2, 30, 12, alpha=0.5, beta=0.5, spectral_radius=0.6, rescaling="norm", memory_radius=0.8, input_dim=1, random_state=0
    ),
}


def pairs(model, n=20, T=25):
    """Units [2, T + 1, n] of ``n`` pairs of states under one input each, by the compiled loop."""
    g = np.random.default_rng(0)
    for _ in range(n):
        x, u = g.standard_normal((T + 1, 2)), g.standard_normal((T, 1))
        starts = g.standard_normal((2, model.n_units))
        yield np.stack([np.concatenate([h[None], run(model.weights(0), np.concatenate([x[0], h]), T, x[1:], u)[0][:, 2:]]) for h in starts])


@pytest.mark.parametrize("branch", ["random", "cycle", "identity"])
@pytest.mark.parametrize("n", [7, 100])
def test_branches_are_orthogonal(branch, n):
    for model in (dr.ResidualESN(1, n, branch=branch, alpha=1.0, random_state=0), dr.ResidualMemoryNetwork(1, n, 5, branch=branch, alpha=1.0, random_state=0)):
        O = model.branch_matrix()[0]  # noqa: E741
        assert (O @ O.T - torch.eye(n)).abs().max() < 1e-10
    deep = dr.DeepESN(1, 2 * n, 2, branch=branch, alpha=1.0, random_state=0)
    for k in range(2):
        O = deep.branch_matrix(k)[0]  # noqa: E741
        assert (O @ O.T - torch.eye(n)).abs().max() < 1e-10


@pytest.mark.parametrize("name", [name for name in FORGETFUL if name != "memory"])
def test_sufficient_reservoirs_contract(name):
    """keep + gain |W| < 1: the 2-norm of the difference of two states shrinks at least by that in every step, for twenty random inputs."""
    model = FORGETFUL[name]()
    keep, gain = (float(x[0]) for x in model.keep_and_gain())
    bound = keep + gain * np.linalg.norm(model.W[0].numpy(), 2)
    assert bound < 1
    for one, other in pairs(model):
        apart = np.linalg.norm(one - other, axis=1)
        assert (apart[1:] <= bound * apart[:-1] + 1e-14).all()


@pytest.mark.parametrize("name", FORGETFUL)
def test_certificates_of_the_driven_map_hold_along_inputs(name):
    """The units under (x, u) are proven to contract, and the compiled loop does so in the certificate's own norm. The memory is a part of the state."""
    model = FORGETFUL[name]()
    map = model.driven_map()
    found = contraction_certificate(map)
    assert bool(found.contracting[0]), found.status.item()
    assert bool(verify_certificate(map, found).valid[0])
    row, rate = found.isel(fit=0), float(found.rate[0])
    for one, other in pairs(model):
        d = one - other
        weighted = row.tier.item() == "weighted"
        size = np.abs(d / row.weights.values).max(1) if weighted else np.sqrt(np.einsum("ti,ij,tj->t", d, row.metric.values, d))
        assert (size[1:] <= rate * size[:-1] + 1e-12 * size[0]).all()


def test_the_driven_map_is_the_units_under_the_samples():
    for name in ("esn", "memory"):
        model = FORGETFUL[name]()
        g = torch.Generator().manual_seed(0)
        z, u = torch.randn(1, 4, model.latent_dim, generator=g, dtype=torch.float64), torch.randn(1, 4, 1, generator=g, dtype=torch.float64)
        under = step(model.driven_map(), z[:, :, 2:], torch.cat([z[:, :, :2], u], 2))
        torch.testing.assert_close(under, model.step(z, u)[:, :, 2:], rtol=1e-12, atol=1e-12)


def test_a_closed_loop_need_not_contract_though_its_units_do():
    """W_out = 30: the loop through the prediction expands, which a certificate of the model tells, while the units under an input are as before."""
    model = FORGETFUL["esn"]()
    model.W_out.fill_(30.0)
    assert not contraction_certificate(model, "norm").contracting[0]
    assert contraction_certificate(model.driven_map(), "norm").contracting[0]
    ring = dr.ResidualMemoryNetwork(1, 10, 5, random_state=0).driven_map()          # of radius 1: it forgets nothing
    assert not contraction_certificate(ring, "norm").contracting[0]
    with pytest.raises(ArgumentError, match="deep-esn is not of the form"):
        contraction_certificate(dr.DeepESN(1, 20, 2, density=0.5, random_state=0))


@pytest.mark.parametrize("radius", [0.9, 3.0])
def test_the_echo_state_probe(radius):
    """Two states under one input of 1,000 samples at .9, without input at 3: ||dh|| at the end over that at the start."""
    model = dr.ESN(1, 100, spectral_radius=radius, input_scaling=0.5 if radius < 1 else 0.0, random_state=0)
    x, starts = np.random.default_rng(0).standard_normal((1_001, 1)), np.random.default_rng(1).standard_normal((2, 100))
    ends = [run(model.weights(0), np.concatenate([x[0], h]), 1_000, x[1:])[1][1:] for h in starts]
    ratio = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(starts[0] - starts[1])
    assert ratio < 1e-8 if radius < 1 else ratio > 1e-2


def test_es2n_has_its_eigenvalues_in_the_annulus_at_visited_states():
    """acc. to Bauer and Fike within beta |W| of radius 1 - beta, at five states of a driven run."""
    model = dr.ResidualESN(1, 100, beta=0.05, input_scaling=0.1, random_state=0)
    x = np.random.default_rng(0).uniform(-0.8, 0.8, (501, 1))
    path = run(model.weights(0), np.concatenate([x[0], np.zeros(100)]), 500, x[1:])[0]
    J = model.jacobian(torch.tensor(path[100::80][None]))[0, :, 1:, 1:]
    assert len(J) == 5
    moduli, width = torch.linalg.eigvals(J).abs(), 0.05 * float(torch.linalg.matrix_norm(model.W[0], 2))
    assert (moduli - 0.95).abs().max() <= width + 1e-12
    assert width < 0.12
