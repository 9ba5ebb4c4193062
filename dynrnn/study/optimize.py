"""``optimize``: a study from one call, in this process, in several, or on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from dynrnn.errors import ArgumentError, StudyError, check_int
from dynrnn.streams import check_random_state
from dynrnn.study.storage.sqlite import url_path
from dynrnn.study.study import Study
from dynrnn.study.task import Task, keep, make_task
from dynrnn.study.workers import open_queue, work

AGREE_SECONDS = 3.0           # workers that saw the same Ctrl-C end within these


def optimize(
    setting: str | Mapping[str, Any] | Callable,
    space: Mapping[str, Any] | None = None,
    recording: Any = None,
    *,
    out: str | os.PathLike[str],
    objective: str | Sequence[str] = "d_stsp",
    validation: Any = None,
    reference: Any = None,
    n_trials: int = 40,
    n_seeds: int = 4,
    aggregate: str = "median",
    batch: int = 1,
    n_workers: int = 1,
    client: Any = None,
    sampler: str = "tpe",
    pruner: str = "none",
    n_rungs: int = 10,
    preset: str = "dynrnn-1",
    storage: str | os.PathLike[str] | None = None,
    lease: float = 60.0,
    random_state: int | None = 0,
    progress: bool = True,
) -> Study:
    """Search for the settings with which a model reconstructs a recording best; called again with the same arguments it goes on where it was stopped.

    Parameters
    ----------
    setting : a family (``"shallow-plrnn"``), a published setting (a name of ``dr.PUBLISHED``), or a table such as
        ``{"model": "alrnn", "forcing": "sparse", "n_updates": 20_000}`` of what is fixed, with the names of the model's, the forcing's and ``fit``'s arguments
        (``learning_rate_end``, ``alpha_end`` and ``latent_regularisation`` beside them; ``dynrnn.study.arguments_of`` lists them). Or a function
        ``f(params, random_state, folder) -> value or values`` of your own.
    space : what is varied: see ``dynrnn.study.as_space``; None takes the family's own space.
    recording : what models are trained on; its last fifth is held out to judge on where no ``validation`` is given. A setting with ``keep="best"`` chooses
        beside what it was trained on (and is pruned by that), so that what judges it has chosen nothing.
    out : the study's folder: study.json, data.zarr, study.db, and a run's folder for each trial in ``trials/``.
    objective : one or several of d_stsp, d_hellinger, prediction_error, valid_prediction_time, n_parameters, n_symbols; for a function of your own
        ``minimize`` or ``maximize``, one for each value.
    reference : a second true recording, for the floors.
    n_trials : settings to try, over all workers and sessions; failed ones count.
    n_seeds : fits of each setting, trained side by side. aggregate : ``median``, ``mean`` or ``worst`` of them is the value. All settings see the same
        seeds, which makes them comparable and the best one look better than it is: confirm it with ``study.rerun(number, random_state=1)``.
    batch : settings that are proposed together, from what was known before the batch; those of equal shape train in one ensemble. With ``batch`` at least
        ``n_workers`` the trials do not depend on the number of workers, unless they are pruned, which goes by who has reported first.
    n_workers : processes on this machine, each with its share of the cores. client : a ``dask.distributed.Client``, whose workers take trials instead.
        ``dynrnn study work OUT`` adds a worker at any time, on any machine that sees the folder and the storage.
    sampler : tpe, random, gp or nsga2. pruner : none, median, halving or hyperband, by D_stsp on the validation recording at ``n_rungs`` (up to 20) rungs;
        chaos makes early quality misleading, so none is the default. For one objective only; where that is maximised, rungs hold D_stsp with a minus sign.
    storage : where trials are recorded: a name within the folder or a path that ends in .db (SQLite) or .journal (shared file systems), or env:NAME or
        file:PATH, where a PostgreSQL URL is kept. Default study.db.
    lease : seconds without a sign of life after which another worker takes a trial over, from its checkpoint.

    Returns a ``Study``. Errors come before any work: UnknownNameError with the nearest name, ArgumentError, StudyError where ``out`` holds another study.
    A setting whose aggregate is not finite is a failed trial with its reason, and never best.

    Cost: n_trials times the fits' own; a trial adds under two seconds for scores, floors and storage (20,000 samples). Memory: that of one ensemble for
    each worker. On disk O(n_trials (parameters + 5,000 samples)).

    When it fails: D_stsp of a short validation recording is mostly noise; give at least some thousand samples.

    >>> import tempfile, dynrnn as dr
    >>> folder = tempfile.TemporaryDirectory()
    >>> rec = dr.load_dataset("lorenz63", n_steps=3_000, random_state=0)
    >>> study = dr.study.optimize({"model": "esn", "reservoir_dim": 50}, {"spectral_radius": (0.2, 1.2)}, rec, out=folder.name + "/study", n_trials=2,
    ...                           n_seeds=2, progress=False)
    >>> len(study.trials), study.best.number in (0, 1)
    (2, True)
    >>> folder.cleanup()
    """
    check_int("n_workers", n_workers, low=1)
    folder = Path(out)
    task = make_task(
        setting, space, recording, validation, reference, objective, n_seeds=n_seeds, aggregate=aggregate, preset=preset, sampler=sampler, pruner=pruner,
        n_rungs=n_rungs, batch=batch, n_trials=n_trials, random_state=check_random_state(random_state), storage=_absolute(storage), lease=lease,
    )
    if task.function is not None and n_workers > 1:
        raise ArgumentError("a function of your own runs in this process alone, since no code goes through the folder: n_workers=1, or give a Dask client=.")
    return run(folder, keep(task, folder), n_workers, client, progress)


def run(folder: Path, task: Task, n_workers: int = 1, client: Any = None, progress: bool = True) -> Study:
    """Work on the study in ``folder`` until its trials have ended."""
    queue = open_queue(folder, task)                                                # a storage that cannot be used is told before anything starts
    done = sum(trial.state.is_finished() for trial in queue.trials())
    with tqdm(total=task.n_trials, initial=min(done, task.n_trials), unit="trial", disable=not progress) as bar:
        if client is not None:
            from dynrnn.study.dask import work_on_client

            work_on_client(client, folder, task, queue, bar)
        elif n_workers == 1:
            work(folder, task, bar=bar)
        else:
            _processes(folder, queue, n_workers, bar)
    queue.storage.close()
    return Study(folder, task)


def _absolute(storage: str | os.PathLike[str] | None) -> str:
    """A path with a folder becomes absolute, since workers may start elsewhere."""
    if storage is None:
        return ""
    text = os.fspath(storage)
    if text.startswith("file:"):
        return f"file:{Path(text.removeprefix('file:')).resolve()}"
    path = url_path(text) or (Path(text) if ":" not in text and os.sep in text else None)
    return text if path is None else str(path.resolve())


def _processes(folder: Path, queue: Any, n_workers: int, bar: Any) -> None:
    """Workers as processes of this machine, with their share of the cores each; Ctrl-C stops them, and they give their trials back."""
    cores = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    threads = str(max(1, cores // n_workers))
    environment = os.environ | dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    command = [sys.executable, "-m", "dynrnn.cli", "study", "work", str(folder), "--share", str(n_workers), "--no-progress"]
    with tempfile.TemporaryFile("w+") as errors:
        workers = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors) for _ in range(n_workers)]
        try:
            while any(worker.poll() is None for worker in workers):
                time.sleep(0.5)
                bar.n = min(bar.total, sum(trial.state.is_finished() for trial in queue.trials()))
                bar.refresh()
        finally:
            _dismiss(workers)
        if not queue.finished:
            errors.seek(0)
            said = errors.read().strip()[-2000:]
            raise StudyError(f"all workers have ended and trials are left. Call it again to go on. The last they said: {said or 'nothing'}")


def _dismiss(workers: Sequence[subprocess.Popen]) -> None:
    """Stop those that still run, and wait until they have given their trials back. A terminal sends Ctrl-C to all of us, and a second one would come in between
    while they do, so they get a moment first."""
    end = time.monotonic() + AGREE_SECONDS
    while time.monotonic() < end and any(worker.poll() is None for worker in workers):
        time.sleep(0.05)
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGINT)
    for worker in workers:
        worker.wait()
