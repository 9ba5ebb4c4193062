"""Learning from a stream: the gradient beside backpropagation, blocks beside single samples, stopping and going on, what is bad about samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.errors import ArgumentError, FileFormatError, RecordingError, UnknownNameError
from dynrnn.online.by_torch import TorchStream
from dynrnn.training.forcing import AdaptiveTeacherForcing, GeneralizedTeacherForcing, SparseTeacherForcing
from dynrnn_kernels.recurrences import step

X = dr.load_dataset("lorenz63", n_steps=2_600, dt=0.05, random_state=0).observed.values[0]
MAKE = {
    "shallow": lambda **o: dr.ShallowPLRNN(3, 3, 12, random_state=0, **o),
    "alrnn": lambda **o: dr.ALRNN(3, 6, 2, random_state=0, **o),
    "affine": lambda **o: dr.ShallowPLRNN(3, 4, 9, observation="affine", decoder_bias=True, clipped=True, random_state=0, **o),
    "dendritic": lambda **o: dr.DendriticPLRNN(3, 5, 3, random_state=0, **o),
    "wide": lambda **o: dr.PLRNN(3, 9, random_state=0, **o),
}


def learner(name="shallow", n_fits=1, **options):
    return dr.OnlineLearner(MAKE[name](n_fits=n_fits), **({"warmup": 100, "random_state": 0, "learning_rate": 1e-3} | options))


def theta_of(one) -> np.ndarray:
    return one._engine.theta


@pytest.mark.parametrize("name", MAKE)
def test_one_update_over_a_stretch_is_backpropagation_through_it(name):
    """Plain descent by rate 1 after 60 samples, with missing ones and forcing: the step is the mean gradient, which autograd gives through all of them."""
    n, alpha = 60, 0.3
    x = X[:161].copy()
    x[120:123, 1] = np.nan
    one = learner(name, update_every=n - 3 if name == "affine" else n, optimiser="sgd", learning_rate=1.0, gradient_clip=np.inf,
                  forcing=GeneralizedTeacherForcing(alpha))
    if name == "affine":                                                        # a part of the channels says nothing about an affine state
        x = x[: 101 + n - 3]
    before = theta_of(one).copy()
    one.learn(x[:101])
    one.learn(x[101:])
    moved = before - theta_of(one)
    model = MAKE[name]().double()
    scaled = torch.tensor((x[100:] - x[:100].mean(0)) / x[:100].std(0))
    map, loss = model.map(), 0.0
    first = scaled[:1]
    if model.observation == "affine":
        z = (torch.linalg.pinv(model.B[0]) @ (first[0] - model.b[0])).detach()[None]
    else:
        z = model.encode(first[None])[0].detach()
    for t in range(1, len(scaled)):
        z = step(map, z[None])[0]
        seen, row = ~torch.isnan(scaled[t]), torch.nan_to_num(scaled[t])
        if model.observation == "affine":
            value = model.B[0] @ z[0] + model.b[0]
            target, weight = (torch.linalg.pinv(model.B[0]) @ (row - model.b[0])).detach(), alpha * float(seen.all())
        else:
            value = z[0, :3]
            target = torch.cat([row, row.new_zeros(z.shape[1] - 3)])
            weight = alpha * torch.cat([seen.double(), row.new_zeros(z.shape[1] - 3)])
        loss = loss + (torch.where(seen, value - row, row.new_zeros(3)).square().sum()) / seen.sum()
        z = z + weight * (target - z)
    (loss / (len(scaled) - 1)).backward()
    keep = {key: torch.ones_like(p) for key, p in model.named_parameters()}
    for key, mask in model.frozen_entries().items():
        keep[key] = torch.as_tensor(~mask)[None].to(keep[key])
    want = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad * keep[key]).flatten() for key, p in model.named_parameters()]).numpy()
    assert np.linalg.norm(moved[0] - want) < 1e-9 * np.linalg.norm(want)       # means and deviations are summed in another order


@pytest.mark.parametrize("gradient", ["rtrl", "diagonal", "rflo", "truncated-7"])
def test_the_kernel_and_torch_learn_the_same(gradient):
    """Two hundred samples with an update at each, by RAdam: float64 roundings, which a chaotic state lets grow a little."""
    for name in ("shallow", "affine"):
        fast = learner(name, gradient=gradient, forgetting=0.95)
        slow = learner(name, gradient=gradient, forgetting=0.95)
        slow._engine = TorchStream(slow._model, _settings(fast, gradient))
        x = X[:300].copy()
        x[150:152, 0] = np.nan
        got, want = fast.learn(x), slow.learn(x)
        np.testing.assert_allclose(got.prediction.values, want.prediction.values, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(theta_of(fast), theta_of(slow), rtol=1e-8, atol=1e-10)


def _settings(one, gradient):
    from dynrnn.online.engine import Settings
    from dynrnn_kernels.influence import algorithm_of

    fixed = one._engine.fixed
    return Settings(algorithm_of(gradient), fixed.unit, fixed.clip, fixed.forgetting, fixed.every, fixed.plain, 0)


@pytest.mark.parametrize(
    "forcing", [GeneralizedTeacherForcing((0.5, 0.1)), SparseTeacherForcing(7), AdaptiveTeacherForcing(every=50)], ids=["annealed", "sparse", "adaptive"]
)
def test_a_block_is_its_samples_to_the_bit(forcing):
    whole, single = (learner(n_fits=2, forcing=forcing, learning_rate=(1e-2, 1e-4), horizon=400) for _ in range(2))
    found = whole.learn(X[:500])
    steps = [single.step(row) for row in X[:500]]
    np.testing.assert_array_equal(np.stack([one.prediction for one in steps], 1), found.prediction.values)
    np.testing.assert_array_equal(np.stack([one.loss for one in steps], 1), found.loss.values)
    assert np.isnan(found.loss.values[:, :101]).all()                           # the warm-up, and the sample that the state begins with
    assert np.isfinite(found.loss.values[:, 101:]).all()
    np.testing.assert_array_equal(theta_of(whole), theta_of(single))


@pytest.mark.parametrize("gradient", ["rtrl", "uoro", "snap-1", "kronecker"])
def test_going_on_is_as_if_it_had_never_stopped(gradient, tmp_path):
    """Stopped in the warm-up, at a sample and in the middle of what is gathered for an update; those that draw go on drawing."""
    name = "alrnn" if gradient == "kronecker" else "shallow"
    n = 260 if gradient == "rtrl" else 140
    whole, parts = (learner(name, gradient=gradient, update_every=7, forcing=AdaptiveTeacherForcing(every=20)) for _ in range(2))
    want = whole.learn(X[:n]).prediction.values
    got, stops = [], [0, 37, 101, 118, n]
    for first, last in itertools.pairwise(stops):
        got.append(parts.learn(X[first:last]).prediction.values)
        parts = dr.OnlineLearner.load(parts.save(tmp_path / "learner"))
    np.testing.assert_array_equal(np.concatenate(got, 1), want)
    np.testing.assert_array_equal(theta_of(parts), theta_of(whole))
    assert parts.n_samples == n
    assert parts.drift == whole.drift


def test_a_fit_learns_alone_as_beside_others():
    several = learner(n_fits=3, learning_rate=np.array([1e-3, 1e-2, 1e-4]))
    several.learn(X[:400])
    model = dr.select(MAKE["shallow"](n_fits=3), fit=1)
    alone = dr.OnlineLearner(model, warmup=100, learning_rate=1e-2, random_state=0)
    alone.learn(X[:400])
    np.testing.assert_array_equal(theta_of(alone)[0], theta_of(several)[1])


PHASE = 0.1 * np.arange(4_000)
ROUND = np.stack([np.sin(PHASE), np.cos(PHASE), np.sin(2 * PHASE)], 1)


def test_it_learns_and_the_model_runs_on():
    one = learner(learning_rate=5e-3, update_every=4)
    loss = one.learn(ROUND).loss.values[0]
    assert np.nanmean(loss[-500:]) < 0.2 * np.nanmean(loss[101:300])
    orbit = dr.generate(one.model, 50, initial=one.state)
    np.testing.assert_allclose(orbit.observed.values[0, 0, 0], ROUND[-1], atol=0.3)
    assert int(one.counts.sel(what="taken")[0]) == (len(ROUND) - 101) // 4


def test_inputs_and_recordings():
    """A linear system that its input drives; two trials, of which the second begins anew."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((2, 400, 1))
    x = np.zeros((2, 400, 2))
    for t in range(1, 400):
        x[:, t] = x[:, t - 1] @ np.array([[0.9, 0.2], [-0.2, 0.9]]) + u[:, t] * [0.5, 0.1]
    recording = dr.as_recording(x, inputs=u, dt=0.5)
    one = dr.OnlineLearner(dr.ShallowPLRNN(2, 2, 8, input_dim=1, random_state=0), warmup=100, learning_rate=1e-2, random_state=0)
    found = one.learn(recording)
    assert np.flatnonzero(np.isnan(found.loss.values[0])).tolist() == [*range(101), 400]
    assert np.nanmean(found.loss.values[0, -100:]) < 0.1 * np.nanmean(found.loss.values[0, 101:200])
    with pytest.raises(ArgumentError, match="takes 1 inputs"):
        one.step(x[0, 0])


BAD = {
    "inf": (np.array([[1.0, np.inf, 0.0]]), None, "sample 50 is infinite in channel 1", {"infinite": 1}),
    "width": (np.zeros((1, 4)), None, r"sample 50 has the shape \(1, 4\)", {"width": 1}),
    "late": (np.zeros((2, 3)), [60.0, 59.0], "sample 51 is of time 59, not after", {"late": 1}),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_samples_are_named_or_counted(kind):
    x, time, said, counted = BAD[kind]
    strict, lenient = (learner(on_bad=how) for how in ("raise", "skip"))
    for one in (strict, lenient):
        one.learn(X[:50], time=np.arange(50.0) if time else None)
    before = {name: value.clone() for name, value in strict._engine.tensors().items()}
    with pytest.raises(RecordingError, match=said):
        strict.learn(x, time=time)
    assert all(torch.equal(value, before[name]) for name, value in strict._engine.tensors().items())
    assert strict.n_samples == 50
    lenient.learn(x, time=time)
    assert lenient.skipped == counted
    assert np.isfinite(lenient.learn(X[52:300]).loss.values[0, -50:]).all()


def test_gaps_begin_a_new_series_and_missing_samples_do_not():
    one = learner(dt=0.5)
    x, time = X[:300].copy(), 0.5 * np.arange(300.0)
    x[200] = np.nan
    time[250:] += 3.0
    loss = one.learn(x, time=time).loss.values[0]
    assert np.flatnonzero(np.isnan(loss[101:])).tolist() == [99, 149]
    assert one.skipped == {"missing": 1, "gaps": 1}


def test_what_leaves_all_bounds_starts_anew():
    """Unstable from the start, and hardly forced."""
    model = dr.ShallowPLRNN(3, 3, 12, random_state=0)
    with torch.no_grad():
        model.A.fill_(30.0)
    one = dr.OnlineLearner(model, warmup=100, forcing=GeneralizedTeacherForcing(0.0), learning_rate=1e-12, update_every=10_000, random_state=0)
    one.learn(X[:600])
    assert int(one.counts.sel(what="restarted")[0]) > 0
    assert np.isfinite(theta_of(one)).all()


def test_drift_is_found_where_it_is():
    """A turn of three channels, of which two are exchanged after 3,000 samples: it goes round the other way from there on."""
    one = learner(learning_rate=5e-3, update_every=4, drift_window=50)
    one.learn(np.concatenate([ROUND[:3_000], ROUND[3_000:, [1, 0, 2]]]))
    assert len(one.drift) == 1
    assert 3_000 < one.drift[0] <= 3_250


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: learner(gradient="bptt"), ArgumentError, "take 'rtrl'"),
        (lambda: learner(gradient="rtlr"), UnknownNameError, "Did you mean 'rtrl'"),
        (lambda: learner(gradient="RTRL"), UnknownNameError, "Did you mean 'rtrl'"),
        (lambda: learner().follow(3), ArgumentError, "an iterator of samples"),
        (lambda: learner(optimiser="adam"), UnknownNameError, "unknown optimiser"),
        (lambda: learner(warmup=1), ArgumentError, "one sample has no standard deviation"),
        (lambda: learner(forcing=SparseTeacherForcing()), ArgumentError, "give SparseTeacherForcing"),
        (lambda: learner(update_every=0), ArgumentError, "update_every must be at least 1"),
        (lambda: learner(forgetting=1.5), ArgumentError, "forgetting must lie within"),
        (lambda: dr.OnlineLearner(dr.ESN(3, 20, random_state=0)), ArgumentError, "trained by descent"),
        (lambda: learner().learn(np.ones((200, 3))), RecordingError, "channel 0 was constant"),
    ],
)
def test_what_is_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_a_file_of_something_else_is_no_learner(tmp_path):
    with pytest.raises(FileFormatError, match="holds no learner"):
        dr.OnlineLearner.load(dr.save(MAKE["shallow"](), tmp_path / "model"))


def test_an_iterator_is_followed_and_saved(tmp_path):
    one, whole = learner(), learner()
    assert one.follow(iter(X[:330]), block=16, checkpoint=tmp_path / "learner", checkpoint_every=100, progress=False) == 330
    whole.learn(X[:330])
    np.testing.assert_array_equal(theta_of(dr.OnlineLearner.load(tmp_path / "learner")), theta_of(whole))
    assert one.follow(iter(X[330:]), n_samples=10, progress=False) == 10


def test_a_sample_of_another_width_takes_no_other_with_it():
    """Gathered with five good ones, it is counted alone, and the others are learned as without it being gathered."""
    rows = [*X[:103], X[103, :2], *X[104:120]]
    one, single = learner(on_bad="skip"), learner(on_bad="skip")
    assert one.follow(iter(rows), block=6, progress=False) == 120
    for row in rows:
        single.step(row)
    assert one.n_samples == 120
    assert one.skipped == {"width": 1}
    np.testing.assert_array_equal(theta_of(one), theta_of(single))
    with pytest.raises(RecordingError, match=r"sample 103 has the shape \(2,\)"):
        learner().follow(iter(rows), block=6, progress=False)
