"""Recursive least squares, alone and as a solver of ``fit``, against ridge regression and weighted least squares in closed form."""

from __future__ import annotations

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.errors import ArgumentError
from dynrnn.models.reservoirs.recursive import Recursion, RecursiveLeastSquares
from dynrnn.models.reservoirs.ridge import SumsOfProducts
from dynrnn_kernels.reservoir import run
from tests.models.reservoirs.test_ridge import data, direct

EPS = np.finfo(np.float64).eps


def weighted(X, Y, weight, penalties):
    """Least squares of rows times sqrt(weight), (X, 1; diag(sqrt(penalties)), 0) against (Y; 0): W, b and what is left."""
    n, root = X.shape[1], np.sqrt(weight)[:, None]
    tall = np.block([[X * root, root], [np.diag(np.sqrt(penalties)), np.zeros((n, 1))]])
    W = np.linalg.lstsq(tall, np.concatenate([Y * root, np.zeros((n, Y.shape[1]))]), rcond=None)[0]
    return W[:-1], W[-1], ((Y - X @ W[:-1] - W[-1]) ** 2 * weight[:, None]).sum() / weight.sum() / Y.shape[1]


def learned(X, Y, ridge, forgetting=1.0, pieces=1):
    sums = Recursion(X.shape[1], Y.shape[1], ridge, forgetting)
    for part in np.array_split(np.arange(len(X)), pieces):
        sums.add(X[part], Y[part])
    return sums


def test_recursive_least_squares_is_ridge_regression():
    X, Y = data(offset=0.0)
    rls = RecursiveLeastSquares(X.shape[1], Y.shape[1], ridge=0.1)
    for x, y in zip(X, Y, strict=True):
        rls.update(x, y)
    want = np.linalg.solve(X.T @ X + 0.1 * np.eye(X.shape[1]), X.T @ Y)
    np.testing.assert_allclose(rls.W, want, rtol=1e-8, atol=1e-8)


def test_with_a_vanishing_penalty_it_is_least_squares():
    """alpha -> 0 on states of a reservoir with a 1 appended: the readout that ridge regression with a free offset solves in pieces, to 1e-6 of its size."""
    model = dr.ESN(1, 15, spectral_radius=0.8, input_scaling=0.5, bias_scaling=0.5, density=0.5, random_state=0)
    x = np.random.default_rng(0).uniform(-1, 1, (801, 1))
    h = run(model.weights(0), np.concatenate([x[0], np.zeros(15)]), 800, x[1:])[0][100:, 1:]
    y = np.stack([x[98:798, 0] * x[99:799, 0], np.sin(x[97:797, 0])], 1)
    rls, sums = RecursiveLeastSquares(16, 2, ridge=1e-8), SumsOfProducts(15, 2)
    for state, target in zip(h, y, strict=True):
        rls.update(np.append(state, 1.0), target)
    for part in np.array_split(np.arange(700), 5):
        sums.add(h[part], y[part])
    found = sums.solve(np.array([1e-8]))
    want = np.concatenate([found.W[0], found.b])
    np.testing.assert_allclose(rls.W, want, atol=1e-6 * np.abs(want).max())


def test_recursive_least_squares_refuses_what_would_spoil_it():
    rls = dr.RecursiveLeastSquares(3, 1)
    for x, y in ((np.ones(2), np.ones(1)), (np.ones(3), np.ones(2)), (np.array([1, np.nan, 1]), np.ones(1)), (np.ones(3), np.array([np.inf]))):
        with pytest.raises(ArgumentError, match=r"of shapes \(3,\) and \(1,\)"):
            rls.update(x, y)
    assert not rls.W.any()
    for options in ({"ridge": 0.0}, {"forgetting": 0.0}, {"forgetting": 1.1}, {"ridge": np.nan}):
        with pytest.raises(ArgumentError, match="ridge must be above 0"):
            dr.RecursiveLeastSquares(3, 1, **options)


def test_forgetting_is_weighted_least_squares():
    X, Y = data(n=4, rows=60, offset=0.0)
    rls = RecursiveLeastSquares(4, 3, ridge=1e-6, forgetting=0.9)
    for x, y in zip(X, Y, strict=True):
        rls.update(x, y)
    weight = 0.9 ** np.arange(60)[::-1]
    want = np.linalg.solve((X.T * weight) @ X + 1e-6 * 0.9**60 * np.eye(4), (X.T * weight) @ Y)
    np.testing.assert_allclose(rls.W, want, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("pieces", [1, 7])
def test_the_recursion_is_ridge_regression_with_a_free_offset(pieces):
    """Means of 50 beside deviations of .01 to 1. Rounding: the condition of (X; sqrt(ridge) I), 1.4e3, times eps a row: 6e-11 of the largest weight."""
    X, Y = data()
    sums = learned(X, Y, 1e-3, pieces=pieces)
    found = sums.solve(np.array([1e-3]))
    W, b = direct(X, Y, 1e-3)
    np.testing.assert_allclose(found.W[0], W, atol=1e-10 * np.abs(W).max())
    np.testing.assert_allclose(found.b[0], b, atol=1e-10 * np.abs(W).max() * 50 * len(W))
    assert abs(found.residual[0] - np.mean((Y - X @ W - b) ** 2)) < 1e-10


@pytest.mark.parametrize("rows", [40, 200])
def test_forgetting_weighs_rows_and_renews_the_penalty(rows):
    """The weights are .9^age, and a unit's penalty is what its turn, one of twelve rows, left of it."""
    X, Y = data(rows=rows)
    sums = learned(X, Y, 1e-2, 0.9, pieces=3)
    age = (rows - 2 - np.arange(12)) % 12                                            # row 0 is the mean; row k + 1 renews unit k modulo 12
    np.testing.assert_allclose(sums.penalties(), 1e-2 * 0.9**age, rtol=1e-14)
    W, b, left = weighted(X, Y, 0.9 ** np.arange(rows)[::-1], sums.penalties())
    found = sums.solve(np.array([1e-2]))
    np.testing.assert_allclose(found.W[0], W, atol=1e-9 * np.abs(W).max())
    np.testing.assert_allclose(found.b[0], b, atol=1e-9 * np.abs(W).max() * 50 * 12)
    assert abs(found.residual[0] - left) < 1e-9


def test_the_online_error_is_that_of_the_readouts_before():
    """Each row's error under the closed form of the rows before it."""
    X, Y = data(n=4, rows=30, offset=1.0)
    squares = [np.mean(Y[0] ** 2), np.mean((Y[1] - Y[0]) ** 2)]
    for t in range(2, 30):
        W, b = direct(X[:t], Y[:t], 0.1)
        squares.append(np.mean((Y[t] - X[t] @ W - b) ** 2))
    np.testing.assert_allclose(learned(X, Y, 0.1, pieces=4).solve(np.array([0.1])).online, np.mean(squares), rtol=1e-10)


def test_forgetting_does_not_wind_up_where_states_do_not_vary():
    """States that move on a line but for 1e-7, 30,000 of them, forgotten at .99: P is bounded by the renewed penalty, weights stay small, predictions are the
    closed form's. Where the penalty is forgotten weights grow to 1e4."""
    g = np.random.default_rng(0)
    X = g.standard_normal((30_000, 1)) * [1.0, 2.0, -1.0] + 1e-7 * g.standard_normal((30_000, 3))
    Y = X[:, :1] + 0.1 * g.standard_normal((30_000, 1))
    sums = learned(X, Y, 1e-6, 0.99)
    assert np.linalg.eigvalsh(sums.T.T @ sums.T)[-1] <= 1 / (1e-6 * 0.99**3) * (1 + 1e-6)
    last = slice(-5_000, None)                                                       # .99^5000 = 1e-22
    W, _, left = weighted(X[last], Y[last], 0.99 ** np.arange(5_000)[::-1], sums.penalties())
    found = sums.solve(np.array([1e-6]))
    np.testing.assert_allclose(X[-9:] @ found.W[0], X[-9:] @ W, atol=1e-8)           # 1e3, the largest of T, times eps a row, 5,000 rows: 1e-9
    assert abs(found.residual[0] - left) < 1e-8
    assert np.abs(found.W).max() < 1
    plain = RecursiveLeastSquares(3, 1, ridge=1e-6, forgetting=0.99)
    for x, y in zip(X[:3_000], Y[:3_000], strict=True):
        plain.update(x, y)
    assert np.abs(plain.W).max() > 1e4


def test_the_square_root_keeps_the_digits_that_p_loses():
    """A penalty of 1e-14: T starts at 1e7, of which sums keep 1e7 eps = 2e-9; P starts at 1e14 and keeps 2e-2 of its own."""
    g = np.random.default_rng(0)
    X = g.standard_normal((300, 1)) * [1.0, 2.0, -1.0] + 1e-3 * g.standard_normal((300, 3))
    Y = X[:, :1] + 0.1 * g.standard_normal((300, 1))
    rls, P, W = RecursiveLeastSquares(3, 1, ridge=1e-14), np.eye(3) / 1e-14, np.zeros((3, 1))
    for x, y in zip(X, Y, strict=True):
        rls.update(x, y)
        gain = P @ x / (1 + x @ P @ x)
        W += np.outer(gain, y - x @ W)
        P -= np.outer(gain, P @ x)
        P = 0.5 * (P + P.T)
    tall = np.concatenate([X, 1e-7 * np.eye(3)])
    want = X @ np.linalg.lstsq(tall, np.concatenate([Y, np.zeros((3, 1))]), rcond=None)[0]
    np.testing.assert_allclose(X @ rls.W, want, atol=2e-9)
    assert np.abs(X @ W - want).max() > 1e-6
    np.testing.assert_allclose(rls.P, rls.P.T)
    assert np.linalg.eigvalsh(rls.P)[0] > 0


@pytest.fixture(scope="module")
def recording():
    """Three series of a driven map of different lengths, 3 % of the samples of one channel missing."""
    g = np.random.default_rng(0)
    u, x = g.uniform(-1, 1, (3, 500, 1)), np.zeros((3, 500, 2))
    for t in range(499):
        x[:, t + 1, :1] = 0.8 * x[:, t, :1] - 0.5 * x[:, t, 1:] ** 2 + 0.3 * u[:, t + 1]
        x[:, t + 1, 1:] = np.sin(x[:, t, :1] + u[:, t + 1])
    x[..., 0][g.random((3, 500)) < 0.03] = np.nan
    return dr.as_recording([x[0], x[1, :300], x[2, :450]], inputs=[u[0], u[1, :300], u[2, :450]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: dr.ESN(2, 60, input_dim=1, input_scaling=0.5, bias_scaling=0.5, n_fits=2, random_state=0),
        lambda: dr.DeepESN(2, 60, 2, input_dim=1, leak=0.5, readout="last", bias_scaling=0.5, n_fits=2, random_state=0),
        lambda: dr.NextGenerationReservoir(2, 2, input_dim=1, n_fits=2),
    ],
)
def test_fit_by_recursion_is_fit_by_ridge(make, recording):
    """To rounding: the rows' condition beside sqrt(ridge) = .03 is below 1e3 (60 units of size 1, 1,000 rows), so 1e3 eps a row of the largest weight."""
    ridge, rls = (dr.fit(make(), recording, ridge=1e-3, washout=20, progress=False, **o) for o in ({}, {"solver": "rls"}))
    size = float(ridge.model.W_out.abs().max())
    np.testing.assert_allclose(rls.model.W_out, ridge.model.W_out, atol=1_000 * 1e3 * EPS * size)
    np.testing.assert_allclose(rls.model.b_out, ridge.model.b_out, atol=1_000 * 1e3 * EPS * size)
    np.testing.assert_allclose(rls.history.loss, ridge.history.loss, rtol=1e-6)
    assert (rls.history.online_error > rls.history.loss[:, 0]).all()
    assert np.isnan(ridge.history.online_error).all()
    assert rls.config["solver"] == "rls"
    alone = dr.fit(dr.select(make(), fit=1), recording, ridge=1e-3, washout=20, progress=False, solver="rls")
    np.testing.assert_array_equal(alone.model.W_out[0], rls.model.W_out[1])


def test_forgetting_follows_what_changes():
    """x' = .5 x + c u, c from .3 to -.3 halfway: the readout that forgets at .98 knows the second half, beside it that of all samples the mean of both."""
    u = np.random.default_rng(0).uniform(-1, 1, (4_000, 1))
    x = np.zeros((4_000, 1))
    for t in range(3_999):
        x[t + 1] = 0.5 * x[t] + (0.3 if t < 2_000 else -0.3) * u[t + 1]
    model = dr.ESN(1, 30, input_dim=1, input_scaling=0.1, n_fits=2, random_state=0)
    run = dr.fit(model, dr.as_recording(x, inputs=u), solver="rls", forgetting=np.array([0.98, 1.0]), ridge=1e-6, progress=False)
    starts = np.stack([np.zeros(50, int), np.arange(3_900, 3_950)], 1)
    ahead = dr.forecast(run, dr.as_recording(x, inputs=u), starts, 1).values[:, :, 0, 0]
    error = np.abs(ahead - x[3_901:3_951, 0]).mean(1)
    assert error[0] < 0.1 * error[1]
    assert run.history.online_error[0] < 0.5 * run.history.online_error[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "rsl"}, "Did you mean 'rls'"),
        ({"forgetting": 0.9}, "forgetting is for solver='rls'"),
        ({"solver": "rls", "forgetting": 0.0}, r"within \(0, 1\]"),
        ({"solver": "rls", "forgetting": 1.1}, r"within \[0, 1\]"),
        ({"solver": "rls", "forgetting": np.nan}, r"within \[0, 1\]"),
        ({"solver": "rls", "forgetting": np.ones(3)}, r"one per fit \(2\)"),
        ({"solver": "rls", "ridge": 0.0}, "ridge must be above 0 with solver='rls'"),
        ({"solver": "rls", "ridge": (1e-3, 1e-4)}, "ridge as a tuple is a choice for solver='ridge'"),
    ],
)
def test_arguments_that_do_not_belong_together(options, said):
    with pytest.raises(ArgumentError, match=said):
        dr.fit(dr.ESN(1, 40, n_fits=2, random_state=0), np.sin(np.arange(300))[:, None], progress=False, **options)


def test_descent_takes_no_solver():
    with pytest.raises(ArgumentError, match="solver is for reservoirs"):
        dr.fit(dr.ShallowPLRNN(1, 1, 5), np.sin(np.arange(300))[:, None], solver="rls")
