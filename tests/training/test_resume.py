"""A training that is broken off goes on to the bit; what is not the same training is refused."""

import json

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.training.state import TrainingState, concat_states


class BrokenOff(Exception):
    pass


def recording(n=400, seed=0):
    t = np.arange(n) * 0.1
    return np.stack([np.sin(t), np.cos(t)], 1) + 0.05 * np.random.default_rng(seed).standard_normal((n, 2))


def model(n_fits=2):
    return dr.ShallowPLRNN(2, 2, 8, n_fits=n_fits, random_state=3)


COMMON = dict(n_updates=60, sequence_length=20, batch_size=4, progress=False, random_state=5, noise=0.02)
FEW = dict(n_updates=12, sequence_length=8)
KINDS = {
    "constant": {},
    "adaptive": {"forcing": dr.AdaptiveTeacherForcing(every=7)},
    "validated": {"validation": recording(seed=1), "validate_every": 15, "keep": "best"},
    "means validated": {"validation": recording(seed=1), "validate_every": 15, "validate_mean": True, "keep": "best"},
    "mean": {"keep": "mean", "mean_over": 0.6},
    "uoro": {"gradient": "uoro"} | FEW,
    "reference": {"backend": "reference"} | FEW,
}


def break_off_at(update):
    def callback(progress):
        if progress.update >= update:
            raise BrokenOff

    return callback


def same_runs(a, b):
    for name, value in a.model.state_dict().items():
        assert value.equal(b.model.state_dict()[name]), name
    for name in set(a.history) - {"seconds"}:
        np.testing.assert_array_equal(a.history[name].values, b.history[name].values)
    np.testing.assert_array_equal(a.history["update"], b.history["update"])
    assert a.status.equals(b.status)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_taken_up_again_ends_with_the_same_bits(kind, tmp_path):
    asked = COMMON | {"validate_every": 10} | KINDS[kind]
    n = asked["n_updates"]
    whole = dr.fit(model(), recording(), **asked)
    with pytest.raises(BrokenOff):
        dr.fit(model(), recording(), **asked, out=tmp_path / "run", save_every=n // 3, callback=break_off_at(n // 3 + 1))
    assert TrainingState.load(tmp_path / "run/checkpoints/training").done in (n // 3, 2 * n // 3)
    again = dr.fit(model(), recording(), **asked, out=tmp_path / "run", save_every=n // 3, resume=True)
    same_runs(whole, again)
    stored = dr.read_results(tmp_path / "run/results.zarr")
    np.testing.assert_array_equal(stored["training"].loss, whole.history.loss)


def test_models_on_the_way_are_all_there_after_a_break(tmp_path):
    whole = dr.fit(model(), recording(), **COMMON, checkpoint_every=10)
    with pytest.raises(BrokenOff):
        dr.fit(model(), recording(), **COMMON, checkpoint_every=10, out=tmp_path / "run", save_every=25, validate_every=40, callback=break_off_at(40))
    again = dr.fit(model(), recording(), **COMMON, checkpoint_every=10, out=tmp_path / "run", save_every=25, resume=True)
    assert list(again.checkpoints) == list(whole.checkpoints) == list(range(0, 61, 10))
    for update, kept in whole.checkpoints.items():
        assert kept.W1.equal(again.checkpoints[update].W1)


def test_a_state_in_memory_goes_on_and_its_fits_go_on_alone():
    states = []
    whole = dr.fit(model(), recording(), **COMMON, validate_every=20, callback=lambda p: states.append(p.state()))
    assert [s.done for s in states] == [20, 40, 60]
    same_runs(whole, dr.fit(model(), recording(), **COMMON, validate_every=20, resume=states[0]))
    alone = dr.fit(dr.select(model(), 1), recording(), **COMMON, validate_every=20, resume=states[1].select([1]))
    same_runs(dr.select(whole, 1), alone)
    together = concat_states([states[1].select([1]), states[1].select([0])])
    np.testing.assert_array_equal(together.arrays["theta"], states[1].arrays["theta"][::-1])


def test_settings_of_equal_shape_train_side_by_side_as_alone():
    alphas = np.array([0.1, 0.1, 0.6, 0.6])
    both = dr.fit(dr.concat([model(), model()]), recording(), dr.GeneralizedTeacherForcing(alphas), **COMMON)
    for first, alpha in ((0, 0.1), (2, 0.6)):
        alone = dr.fit(model(), recording(), dr.GeneralizedTeacherForcing(alpha), **COMMON)
        for k in range(2):
            assert alone.model.W1[k].equal(both.model.W1[first + k])


def test_a_callback_stops_a_training_and_the_history_ends_there():
    run = dr.fit(model(), recording(), **COMMON, validate_every=20, callback=lambda p: p.update == 40)
    assert run.status.values.tolist() == ["stopped: by the callback"] * 2
    assert int(run.history["update"][-1]) == 40
    assert np.isfinite(run.history.loss).all()
    at_40 = dr.fit(model(), recording(), **COMMON, checkpoint_every=40).checkpoints[40]
    assert run.model.W1.equal(at_40.W1)


def test_a_finished_training_can_be_asked_for_again(tmp_path):
    first = dr.fit(model(), recording(), **COMMON, out=tmp_path / "run", save_every=1_000)
    same_runs(first, dr.fit(model(), recording(), **COMMON, out=tmp_path / "run", save_every=1_000, resume=True))


def test_what_is_not_the_same_training_is_refused_and_named(tmp_path):
    def go(data, out, **changes):
        return dr.fit(model(), data, **COMMON | changes, out=out, save_every=20, resume=True)

    go(recording(), tmp_path / "run")
    with pytest.raises(dr.ArgumentError, match=r"noise was \[0\.02, 0\.02\], now \[0\.5, 0\.5\]"):
        go(recording(), tmp_path / "run", noise=0.5)
    with pytest.raises(dr.ArgumentError, match="data was"):
        go(recording(seed=9), tmp_path / "run")
    with pytest.raises(dr.ArgumentError, match="give out="):
        dr.fit(model(), recording(), **COMMON, resume=True)
    state = TrainingState.load(tmp_path / "run/checkpoints/training")
    with pytest.raises(dr.ArgumentError, match="not one of this training"):
        dr.fit(model(3), recording(), **COMMON, resume=state)
    with pytest.raises(dr.ArgumentError, match="not one of this training"):
        dr.fit(model(), recording(), **COMMON | {"n_updates": 30}, resume=state)


def test_a_damaged_state_is_refused(tmp_path):
    dr.fit(model(), recording(), **COMMON, out=tmp_path / "run", save_every=20)
    path = tmp_path / "run/checkpoints/training/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": 20}))
    with pytest.raises(dr.FileFormatError):
        dr.fit(model(), recording(), **COMMON, out=tmp_path / "run", save_every=20, resume=True)
