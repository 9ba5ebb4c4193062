"""Next-generation reservoirs: the published figure on Lorenz-63, where lines begin, series that do not touch one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import dynrnn as dr
from dynrnn.errors import ArgumentError, RecordingError


def lorenz(start, n_samples, transient=0, **options):
    """Samples of .025 by scipy, in plain numbers; after a transient, in samples."""

    def rate(_, z):
        x, y, w = z.tolist()
        return 10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w

    times = 0.025 * np.arange(transient + n_samples)
    return solve_ivp(rate, (0, times[-1]), start, t_eval=times, **options).y.T[transient:]


def errors_of(x, **options):
    """Of 20 windows of 44 steps (1.104 time units) after 400 samples of .025, over the root of the sum of the channels' variances; inf where a run diverges."""
    run = dr.fit(dr.NextGenerationReservoir(3), x[:400], progress=False, **options)
    starts = np.stack([np.zeros(20, int), 420 + 44 * np.arange(20)], 1)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = dr.forecast(run, x, starts, 44).values[0] - np.stack([x[t + 1 : t + 45] for _, t in starts])
        return np.nan_to_num(np.sqrt(np.mean(np.sum(apart**2, 2), 1) / x.var(0).sum()), nan=np.inf)


def test_lorenz_over_one_lyapunov_time():
    """The reference asks for 5e-3 in the mean of 20 windows; published are 2.4e-3, of ridge 2.5e-6 in the data's own units, orders 1 and 2 of two samples, and
    data by RK23 at scipy's default tolerances. With these the median window is asked for: in the mean the few that pass near the saddle, where the flow pulls
    neighbours apart some hundredfold, have the most. Along exact orbits the same diverges, since nothing keeps weights small off the orbit; standardised,
    with ridge 2.5e-8, it does not, and the mean is what is asked. Medians over three orbits."""
    assert dr.NextGenerationReservoir(3).feature_count == 1 + 6 + math.comb(7, 2) == 28
    published, exact, scaled = [], [], []
    for seed in range(3):
        x = lorenz(np.random.default_rng(seed).uniform(1, 20, 3), 1_310, 800, method="DOP853", rtol=1e-9, atol=1e-9)
        published.append(errors_of(lorenz(x[0], 1_310, method="RK23"), ridge=2.5e-6, standardise=False))
        exact.append(errors_of(x, ridge=2.5e-6, standardise=False).mean())
        scaled.append(errors_of(x, ridge=2.5e-8).mean())
    assert np.median(published) <= 5e-3
    assert np.median(scaled) <= 5e-3
    assert np.median(exact) > 1


def test_a_polynomial_of_the_family_is_found():
    """x' = x + 0.3 x(t - 2) - 0.2 x(t - 4)^2 + 0.1 u: exactly, to the penalty's bias."""
    g = np.random.default_rng(0)
    u, x = g.uniform(-1, 1, (500, 1)), np.zeros((500, 1))
    for t in range(4, 499):
        x[t + 1] = 0.5 * x[t] + 0.3 * x[t - 2] - 0.2 * x[t - 4] ** 2 + 0.1 * u[t + 1]
    model = dr.NextGenerationReservoir(1, 3, stride=2, input_dim=1, increment=False)
    dr.fit(model, dr.as_recording(x, inputs=u), ridge=1e-12, standardise=False, progress=False)
    named = {tuple(row): value for row, value in zip(model.table.tolist(), model.W_out[0, 0].tolist(), strict=True)}
    one = 6
    want = {(0, one): 0.5, (2, one): 0.3, (4, 4): -0.2, (5, one): 0.1}
    for row, value in named.items():
        assert abs(value - want.get(row, 0.0)) < 1e-5, row


def test_series_do_not_touch_and_lines_begin_when_they_are_full():
    """Three series are learned from and warmed up with as each alone; nothing reaches over a missing sample; no state before the line is full."""
    x = dr.load_dataset("lorenz63", n_steps=900, dt=0.025, random_state=1).observed.values[0]
    series = [x[:300], x[500:640], x[700:900]]
    options = {"ridge": 1e-2, "standardise": False, "progress": False}
    make = lambda: dr.NextGenerationReservoir(3, 3, stride=2)  # noqa: E731
    together = dr.fit(make(), series, **options)
    rows = [make().rows(one, None, 4, len(one) - 1)[1:] for one in series]
    X, Y = (np.concatenate([row[k] for row in rows]) for k in (0, 1))
    X = X - X.mean(0)
    direct = np.linalg.lstsq(np.concatenate([X, 1e-1 * np.eye(X.shape[1])]), np.concatenate([Y - Y.mean(0), np.zeros((X.shape[1], 3))]), rcond=None)[0]
    np.testing.assert_allclose(together.model.W_out[0], direct.T, rtol=1e-6, atol=1e-8)
    states = dr.warmup(together, series)
    for k, one in enumerate(series):
        np.testing.assert_array_equal(states[:, k], dr.warmup(together, one)[:, 0])
        np.testing.assert_array_equal(states.values[0, k], one[-1:-6:-1].ravel())
    holed = x.copy()
    holed[400] = np.nan
    apart, whole = dr.fit(make(), [x[:400], x[401:]], **options), dr.fit(make(), holed, **options)
    np.testing.assert_allclose(whole.model.W_out, apart.model.W_out, rtol=1e-6, atol=1e-8)
    assert np.isfinite(dr.warmup(whole, holed)).all()
    driven = together.model.driven(x[:8], None, 0)
    np.testing.assert_array_equal(np.isnan(driven).sum(1), [12, 9, 6, 3, 0, 0, 0, 0])


def test_bad_input():
    run = dr.fit(dr.NextGenerationReservoir(3, 3, stride=2), dr.load_dataset("lorenz63", n_steps=300, random_state=1), progress=False)
    with pytest.raises(ArgumentError, match="Start from sample 4 or later, of a series of at least 5"):
        dr.warmup(run, np.zeros((4, 3)))
    with pytest.raises(ArgumentError, match="sample 3 of a series has no state"):
        dr.forecast(run, np.zeros((40, 3)), np.array([[0, 3]]), 5)
    with pytest.raises(ArgumentError, match="washout must be at least 4"):
        dr.fit(run.model, np.zeros((40, 3)), washout=2, progress=False)
    with pytest.raises(RecordingError, match="nothing to learn from"):
        dr.fit(run.model, np.where(np.arange(40)[:, None] % 3 == 0, np.nan, np.random.default_rng(0).standard_normal((40, 3))), progress=False)
    with pytest.raises(ArgumentError, match="more than 20,000"):
        dr.NextGenerationReservoir(30, 3, orders=(1, 2, 3))
    with pytest.raises(ArgumentError, match="orders must be"):
        dr.NextGenerationReservoir(3, orders=(1, 1))
    with pytest.raises(ArgumentError, match="memory capacity"):
        dr.analysis.memory_capacity(dr.NextGenerationReservoir(1))
