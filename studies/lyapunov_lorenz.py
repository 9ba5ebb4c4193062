"""Lyapunov spectra of models trained on Lorenz-63 with and without noise, beside the flow's, each checked two other ways.

    python studies/lorenz63.py --fits 5 --tests 2 --save runs/noisy
    python studies/lorenz63.py --fits 5 --tests 2 --noise 0 --save runs/clean
    python studies/lyapunov_lorenz.py runs/noisy runs/clean
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import dynrnn as dr


@dataclass
class Settings:
    """Arguments of the study."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    n_steps: int = 10_000
    n_segments: int = 32
    random_state: int = 0


def main(settings: Settings) -> None:
    truth = dr.reference_spectrum("lorenz63")
    print("the flow: " + ", ".join(f"{v:.4f} +- {e:.4f}" for v, e in zip(truth.value.values, truth.standard_error.values, strict=True)), end="")
    print(f"; Kaplan-Yorke {float(truth.kaplan_yorke):.4f}")
    for path in settings.models:
        model = dr.load(path)
        tests = dr.load_dataset("lorenz63", n_steps=2, n_trials=4, random_state=1_000)
        began = time.perf_counter()
        found = dr.analysis.lyapunov_spectrum(
            model, n_steps=settings.n_steps, n_segments=settings.n_segments, initial=tests, random_state=settings.random_state
        )
        print(f"\n{path}: {settings.n_segments} segments of {settings.n_steps * found.attrs['dt']:g} time units, {time.perf_counter() - began:.1f} s")
        print("| fit | exponents with 95 % intervals | Kaplan-Yorke | two trajectories, less ours in standard errors | sum less ln det, a step | verdict |")
        print("|---|---|---|---|---|---|")
        for k in range(found.sizes["fit"]):
            row = found.isel(fit=k)
            each = zip(row.value.values[:3], row.lower.values[:3], row.upper.values[:3], strict=True)
            shown = ", ".join(f"{v:.4f} [{low:.4f}, {high:.4f}]" for v, low, high in each)
            gap = -float(row.pair_difference) / float(row.pair_difference_standard_error)
            print(f"| {int(row.fit)} | {shown} | {float(row.kaplan_yorke):.3f} [{float(row.kaplan_yorke_lower):.3f}, {float(row.kaplan_yorke_upper):.3f}] "
                  f"| {float(row.pair_exponent):.4f}, {gap:.1f} | {float(row.determinant_residual):.1e} | {row.verdict.item()} |")
        middle = np.median(found.value.values, 0)
        of_truth = ", ".join(f"{m:.4f}" + (f" ({m / t - 1:+.1%})" if abs(t) > 0.01 else "") for m, t in zip(middle[:3], truth.value.values, strict=True))
        print(f"medians {of_truth}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
