"""The main job: fit Lorenz-63 with 5 % noise, run the models freely, judge them, store everything, write the report.

    make demo            # or: python studies/demo.py --out runs/demo
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

import dynrnn as dr
from dynrnn.cli import judge


@dataclass
class Settings:
    """Arguments of the demo."""

    out: Path = Path("runs/demo")
    updates: int = 30_000
    fits: int = 4
    random_state: int = 0
    progress: bool = True


def main(settings: Settings) -> None:
    began = time.perf_counter()
    if (settings.out / "config.json").exists():
        shutil.rmtree(settings.out)                    # the demo's own folder: it may be run again
    print("integrating Lorenz-63: one noisy trajectory to train on, one clean one to judge on, five more for the floor")
    training = dr.load_dataset("lorenz63", n_steps=100_000, noise=0.05, random_state=settings.random_state)
    test = dr.load_dataset("lorenz63", n_steps=100_000, random_state=1_000)
    reference = dr.load_dataset("lorenz63", n_steps=100_000, n_trials=5, random_state=2_000)

    model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=50, clipped=True, n_fits=settings.fits, random_state=settings.random_state)
    ready = time.perf_counter()
    run = dr.fit(                                      # a rate that stays high, and of means of parameters the one that runs best: every seed works
        model, training, forcing=dr.GeneralizedTeacherForcing((0.2, 0.1)), n_updates=settings.updates, learning_rate=(3e-3, 1e-3),
        validation=training, validate_mean=True, keep="best",
        standardise=False, out=settings.out, random_state=settings.random_state, progress=settings.progress,
    )
    fitted = time.perf_counter()
    print(run)
    orbit, scores = judge(run, test, reference, training, dr.PRESETS["gtf-2023"])
    run.store(test_data=test, generated=orbit, metrics=scores)
    path = dr.report(settings.out)
    done = time.perf_counter()
    print(f"data {ready - began:.0f} s, fit {fitted - ready:.0f} s (first use compiles the kernels), judging and report {done - fitted:.0f} s")
    print(f"results: {settings.out / 'results.zarr'}\nreport:  {path}")


if __name__ == "__main__":
    main(tyro.cli(Settings))
