"""Lyapunov spectra of the known systems to the accuracy that is stated, written to the file that ships with the datasets.

    python studies/reference_spectra.py --out datasets/dynrnn_datasets/spectra.json     # half an hour on two cores
    python studies/reference_spectra.py --only henon lozi --scale 0.1

Systems that the file has and that are not asked for are kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

import dynrnn as dr
from dynrnn.analysis import lyapunov_spectrum

LOZI = ([[1.7, 1.0], [0.5, 0.0]], [[-3.4], [0.0]], [[1.0, 0.0]], [1.0, 0.0], [0.0])


@dataclass
class Settings:
    """Arguments of the study."""

    only: tuple[str, ...] = ()
    """Names of systems; all if none is given."""
    scale: float = 1.0
    """Of the number of segments."""
    out: Path = Path("spectra.json")
    random_state: int = 1


@dataclass(frozen=True)
class Job:
    """What to compute, and what its sum must be per unit of time."""

    system: Any
    equation: str
    parameters: dict[str, float]
    divergence: float
    n_segments: int
    n_steps: int
    dim: int | None = None
    initial: Callable[[int], np.ndarray] | None = None


def henon(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - 1.4 * z[..., 0] ** 2 + z[..., 1], 0.3 * z[..., 0]], -1)


def jobs() -> dict[str, Job]:
    lorenz, ring = "x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z", "x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing"
    band = "x' = -y - z, y' = x + a y, z' = b + z (x - c)"
    known = dr.known_system
    near = lambda n: np.random.default_rng(0).uniform(-0.2, 0.2, (n, 2))  # noqa: E731
    out = {
        "henon": Job(henon, "x' = 1 - a x^2 + y, y' = b x", {"a": 1.4, "b": 0.3}, float(np.log(0.3)), 4_000, 5_000, 2, near),
        "lozi": Job(LOZI, "x' = 1 - a |x| + y, y' = b x", {"a": 1.7, "b": 0.5}, float(np.log(0.5)), 2_000, 20_000),
        "lorenz63": Job(known("lorenz63"), lorenz, {"sigma": 10, "rho": 28, "beta": 8 / 3}, -41 / 3, 3_000, 8_000),
        "lorenz63-16": Job(known("lorenz63", sigma=16.0, rho=45.92, beta=4.0), lorenz, {"sigma": 16, "rho": 45.92, "beta": 4}, -21.0, 2_000, 4_000),
        "roessler": Job(known("roessler"), band, {"a": 0.2, "b": 0.2, "c": 5.7}, float("nan"), 1_000, 8_000),
    }
    for n in (10, 20, 40):      # long segments: exponents that lie close to each other and fluctuate more than they differ let the frame turn slowly
        out[f"lorenz96-{n}"] = Job(known("lorenz96", n_dims=n), ring, {"n_dims": n, "forcing": 8}, -float(n), 960 // n, 15_000)
    return out


def main(settings: Settings) -> None:
    kept = json.loads(settings.out.read_text()) if settings.out.exists() else {}
    for name, job in jobs().items():
        if settings.only and name not in settings.only:
            continue
        began, n = time.perf_counter(), max(16, int(settings.scale * job.n_segments))
        start = None if job.initial is None else job.initial(n)
        found = lyapunov_spectrum(job.system, n_steps=job.n_steps, n_segments=n, dim=job.dim, initial=start, random_state=settings.random_state)
        row, attrs = found.isel(fit=0), found.attrs
        kept[name] = {
            "equation": job.equation, "parameters": job.parameters, "value": row.value.values.tolist(), "standard_error": row.standard_error.values.tolist(),
            "kaplan_yorke": float(row.kaplan_yorke), "kaplan_yorke_standard_error": float(row.kaplan_yorke_upper - row.kaplan_yorke_lower) / 3.92,
            "n_segments": n, "time_measured": n * job.n_steps * float(attrs["dt"]), "dt": float(attrs["dt"]),
            "computed_by": f"dynrnn.analysis.lyapunov_spectrum, {n} segments of {job.n_steps} steps, random_state {settings.random_state}",
        }
        if np.isfinite(attrs["step_error"]):
            kept[name]["step_error"] = float(attrs["step_error"])
        if np.isfinite(job.divergence):
            kept[name]["sum_of_divergence"] = job.divergence
        shown = " ".join(f"{v:.5f}({e:.1e})" for v, e in zip(row.value.values[:4], row.standard_error.values[:4], strict=True))
        gap = float(row.value.sum()) - job.divergence
        print(f"{name:12} {shown}; sum less divergence {gap:.1e}; Kaplan-Yorke {float(row.kaplan_yorke):.5f}; two trajectories {float(row.pair_exponent):.5f}; "
              f"{time.perf_counter() - began:.0f} s", flush=True)
        settings.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Settings))
