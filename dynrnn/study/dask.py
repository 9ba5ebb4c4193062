"""A study on the workers of a Dask client. Dask starts and watches processes; which trial is whose stays with the queue and its leases.

Every worker of the client is given one task, "take trials until none is left". So a trial is run, stored and taken over as without Dask, and it makes no
difference how often Dask runs a task: what was done is in the storage.
"""

from __future__ import annotations

import logging
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynrnn.errors import ArgumentError, RunFolderError, StudyError
from dynrnn.study.cluster import check_client

if TYPE_CHECKING:
    from dynrnn.study.queue import TrialQueue
    from dynrnn.study.task import Task

_log = logging.getLogger("dynrnn.study")
POLL_SECONDS = 0.5
END_SECONDS = 5.0             # workers see within a second or two that nothing is left, and let go of the storage
SAID_SECONDS = 60.0           # when it is said that there are no workers: a batch system may let them wait for hours


def work_on_client(client: Any, folder: Path, task: Task, queue: TrialQueue, bar: Any) -> None:
    """Work on the study in ``folder`` with the workers of a Dask client until its trials have ended; workers that come later join in, lost ones are replaced.

    The folder, and a storage in it, must be the same for this process and the workers (a shared file system). No data goes through Dask but a function of the
    user's own. A worker's error comes back as it is once no worker without one is left; StudyError where workers are lost time and again and no trial ends.
    Of the client only ``submit`` and ``scheduler_info`` are used, and its futures.
    """
    check_client(client)
    crew = _Crew(client, folder.resolve(), task if task.function is not None else None)
    seen = time.monotonic()
    try:
        while True:
            trials = queue.trials()
            ended = sum(trial.state.is_finished() for trial in trials)
            bar.n = min(bar.total, ended)
            bar.refresh()
            if queue.finished:
                crew.wait(END_SECONDS)
                return
            crew.look(ended, queue.max_attempts)
            if crew.at_work:
                seen = time.monotonic()
            elif time.monotonic() - seen > SAID_SECONDS:
                seen = time.monotonic()
                warnings.warn(f"Dask has had no workers for {SAID_SECONDS:.0f} s. The study goes on when there are some; Ctrl-C ends it.", stacklevel=4)
            time.sleep(POLL_SECONDS)
    finally:
        crew.dismiss()


class _Crew:
    """The tasks at work, by the address of their worker."""

    def __init__(self, client: Any, folder: Path, task: Task | None) -> None:
        self.client, self.folder, self.task = client, folder, task
        self.at_work: dict[str, Any] = {}
        self.failed: dict[str, BaseException] = {}
        self._losses, self._ended, self._most = 0, -1, 1

    def look(self, ended: int, attempts: int) -> None:
        """Note who was lost, who failed and who is new, and give new ones their task."""
        present = self._present()
        self._most = max(self._most, len(present))
        if ended > self._ended:
            self._losses, self._ended = 0, ended
        for address, future in list(self.at_work.items()):
            if address not in present or future.status in ("lost", "cancelled"):
                _log.warning("the worker %s was lost; its trials are taken over.", address)
                self._losses += 1
                future.cancel()
                del self.at_work[address]
            elif future.status == "error":
                self.failed[address] = future.exception()
                _log.warning("the worker %s failed: %s", address, self.failed[address])
                del self.at_work[address]
            elif future.status == "finished":
                del self.at_work[address]
        if self._losses > attempts * self._most:
            raise StudyError(
                f"workers were lost {self._losses} times and no trial ended meanwhile. Likely they run out of memory or cannot start; see their logs. "
                "Nothing that was recorded is lost: call it again to go on."
            )
        able = [address for address in present if address not in self.failed]
        if present and not able:
            raise self.failed[next(iter(present))]
        for address in able:
            if address not in self.at_work:
                self.at_work[address] = self._submit(address, len(able))

    def wait(self, seconds: float) -> None:
        """Until the workers have seen that nothing is left."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(future.status == "pending" for future in self.at_work.values()):
            time.sleep(0.05)

    def dismiss(self) -> None:
        """Workers end after the trial that they are at."""
        for future in self.at_work.values():
            try:
                future.cancel()
            except Exception as error:                                              # the scheduler is gone, and with it its tasks
                _log.info("a task could not be cancelled: %s", error)

    def _present(self) -> dict[str, Any]:
        try:
            return self.client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, RuntimeError, TimeoutError) as error:
            raise StudyError(
                f"Dask's scheduler no longer answers ({type(error).__name__}: {error}). Nothing that was recorded is lost: start a cluster and call it again."
            ) from None

    def _submit(self, address: str, share: int) -> Any:
        places = {"workers": [address], "allow_other_workers": False, "pure": False, "key": f"dynrnn-trials-{time.time_ns()}"}
        try:
            return self.client.submit(take_trials, str(self.folder), self.task, share, **places)
        except TypeError as error:
            if self.task is None:
                raise
            function = self.task.function
            raise ArgumentError(
                f"the function {getattr(function, '__qualname__', type(function).__name__)} cannot be sent to workers ({error}). "
                "Open files, locks and connections within it, not outside."
            ) from None


def take_trials(folder: str, task: Task | None, share: int) -> int:
    """What a worker of Dask runs: trials of the study in this folder until all have ended or nobody wants them any more; how many it ended. ``task`` is given
    where it tries a function of the user's own, which the folder does not hold."""
    from dynrnn.study.task import load_task  # here, since this module is loaded on the worker's event loop
    from dynrnn.study.workers import work

    path = Path(folder)
    if not (path / "study.json").exists():
        raise RunFolderError(
            f"the worker on {socket.gethostname()} does not see the study's folder {folder}. Put out= on a file system that all workers share."
        )
    return work(path, load_task(path) if task is None else task, share, stop=_unwanted())


def _unwanted() -> Callable[[], bool]:
    """Whether Dask has cancelled the task that runs here; it leaves that to the task, and a driver that was stopped or killed would be worked for on and on."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:                                                              # run by something that only looks like Dask
        return lambda: False
    key = worker.get_current_task()

    def cancelled() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled"

    return cancelled
