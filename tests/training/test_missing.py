"""Missing samples: never forced on, never in the loss, with either decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.training.draws import Sampler
from dynrnn.training.loop import Options, build_problem, build_state
from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.update.cpu_loss import identity_loss
from dynrnn_kernels.update.cpu_windows import affine_targets, first_state, gather, identity_targets, pseudo_inverse
from tests.models.families import FAMILIES

T, B = 6, 3


def problem_of(family, x):
    model = FAMILIES[family](random_state=0)
    options = Options(
        forcing=dr.GeneralizedTeacherForcing(0.3), n_updates=1, sequence_length=T, batch_size=B, learning_rate=(np.ones(1), np.ones(1)),
        noise=np.full(1, 0.5), regularisation=dr.Regularisation(), gradient_clip=np.full(1, np.inf), max_refused=1, validate_every=1,
        progress=False, random_state=0, backend="reference", precision="ieee", n_threads=None,
    )
    flat, problem = build_problem(model, dr.as_recording(x), options)
    return model, flat, problem, build_state(model).theta[0]


def targets(family, x, noise):
    """(x, seen, z0, target, weight) of windows that start at samples 0, 1, 2."""
    model, _, problem, theta = problem_of(family, x)
    windows = np.stack([np.zeros(B, np.int64), np.arange(B)], 1)
    M, N = model.latent_dim, model.observed_dim
    by_row = (0, 2, 1)                                                              # the kernel's arrays are [T, units, rows]
    xs, seen = np.empty((T + 1, N, ROWS), np.float32), np.empty((T + 1, N, ROWS), np.float32)
    z0, target, weight = np.empty((M, ROWS), np.float32), np.empty((T, M, ROWS), np.float32), np.empty((T, M, ROWS), np.float32)
    count = gather(problem, 0, windows, noise, 0, 0, xs, seen)
    assert count == sum(int((~np.isnan(x[b + 1 : b + T + 1])).sum()) for b in range(B))
    affine = model.observation == "affine"
    inverse = pseudo_inverse(model.B.detach().numpy()[0])[0] if affine else np.empty((M, N), np.float32)
    first_state(problem, 0, theta, inverse, xs[0], seen[0], z0)
    if affine:
        affine_targets(problem, 0, theta, inverse, np.float32(0.3), 0, xs, seen, target, weight)
    else:
        identity_targets(problem, 0, np.float32(0.3), 0, xs, seen, target, weight)
    return xs.transpose(by_row), seen.transpose(by_row), z0.T, target.transpose(by_row), weight.transpose(by_row)


@pytest.fixture
def x():
    x = np.random.default_rng(0).standard_normal((40, 3))
    x[0, 1] = np.nan
    x[3, 0] = np.nan
    x[4] = [np.nan, np.nan, 1.0]
    x[12::4, 2] = np.nan
    return x


def test_identity_forces_what_was_seen(x):
    noise = np.random.default_rng(1).standard_normal((T + 1, B, 3)).astype(np.float32)
    _, seen, z0, target, weight = targets("shallow", x, noise)
    for t in range(T):
        for r in range(B):
            known = ~np.isnan(x[t + r])
            assert (seen[t, r] == known).all()
            np.testing.assert_array_equal(weight[t, r], np.r_[np.where(known, np.float32(0.3), 0), 0])    # unit 4 is not observed
            np.testing.assert_allclose(target[t, r, :3][known], (x[t + r] + 0.5 * noise[t, r])[known], rtol=1e-6)
    np.testing.assert_allclose(z0[0, 1], np.nanmean(x[:, 1].astype(np.float32), dtype=np.float64), rtol=1e-6)


def test_affine_uses_the_rows_seen_if_they_fix_the_state(x):
    """Two latent units, three channels: one missing leaves a unique state, two do not."""
    noise = np.zeros((0, B, 3), np.float32)
    _, _, _, target, weight = targets("shallow-affine", x, noise)
    decoder = FAMILIES["shallow-affine"](random_state=0).B.detach().double().numpy()[0]
    for t in range(T):
        for r in range(B):
            known = ~np.isnan(x[t + r])
            if known.sum() < 2:
                assert (weight[t, r] == 0).all()
                continue
            assert (weight[t, r] == np.float32(0.3)).all()
            want = np.linalg.lstsq(decoder[known], x[t + r][known], rcond=None)[0]
            np.testing.assert_allclose(target[t, r], want, rtol=2e-4, atol=1e-5)                          # float32 pseudo-inverse, condition below 100


def test_loss_is_the_mean_over_what_was_seen(x):
    """The first loss against a loop over windows, samples and channels that were seen."""
    model = FAMILIES["shallow"](random_state=0)
    start = FAMILIES["shallow"](random_state=0)
    run = dr.fit(model, x, dr.GeneralizedTeacherForcing(0.3), sequence_length=T, batch_size=B, n_updates=1, progress=False, random_state=0, standardise=False)
    windows = Sampler(dr.as_recording(x), np.array([0]), B, T, False, 0).windows(0, 1)[0, 0]
    errors = []
    with torch.no_grad():
        for _, first in windows:
            now = np.where(np.isnan(x[first]), np.nanmean(x, 0), x[first])
            z = torch.cat([torch.tensor(now), start.L[0].double() @ torch.tensor(now)])
            for t in range(T):
                known = ~np.isnan(x[first + t])
                for n in np.flatnonzero(known):
                    z[n] += 0.3 * (x[first + t, n] - z[n])
                z = start.step(z[None, None])[0, 0]
                errors += [(float(z[n]) - x[first + t + 1, n]) ** 2 for n in range(3) if not np.isnan(x[first + t + 1, n])]
    assert len(errors) < T * B * 3                                                  # some of it was missing
    np.testing.assert_allclose(run.history.loss.values[0, 0], np.mean(errors), rtol=1e-5)       # float32 against float64


def test_a_prediction_that_overflows_where_nothing_was_seen_is_not_in_the_loss():
    """Neither in its gradient: 0 times inf would be NaN, and the update refused, which the reference takes."""
    g = np.random.default_rng(0)
    x, z = g.standard_normal((4, 2, ROWS)).astype(np.float32), g.standard_normal((4, 3, ROWS)).astype(np.float32)
    seen = (g.random(x.shape) < 0.5).astype(np.float32)
    z[:, :2][seen == 0] = np.inf
    gz = np.full_like(z, np.nan)
    loss = identity_loss(x, seen, z, ROWS, gz)
    error = np.where(seen > 0, z[:, :2] - x, 0)
    np.testing.assert_allclose(loss, np.square(error.astype(np.float64)).sum(), rtol=1e-12)
    np.testing.assert_array_equal(gz[:, :2], 2 * error)
    assert (gz[:, 2] == 0).all()
