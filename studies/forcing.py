"""How hard and how often to force: strengths of generalised and intervals of sparse forcing against the quality of what is learned.

    python studies/forcing.py                                   # Lorenz-63: shallow PLRNN by strength, AL-RNN by interval; 10 seeds each
    python studies/forcing.py --only strength --updates 20000
    python studies/forcing.py --data roessler --full            # 250,000 updates a fit

Shallow PLRNNs train on a recording with noise; AL-RNNs, which sparse forcing does not teach much from noisy samples (studies/gtf_table.py), on a clean one
with noise on their windows, and twice as long. Expected core-hours first, then a row as soon as it is there; a study that was broken off goes on where it was.
Medians over seeds with their range, last checkpoint. The largest exponent stands beside the flow's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rows import FULL, Row, Table, floors, judged, lost, spread, tell_cost, trained

import dynrnn as dr

COLUMNS = ("forcing", "D_stsp", "D_H", "PE(20)", "largest exponent", "refused steps", "lost")
FAR = 2.0


@dataclass
class Settings:
    """Arguments of the study."""

    data: Literal["lorenz63", "roessler"] = "lorenz63"
    only: tuple[Literal["strength", "interval"], ...] = ("strength", "interval")
    strengths: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
    intervals: tuple[int, ...] = (1, 4, 7, 10, 14, 20, 40)
    seeds: int = 10
    updates: int = 60_000
    full: bool = False
    """250,000 updates a fit, as published."""
    noise: float = 0.05
    """Of the recording, or of the windows, in standard deviations of a channel."""
    steps: int = 100_000
    tests: int = 3
    random_state: int = 0
    out: Path | None = None
    """Default studies/tables/forcing_<data>.md."""


def rows_of(settings: Settings) -> list[Row]:
    out = []
    if "strength" in settings.only:
        rate = {"learning_rate": (2e-3, 1e-5)}
        out += [
            Row(f"GTF alpha = {a:g}", lambda **o: dr.ShallowPLRNN(3, 3, 50, clipped=True, **o), rate | {"forcing": dr.GeneralizedTeacherForcing(a)})
            for a in settings.strengths
        ]
    if "interval" in settings.only:
        clean = dr.load_dataset(settings.data, n_steps=settings.steps, random_state=settings.random_state)
        options = {"learning_rate": (1e-3, 1e-5), "noise": settings.noise}
        out += [
            Row(f"sparse, AL-RNN, interval {tau}", lambda **o: dr.ALRNN(3, 20, 2, **o), options | {"forcing": dr.SparseTeacherForcing(tau)}, clean, share=2.0)
            for tau in settings.intervals
        ]
    return out


def main(settings: Settings) -> None:
    training = dr.load_dataset(settings.data, n_steps=settings.steps, noise=settings.noise, random_state=settings.random_state)
    tests = dr.load_dataset(settings.data, n_steps=settings.steps, n_trials=settings.tests, random_state=1_000)
    updates = FULL if settings.full else settings.updates
    out = settings.out or Path(__file__).parent / "tables" / f"forcing_{settings.data}.md"
    kept = {k: v for k, v in asdict(settings).items() if k not in ("only", "out", "strengths", "intervals")} | {"updates": updates}
    table = Table(out, f"{settings.data}, {100 * settings.noise:g} % noise: {settings.seeds} seeds, {updates:,} updates, preset gtf-2023", COLUMNS, kept)
    rows = [row for row in rows_of(settings) if row.name in table.missing([row.name])]
    tell_cost(rows, training, settings.seeds, updates, settings.random_state)
    reference = dr.load_dataset(settings.data, n_steps=settings.steps, n_trials=2, random_state=2_000)
    for row in rows:
        run = trained(row, training, settings.seeds, updates, settings.random_state)
        numbers: dict[str, Any] = judged(run, tests, "gtf-2023")
        if "floor (a true recording)" not in table.numbers:
            floors(table, run, tests, reference, training)
        exponents = dr.analysis.lyapunov_spectrum(run, 1, n_steps=1_000, n_segments=16)
        numbers |= {"largest_exponent": exponents.value.values[:, 0].tolist(), "refused": run.refused.values.tolist()}
        table.add(row.name, numbers, {
            "D_stsp": spread(numbers["d_stsp"]), "D_H": spread(numbers["d_hellinger"], 3), "PE(20)": f"{np.median(numbers['prediction_error']):.2g}",
            "largest exponent": spread(numbers["largest_exponent"]), "refused steps": str(int(np.sum(numbers["refused"]))),
            "lost": lost(numbers["d_stsp"], FAR),
        })
    truth = dr.reference_spectrum(settings.data).value.values[0]
    table.close([
        f"The flow's largest exponent is {truth:.3f}; a fit of which an orbit leaves for infinity has none. Lost: D_stsp beyond {FAR:g} or not finite.",
        f"Shallow PLRNN, M=3, H=50, clipped, learning rate 2e-3 to 1e-5; AL-RNN, M=20, P=2, 1e-3 to 1e-5, {2 * updates:,} updates on a clean recording with "
        f"noise {settings.noise:g} on windows of 200.",
        f"`python studies/forcing.py --data {settings.data} --seeds {settings.seeds} --updates {updates}`",
    ])


if __name__ == "__main__":
    main(tyro.cli(Settings))
