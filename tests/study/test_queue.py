"""The queue in one process: what is recorded, refused, taken over and given up."""

from __future__ import annotations

import math
import pickle
import threading
import uuid

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dynrnn.errors import ArgumentError, StudyError, UnknownNameError
from dynrnn.study import TrialQueue, open_storage, sampler_named

SPACE = {"x": FloatDistribution(-1.0, 1.0), "n": IntDistribution(1, 5)}


@pytest.fixture
def storage(source):
    opened = open_storage(source)
    opened.name = uuid.uuid4().hex
    yield opened
    opened.close()


@pytest.fixture
def sqlite(tmp_path):
    opened = open_storage(tmp_path / "study.db")
    yield opened
    opened.close()


def queue_in(storage, **changes):
    options = {"sampler": sampler_named("random"), "random_state": 0, "n_trials": 3, "lease": 60.0, **changes}
    return TrialQueue(storage, options.pop("study_name", None) or getattr(storage, "name", "study"), options.pop("space", SPACE), **options)


BAD = [float("nan"), float("inf"), float("-inf"), None, 1 + 2j, "0.5", (0.1, 0.2), [], np.nan, np.complex128(1), {"d": 0.0}, True]


def test_what_is_no_finite_number_fails_and_is_never_best(storage):
    queue = queue_in(storage, n_trials=len(BAD) + 2)
    for value in BAD:
        assert queue.next().finish([value] if not isinstance(value, tuple | list) else value)
    assert queue.next().finish([np.float32(0.25)])
    assert queue.next().finish(0.5)
    *failed, best, worse = queue.trials()
    assert {trial.state for trial in failed} == {TrialState.FAIL}
    for trial in failed:
        assert trial.values is None
        assert "objective" in trial.user_attrs["reason"]
    assert queue.study().best_trial.number == best.number
    assert (best.value, worse.value) == (0.25, 0.5)


def test_several_objectives_want_one_value_each(sqlite):
    queue = queue_in(sqlite, n_trials=4, directions=("minimize", "maximize"))
    for values in [(1.0,), (1.0, 2.0, 3.0), (1.0, math.inf), (1.0, 2.0)]:
        assert queue.next().finish(values)
    trials = queue.trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL", "FAIL", "COMPLETE"]
    assert trials[1].user_attrs["reason"] == "3 values were returned for 2 objectives"
    assert [trial.number for trial in queue.study().best_trials] == [3]
    with pytest.raises(ArgumentError, match="several"):
        queue_in(sqlite, n_trials=5, directions=("minimize", "maximize")).next().should_prune(optuna.pruners.MedianPruner())


def test_reports_prune_and_survive(storage):
    queue = queue_in(storage, n_trials=4)
    for number in range(3):
        claim = queue.next()
        for step in range(3):
            assert claim.report(step, float(number))
        assert claim.finish([float(number)])
    claim = queue.next()
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    claim.report(0, 0.5)
    assert not claim.should_prune(pruner)
    claim.report(0, math.nan)
    claim.report(0, 5.0)  # a step reported again counts as it was reported last
    assert claim.should_prune(pruner)
    assert claim.set_attrs(scores={"d_stsp": 1.0})
    assert claim.prune(5.0)
    last = queue.trials()[-1]
    assert (last.state, last.value, last.intermediate_values) == (TrialState.PRUNED, 5.0, {0: 5.0})
    assert last.user_attrs == {"scores": {"d_stsp": 1.0}}


def test_a_lost_claim_writes_nothing_and_raises_nothing(storage):
    """Lost to another worker that has not finished, and to one that has."""
    queue = queue_in(storage, n_trials=1)
    late = queue.next()
    leases, key = storage.leases, (queue.study_id, late._trial_id)
    assert leases.release(*key, 1, late._owner)
    taken = queue_in(storage, n_trials=1).next()
    assert (taken.number, taken.params, taken.attempt) == (late.number, late.params, 2)
    assert not late.finish([9.0])
    assert late.lost.is_set()
    assert queue.trials()[0].state == TrialState.RUNNING
    assert taken.finish([1.0])
    late.lost.clear()  # as if it had not noticed
    assert not late.report(0, 1.0)
    assert not late.set_attrs(a=1)
    assert not late.fail("late")
    assert not late.prune(1.0)
    assert not late.release()
    assert queue.trials()[0].values == [1.0]
    assert queue.finished
    assert storage.leases.read(queue.study_id) == {}


def test_an_interrupted_worker_gives_its_trial_back(storage):
    queue = queue_in(storage, n_trials=1)
    claim = queue.next()
    with pytest.raises(KeyboardInterrupt), claim.keep_alive():
        raise KeyboardInterrupt
    again = queue_in(storage, n_trials=1).next()
    assert (again.number, again.params, again.losses) == (0, claim.params, 0)
    assert again.finish([0.0])


def test_keep_alive_beats_and_notices_the_loss(sqlite):
    queue = queue_in(sqlite, n_trials=1, lease=0.2)
    claim = queue.next()
    with claim.keep_alive():
        while sqlite.leases.read(queue.study_id)[claim._trial_id].beat < 2:
            pass
        assert queue_in(sqlite, n_trials=1, lease=0.2).next() is None
        assert sqlite.leases.take(queue.study_id, claim._trial_id, 1, "another", 1)
        assert claim.lost.wait(10.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "trial-0"]


def test_a_trial_that_loses_every_worker_becomes_a_failure(sqlite, monkeypatch):
    monkeypatch.setattr("dynrnn.study.storage.leases.known_dead", lambda owner: True)
    attempts = []
    queue = queue_in(sqlite, n_trials=2, max_attempts=3)
    while not attempts or attempts[-1][0] == 0:
        claim = queue.next()
        attempts.append((claim.number, claim.attempt))
    assert attempts == [(0, 1), (0, 2), (0, 3), (1, 1)]
    trial = queue.trials()[0]
    assert (trial.state, trial.user_attrs["reason"]) == (TrialState.FAIL, "its worker was lost 3 times")


def test_a_trial_of_another_program_is_taken_after_the_lease(sqlite):
    queue = queue_in(sqlite, n_trials=1, lease=0.3)
    sqlite.optuna.create_new_trial(queue.study_id)
    assert queue.next() is None
    assert not queue.wait()
    claim = queue.next()
    assert (claim.number, set(claim.params)) == (0, set(SPACE))
    assert claim.finish([0.0])
    assert queue.wait()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {**SPACE, "n": IntDistribution(1, 6)}}, "space.'n'"),
        ({"space": {"x": SPACE["x"]}}, "space.'n'.*absent here"),
        ({"random_state": 1}, "random_state is 0 there and 1 here"),
        ({"directions": ("maximize",)}, "minimize.*maximize"),
        ({"attributes": {"recording": "abc", "version": "0.2"}}, 'version is "0.1" there and "0.2" here'),
    ],
)
def test_another_study_of_that_name_is_refused(sqlite, changes, words):
    same = {"attributes": {"recording": "abc", "version": "0.1"}}
    queue_in(sqlite, **same)
    assert queue_in(sqlite, **same).study().user_attrs["recording"] == "abc"
    with pytest.raises(StudyError, match=words):
        queue_in(sqlite, **{**same, **changes})


def test_a_study_that_dynrnn_did_not_make_is_refused(sqlite):
    study = optuna.create_study(storage=sqlite.optuna, study_name="theirs")
    study.ask()
    with pytest.raises(StudyError, match="not made by dynrnn"):
        queue_in(sqlite, study_name="theirs")
    queue_in(sqlite, study_name="newer")
    sqlite.optuna.set_study_user_attr(sqlite.optuna.get_study_id_from_name("newer"), "dynrnn:format", 2)
    with pytest.raises(StudyError, match="format 2"):
        queue_in(sqlite, study_name="newer")


@pytest.mark.parametrize(
    "changes",
    [
        {"n_trials": 0},
        {"lease": 0.0},
        {"lease": math.nan},
        {"max_attempts": 0},
        {"random_state": -1},
        {"space": {}},
        {"directions": ()},
        {"directions": ("least",)},
        {"study_name": " "},
        {"study_name": "x" * 300},
        {"attributes": {"a": math.nan}},
        {"attributes": {"dynrnn:space": 1}},
        {"attributes": {"a": {1, 2}}},
    ],
    ids=str,
)
def test_arguments_out_of_range(sqlite, changes):
    with pytest.raises(ArgumentError):
        queue_in(sqlite, **changes)


def test_a_storage_is_opened_again_in_another_process(sqlite):
    queue_in(sqlite).next().finish([1.0])
    other = pickle.loads(pickle.dumps(sqlite))  # noqa: S301
    assert other.optuna.get_n_trials(1) == 1
    other.close()
    with pytest.raises(TypeError, match="open it again"):
        pickle.dumps(sqlite.optuna)


@pytest.mark.parametrize("name", ["cmaes", "CmaEsSampler", "qmc"])
def test_samplers_that_are_not_offered_say_why(name):
    with pytest.raises(ArgumentError, match="not offered"):
        sampler_named(name)
    with pytest.raises(UnknownNameError, match="'tpe'"):
        sampler_named("tpee")
