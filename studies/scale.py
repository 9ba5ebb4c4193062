"""When to go from one ensemble to processes to machines? Fits and trials per minute on this machine, and what a storage costs each trial.

    python studies/scale.py [--parts ensembles trials storages] [--quick --out FOLDER]

Each part writes a Markdown table, studies/tables/scale_<part>.md, row by row, and goes on where it was broken off. Beside the time that passes stands the time
of cores that was used (core-seconds), which other work on the machine takes less from: on a quiet machine n busy cores give n core-seconds a second. The
storages' part measures PostgreSQL too where DYNRNN_STORAGE holds its URL.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
import tyro
from rows import Table

import dynrnn as dr

SPACE = {"alpha": (0.05, 0.5), "learning_rate": (1e-3, 1e-2)}


@dataclass
class Settings:
    parts: tuple[Literal["ensembles", "trials", "storages", "child"], ...] = ("ensembles", "trials", "storages")
    quick: bool = False
    """Few updates and trials, to see that it runs."""
    fits: tuple[int, ...] = (1, 2, 4, 8, 16)
    updates: int = 2_000
    trials: int = 8
    turns: int = 3
    out: Path = Path(__file__).parent / "tables"
    """Folder of the tables."""


def main(settings: Settings) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if settings.quick:
        settings.updates, settings.trials, settings.turns, settings.fits = 50, 2, 1, settings.fits[:2]
    for part in settings.parts:
        {"ensembles": ensembles, "trials": trials, "storages": storages, "child": child}[part](settings)


@contextlib.contextmanager
def clock() -> Iterator[list[float]]:
    """Seconds that pass, and seconds of cores that this process and those that it has waited for use."""
    began, before, out = time.perf_counter(), used(), [0.0, 0.0]
    yield out
    out[:] = [time.perf_counter() - began, used() - before]


def used() -> float:
    return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def train(n_fits: int, n_updates: int, n_threads: int) -> tuple[float, float]:
    """Seconds and core-seconds of an ensemble's training, after a first call that compiles."""
    recording = dr.load_dataset("lorenz63", n_steps=20_000, random_state=0)
    for n in (1, n_updates):
        model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=50, clipped=True, n_fits=n_fits, random_state=0)
        with clock() as spent:
            dr.fit(model, recording, n_updates=n, n_threads=n_threads, progress=False, random_state=0)
    return spent[0], spent[1]


def child(settings: Settings) -> None:
    print(*train(settings.fits[0], settings.updates, 1))


def in_processes(n_fits: int, n_updates: int) -> tuple[float, float]:
    """The same number of fits in two processes of one thread, side by side."""
    halves = [n for n in (n_fits - n_fits // 2, n_fits // 2) if n]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, __file__, "--parts", "child", "--fits", str(n), "--updates", str(n_updates)], stdout=subprocess.PIPE, text=True,
                         env=environment) for n in halves
    ]
    told = [[float(word) for word in process.communicate()[0].split()] for process in started]
    return max(t for t, _ in told), sum(cores for _, cores in told)


def table_of(settings: Settings, part: str, title: str, columns: Sequence[str], **kept: Any) -> Table:
    return Table(settings.out / f"scale_{part}.md", f"{title} ({os.cpu_count()} cores)", columns, kept)


def ensembles(settings: Settings) -> None:
    title = f"Fits of {settings.updates:,} updates (clipped shallow PLRNN M = 3, H = 50, batch 16, T = 200), medians of {settings.turns} turns"
    columns = ("fits, how", "fits per minute", "core-seconds per fit", "cores in use")
    table = table_of(settings, "ensembles", title, columns, updates=settings.updates, turns=settings.turns)
    ways = {"one process, 1 thread": lambda n: train(n, settings.updates, 1), "one process, 2 threads": lambda n: train(n, settings.updates, 2),
            "two processes, 1 thread": lambda n: in_processes(n, settings.updates)}
    for n in settings.fits:
        if not table.missing([f"{n}, {way}" for way in ways]):
            continue
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(settings.turns):
            for way, run in ways.items():
                spent[way].append(run(n))
        for way, pairs in spent.items():
            took, cores = (statistics.median(values) for values in zip(*pairs))
            cells = {"fits per minute": f"{60 * n / took:.1f}", "core-seconds per fit": f"{cores / n:.2f}", "cores in use": f"{cores / took:.2f}"}
            table.add(f"{n}, {way}", {"turns": pairs}, cells)
    table.close(["Two processes: their training alone, without their start. `python studies/scale.py --parts ensembles`"])


def trials(settings: Settings) -> None:
    title = f"Trials of 4 fits of {settings.updates:,} updates, {settings.trials} trials, batch 2"
    table = table_of(settings, "trials", title, ("how", "trials per minute", "core-seconds per trial"), updates=settings.updates, trials=settings.trials)
    recording = dr.load_dataset("lorenz63", n_steps=20_000, random_state=0)
    setting = {"model": "shallow-plrnn", "clipped": True, "hidden_dim": 50, "n_updates": settings.updates}

    def search(**how: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            dr.study.optimize(setting, SPACE, recording, out=folder + "/study", n_trials=settings.trials, n_seeds=4, batch=2, sampler="random",
                              progress=False, **how)      # type: ignore[arg-type]

    def on_dask() -> None:
        with dr.study.local_cluster(2, 1) as cluster, cluster.get_client() as client:
            search(client=client)

    ways = {"1 worker (this process, 2 settings in one ensemble)": lambda: search(), "2 workers": lambda: search(n_workers=2), "2 workers of Dask": on_dask}
    for name in table.missing(list(ways)):
        with clock() as spent:
            ways[name]()
        cells = {"trials per minute": f"{60 * settings.trials / spent[0]:.1f}", "core-seconds per trial": f"{spent[1] / settings.trials:.2f}"}
        table.add(name, {"seconds": spent[0], "core_seconds": spent[1]}, cells)
    table.close(["From the call to its end: workers' start and imports, judging, pictures and storage are in it. `python studies/scale.py --parts trials`"])


def storages(settings: Settings) -> None:
    """A trial without a model: asked, its lease renewed 20 times, finished."""
    from dynrnn.study.setting import starting_point

    n = 3 if settings.quick else 30
    columns = ("storage", "ask and lease", "20 renewals", "finish", "core-milliseconds in all")
    table = table_of(settings, "storages", f"Milliseconds of a storage's work in each trial, medians of {n}", columns, trials=n)
    recording = dr.load_dataset("lorenz63", n_steps=1_000, random_state=0)
    space = dr.study.as_space(SPACE, starting_point("shallow-plrnn"), recording)
    with tempfile.TemporaryDirectory() as folder:
        texts = {"SQLite": str(Path(folder) / "study.db"), "journal": str(Path(folder) / "study.journal")}
        if os.environ.get("DYNRNN_STORAGE"):
            texts["PostgreSQL"] = "env:DYNRNN_STORAGE"
        for name in table.missing(list(texts)):
            storage = dr.study.open_storage(texts[name])
            queue = dr.study.TrialQueue(storage, f"scale-{time.time_ns()}", space, sampler=dr.study.sampler_named("random"), random_state=0, n_trials=n)
            rows = []
            for _ in range(n):
                marks, before = [time.perf_counter()], time.process_time()
                claim = queue.next()
                assert claim is not None
                marks.append(time.perf_counter())
                for _ in range(20):
                    claim._renew()
                marks.append(time.perf_counter())
                claim.finish([0.0])
                marks.append(time.perf_counter())
                rows.append([1e3 * (b - a) for a, b in itertools.pairwise(marks)] + [1e3 * (time.process_time() - before)])
            storage.close()
            medians = [statistics.median(values) for values in zip(*rows)]
            table.add(name, {"milliseconds": medians}, {column: f"{value:.1f}" for column, value in zip(columns[1:], medians)})
    table.close(["The worker's share, without a server's. `python studies/scale.py --parts storages`"])


if __name__ == "__main__":
    main(tyro.cli(Settings))
