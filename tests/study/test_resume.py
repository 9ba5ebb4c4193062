"""A study on one worker that is killed anywhere goes on as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.study.conftest import source_of
from tests.study.workers import check_study, finished_trials

# 16 trials on one worker are about 8 writes each; n counts them, and the kill falls before or after the n-th one.
QUICK = [(5, True), (83, False)]
MANY = [(n, after) for n in range(3, 123, 12) for after in (False, True)]


def history(job):
    return [(trial.number, trial.state, trial.params, trial.values, trial.intermediate_values) for trial in finished_trials(job)]


@pytest.fixture(scope="module")
def uninterrupted(zygote, tmp_path_factory):
    """What the study gives when nothing happens, by sampler; the storage does not matter, which is asserted on the way."""
    known = {}

    def of(sampler):
        if sampler not in known:
            folder = tmp_path_factory.mktemp("whole")
            job = {**settings(sampler), "source": str(folder / "study.journal"), "folder": str(folder)}
            assert zygote.run(**job) == 0
            known[sampler] = history(job)
        return known[sampler]

    return of


def settings(sampler):
    return {"study": "resumed", "n_trials": 16, "steps": 2, "pause": 0.0, "sampler": sampler, "lease": 60.0}


def kill_and_resume(zygote, job, which, after):
    first = zygote.start(**job, kill_at=which, after=after)
    assert zygote.wait(first) == -signal.SIGKILL
    assert zygote.run(**job) == 0, (Path(job["folder"]) / "log").read_text()
    check_study(job, 1, [first])


@pytest.mark.parametrize(("which", "after"), QUICK)
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_resumed_equals_uninterrupted(zygote, uninterrupted, kind, which, after, request, tmp_path):
    job = {**settings("tpe"), "source": source_of(kind, request, tmp_path), "folder": str(tmp_path)}
    kill_and_resume(zygote, job, which, after)
    assert history(job) == uninterrupted("tpe")


@pytest.mark.slow
@pytest.mark.parametrize(("which", "after"), MANY)
@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgres"])
def test_resumed_equals_uninterrupted_at_twenty_places(zygote, uninterrupted, kind, which, after, request, tmp_path):
    job = {**settings("tpe"), "source": source_of(kind, request, tmp_path), "folder": str(tmp_path), "study": f"{kind}{which}{after}"}
    kill_and_resume(zygote, job, which, after)
    assert history(job) == uninterrupted("tpe")


@pytest.mark.slow
@pytest.mark.parametrize(("which", "after"), [(60, True), (90, False), (112, True)])
@pytest.mark.parametrize("sampler", ["random", "nsga2", "gp"])
def test_resumed_equals_uninterrupted_with_other_samplers(zygote, uninterrupted, sampler, which, after, tmp_path):
    job = {**settings(sampler), "source": str(tmp_path / "study.journal"), "folder": str(tmp_path)}
    kill_and_resume(zygote, job, which, after)
    assert history(job) == uninterrupted(sampler)
