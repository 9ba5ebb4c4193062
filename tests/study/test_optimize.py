"""Studies from the first call to the last: what is tried, taken up again, pruned, failed, run again, and refused."""

import json
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.results._files import seal
from dynrnn.study import trial as trial_module
from dynrnn.study import workers
from dynrnn.study.claims import Claim
from dynrnn.study.task import keep, load_task
from dynrnn.study.trial import Outcome, Part, run_trials
from dynrnn.study.workers import open_queue, trial_folder

N_UPDATES = 40
TINY = {"model": "shallow-plrnn", "hidden_dim": 6, "n_updates": N_UPDATES, "sequence_length": 20, "batch_size": 4}
SPACE = {"alpha": (0.05, 0.6), "learning_rate": "1e-3..1e-2:log"}


def recording(seed, n=1_500):
    t = np.arange(n) * 0.1 + seed
    return np.stack([np.sin(t), np.cos(1.3 * t)], 1) + 0.02 * np.random.default_rng(seed).standard_normal((n, 2))


def study_of(out, setting=TINY, space=SPACE, **changes):
    common = dict(validation=recording(1), n_trials=3, n_seeds=2, progress=False, random_state=4)
    return dr.study.optimize(setting, space, recording(0), out=out, **common | changes)


def same_models(a, b):
    return all(bool((value == b.state_dict()[name]).all()) for name, value in a.state_dict().items())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_of(tmp_path_factory.mktemp("study") / "whole")


def test_trials_are_runs_with_their_settings_scores_and_floors(study):
    table = study.trials
    assert table.state.tolist() == ["complete"] * 3
    assert (table.alpha.between(0.05, 0.6) & table.learning_rate.between(1e-3, 1e-2)).all()
    best = study.best
    assert best.value == table.d_stsp.min()
    assert best.value == pytest.approx(np.median(best.user_attrs["per_fit"]["d_stsp"]))
    assert best.user_attrs["floor"]["d_stsp"] > 0
    folder = trial_folder(study.path, best.number)
    stored = dr.read_results(folder / "results.zarr")
    assert {"d_stsp_floor", "d_stsp_linear", "objective_d_stsp"} <= set(stored["metrics"])
    assert (folder / "attractor.png").stat().st_size > 5_000
    assert len(list((study.path / "artifacts").iterdir())) == 3
    config = json.loads((folder / "config.json").read_text())["config"]
    assert config["setting"] == study.setting(best.number)
    assert (config["n_seeds"], config["random_state"]) == (2, 4)
    assert study.load().n_fits == 2


def test_a_trial_alone_with_fit_is_the_same_to_the_bit(study):
    setting = study.setting(1)
    model = dr.ShallowPLRNN(2, 2, 6, n_fits=2, random_state=4)
    rate = setting["learning_rate"]
    dr.fit(model, recording(0), dr.GeneralizedTeacherForcing(setting["alpha"]), n_updates=N_UPDATES, sequence_length=20, batch_size=4,
           learning_rate=(rate, rate / 100), random_state=4, progress=False)
    assert same_models(model, study.load(1))


def test_a_trial_runs_again_to_the_same_bits_and_with_other_seeds(study):
    again = study.rerun(0)
    assert again.same is True
    assert again.values == [study.trials.d_stsp[0]]
    other = study.rerun(0, n_seeds=3, random_state=9)
    assert other.same is None
    assert len(other.per_fit["d_stsp"]) == 3
    with pytest.raises(dr.ArgumentError, match="has trials 0 to 2; there is no trial 7"):
        study.rerun(7)


@pytest.mark.parametrize(("pruner", "every"), [("none", 2), ("median", 4)])
def test_a_setting_that_keeps_the_best_chooses_beside_what_it_was_trained_on(pruner, every, tmp_path):
    """And the same when it is run again, where nothing is pruned."""
    kept = {"keep": "best", "validate_mean": True}
    found = study_of(tmp_path / "best", TINY | kept, n_trials=1, pruner=pruner)
    setting = found.setting(0)
    model = dr.ShallowPLRNN(2, 2, 6, n_fits=2, random_state=4)
    rate = setting["learning_rate"]
    dr.fit(model, recording(0), dr.GeneralizedTeacherForcing(setting["alpha"]), n_updates=N_UPDATES, sequence_length=20, batch_size=4,
           learning_rate=(rate, rate / 100), random_state=4, progress=False, validation=recording(0), validate_every=every, **kept)
    assert same_models(model, found.load(0))
    assert found.rerun(0).same is True


def test_a_study_goes_on_and_takes_more_trials(study, tmp_path):
    assert len(study_of(tmp_path / "half", n_trials=1).trials) == 1
    more = study_of(tmp_path / "half", n_trials=2)
    assert more.trials.drop(columns="seconds").equals(study.trials.drop(columns="seconds").head(2))
    assert dr.study.Study(tmp_path / "half").task.n_trials == 2


def test_settings_of_one_shape_train_side_by_side_as_alone(study, tmp_path):
    parts = [Part(study._trial(k).params, tmp_path / str(k)) for k in range(3)]
    outcomes = run_trials(study.task, parts)
    assert [o.values for o in outcomes] == [[v] for v in study.trials.d_stsp]
    for k in range(3):
        assert same_models(dr.load(tmp_path / str(k) / "checkpoints/last"), study.load(k))


def test_batches_do_not_depend_on_who_takes_what(tmp_path):
    def valley(params, random_state, folder):
        return (params["x"] - 0.5) ** 2 + params["y"]

    def study(name, n_trials):
        space = {"x": (-1.0, 1.0), "y": (0.0, 1.0)}
        return dr.study.optimize(valley, space, out=tmp_path / name, objective="minimize", n_trials=n_trials, batch=6, progress=False)

    one = study("one", 18)                                                          # TPE begins to look at what was found after ten
    study("two", 14)                                                                # a worker that leaves within a batch
    assert one.trials.equals(study("two", 18).trials)


def test_a_trial_that_was_broken_off_goes_on_from_its_checkpoint(study, tmp_path, monkeypatch):
    monkeypatch.setattr(trial_module, "SAVE_SECONDS", 0.0)
    calls = []
    whole = trial_module.fit

    def broken(*args, callback, **kwargs):
        def stop(progress):
            callback(progress)
            calls.append(progress.update)
            if len(calls) == 10:
                raise KeyboardInterrupt
        return whole(*args, callback=stop, **kwargs)

    monkeypatch.setattr(trial_module, "fit", broken)
    with pytest.raises(KeyboardInterrupt):
        study_of(tmp_path / "run", n_trials=1)
    monkeypatch.setattr(trial_module, "fit", lambda *args, callback, **kwargs: whole(*args, callback=lambda p: calls.append(p.update), **kwargs))
    again = study_of(tmp_path / "run", n_trials=1)
    assert calls == list(range(2, 41, 2))                                           # no update twice
    assert again.trials.state.tolist() == ["complete"]
    assert same_models(again.load(0), study.load(0))


def test_diverged_fits_are_failed_trials_with_the_reason_and_never_best(tmp_path):
    free = TINY | {"forcing": "free", "clipped": False, "n_updates": 60}
    study = study_of(tmp_path / "run", free, {"learning_rate": [900.0]}, n_trials=1)
    assert study.trials.state.tolist() == ["fail"]
    assert "2 of 2 fits have no finite d_stsp" in study.trials.reason[0]
    with pytest.raises(dr.StudyError, match="2 of 2 fits have no finite d_stsp"):
        _ = study.best


def test_several_objectives_have_a_front(tmp_path):
    study = study_of(tmp_path / "run", {k: v for k, v in TINY.items() if k != "hidden_dim"}, {"hidden_dim": [4, 6, 9]}, sampler="nsga2",
                     objective=["d_hellinger", "n_parameters", "n_symbols"], n_trials=3)
    front = study.front
    assert all(trial.values[1] == 2 + 2 * 2 * trial.params["hidden_dim"] + trial.params["hidden_dim"] + 2 for trial in front)
    for a in front:
        assert not any(all(x <= y for x, y in zip(b.values, a.values)) and b.values != a.values for b in front)
    with pytest.raises(dr.StudyError, match=r"study\.front"):
        _ = study.best


def test_pruning_stops_trials_at_rungs(tmp_path):
    study = study_of(tmp_path / "run", space={"learning_rate": [1e-2, 1e-9]}, pruner="halving", n_rungs=4, n_trials=4, sampler="random", random_state=0)
    trials = study._trials()
    states = {trial.state.name for trial in trials}
    assert states == {"COMPLETE", "PRUNED"}
    for trial in trials:
        assert set(trial.intermediate_values) <= {1, 2, 3}
        history = dr.read_results(trial_folder(study.path, trial.number) / "results.zarr")["training"]
        assert int(history["update"][-1]) == (N_UPDATES if trial.state.name == "COMPLETE" else 10 * max(trial.intermediate_values))


@pytest.mark.parametrize("objective", ["d_stsp", "valid_prediction_time"])
def test_pruning_stops_the_worse_whatever_the_direction(objective, tmp_path, monkeypatch):
    def trained(task, parts, watch):
        distance = parts[0].params["alpha"]
        value = distance if objective == "d_stsp" else 1 / distance
        stopped = any(watch(0, rung, np.full(2, distance)) for rung in (1, 2, 3))
        return [Outcome([value], "", stopped)]

    monkeypatch.setattr(workers, "run_trials", trained)
    trials = study_of(tmp_path / "run", space={"alpha": [0.1, 0.5]}, pruner="halving", n_trials=8, sampler="random", objective=objective).trials
    assert set(trials.alpha[trials.state == "pruned"]) == {0.5}
    assert 0.1 in set(trials.alpha[trials.state == "complete"])


def test_numbers_of_libraries_are_values(tmp_path):
    makers = [np.array, xr.DataArray, torch.tensor, lambda value: [np.float32(value)]]
    study = dr.study.optimize(lambda params, random_state, folder: makers[params["k"]](0.5), {"k": [0, 1, 2, 3]}, out=tmp_path / "run", objective="minimize",
                              n_trials=6, progress=False, sampler="random")
    assert (study.trials.value_0 == 0.5).all()


@pytest.mark.parametrize("told", [False, True], ids=["found at the end", "told on the way"])
def test_who_has_lost_a_trial_leaves_it_to_the_other(study, tmp_path, monkeypatch, told):
    class Lost:
        lost = threading.Event()

        def renew(self):
            return False

    if told:
        Lost.lost.set()
    monkeypatch.setattr(trial_module, "SAVE_SECONDS", 0.0)
    (outcome,) = run_trials(study.task, [Part(study._trial(0).params, tmp_path / "0", Lost())])
    assert outcome.values is None
    assert not (tmp_path / "0" / "results.zarr").exists()
    assert (tmp_path / "0" / "checkpoints" / "training").exists() is not told


def test_a_fault_of_the_storage_while_a_result_is_recorded_is_no_lost_worker(tmp_path, monkeypatch):
    def valley(params, random_state, folder):
        return params["x"] ** 2

    def failing(claim, values):
        raise dr.StorageError("gone")

    common = dict(out=tmp_path / "run", objective="minimize", n_trials=3, batch=3, progress=False)
    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(Claim, "finish", failing)
            with pytest.raises(dr.StorageError):
                dr.study.optimize(valley, {"x": (-1.0, 1.0)}, **common)
    assert (dr.study.optimize(valley, {"x": (-1.0, 1.0)}, **common).trials.state == "complete").all()


def test_what_is_no_number_trains_in_an_ensemble_of_its_own(tmp_path):
    setting = TINY | {"forcing": "sparse"}
    study = study_of(tmp_path / "run", setting, {"interval": [None, 4, 8]}, n_trials=3, batch=3, sampler="random", random_state=1)
    assert (study.trials.state == "complete").all()
    alone = study_of(tmp_path / "alone", setting, {"interval": [None, 4, 8]}, n_trials=3, sampler="random", random_state=1)
    assert study.trials.d_stsp.tolist() == alone.trials.d_stsp.tolist()


def test_one_setting_that_cannot_be_does_not_fail_those_beside_it(tmp_path, monkeypatch):
    whole = trial_module.build

    def broken(setting, *others):
        if np.any(np.asarray(setting["alpha"]) == 0.5):
            raise dr.ArgumentError("not this one")
        return whole(setting, *others)

    monkeypatch.setattr(trial_module, "build", broken)
    study = study_of(tmp_path / "run", space={"alpha": [0.2, 0.5]}, n_trials=4, batch=4, sampler="random")
    assert (study.trials.alpha == 0.5).any()
    assert ((study.trials.state == "fail") == (study.trials.alpha == 0.5)).all()


def test_one_storage_for_folders_of_one_name_and_any_spelling(tmp_path, monkeypatch):
    def valley(params, random_state, folder):
        return params["x"] ** 2

    common = dict(objective="minimize", n_trials=2, progress=False, storage=tmp_path / "shared.db")
    one, other = (dr.study.optimize(valley, {"x": (-1.0, 1.0)}, out=tmp_path / where / "run", **common) for where in "ab")
    assert len(one.trials) == len(other.trials) == 2
    assert one.task.study_name != other.task.study_name
    monkeypatch.chdir(tmp_path)
    common["storage"] = "a/own/trials.journal"
    dr.study.optimize(valley, {"x": (-1.0, 1.0)}, out="a/own", **common)
    again = dr.study.optimize(valley, {"x": (-1.0, 1.0)}, out=tmp_path / "a/own", **common | {"n_trials": 3})
    assert len(again.trials) == 3


def test_a_function_of_ones_own(tmp_path):
    def parabola(params, random_state, folder):
        (folder / "note.txt").write_text("kept")
        return (params["x"] - 0.5) ** 2 if params["x"] > 0 else float("nan")

    study = dr.study.optimize(parabola, {"x": (-1.0, 1.0)}, out=tmp_path / "run", objective="minimize", n_trials=15, progress=False)
    failed = study.trials[study.trials.x <= 0]
    assert len(failed)
    assert (failed.state == "fail").all()
    assert (failed.reason == "objective 0 is nan, not a finite number").all()
    assert study.best.value < 0.05
    assert (trial_folder(study.path, 3) / "note.txt").read_text() == "kept"
    with pytest.raises(dr.StudyError, match="no code is loaded"):
        load_task(tmp_path / "run")
    with pytest.raises(dr.ArgumentError, match="n_workers=1"):
        dr.study.optimize(parabola, {"x": (-1.0, 1.0)}, out=tmp_path / "other", objective="minimize", n_workers=2)


def test_errors_of_a_trial_are_its_failure_and_many_in_a_row_end_the_worker(tmp_path):
    def broken(params, random_state, folder):
        raise ZeroDivisionError("a slip")

    with pytest.raises(ZeroDivisionError):
        dr.study.optimize(broken, {"x": (0.0, 1.0)}, out=tmp_path / "run", objective="minimize", n_trials=9, progress=False)
    queue = open_queue(tmp_path / "run", dr.study.Study(tmp_path / "run", task_of(broken)).task)
    assert [t.user_attrs["reason"] for t in queue.trials()] == ["ZeroDivisionError: a slip"] * 3
    queue.storage.close()


def task_of(function):
    from dynrnn.study.task import make_task

    return make_task(function, {"x": (0.0, 1.0)}, None, None, None, "minimize", n_seeds=4, aggregate="median", preset="dynrnn-1", sampler="tpe",
                     pruner="none", n_rungs=10, batch=1, n_trials=9, random_state=0, storage="", lease=60.0)


def test_a_full_disk_ends_the_worker_and_the_study_goes_on_later(study, tmp_path, monkeypatch):
    whole, calls = trial_module.write_results, []

    def full(path, tree):
        calls.append(path)
        if len(calls) == 2:
            raise dr.RunFolderError("could not write: No space left on device")
        return whole(path, tree)

    monkeypatch.setattr(trial_module, "write_results", full)
    with pytest.raises(dr.RunFolderError, match="No space left"):
        study_of(tmp_path / "run", n_trials=2)
    assert [trial.state.name for trial in dr.study.Study(tmp_path / "run")._trials()] == ["COMPLETE", "RUNNING"]
    again = study_of(tmp_path / "run", n_trials=2)
    assert again.trials.drop(columns="seconds").equals(study.trials.drop(columns="seconds").head(2))


@pytest.mark.parametrize(("changes", "error", "said"), [
    ({"objective": "d_stp"}, dr.UnknownNameError, "Did you mean 'd_stsp'"),
    ({"objective": []}, dr.ArgumentError, "must name one or more"),
    ({"sampler": "cmaes"}, dr.ArgumentError, "unpickles"),
    ({"pruner": "hyperbnd"}, dr.UnknownNameError, "hyperband"),
    ({"pruner": "median", "objective": ["d_stsp", "n_parameters"]}, dr.ArgumentError, "for several"),
    ({"n_rungs": 21}, dr.ArgumentError, "from 1 to 20"),
    ({"n_trials": 0}, dr.ArgumentError, "n_trials"),
    ({"aggregate": "best"}, dr.UnknownNameError, "aggregate"),
    ({"setting": "shallow-plrn"}, dr.UnknownNameError, "Did you mean 'shallow-plrnn'"),
    ({"setting": {"model": "esn"}, "space": {"leak": (0.1, 1.0)}, "objective": "n_symbols"}, dr.ArgumentError, "counts linear regions"),
    ({"validation": np.ones((500, 2))}, dr.RecordingError, "no model can be judged"),
    ({"validation": np.random.default_rng(0).standard_normal((3, 2))}, dr.RecordingError, "no model can be judged"),
    ({"validation": np.random.default_rng(0).standard_normal((900, 3))}, dr.RecordingError, "no model can be judged"),
    ({"storage": "postgresql://me:canary@host/db"}, dr.ArgumentError, "has a password"),
    ({"storage": "trials.jurnal"}, dr.ArgumentError, "no storage that is known"),
    ({"setting": TINY | {"n_updates": -5}}, dr.ArgumentError, "n_updates must be at least 1"),
    ({"lease": -1.0}, dr.ArgumentError, "number of seconds"),
    ({"setting": {"model": "alrn"}, "space": None}, dr.UnknownNameError, "Did you mean 'alrnn'"),
    ({"setting": TINY | {"gradient_clip": float("inf")}}, dr.ArgumentError, "gradient_clip is inf"),
    ({"setting": {"model": "esn"}, "space": {"leak": (0.1, 1.0)}, "pruner": "median"}, dr.ArgumentError, "nothing to prune"),
])
def test_what_cannot_work_is_told_before_anything_is_written(tmp_path, changes, error, said):
    with pytest.raises(error, match=said) as caught:
        study_of(tmp_path / "run", **changes)
    assert "canary" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_study_is_refused_and_what_differs_is_named(study, tmp_path):
    with pytest.raises(dr.StudyError, match="n_seeds is 2 there and 3 here"):
        study_of(study.path, n_seeds=3)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(dr.RunFolderError, match="holds other files"):
        study_of(tmp_path)
    with pytest.raises(dr.FileFormatError, match=r"no study\.json"):
        dr.study.Study(tmp_path)


def test_a_task_of_another_version_is_refused(study, tmp_path):
    record = json.loads((study.path / "study.json").read_text())
    for change in ({"more": 1}, {"data": None}, {"space": {"alpha": "{"}}, {"space": 5}):
        (tmp_path / "study.json").write_bytes(seal({key: value for key, value in record.items() if key != "seal"} | {"task": record["task"] | change}))
        with pytest.raises(dr.FileFormatError, match=r"study\.json|data\.zarr"):
            load_task(tmp_path)


def test_a_task_that_was_changed_is_refused(tmp_path):
    study_of(tmp_path / "run", n_trials=1)
    path = tmp_path / "run/study.json"
    path.write_text(path.read_text().replace('"n_seeds": 2', '"n_seeds": 9'))
    with pytest.raises(dr.FileFormatError, match="changed after it was written"):
        dr.study.Study(tmp_path / "run")


def test_workers_in_processes_do_what_one_does(tmp_path):
    esn, space = {"model": "esn", "reservoir_dim": 20}, {"spectral_radius": (0.2, 1.2)}
    two = study_of(tmp_path / "two", esn, space, n_trials=2, batch=2, n_workers=2)
    one = study_of(tmp_path / "one", esn, space, n_trials=2, batch=2)
    assert two.trials.drop(columns="seconds").equals(one.trials.drop(columns="seconds"))


@pytest.mark.slow
def test_a_worker_from_the_shell_goes_on(tmp_path):
    esn, space = {"model": "esn", "reservoir_dim": 20}, {"spectral_radius": (0.2, 1.2)}
    whole = study_of(tmp_path / "whole", esn, space, n_trials=4)
    begun = study_of(tmp_path / "begun", esn, space, n_trials=2)
    keep(replace(begun.task, n_trials=4), begun.path)
    command = [sys.executable, "-m", "dynrnn.cli", "study", "work", str(begun.path), "--no-progress"]
    assert "2 trials ended by this worker" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert whole.trials.drop(columns="seconds").equals(begun.trials.drop(columns="seconds"))
