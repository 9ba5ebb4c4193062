"""``fit`` as a user calls it: what is refused before any work, what comes back, what is stored."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.errors import ArgumentError, RecordingError, RunFolderError
from dynrnn.training.loop import Validator
from dynrnn.training.parameters import read

SETTINGS = {"n_updates": 12, "sequence_length": 10, "batch_size": 4, "progress": False, "random_state": 0}


def wave(n=300, seed=0):
    t = 0.2 * np.arange(n)
    return np.stack([np.sin(t), np.cos(t)], 1) + 0.05 * np.random.default_rng(seed).standard_normal((n, 2))


def model(**options):
    return dr.ShallowPLRNN(2, 2, 6, random_state=0, **options)


def bad(value, where=(0, 37, 1)):
    x = wave()[None].repeat(2, 0)
    x[where] = value
    return x


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (bad(np.inf), ["trial 0", "37", "channel"]),
        (wave() + 1j, ["complex"]),
        (np.array([["a", "b"]] * 300), ["numeric"]),
        (np.stack([wave()[:, 0], np.ones(300)], 1), ["constant", "300", "standardise=False"]),
        (wave(8), ["8", "sequence_length"]),
        (wave()[:, 0], ["1 axes", "x[:, None]"]),
        (xr.DataArray(wave()), ["dim_0"]),
        (xr.DataArray(wave(), dims=("time", "neuron"), coords={"neuron": ["a", "a"]}), ["'a'"]),
        (xr.DataArray(wave(), dims=("time", "neuron"), coords={"time": np.r_[np.arange(299.0), 400.0]}), ["298"]),
        (np.random.default_rng(0).standard_normal((300, 3)), ["3 channels", "observes 2"]),
    ],
)
def test_a_bad_recording_is_refused_before_any_work(x, words, tmp_path):
    m = model()
    before = {k: v.clone() for k, v in m.state_dict().items()}
    with pytest.raises(RecordingError) as error:
        dr.fit(m, x, out=tmp_path / "run", **SETTINGS)
    for word in words:
        assert word in str(error.value), str(error.value)
    assert not (tmp_path / "run").exists()
    assert all(torch.equal(v, before[k]) for k, v in m.state_dict().items())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"n_updates": 0}, "n_updates"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"noise": np.array([0.1, 0.2, 0.3])}, "noise"),
        ({"keep": "best"}, "validation"),
        ({"keep": "mean", "mean_over": 0.0}, "mean_over must be a share"),
        ({"keep": "mean", "mean_over": np.nan}, "mean_over must be a share"),
        ({"forcing": dr.GeneralizedTeacherForcing(0.1, n_forced=3)}, "n_forced"),
        ({"random_state": -3}, "random_state"),
        ({"backend": "triton"}, "backend"),
        ({"precision": "tf32"}, "precision must be 'ieee'.* got 'tf32' with backend='cpu'"),
        ({"backend": "triton", "precision": "bf16"}, "precision"),
        ({"validate_every": 0}, "validate_every"),
        ({"validate_every": -1}, "validate_every"),
        ({"validate_mean": True}, "needs a validation recording to run beside"),
        ({"validate_by": "d_stps"}, "unknown validate_by 'd_stps'. Did you mean 'd_stsp'"),
        ({"validate_by": "both", "validation": wave(4)}, "a spectrum needs at least"),
        ({"n_threads": 0}, "n_threads"),
        ({"learning_rate": np.array(["0.001"] * 2)}, "learning_rate must be a number"),
        ({"noise": np.array([True, False])}, "noise must be a number"),
        ({"gradient_clip": 0.0}, "gradient_clip must lie within"),
    ],
)
def test_bad_arguments_are_named(options, word):
    with pytest.raises(ArgumentError, match=word):
        dr.fit(model(n_fits=2), wave(), **(SETTINGS | options))


def test_steps_of_another_length_are_refused():
    run = dr.fit(model(), dr.as_recording(wave(), dt=0.01), **SETTINGS)
    slow = dr.as_recording(wave(seed=1), dt=0.5)
    for call in (lambda: dr.evaluate(run, slow), lambda: dr.fit(run.model, slow, **SETTINGS)):
        with pytest.raises(RecordingError, match=r"steps of 0\.5 s, what the model was trained on of 0\.01"):
            call()
    with pytest.raises(RecordingError, match=r"the validation recording has steps of 0\.5 s, the training recording of 0\.01"):
        dr.fit(model(), dr.as_recording(wave(), dt=0.01), validation=slow, **SETTINGS)
    dr.evaluate(run, wave(seed=1), n_null=1)                                        # an array says nothing of time


def test_a_runs_folder_holds_its_model(tmp_path):
    run = dr.fit(model(), wave(), out=tmp_path / "run", validation=wave(seed=1), keep="best", **SETTINGS)
    np.testing.assert_array_equal(read(dr.load(tmp_path / "run")), read(run.model))
    with pytest.raises(ArgumentError, match="the report looks for 'metrics'"):
        run.store(metric=xr.Dataset())


def test_a_model_on_a_device_is_told_what_to_do():
    with pytest.raises(ArgumentError, match=r"on meta; .* model\.cpu\(\), and give backend='triton'"):
        dr.fit(model().to("meta"), wave(), **SETTINGS)


def test_an_output_folder_in_use_is_refused_and_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=str(tmp_path)):
        dr.fit(model(), wave(), out=tmp_path, **SETTINGS)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_is_stored_comes_back(tmp_path):
    rec = dr.as_recording(xr.DataArray(wave(), dims=("time", "neuron"), coords={"neuron": ["left", "right"]}), dt=0.1)
    train, held = dr.split(rec)
    m = model(n_fits=2)
    run = dr.fit(m, train, validation=held, validate_every=6, out=tmp_path / "run", **SETTINGS)
    assert run.model is m
    tree = dr.read_results(tmp_path / "run" / "results.zarr")
    xr.testing.assert_identical(tree["observed_data"].to_dataset().observed, train.observed)
    xr.testing.assert_equal(tree["training"].to_dataset().loss, run.history.loss)
    assert tree["training"].status.values.tolist() == ["finished"] * 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())
    for name, want in (("last", run.last), ("best", run.best)):
        again = dr.load(tmp_path / "run" / "checkpoints" / name)
        for key, value in want.state_dict().items():
            assert torch.equal(again.state_dict()[key], value), (name, key)
    orbit = dr.generate(run, 20, initial=held)
    assert orbit.observed.dims == ("fit", "trial", "time", "neuron")
    assert orbit.neuron.values.tolist() == ["left", "right"]
    run.store(generated=orbit)
    xr.testing.assert_identical(dr.read_results(tmp_path / "run" / "results.zarr")["generated"].to_dataset().observed, orbit.observed)


def test_the_best_on_validation_has_the_lowest_score_that_is_known():
    """From 64 starts; those that were not asked again were worse from eight."""
    train, held = dr.split(dr.as_recording(wave(600), dt=0.1))
    settings = SETTINGS | {"n_updates": 60, "learning_rate": 5e-2}
    m = model(n_fits=3)
    run = dr.fit(m, train, validation=held, validate_every=10, keep="best", checkpoint_every=10, **settings)
    scores = run.history.validation.dropna("update")
    assert scores.update.values.tolist() == [10, 20, 30, 40, 50, 60]
    assert run.best is not None
    check = Validator(run.best, held)
    np.testing.assert_array_equal(check.measure(run.best, check.starts)[1], run.history.best_validation.values)
    assert len(np.concatenate(check.starts)) == 64
    for k in range(3):
        known = {int(u): float(scores.sel(update=u)[k]) for u in scores.update}
        asked = set()
        while (best := min(known, key=known.__getitem__)) not in asked:
            kept = dr.select(run.checkpoints[best], fit=k)
            known[best] = check.measure(kept, check.starts)[1].item()
            asked.add(best)
        assert int(run.history.best_update[k]) == best
        np.testing.assert_array_equal(read(dr.select(run.best, fit=k)), read(dr.select(run.checkpoints[best], fit=k)))
    for name, value in run.best.state_dict().items():
        assert torch.equal(value, m.state_dict()[name])


@pytest.mark.parametrize(("n_updates", "share", "taken"), [(30, 0.3, range(22, 31)), (450, 1.0, range(2, 451, 2)), (7, 0.01, [7])])
def test_the_mean_is_that_of_the_checkpoints(n_updates, share, taken, tmp_path):
    """Of every update of the share up to 200, of every second where there are more: in float64, rounded once."""
    options = SETTINGS | {"n_updates": n_updates, "learning_rate": 1e-2}
    m = model(n_fits=2)
    out = None if n_updates > 100 else tmp_path / "run"                              # 450 checkpoints on the disk would say no more
    run = dr.fit(m, wave(), keep="mean", mean_over=share, checkpoint_every=1, out=out, **options)
    want = np.mean([read(run.checkpoints[u], np.float64) for u in taken], 0).astype(np.float32)
    np.testing.assert_array_equal(read(run.mean), want)
    assert run.model is m
    np.testing.assert_array_equal(read(m), want)
    np.testing.assert_array_equal(read(run.last), read(run.checkpoints[n_updates]))
    if out is not None:
        np.testing.assert_array_equal(read(dr.load(out / "checkpoints" / "mean")), want)
    np.testing.assert_array_equal(read(dr.fit(model(n_fits=2), wave(), **options).model), read(run.last))      # looking changes nothing
    alone = dr.fit(dr.select(model(n_fits=2), fit=1), wave(), keep="mean", mean_over=share, **options)
    np.testing.assert_array_equal(read(alone.mean), read(dr.select(run, fit=1).mean))


@pytest.mark.parametrize(("every", "taken"), [(12, [range(1, 13), range(13, 25), range(25, 31)]), (43, [range(1, 44, 2), range(44, 87, 2)])])
def test_what_is_validated_is_the_mean_since_the_validation_before(every, taken):
    """Of 20 sets or as many as there are, counted back from the validation; the best of these means is kept."""
    n = taken[-1][-1]
    options = SETTINGS | {"n_updates": n, "learning_rate": 5e-2, "validation": wave(600), "validate_every": every, "checkpoint_every": 1}
    m = model(n_fits=2)
    run = dr.fit(m, wave(), keep="best", validate_mean=True, **options)
    means = [np.mean([read(run.checkpoints[u], np.float64) for u in window], 0).astype(np.float32) for window in taken]
    check = Validator(model(n_fits=2), dr.as_recording(wave(600)))
    check.model.load_state_dict(run.last.state_dict())
    for window, theta in zip(taken, means):
        np.testing.assert_array_equal(check(window[-1], theta), run.history.validation.sel(update=window[-1]).values)
    np.testing.assert_array_equal(read(m), check.confirmed()[0])
    np.testing.assert_array_equal(read(dr.fit(model(n_fits=2), wave(), **options).model), read(run.last))      # looking changes nothing


def test_training_learns_a_rotation():
    """A rotation by 0.2 rad a step, noise-free: the free run keeps period and amplitude far past the window."""
    t = 0.2 * np.arange(1000)
    x = np.stack([np.sin(t), np.cos(t)], 1)
    m = dr.PLRNN(2, 2, mean_centred=True, n_fits=3, random_state=0)
    dr.fit(m, x, dr.GeneralizedTeacherForcing(0.1), n_updates=3000, sequence_length=30, learning_rate=(2e-2, 1e-4), progress=False, random_state=0)
    ahead = dr.forecast(m, x, np.array([[0, 10]]), 100).values[:, 0]
    error = np.abs(ahead - x[11:111]).max((1, 2))
    assert (error < 0.5).all(), error


def test_per_fit_settings_are_those_of_separate_fits():
    rates, alphas = np.array([1e-3, 1e-2]), np.array([0.1, 0.4])
    both = model(n_fits=2)
    dr.fit(both, wave(), dr.GeneralizedTeacherForcing(alphas), learning_rate=(rates, rates / 10), noise=np.array([0.0, 0.1]), **SETTINGS)
    for k in range(2):
        one = dr.select(model(n_fits=2), k)
        dr.fit(one, wave(), dr.GeneralizedTeacherForcing(alphas[k]), learning_rate=(rates[k], rates[k] / 10), noise=0.1 * k, **SETTINGS)
        assert torch.equal(one.W1[0], both.W1[k])


def test_checkpoints_on_the_way_are_those_of_shorter_trainings(tmp_path):
    model = dr.ShallowPLRNN(2, 2, 6, n_fits=2, random_state=0)
    run = dr.fit(model, wave(), **{**SETTINGS, "n_updates": 25}, checkpoint_every=10, out=tmp_path / "run", learning_rate=1e-3)
    assert list(run.checkpoints) == [0, 10, 20, 25]
    shorter = dr.fit(dr.ShallowPLRNN(2, 2, 6, n_fits=2, random_state=0), wave(), **{**SETTINGS, "n_updates": 20}, learning_rate=1e-3)
    stored = dr.load_checkpoints(tmp_path / "run")
    assert list(stored) == [0, 10, 20, 25]
    for name, value in shorter.model.state_dict().items():
        assert torch.equal(value, run.checkpoints[20].state_dict()[name])
        assert torch.equal(value, stored[20].state_dict()[name])
    assert torch.equal(run.checkpoints[25].W1, run.model.W1)
    one = dr.select(run, 1)
    assert torch.equal(one.checkpoints[10].W1[0], run.checkpoints[10].W1[1])
    with pytest.raises(dr.FileFormatError, match="checkpoint_every"):
        dr.load_checkpoints(dr.results.RunFolder.create(tmp_path / "empty", {}).path)
    with pytest.raises(dr.ArgumentError, match="checkpoint_every"):
        dr.fit(model, wave(), **SETTINGS, checkpoint_every=0)


def test_what_a_broken_off_training_has_kept(tmp_path, monkeypatch):
    from dynrnn.training import loop

    updates, calls = loop.run_updates, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        updates(*arguments)

    monkeypatch.setattr(loop, "run_updates", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dr.fit(dr.ShallowPLRNN(2, 2, 6, random_state=0), wave(), **{**SETTINGS, "n_updates": 25}, checkpoint_every=1, out=tmp_path / "run")
    assert list(dr.load_checkpoints(tmp_path / "run")) == [0, 1, 2, 3]
