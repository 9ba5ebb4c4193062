"""The tests' side of the processes in zygote.py, and what must hold of the files that workers leave."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from tests.study.zygote import queue_of


class Zygote:
    def __init__(self) -> None:
        command = [sys.executable, "-W", "error", "-m", "tests.study.zygote"]
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": paths})
        assert self._read() == "ready"

    def start(self, **job: Any) -> int:
        """The process id of a new worker."""
        return self._ask({"log": str(Path(job["folder"]) / "log"), **job})

    def wait(self, pid: int) -> int:
        """Its exit status: 0, 1 for an exception, -9 where it was killed."""
        return self._ask({"wait": pid})

    def run(self, **job: Any) -> int:
        return self.wait(self.start(**job))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _ask(self, document: dict[str, Any]) -> int:
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        return json.loads(self._process.stdout.readline())


def wait_for(what: Any, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (result := what()):
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.005)
    return result


def lines(path: Path) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in path.read_text().splitlines()] if path.exists() else []


def finished_trials(job: dict[str, Any]) -> list[Any]:
    queue = queue_of(job)
    trials = queue.trials()
    queue.storage.close()
    return trials


def check_study(job: dict[str, Any], n_workers: int, killed: list[int], *, exact: bool = True) -> int:
    """Every trial complete under its own number, each trial of a killed worker taken over once, each step done once. Gives how many were taken over.

    Where only time tells who is dead, a machine so busy that a live worker cannot beat within its lease may have a trial done by two, which ``exact=False``
    allows; one result is recorded all the same.
    """
    folder, trials = Path(job["folder"]), finished_trials(job)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert job["n_trials"] <= len(trials) <= job["n_trials"] + n_workers - 1
    again = 0
    for trial in trials:
        steps = [step for (step,) in lines(folder / f"{trial.number}.steps")]
        starts = lines(folder / f"{trial.number}.starts")
        lost = [pid for pid, _, _ in starts if pid in killed]
        # The last one to start it may have been killed after the result was in, before it could say so.
        expected = 1 + len(lost) - (starts[-1][0] in killed)
        assert len(starts) == expected if exact else len(starts) >= expected
        assert steps == list(range(job["steps"])) if exact else set(steps) == set(range(job["steps"]))
        assert sum(recorded for _, recorded in lines(folder / f"{trial.number}.ends")) <= 1
        for (_, attempt, done), (_, later_attempt, later_done) in itertools.pairwise(starts):
            assert later_attempt > attempt
            assert later_done >= done
        again += len(starts) - 1
    return again
