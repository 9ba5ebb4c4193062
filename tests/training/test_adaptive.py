"""Adaptive forcing: its estimates against torch's formulas, its schedule against Algorithm 1 written plainly, and its bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.training.draws import Sampler
from dynrnn.training.loop import standardised
from dynrnn.training.norms import JACOBIAN_NORMS, jacobian_upper_bound
from dynrnn_kernels.additive import jacobian
from dynrnn_kernels.additive.layout import layout_of, pack
from tests.models.families import DESCENDED
from tests.training.test_update import SETTINGS, recording

EVERY, GAMMA, B = 4, 0.5, 5


def estimates(model: dr.models.Model, states: torch.Tensor) -> dict[str, torch.Tensor]:
    """The formulas of Hess et al. 2023 on Jacobians that torch forms, [F, B] by name; states [F, B, T, M]."""
    F, B, T, M = states.shape
    map = model.additive_map().to(torch.float64)
    J = jacobian(map, states.reshape(F, B * T, M).double()).reshape(F, B, T, M, M)
    norms = torch.linalg.matrix_norm(J, ord=2)
    values, vectors = torch.linalg.eig(J)
    logarithm = vectors @ torch.diag_embed(values.log()) @ torch.linalg.inv(vectors)
    return {
        "product_upper_bound": norms.log().mean(-1).exp(), "batch_maximum": norms.amax(-1), "arithmetic_mean": torch.linalg.matrix_norm(J.mean(2), ord=2),
        "explog_approx": torch.linalg.matrix_norm(torch.linalg.matrix_exp(logarithm.mean(2)), ord=2),
        "jacobian_upper_bound": jacobian_upper_bound(map)[:, None],
    }


@pytest.mark.parametrize("family", [name for name, make in DESCENDED.items() if hasattr(make(), "A")])
def test_estimates_equal_the_formulas(family):
    """float64: well-conditioned sums and norms agree to 1e-10, logarithms by eigenvectors to their condition times eps."""
    model = DESCENDED[family](n_fits=2, random_state=0).double()
    with torch.no_grad():
        model.A.add_(0.3 * torch.arange(1, model.A.shape[-1] + 1))               # eigenvalues apart and off zero, so that logarithms are well conditioned
    g = torch.Generator().manual_seed(1)
    states = torch.randn(2, 3, 11, model.latent_dim, generator=g, dtype=torch.float64)
    map = model.additive_map()
    want = estimates(model, states)
    for name, norm in JACOBIAN_NORMS.items():
        got = norm(pack(map).detach(), layout_of(map), states)
        np.testing.assert_allclose(got, want[name].detach().numpy(), rtol=1e-6 if name == "explog_approx" else 1e-10, err_msg=name)


def forcing(norm: str = "product_upper_bound", alpha: float | np.ndarray = 0.3) -> dr.AdaptiveTeacherForcing:
    return dr.AdaptiveTeacherForcing(alpha=alpha, gamma=GAMMA, every=EVERY, norm=norm)


@pytest.mark.parametrize("family", ["shallow-clipped", "shallow", "shallow-affine", "plrnn-centred"])
@pytest.mark.parametrize("norm", ["product_upper_bound", "arithmetic_mean", "jacobian_upper_bound"])
def test_training_follows_algorithm_one(family, norm):
    """Parameters that do not move, so that each check can be redone from the model: windows, noise, missing samples, encoding, estimate, schedule."""
    model = DESCENDED[family](n_fits=2, random_state=0)
    with torch.no_grad():
        model.A[1] += 1.0                                                        # one fit grows, one need not
    rec, T, n = recording(missing=True), 15, 12
    settings = SETTINGS | {"n_updates": n, "learning_rate": 1e-12}
    alpha = np.array([0.9, 0.0])
    run = dr.fit(model, rec, forcing(norm, alpha), batch_size=B, noise=np.array([0.0, 0.2]), **settings)
    sampler = Sampler(rec, np.arange(2), B, T, True, settings["random_state"])
    x, level = torch.tensor(standardised(model, rec)), torch.tensor([0.0, 0.2])
    expected = []
    for u in range(n):
        if u % EVERY == 0:
            windows, noise = sampler.windows(u, u + 1)[0], torch.tensor(sampler.noise(u, u + 1)[0])
            batch = torch.stack([torch.stack([x[trial, start + 1 : start + T + 1] for trial, start in fit]) for fit in windows])
            states = model.encode(batch + level[:, None, None, None] * noise[:, 1:].transpose(1, 2)).detach()
            kappa = estimates(model, states)[norm].amax(1).detach().numpy()
            for k in range(2):
                estimate = max(0.0, 1 - 1 / kappa[k])
                alpha[k] = estimate if estimate > alpha[k] else GAMMA * alpha[k] + (1 - GAMMA) * estimate
        expected.append(alpha.copy())
    assert expected[-1][1] > 0
    np.testing.assert_allclose(run.history.alpha.values.T, expected, atol=1e-4)      # float32 states through a condition number of B of some tens


@pytest.mark.parametrize("family", ["shallow", "shallow-affine", "alrnn"])
@pytest.mark.parametrize("norm", JACOBIAN_NORMS)
def test_bits_of_a_fit_alone(family, norm):
    ensemble = DESCENDED[family](n_fits=3, random_state=1)
    alone = dr.select(ensemble, 1)
    with torch.no_grad():
        for model in (ensemble, alone):
            model.A += 1.0
    histories = [dr.fit(m, recording(missing=True), forcing(norm), batch_size=B, noise=0.1, **SETTINGS).history for m in (ensemble, alone)]
    np.testing.assert_array_equal(histories[0].alpha.sel(fit=1), histories[1].alpha.sel(fit=1).values.ravel())


def test_a_fit_that_diverges_leaves_the_others_alone():
    """Its Jacobians overflow: its strength jumps to 1, as for any that grow without bound (towards 0, as before, would take away the one thing
    that could hold it), it is stopped, and the other's strengths are those that it has alone."""
    ensemble = DESCENDED["shallow"](n_fits=2, random_state=0)
    alone = dr.select(ensemble, 0)
    with torch.no_grad():
        ensemble.A[1] = 3e38
        ensemble.W1[1] = 3e38
    with pytest.warns(UserWarning, match="1 of 2 fits stopped early: fit 1"):
        runs = [dr.fit(m, recording(), forcing("arithmetic_mean"), batch_size=B, max_refused=6, **SETTINGS) for m in (ensemble, alone)]
    assert runs[0].status.values[1] != "finished"
    np.testing.assert_array_equal(runs[0].history.alpha.sel(fit=0), runs[1].history.alpha.sel(fit=0))
    assert (runs[0].history.alpha.sel(fit=1) == 1).all()


def test_the_environment_does_not_overrule_the_argument(monkeypatch):
    """DYNRNN_BACKEND names a device that is not there; what is asked for here is the CPU."""
    want = dr.fit(DESCENDED["shallow"](n_fits=2, random_state=0), recording(), forcing(), batch_size=B, **SETTINGS).history.alpha
    monkeypatch.setenv("DYNRNN_BACKEND", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    got = dr.fit(DESCENDED["shallow"](n_fits=2, random_state=0), recording(), forcing(), batch_size=B, backend="cpu", **SETTINGS).history.alpha
    np.testing.assert_array_equal(got, want)
