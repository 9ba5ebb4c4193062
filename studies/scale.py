"""When to go from one ensemble to processes to machines? Fits and trials per minute on this machine, and what a storage costs each trial.

    python studies/scale.py [--parts ensembles trials storages] [--quick]

Beside the time that passes stands the time of cores that was used (core-seconds), which other work on the machine takes less from: on a quiet machine n
busy cores give n core-seconds a second. The storages' part measures PostgreSQL too where DYNRNN_STORAGE holds its URL.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
import tyro

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
        model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=50, n_fits=n_fits, random_state=0)
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


def ensembles(settings: Settings) -> None:
    print(f"Fits of {settings.updates:,} updates (shallow PLRNN M = 3, H = 50, batch 16, T = 200), medians of {settings.turns} turns\n")
    print("| fits | how | fits per minute | core-seconds per fit | cores in use |\n|---|---|---|---|---|")
    ways = {"one process, 1 thread": lambda n: train(n, settings.updates, 1), "one process, 2 threads": lambda n: train(n, settings.updates, 2),
            "two processes, 1 thread": lambda n: in_processes(n, settings.updates)}
    for n in settings.fits:
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(settings.turns):
            for way, run in ways.items():
                spent[way].append(run(n))
        for way, pairs in spent.items():
            took, cores = (statistics.median(values) for values in zip(*pairs))
            print(f"| {n} | {way} | {60 * n / took:.1f} | {cores / n:.2f} | {cores / took:.2f} |", flush=True)
    print()


def trials(settings: Settings) -> None:
    recording = dr.load_dataset("lorenz63", n_steps=20_000, random_state=0)
    setting = {"model": "shallow-plrnn", "hidden_dim": 50, "n_updates": settings.updates}
    print(f"Trials of 4 fits of {settings.updates:,} updates, {settings.trials} trials, batch 2\n")
    print("| how | trials per minute | core-seconds per trial |\n|---|---|---|")

    def search(**how: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            dr.study.optimize(setting, SPACE, recording, out=folder + "/study", n_trials=settings.trials, n_seeds=4, batch=2, sampler="random",
                              progress=False, **how)      # type: ignore[arg-type]

    def on_dask() -> None:
        with dr.study.local_cluster(2, 1) as cluster, cluster.get_client() as client:
            search(client=client)

    ways = {"1 worker (this process, 2 settings in one ensemble)": lambda: search(), "2 workers": lambda: search(n_workers=2), "2 workers of Dask": on_dask}
    for name, run in ways.items():
        with clock() as spent:
            run()
        print(f"| {name} | {60 * settings.trials / spent[0]:.1f} | {spent[1] / settings.trials:.2f} |", flush=True)
    print()


def storages(settings: Settings) -> None:
    """A trial without a model: asked, its lease renewed 20 times, finished."""
    from dynrnn.study.setting import starting_point

    recording = dr.load_dataset("lorenz63", n_steps=1_000, random_state=0)
    space = dr.study.as_space(SPACE, starting_point("shallow-plrnn"), recording)
    n = 3 if settings.quick else 30
    print(f"Milliseconds of a storage's work in each trial, medians of {n}\n")
    print("| storage | ask and lease | 20 renewals | finish | core-milliseconds in all |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        texts = {"SQLite": str(Path(folder) / "study.db"), "journal": str(Path(folder) / "study.journal")}
        if os.environ.get("DYNRNN_STORAGE"):
            texts["PostgreSQL"] = "env:DYNRNN_STORAGE"
        for name, text in texts.items():
            storage = dr.study.open_storage(text)
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
            print(f"| {name} | " + " | ".join(f"{statistics.median(values):.1f}" for values in zip(*rows)) + " |", flush=True)
    print()


if __name__ == "__main__":
    main(tyro.cli(Settings))
