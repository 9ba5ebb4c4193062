"""The compiled update against the same update in torch, and what must not change its bits."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.training import loop
from tests.models.families import DESCENDED


def recording(missing: bool = False, inputs: bool = False, seed: int = 0, n: int = 400):
    rng = np.random.default_rng(seed)
    t = 0.15 * np.arange(n)
    x = np.stack([np.sin(t), np.cos(1.3 * t), np.sin(t) * np.cos(0.4 * t)], 1) + 0.1 * rng.standard_normal((n, 3))
    if missing:
        x[::5, 1] = np.nan
        x[7::11, [0, 2]] = np.nan
        x[50:53] = np.nan
    return dr.as_recording(x, dt=0.1, inputs=rng.standard_normal((n, 2)) if inputs else None)


SETTINGS = dict(n_updates=12, sequence_length=15, progress=False, random_state=3, learning_rate=(1e-2, 1e-3))


@pytest.mark.parametrize("family", DESCENDED)
def test_compiled_equals_reference(family):
    """Every feature at once: missing samples, inputs, noise, all regularisers, clipping, a batch of several chunks."""
    trained = {}
    for backend in ("cpu", "reference"):
        model = DESCENDED[family](n_fits=2, input_dim=2, random_state=0)
        run = dr.fit(
            model, recording(missing=True, inputs=True), batch_size=18, noise=0.05, gradient_clip=np.array([2.0, np.inf]), backend=backend,
            regularisation=dr.Regularisation(latent=1e-3, manifold=np.array([1e-3, 2e-3]), observation=1e-3), **SETTINGS,
        )
        trained[backend] = run, {k: v.clone() for k, v in model.named_parameters()}
    (a, one), (b, two) = trained["cpu"], trained["reference"]
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-5)              # float32; 12 updates amplify rounding little
    np.testing.assert_allclose(a.history.gradient_norm, b.history.gradient_norm, rtol=1e-4)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)
    start = dict(DESCENDED[family](n_fits=2, input_dim=2, random_state=0).named_parameters())
    if "W" in start and family in ("plrnn", "dendritic"):
        assert (torch.diagonal(one["W"], dim1=1, dim2=2) == 0).all()                     # frozen entries stay
    assert all(not torch.equal(one[k], start[k]) for k in one if k not in ("b",))


@pytest.mark.parametrize(("batch_size", "noise"), [(5, 0.1), (40, 0.0)])
def test_fit_of_an_ensemble_is_bit_equal_to_the_fit_alone(batch_size, noise):
    """100 updates, on one thread and two; 40 rows make three chunks, which two threads share."""
    settings = SETTINGS | {"n_updates": 100}
    before = numba.get_num_threads()
    ensemble = dr.ShallowPLRNN(3, 3, 10, clipped=True, n_fits=3, random_state=1)
    alone = dr.select(ensemble, 1)
    runs = []
    for n_threads in (1, 2):
        model = dr.concat([ensemble])
        dr.fit(model, recording(), batch_size=batch_size, noise=noise, n_threads=n_threads, **settings)
        runs.append(model)
    dr.fit(alone, recording(), batch_size=batch_size, noise=noise, n_threads=2, **settings)
    assert numba.get_num_threads() == before
    for name, value in alone.named_parameters():
        first, second = (dict(m.named_parameters())[name] for m in runs)
        assert torch.equal(first, second), name
        assert torch.equal(value[0], first[1]), name


def test_adaptive_forcing_is_bit_equal_alone():
    ensemble = dr.ShallowPLRNN(3, 3, 10, n_fits=2, random_state=1)
    alone = dr.select(ensemble, 1)
    forcing = dr.AdaptiveTeacherForcing(gamma=0.5)
    histories = [dr.fit(m, recording(), forcing, batch_size=4, **SETTINGS).history for m in (ensemble, alone)]
    np.testing.assert_array_equal(histories[0].alpha.sel(fit=1), histories[1].alpha.sel(fit=1))
    for name, value in alone.named_parameters():
        assert torch.equal(value[0], dict(ensemble.named_parameters())[name][1]), name


def test_a_diverging_member_stops_alone_and_leaves_the_rest_unchanged():
    """Fit 1 starts with a map that overflows within a window: every step is refused until it is stopped."""

    def model():
        out = dr.PLRNN(3, 4, n_fits=3, random_state=0)
        with torch.no_grad():
            out.A[1] = 1e30
        return out

    whole, rest = model(), dr.concat([dr.select(model(), 0), dr.select(model(), 2)])
    start = whole.A[1].clone()
    settings = SETTINGS | {"n_updates": 30, "max_refused": 8}
    with pytest.warns(UserWarning, match=r"1 of 3 fits stopped early: fit 1 before its first .* \(loss or gradient not finite\)\. .*lower the learning rate"):
        run = dr.fit(whole, recording(), batch_size=4, **settings)
    dr.fit(rest, recording(), batch_size=4, **settings)
    assert "2 finished, 1 stopped" in repr(run)
    assert run.status.values.tolist() == ["finished", "stopped: loss or gradient not finite", "finished"]
    assert run.refused.values.tolist() == [0, 8, 0]
    assert torch.equal(whole.A[1], start)
    for name, value in rest.named_parameters():
        assert torch.equal(value, dict(whole.named_parameters())[name][[0, 2]]), name
    assert dr.Status(run.status.values[1]).advice


def test_arrays_reach_the_kernel_in_one_order(monkeypatch):
    """Each other layout would be compiled for anew, which takes a minute: of ensembles, and of data in Fortran's order."""
    made = []

    def keep(*arguments, build=loop.build_problem):
        made.append(build(*arguments))
        return made[-1]

    monkeypatch.setattr(loop, "build_problem", keep)
    x = np.asfortranarray(recording().observed.values[0])
    dr.fit(dr.ShallowPLRNN(3, 3, 10, n_fits=2, random_state=1), dr.as_recording(x, dt=0.1, inputs=None), batch_size=4, **SETTINGS)
    assert all(array.flags.c_contiguous for array in made[0][1] if isinstance(array, np.ndarray))
