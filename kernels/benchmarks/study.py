"""What a study costs beside the fits that it consists of: the same settings and seeds through ``optimize`` and through ``fit`` alone, in one run.

    python kernels/benchmarks/study.py                  # 40 trials of an AL-RNN on Lorenz-63, 20,000 updates, 4 seeds each: forty minutes on two cores
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

import dynrnn as dr
from dynrnn.study.setting import build


@dataclass
class Settings:
    trials: int = 40
    updates: int = 20_000
    seeds: int = 4
    workers: int = 2
    storage: str = "study.db"


def main(s: Settings) -> None:
    training = dr.load_dataset("lorenz63", n_steps=20_000, noise=0.05, random_state=0)
    validation, reference = (dr.load_dataset("lorenz63", n_steps=20_000, random_state=k) for k in (1, 2))
    setting = {"model": "alrnn", "forcing": "sparse", "latent_dim": 20, "n_relu": 2, "n_updates": s.updates}
    space = {"interval": (6, 24), "learning_rate": "5e-4..5e-3:log", "noise": (0.0, 0.1)}
    model, arguments = build(setting | {"interval": 16, "n_updates": 100}, training, s.seeds, 0)
    dr.fit(model, training, progress=False, **arguments)                             # compiles, where that was not done before
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        study = dr.study.optimize(
            setting, space, training, validation=validation, reference=reference, n_trials=s.trials, n_seeds=s.seeds, n_workers=s.workers, storage=s.storage,
            out=Path(folder) / "study", progress=False,
        )
        whole = time.perf_counter() - began
        states = study.trials.state.value_counts().to_dict()
        settings = [study.setting(k) for k in range(s.trials)]
    began = time.perf_counter()
    for one in settings:
        model, arguments = build(one, training, s.seeds, 0)
        dr.fit(model, training, progress=False, random_state=0, **arguments)
    bare = time.perf_counter() - began
    print(f"| {s.trials} trials, {s.updates:,} updates, {s.seeds} seeds | {s.workers} workers, {s.storage} | study {whole:.0f} s "
          f"| fits alone, all threads {bare:.0f} s | **{whole / bare:.2f}x** | {states} |")


if __name__ == "__main__":
    main(tyro.cli(Settings))
