"""Every family of the toolkit on the same data in the same time: Lorenz-63 with 5 % noise, or an electrocardiogram.

    python studies/families.py                                  # Lorenz-63: ten seeds, half a minute of the machine for each
    python studies/families.py --data ecg --file ecg.npy        # a (time, channel) array; the last fifth judges
    python studies/families.py --only AL-RNN LTC --seconds 100 --out more.md

All seeds of a family train together for ``seconds`` of wall-clock time each (compilation and the look at how fast it is do not count); reservoirs are solved,
in less. Sizes and forcing are the published ones where there are any, and nothing is tuned here. What it will take first, then a row as soon as it is there; a
study that was broken off goes on where it was. Last checkpoint, medians over seeds with their range, nothing left out.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import tyro
from rows import Row, Table, floors, judged, lost, recordings, seconds_per_update, spread

import dynrnn as dr
from dynrnn.models import Reservoir

COLUMNS = ("family", "parameters", "updates", "seconds", "D_stsp", "D_H", "valid time", "largest exponent", "lost")
FAR = {"lorenz63": 2.0, "ecg": 10.0}                                                    # D_stsp beyond which a fit counts as lost
TITLES = {"lorenz63": "Families on Lorenz-63, 5 % noise", "ecg": "Families on an electrocardiogram, its last fifth"}


@dataclass
class Settings:
    """Arguments of the study."""

    data: Literal["lorenz63", "ecg"] = "lorenz63"
    file: Path | None = None
    """The electrocardiogram, .npy of shape (time, channel)."""
    only: tuple[str, ...] = ()
    """Names of families as the table has them; all by default."""
    seconds: float = 30.0
    """Of training for each seed; all seeds of a family train together."""
    seeds: int = 10
    steps: int = 100_000
    """Samples of a recording of Lorenz-63."""
    tests: int = 3
    """Clean recordings of Lorenz-63 that judge."""
    random_state: int = 0
    out: Path | None = None
    """Default studies/tables/families_<data>.md."""


def families(N: int, affine: str) -> list[Row]:
    """``affine``: the observation model of families that can have either."""
    gtf = {"forcing": dr.GeneralizedTeacherForcing((0.2, 0.1)), "learning_rate": (2e-3, 1e-5)}
    sparse = {"forcing": dr.SparseTeacherForcing(16), "learning_rate": (1e-3, 1e-5)}
    hidden = 50 if N == 3 else 250
    either = {"observation": affine}
    return [
        Row("PLRNN", partial(dr.PLRNN, N, 20), sparse),
        Row("PLRNN, mean-centred", partial(dr.PLRNN, N, 20, mean_centred=True), sparse),
        Row("dendritic, clipped", partial(dr.DendriticPLRNN, N, 20, 20, clipped=True), sparse),
        Row("shallow", partial(dr.ShallowPLRNN, N, N, hidden, **either), gtf),
        Row("shallow, clipped", partial(dr.ShallowPLRNN, N, N, hidden, clipped=True, **either), gtf),
        Row("AL-RNN", partial(dr.ALRNN, N, 20, 2), sparse),
        Row("wave-RNN", partial(dr.WaveRNN, N, 32, 4), gtf),
        Row("identity-RNN", partial(dr.IdentityRNN, N, 40), gtf),
        Row("LTC", partial(dr.LTC, N, 20, unfolds=2), gtf | {"learning_rate": (1e-2, 1e-4), "sequence_length": 100}),
        Row("assembly", partial(dr.Assembly, N, areas=(10, 10, 10)), gtf),
        Row("ESN", partial(dr.ESN, N, 300, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0)),
        Row("deep ESN", partial(dr.DeepESN, N, 300)),
        Row("ES2N", partial(dr.ResidualESN, N, 300, beta=0.5, input_scaling=0.5, bias_scaling=1.0)),
        Row("residual memory network", partial(dr.ResidualMemoryNetwork, N, 200, 100)),
        Row("Euler state network", partial(dr.EulerStateNetwork, N, 300, epsilon=0.1, gamma=0.1, recurrent_scaling=0.1, bias_scaling=1.0)),
        Row("next-generation", partial(dr.NextGenerationReservoir, N)),
    ]


def trained(row: Row, training: Any, settings: Settings) -> tuple[Any, int, float]:
    """(run, updates, seconds)."""
    model = row.make(n_fits=settings.seeds, random_state=settings.random_state)
    if isinstance(model, Reservoir):
        began = time.perf_counter()
        return dr.fit(model, training, progress=False, **row.options), 0, time.perf_counter() - began
    common = {"progress": False, "random_state": settings.random_state, **row.options}
    whole = settings.seconds * settings.seeds
    updates = max(1, round(whole / seconds_per_update(model, training, common, min(3.0, whole / 10), time.perf_counter)))
    began = time.perf_counter()
    return dr.fit(model, training, n_updates=updates, **common), updates, time.perf_counter() - began


def main(settings: Settings) -> None:
    training, test, reference, _ = recordings(settings)
    out = settings.out or Path(__file__).parent / "tables" / f"families_{settings.data}.md"
    kept = {k: v for k, v in asdict(settings).items() if k not in ("only", "out", "file")}
    title = f"{TITLES[settings.data]}: {settings.seeds} seeds, {settings.seconds:g} s each, preset gtf-2023"
    table = Table(out, title, COLUMNS, kept)
    every = families(test.sizes[test.observed.dims[-1]], "identity" if settings.data == "lorenz63" else "affine")
    rows = [row for row in every if row.name in table.missing([row.name]) and (not settings.only or row.name in settings.only)]
    descended = sum(not isinstance(row.make(n_fits=1), Reservoir) for row in rows)
    hours = descended * settings.seeds * settings.seconds / 3600
    print(f"{len(rows)} rows of {settings.seeds} seeds: {hours:.2f} hours of training, {hours * (os.cpu_count() or 1):.2f} core-hours at most", flush=True)
    for row in rows:
        run, updates, seconds = trained(row, training, settings)
        numbers: dict[str, Any] = judged(run, test, "gtf-2023")
        exponents = dr.analysis.lyapunov_spectrum(run, 1, n_steps=1_000, n_segments=16)
        numbers |= {"largest_exponent": exponents.value.values[:, 0].tolist(), "updates": updates, "seconds": seconds}
        if "floor (a true recording)" not in table.numbers:
            floors(table, run, test, reference, training)
        table.add(row.name, numbers, {
            "parameters": f"{run.model.parameters_per_fit:,}", "updates": f"{updates:,}" if updates else "-", "seconds": f"{seconds:.0f}",
            "D_stsp": spread(numbers["d_stsp"]), "D_H": spread(numbers["d_hellinger"], 3), "valid time": spread(numbers["valid_prediction_time"]),
            "largest exponent": spread(numbers["largest_exponent"]), "lost": lost(numbers["d_stsp"], FAR[settings.data]),
        })
    known = settings.data == "lorenz63"
    told = f"; the flow's largest exponent is {dr.reference_spectrum('lorenz63').value.values[0]:.3f}" if known else ""
    table.close([
        f"Lost: D_stsp beyond {FAR[settings.data]:g} or not finite. Valid times in {'Lyapunov times' if known else 'steps'}{told}; a fit of",
        "which an orbit leaves for infinity has no exponent. Parameters: those that are trained or solved.",
        f"`python studies/families.py --data {settings.data}{'' if known else ' --file ecg.npy'} --seeds {settings.seeds} --seconds {settings.seconds:g}`",
    ], [row.name for row in every])


if __name__ == "__main__":
    main(tyro.cli(Settings))
