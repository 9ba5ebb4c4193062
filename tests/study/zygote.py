"""Workers of a study as processes, forked from one that has imported everything: a line of JSON starts one, another waits for one.

The objective of a worker is trivial and counts its steps into a file, which is its checkpoint: a line once written is never written again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.logging import WARNING, set_verbosity

from dynrnn.study import TrialQueue, open_storage, sampler_named
from dynrnn.study.storage import owners

SPACE = {"x": FloatDistribution(-1.0, 1.0), "n": IntDistribution(1, 5), "kind": CategoricalDistribution(["a", "b"])}
WRITES = ("create_new_trial", "set_trial_param", "set_trial_state_values", "set_trial_user_attr", "set_trial_system_attr", "set_study_user_attr")


def objective(params: dict[str, Any]) -> float:
    return params["x"] ** 2 + 0.1 * params["n"] + (0.05 if params["kind"] == "b" else 0.0)


def queue_of(job: dict[str, Any]) -> TrialQueue:
    storage = open_storage(job["source"], patience=job.get("patience", 60.0))
    sampler = sampler_named(job.get("sampler", "tpe"))
    return TrialQueue(storage, job["study"], SPACE, sampler=sampler, random_state=5, n_trials=job["n_trials"], lease=job.get("lease", 1.0))


def work(job: dict[str, Any]) -> None:
    if job.get("foreign"):  # as if every worker were on a machine of its own, so that time alone tells who is dead
        owners._place = lambda pid: f"machine-{pid}"
    queue = queue_of(job)
    if job.get("kill_at"):
        kill_at_write(queue, job["kill_at"], after=job.get("after", False))
    folder = Path(job["folder"])
    for claim in queue:
        with claim.keep_alive():
            steps = folder / f"{claim.number}.steps"
            done = len(steps.read_text().splitlines()) if steps.exists() else 0
            add(folder / f"{claim.number}.starts", f"{os.getpid()} {claim.attempt} {done}")
            for step in range(done, job.get("steps", 3)):
                time.sleep(job.get("pause", 0.05))
                add(steps, str(step))
                claim.report(step, float(step))
            recorded = claim.finish([objective(claim.params)])
            add(folder / f"{claim.number}.ends", f"{os.getpid()} {int(recorded)}")
    queue.storage.close()


def add(path: Path, line: str) -> None:
    with open(path, "a") as stream:
        stream.write(line + "\n")


def kill_at_write(queue: TrialQueue, which: int, *, after: bool) -> None:
    """End this process, as SIGKILL does, at its n-th write to the storage."""
    count = 0

    def counting(step: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == which and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = step(*args, **kwargs)
            if count == which:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in WRITES:
        setattr(queue.storage.optuna, name, counting(getattr(queue.storage.optuna, name)))
    for name in ("take", "renew", "drop"):
        setattr(queue.storage.leases, name, counting(getattr(queue.storage.leases, name)))


def main() -> None:
    set_verbosity(WARNING)
    with tempfile.TemporaryDirectory() as folder:  # loads what is loaded late; every connection is closed before the first fork
        work({"source": f"{folder}/warm.db", "study": "warm", "n_trials": 12, "folder": folder, "pause": 0.0, "steps": 1})
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.dup2(1, 2)
            try:
                work(job)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        print(json.dumps(pid), flush=True)


if __name__ == "__main__":
    main()
