"""Columnar networks: traces against backpropagation, the compiled stream against the plain one, stages that are frozen, resumption and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynrnn.errors import ArgumentError, FileFormatError, RecordingError
from dynrnn.online import ColumnarLearner, ElementwiseLSTMLearner
from dynrnn_datasets import TracePatterning
from dynrnn_kernels.columnar import ASKED, REGRESSION, TD, Settings, by_gate, empty_state, reference, run

NEVER = 2**60


def problem(kind, sizes, ends, D, P, rng, rate, *, gamma=0.9, decay=0.9, scale=1.0):
    state = empty_state(1, D, sizes, P)
    state.W[:] = scale * rng.standard_normal(state.W.shape)
    state.w[:] = rng.standard_normal(state.w.shape)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    return state, Settings(kind, bounds, np.array(ends), np.full(1, rate), np.full(1, rate), gamma, 0.8 * gamma, 0.99, decay, 0.01)


def call(state, settings, x, target):
    T, P = len(x), state.w.shape[1]
    y, loss = np.empty((1, T, P)), np.empty((1, T))
    stopped = run(state, settings, x[None], target[None], np.full((1, T), ASKED), y, loss)
    return y[0], loss[0], stopped


def backpropagated(W, x):
    """dh[T]/dW of a stage of columns [K, 4, 2 + D] by autograd through all of time, for inputs x [T, D] that are normalised already."""
    W = torch.tensor(W, requires_grad=True)
    K = len(W)
    h, c = torch.zeros(2, K, dtype=torch.float64)
    for xt in torch.tensor(x):
        v = torch.cat([h[:, None], torch.ones(K, 1, dtype=torch.float64), xt.expand(K, -1)], 1)
        pre = torch.einsum("kgj,kj->gk", W, v)
        i, f, o = torch.sigmoid(pre[0]), torch.sigmoid(pre[1]), torch.sigmoid(pre[3])
        c = f * c + i * torch.tanh(pre[2])
        h = o * torch.tanh(c)
    gradient = torch.autograd.grad(h.sum(), W)[0]                               # columns do not meet: the sum's gradient holds each column's
    return gradient.numpy(), h.detach().numpy(), c.detach().numpy()


@pytest.mark.parametrize("seed", range(12))
def test_traces_are_backpropagation_through_time(seed):
    """Every parameter of every column, 1 to 200 samples, weights of size .3 to 3: rounding alone, some hundred operations deep."""
    rng = np.random.default_rng(seed)
    K, D, T = int(rng.integers(1, 9)), int(rng.integers(1, 7)), 1 if seed == 0 else 200 if seed == 1 else int(rng.integers(2, 200))
    state, settings = problem(REGRESSION, (K,), [NEVER], D, 1, rng, 0.0, decay=0.0, scale=[0.3, 1, 3][seed % 3])
    settings = settings._replace(decay=1.0)                                     # mean 0 and variance 1 for ever: inputs are as they come
    x = rng.standard_normal((T, D))
    call(state, settings, x, np.zeros((T, 1)))
    gradient, h, c = backpropagated(by_gate(state.W[0], 2 + D), x)
    np.testing.assert_allclose(state.h[0], h, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state.c[0], c, rtol=1e-12, atol=1e-14)
    assert (np.abs(by_gate(state.H[0], 2 + D) - gradient).max((1, 2)) < 1e-11 * np.abs(gradient).max((1, 2))).all()     # column by column


@pytest.mark.parametrize(("kind", "P"), [(0, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize(("sizes", "ends"), [((4,), (NEVER,)), ((2, 3, 1), (30, 50, 80)), ((1, 1, 1), (20, 40, NEVER))])
def test_the_compiled_stream_is_the_plain_one(kind, P, sizes, ends):
    """Predictions, losses and all of the state after 120 samples that were learned, over the ends of stages."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 5))
    target = np.eye(3)[rng.integers(0, 3, 120)] if kind == 2 else rng.standard_normal((120, P))
    (ours, settings), (plain, _) = (problem(kind, sizes, ends, 5, P, np.random.default_rng(1), 0.01) for _ in range(2))
    y, loss, _ = call(ours, settings, x, target)
    y_plain, loss_plain = reference.run(plain, settings, x, target)
    np.testing.assert_allclose(y, y_plain, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loss, loss_plain, rtol=1e-10, atol=1e-12)
    for name, a, b in zip(ours._fields, ours, plain, strict=True):
        if name != "size":                                                      # the plain one has no use for it
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=name)


def test_td_lambda_equals_the_forward_view_offline():
    """With weights that stand still, the sum over an episode of delta times eligibility is the sum of (lambda-return - y) dy/dw: Sutton's equivalence."""
    rng, T, gamma, lam = np.random.default_rng(2), 60, 0.9, 0.8
    state, settings = problem(TD, (2,), [NEVER], 3, 1, rng, 0.0, gamma=gamma)
    settings = settings._replace(decay=1.0)
    x, cumulant = rng.standard_normal((T + 1, 3)), rng.standard_normal(T + 1)
    phi, total, y = [], 0.0, []
    for t in range(T + 1):
        before = state.e.copy()
        y_t, loss, _ = call(state, settings, x[t : t + 1], cumulant[t : t + 1, None])
        if t:
            total = total + np.sign(cumulant[t] + gamma * y_t[0, 0] - y[-1]) * np.sqrt(2 * loss[0]) * before[0]
        y.append(y_t[0, 0])
        phi.append(np.append(state.h[0] / np.sqrt(state.var[0, 3:]), 1.0))
    G, forward = y[T], 0.0
    for t in range(T - 1, -1, -1):
        G = cumulant[t + 1] + gamma * ((1 - lam) * y[t + 1] + lam * G)
        forward = forward + (G - y[t]) * phi[t]
    np.testing.assert_allclose(total, forward, rtol=1e-11)


CONFIGS = {"columnar": 3, "constructive": [(1, 70)] * 4, "ccn": [(2, 90), (2, 80), (1, None)]}


def patterning(n, seed=0):
    data = TracePatterning(isi=(4, 6), iti=(10, 20), random_state=seed).draw(n)
    return data.inputs.values, data.cumulant.values


def learner(stages, n_fits=1, **options):
    return ColumnarLearner(12, stages, learning_rate=0.01, statistics_decay=0.99, n_fits=n_fits, random_state=3, **options)


def test_finished_stages_do_not_change():
    """To the last bit: weights and statistics of a stage that has ended, and of the inputs from the first stage's end on, while the stage after them learns."""
    x, us = patterning(400)
    one = learner(CONFIGS["ccn"])
    one.learn(x[:90], us[:90])
    first = {k: getattr(one.state, k).copy() for k in ("W", "mean", "var")}
    one.learn(x[90:170], us[90:170])
    second = {k: getattr(one.state, k).copy() for k in ("W", "mean", "var")}
    one.learn(x[170:], us[170:])
    for before, columns in ((first, 2), (second, 4)):
        assert np.array_equal(before["W"][:, :columns], one.state.W[:, :columns])
        assert np.array_equal(before["mean"][:, : 12 + columns], one.state.mean[:, : 12 + columns])
        assert np.array_equal(before["var"][:, : 12 + columns], one.state.var[:, : 12 + columns])
    assert (first["W"][:, 2:4] != second["W"][:, 2:4]).any()
    assert (second["W"][:, 4] != one.state.W[:, 4]).any()
    assert (one.state.w != 0).all()
    whole = learner([(2, 100), (1, 100)])
    whole.learn(x[:200], us[:200])
    frozen, readout = whole.state.W.copy(), whole.state.w.copy()
    whole.learn(x[200:], us[200:])
    assert np.array_equal(frozen, whole.state.W)                                # all stages have ended
    assert (readout != whole.state.w).all()                                     # the readout has not


@pytest.mark.parametrize("stages", CONFIGS.values(), ids=CONFIGS)
def test_blocks_are_steps_and_a_stored_learner_goes_on(stages, tmp_path):
    """One block, single steps, and blocks of random lengths with a file in between: the same bits."""
    x, us = patterning(300)
    whole, stepped, resumed = learner(stages), learner(stages), learner(stages)
    seen = whole.learn(x, us)
    steps = [stepped.step(row, c) for row, c in zip(x, us, strict=True)]
    assert np.array_equal(seen.prediction[0], np.concatenate([s.prediction for s in steps]))
    assert np.array_equal(seen.loss[0], np.concatenate([s.loss for s in steps]), equal_nan=True)
    parts, at = [], 0
    for n in np.random.default_rng(5).multinomial(300, [0.25] * 4):
        parts.append(resumed.learn(x[at : at + n], us[at : at + n]).prediction.values)
        resumed, at = ColumnarLearner.load(resumed.save(tmp_path / "learner")), at + n
    assert np.array_equal(np.concatenate(parts, 1), seen.prediction)
    for one in (stepped, resumed):
        assert all(np.array_equal(a, b) for a, b in zip(one.state, whole.state, strict=True))


def test_a_fit_of_an_ensemble_is_the_fit_alone():
    """Shared samples and samples of its own, rates by fit."""
    for shared in (True, False):
        x, us = patterning(200) if shared else (np.stack(p) for p in zip(*(patterning(200, s) for s in range(3)), strict=True))
        many = ColumnarLearner(12, CONFIGS["ccn"], learning_rate=[0.01, 0.02, 0.03], statistics_decay=0.99, n_fits=3, random_state=1)
        alone = [many.select(k) for k in range(3)]
        first = ColumnarLearner(12, CONFIGS["ccn"], learning_rate=0.01, statistics_decay=0.99, random_state=1)
        assert np.array_equal(first.state.W, alone[0].state.W)
        seen = many.learn(x, us)
        for k, one in enumerate(alone):
            own = one.learn(x if shared else x[k], us if shared else us[k])
            assert np.array_equal(own.prediction[0], seen.prediction[k])
            assert np.array_equal(one.state.W[0], many.state.W[k])


@pytest.mark.parametrize("kind", ["columnar", "elementwise"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e31])
def test_bad_samples_are_refused_or_counted(kind, bad):
    """Refused before anything has changed; or left out, so that what follows is as if the sample had not been there, but for the TD error over the gap."""
    x, us = patterning(60)
    spoilt, goal = x.copy(), us.copy()
    spoilt[40, 3], goal[50] = bad, bad

    def make(**options):
        if kind == "columnar":
            return learner(2, head="regression", **options)
        return ElementwiseLSTMLearner(12, 4, 1, random_state=0, **options)

    one, clean = make(), make()
    one.learn(x[:30], us[:30])
    clean.learn(x[:30], us[:30])
    with pytest.raises(RecordingError, match=r"sample 40 of the stream \(number 10"):
        one.learn(spoilt[30:], us[30:])
    with pytest.raises(RecordingError, match="its target"):
        one.learn(x[30:], goal[30:])
    with pytest.raises(RecordingError, match="12"):
        one.step(x[0, :5], 0.0)
    assert all(np.array_equal(a, b) for a, b in zip(one.state, clean.state, strict=True))
    assert one.n_samples == 30
    skipping, rest = make(on_bad="skip"), make()
    seen = skipping.learn(spoilt, goal)
    kept = ~np.isin(np.arange(60), [40, 50])
    assert skipping.n_skipped.tolist() == [2]
    assert np.array_equal(np.flatnonzero(seen.skipped[0]), [40, 50])
    assert np.array_equal(seen.prediction[0, kept], rest.learn(x[kept], us[kept]).prediction[0])
    assert all(np.array_equal(a, b) for a, b in zip(skipping.state, rest.state, strict=True))
    skipping.step(x[0, :5], 0.0)
    assert skipping.n_skipped.tolist() == [3]


def test_no_td_error_reaches_over_a_gap():
    x, us = patterning(40)
    spoilt = x.copy()
    spoilt[20] = np.nan
    one = learner(2, on_bad="skip")
    loss = one.learn(spoilt, us).loss.values[0]
    assert np.flatnonzero(np.isnan(loss)).tolist() == [0, 20, 21]


def test_traces_that_grow_without_bound_stop_their_fit_alone():
    """h feeds back with weights of 60, and the input holds it where gates are open: the trace grows by a factor each sample. The other fit learns on."""
    many = ColumnarLearner(1, 1, n_fits=2, learning_rate=0.0, statistics_decay=0.0, floor=1.0, random_state=0, head="regression")
    many.state.W[1, 0] = [0, 5, 0, 0, -5, 0, 60, 0, 0, 0, 5, 0]                 # u, b and w of i, f, g and o
    x, alone, copy = np.zeros((100, 1)), many.select(0), many.select(1)
    with pytest.raises(RecordingError, match="fit 1 was stopped at sample"):
        many.learn(x, np.zeros(100))
    assert many.stopped.tolist() == [False, True]
    assert all(np.isfinite(a).all() for a in many.state)
    alone.learn(x, np.zeros(100))
    assert np.array_equal(alone.state.H[0], many.state.H[0])
    n = int(many.state.seen[1])
    copy.learn(x[:n], np.zeros(n))                                              # it stands where it stood before the sample that stopped it
    for name, a, b in zip(copy.state._fields, copy.state, many.state, strict=True):
        assert name == "pending" or np.array_equal(a[0], b[1]), name            # but that no TD error reaches over what was left out
    many.on_bad = "skip"
    assert many.learn(x[:5], np.zeros(5)).skipped.values.tolist() == [[False] * 5, [True] * 5]
    revived = many.learn(x[:5], np.zeros(5), reset=np.arange(5) == 2)
    assert revived.skipped.values.tolist() == [[False] * 5, [True, True, False, False, False]]
    assert not many.stopped.any()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ColumnarLearner(0, 2), "input_dim"), (lambda: ColumnarLearner(2, []), "stages"),
        (lambda: ColumnarLearner(2, [(2, None), (1, 5)]), "last stage"), (lambda: ColumnarLearner(2, 2, gamma=1.0), "gamma"),
        (lambda: ColumnarLearner(2, 2, head="q"), "head"), (lambda: ColumnarLearner(2, 2, output_dim=2), "td"),
        (lambda: ColumnarLearner(2, 2, learning_rate=float("nan")), "learning_rate"), (lambda: ColumnarLearner(2, 2, on_bad="ignore"), "on_bad"),
        (lambda: ElementwiseLSTMLearner(2, 3, 1, n_layers=2), "one layer"), (lambda: ElementwiseLSTMLearner(2, 3, 1, head="classification"), "2 classes"),
        (lambda: learner(2).learn(np.zeros((3, 5, 12)), np.zeros(5)), "fit, time, input"),
        (lambda: learner(2).learn(np.zeros((5, 12)), np.zeros(4)), "cumulants"),
        (lambda: learner(2).learn(np.zeros((5, 12)), np.zeros(5), asked=np.ones(4, bool)), "asked"),
        (lambda: learner(2).learn([["a"] * 12], [0.0]), "real numbers"),
    ],
)
def test_arguments_that_cannot_be_are_named(make, word):
    with pytest.raises(ArgumentError, match=word):
        make()


def test_a_file_of_another_learner_is_refused(tmp_path):
    one = ElementwiseLSTMLearner(2, 3, 1, random_state=0)
    with pytest.raises(FileFormatError, match="no ColumnarLearner"):
        ColumnarLearner.load(one.save(tmp_path / "other"))
