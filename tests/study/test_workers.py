"""Workers that are killed, stopped and woken, as real processes over real storages."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.study.conftest import on
from tests.study.workers import check_study, finished_trials, lines, wait_for


def starts(job):
    return list(Path(job["folder"]).glob("*.starts"))


def workers_at_it(job):
    return sorted({pid for path in starts(job) for pid, _, _ in lines(path)})


def machines(foreign):
    """On one machine an ended process is seen at once, so the lease may be long; elsewhere time alone tells."""
    return {"foreign": foreign, "lease": 1.5 if foreign else 60.0}


def kill_two_of_four(zygote, job, rng):
    pids = [zygote.start(**job) for _ in range(4)]
    # Two that have begun a trial, so that there is something to lose.
    killed = rng.sample(wait_for(lambda: begun if len(begun := workers_at_it(job)) >= 2 else None), 2)
    for pid in killed:
        time.sleep(rng.uniform(0.0, 0.4))
        os.kill(pid, signal.SIGKILL)
    status = {pid: zygote.wait(pid) for pid in pids}
    assert {pid for pid in pids if status[pid] == 0} >= set(pids) - set(killed), (Path(job["folder"]) / "log").read_text()
    # A worker that had nothing left to do before its turn to be killed has ended by itself.
    return check_study(job, 4, [pid for pid in killed if status[pid] == -signal.SIGKILL], exact=not job.get("foreign"))


def test_trials_of_killed_workers_are_finished_once_by_others(zygote, job):
    kill_two_of_four(zygote, {**job, **machines(False)}, random.Random(1))


@on("journal")
def test_trials_of_killed_workers_elsewhere_are_finished_once_their_leases_end(zygote, job):
    """Nobody can look a process up, so that only time tells."""
    kill_two_of_four(zygote, {**job, **machines(True)}, random.Random(2))


@pytest.mark.slow
@pytest.mark.parametrize("repeat", range(10))
@pytest.mark.parametrize("foreign", [False, True], ids=["one machine", "many machines"])
def test_killed_workers_many_times(zygote, job, foreign, repeat):
    again = kill_two_of_four(zygote, {**job, "n_trials": 12, "steps": 5, **machines(foreign)}, random.Random(f"{repeat}{foreign}{job['source'][-4:]}"))
    print(f"{again} trials taken over")


@on("sqlite")
def test_a_new_worker_picks_up_what_all_killed_ones_left(zygote, job):
    pids = [zygote.start(**job) for _ in range(3)]
    wait_for(lambda: len(starts(job)) >= 2)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert [zygote.wait(pid) for pid in pids] == [-signal.SIGKILL] * 3
    assert zygote.run(**job) == 0
    assert check_study(job, 1, pids) >= 1


def is_stopped(pid):
    """All its threads: a signal that was sent may take effect in the middle of a transaction that begins after it."""
    tasks = Path(f"/proc/{pid}/task")
    return all(status.read_text().rpartition(")")[2].split()[0] == "T" for status in tasks.glob("*/stat"))


def stopped_between_transactions(pid, source):
    """One that holds SQLite's lock while it is stopped keeps everybody out, and they end with an error that says so: woken again, and False."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(pid))
    if not source.endswith(".db"):
        return True
    try:
        with contextlib.closing(sqlite3.connect(source, timeout=0)) as database:
            database.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        os.kill(pid, signal.SIGCONT)
        return False
    return True


@on("sqlite")
def test_a_worker_stopped_past_its_lease_wakes_and_goes_on(zygote, job):
    """Its trial is finished by another worker meanwhile; what it brings late is dropped, and it does not fail."""
    job = {**job, "n_trials": 3, "pause": 0.3, "lease": 0.6}
    sleeper = zygote.start(**job)
    wait_for(lambda: lines(Path(job["folder"]) / "0.steps"))
    wait_for(lambda: stopped_between_transactions(sleeper, job["source"]))
    assert zygote.run(**job) == 0, (Path(job["folder"]) / "log").read_text()
    os.kill(sleeper, signal.SIGCONT)
    assert zygote.wait(sleeper) == 0, (Path(job["folder"]) / "log").read_text()
    ends = dict(lines(Path(job["folder"]) / "0.ends"))
    assert ends.pop(sleeper) == 0
    assert list(ends.values()) == [1]
    assert [trial.state.name for trial in finished_trials(job)] == ["COMPLETE"] * 3


@on("postgres")
@pytest.mark.parametrize("n_trials", [40, pytest.param(160, marks=pytest.mark.slow)])
def test_eight_workers_share_the_trials(zygote, job, n_trials):
    """Numbers are distinct and every value is that of its parameters."""
    from tests.study.zygote import objective

    job = {**job, "n_trials": n_trials, "steps": 1, "pause": 0.0}
    pids = [zygote.start(**job) for _ in range(8)]
    assert [zygote.wait(pid) for pid in pids] == [0] * 8, (Path(job["folder"]) / "log").read_text()
    check_study(job, 8, [])
    for trial in finished_trials(job):
        assert trial.value == objective(trial.params)
