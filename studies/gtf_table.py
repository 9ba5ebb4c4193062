"""Table 1 of generalised teacher forcing (Hess et al. 2023) again: every method that the toolkit has on Lorenz-63, Lorenz-96 or an electrocardiogram.

    python studies/gtf_table.py                                     # Lorenz-63 with 5 % noise, 10 seeds, 60,000 updates a fit
    python studies/gtf_table.py --data lorenz96
    python studies/gtf_table.py --data ecg --file ecg.npy           # a (time, 5) array; its last fifth judges, and the whole beside it
    python studies/gtf_table.py --full                              # 250,000 updates, as published

Expected core-hours first, then a row as soon as it is there; a study that was broken off goes on where it was. Medians over seeds with their range, last
checkpoint ("mean": the mean of the last updates; "best free run" and "best mean": the checkpoint, the mean, that runs freely best against the training
data), nothing left out. Floors and nulls are rows of the table, published figures columns.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
import xarray as xr
from rows import FULL, Row, Table, floors, judged, lost, recordings, spread, tell_cost, trained, updates_of

import dynrnn as dr
from dynrnn.analysis.reconstruction import published_scores, score_orbits
from dynrnn.models import Reservoir

COLUMNS = ("method", "parameters", "updates", "D_stsp", "D_H", "PE(20)", "lost", "published D_stsp", "published D_H")
FAR = {"lorenz63": 2.0, "lorenz96": 1.0, "ecg": 10.0}                                # D_stsp beyond which a fit counts as lost: below the surrogate's

TITLES = {"lorenz63": "Lorenz-63, 5 % noise", "lorenz96": "Lorenz-96 in 20 dimensions, 5 % noise", "ecg": "An electrocardiogram"}


@dataclass
class Settings:
    """Arguments of the study."""

    data: Literal["lorenz63", "lorenz96", "ecg"] = "lorenz63"
    file: Path | None = None
    """The electrocardiogram, .npy of shape (time, channel)."""
    only: tuple[str, ...] = ()
    """Names of rows; all by default."""
    seeds: int = 10
    updates: int = 60_000
    full: bool = False
    """250,000 updates a fit, as published."""
    steps: int = 100_000
    """Samples of a recording of a known system."""
    tests: int = 3
    """Clean recordings of a known system that judge."""
    random_state: int = 0
    out: Path | None = None
    """Default studies/tables/gtf_<data>.md."""


def methods(data: str, N: int) -> list[Row]:
    """Sizes and strengths as published for the electrocardiogram; on Lorenz-63 those of studies/lorenz63.py, on Lorenz-96 ours (no script is published)."""
    M, H, affine, alpha = {"lorenz63": (3, 50, "identity", 0.15), "lorenz96": (N, 100, "identity", 0.15), "ecg": (N, 250, "affine", 0.3)}[data]
    condition = dr.Regularisation(observation=1e-7 if affine == "affine" else 0.0)
    decayed: dict[str, Any] = {"learning_rate": (1e-3, 1e-6), "regularisation": condition}
    by = "both" if data == "ecg" else "d_stsp"                                        # D_stsp does not see a heart's pace
    high = {
        "forcing": dr.GeneralizedTeacherForcing((1.3 * alpha, 0.7 * alpha)), "learning_rate": (3e-3, 1e-3) if data != "ecg" else (2e-3, 5e-4),
        "validate_by": by,
    }
    sparse = {"forcing": dr.SparseTeacherForcing(), "learning_rate": (1e-3, 1e-5)}

    def shallow(hidden: int, **o: Any) -> Any:
        return dr.ShallowPLRNN(N, M, hidden, clipped=True, observation=affine, **o)

    def row(name: str, published: str, hidden: int = H, beside: dict[str, Any] | None = None, **options: Any) -> Row:
        return Row(name, partial(shallow, hidden), decayed | options, notes={"published": published}, beside=beside or {})

    short = []
    if data == "lorenz63":                                                            # the interval of studies/minimal_codes.py, beside the one the data say
        short = [Row("AL-RNN, sparse forcing at 10", lambda **o: dr.ALRNN(N, 20, 2, **o), sparse | {"forcing": dr.SparseTeacherForcing(10), "noise": 0.05})]
    tau = 221 if data == "ecg" else 25
    wide = 2 * H if data != "ecg" else H
    return [
        row(
            "shallow PLRNN, GTF", "shallow PLRNN + GTF", forcing=dr.GeneralizedTeacherForcing(alpha), validate_every=2_000, validate_by=by,
            beside={"shallow PLRNN, GTF, best free run": "best"},
        ),
        row("shallow PLRNN, GTF annealed", "", forcing=dr.GeneralizedTeacherForcing((2 * alpha, alpha / 2))),
        row("shallow PLRNN, GTF adaptive", "shallow PLRNN + adaptive GTF", forcing=dr.AdaptiveTeacherForcing()),
        row(
            f"shallow PLRNN (H={wide}), GTF, high rate, mean", "", wide, **high, keep="mean", mean_over=0.25, validate_mean=True,
            beside={f"shallow PLRNN (H={wide}), GTF, high rate, best mean": "best"},
        ),
        row(f"shallow PLRNN, unforced windows of {tau}", "shallow PLRNN + sparse forcing", forcing=dr.FreeRunning(), sequence_length=tau, gradient_clip=1.0),
        *([row("shallow PLRNN, unforced windows of 200", "", forcing=dr.FreeRunning(), gradient_clip=1.0)] if tau < 200 else []),
        row("shallow PLRNN, sparse forcing", "", forcing=dr.SparseTeacherForcing()),
        Row(
            "dendritic PLRNN, sparse forcing", lambda **o: dr.DendriticPLRNN(N, 30, 50 if data == "ecg" else 20, clipped=True, **o), sparse,
            notes={"published": "dendritic PLRNN + identity forcing"}, share=1 / 3,
        ),
        Row(
            "AL-RNN, sparse forcing", lambda **o: dr.ALRNN(N, 20 if N == 3 else 100, 50 if data == "lorenz96" else 2, **o), sparse | {"noise": 0.05},
            notes={"published": "AL-RNN (M=20, P=2)"},
        ),
        *short,
        Row("ESN, 300 units", lambda **o: dr.ESN(N, 300, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, **o), notes={"published": "reservoir"}),
        Row("ES2N, 300 units", lambda **o: dr.ResidualESN(N, 300, beta=0.5, input_scaling=0.5, bias_scaling=1.0, **o)),
    ]


def published(data: str, method: str) -> dict[str, str]:
    """Cells of the published columns; a figure that nobody could check is in brackets."""
    cells = {}
    for preset in ("gtf-2023", "cns-2023"):
        for score in published_scores(data, preset):
            column = {"d_stsp": "published D_stsp", "d_hellinger": "published D_H"}.get(score.score)
            if score.method == method and column:
                text = f"{score.value:g}" + ("" if score.spread is None else f" +- {score.spread:g}")
                cells.setdefault(column, f"({text})" if score.second_hand else text)
    return cells


def halves(table: Table, x: np.ndarray) -> None:
    """The row of what a score of the whole recording can be at best: its first half against its second."""
    half = len(x) // 2
    found = score_orbits([x[:half]], x[None, None, half:], "gtf-2023", n_null=0)
    cells = {"D_stsp": spread(found.d_stsp.values), "D_H": spread(found.d_hellinger.values, 3)}
    table.add("floor, whole: first half against second", {}, cells)


def scored(run: Any, test: xr.Dataset, whole: xr.Dataset | None, far: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Numbers and cells of a row."""
    numbers: dict[str, Any] = judged(run, test, "gtf-2023")
    cells = {
        "D_stsp": spread(numbers["d_stsp"]), "D_H": spread(numbers["d_hellinger"], 3), "PE(20)": f"{np.median(numbers['prediction_error']):.2g}",
        "lost": lost(numbers["d_stsp"], far),
    }
    if whole is not None:
        numbers["whole"] = judged(run, whole, "gtf-2023")
        for column, name, digits in (("D_stsp", "d_stsp", 2), ("D_H", "d_hellinger", 3)):
            cells[column] += f"; whole {spread(numbers['whole'][name], digits)}"
        cells["lost"] += "; whole " + lost(numbers["whole"]["d_stsp"], far)
    return numbers, cells


def main(settings: Settings) -> None:
    training, test, reference, whole = recordings(settings)
    updates = FULL if settings.full else settings.updates
    out = settings.out or Path(__file__).parent / "tables" / f"gtf_{settings.data}.md"
    kept = {k: v for k, v in asdict(settings).items() if k not in ("only", "out", "file")} | {"updates": updates}
    table = Table(out, f"{TITLES[settings.data]}: medians over {settings.seeds} seeds, preset gtf-2023", COLUMNS, kept)
    every = methods(settings.data, test.sizes[test.observed.dims[-1]])
    rows = [row for row in every if table.missing(row.names) and (not settings.only or set(row.names) & set(settings.only))]
    tell_cost(rows, training, settings.seeds, updates, settings.random_state)
    for row in rows:
        run = trained(row, training, settings.seeds, updates, settings.random_state)
        if f"floor (a true recording){'' if whole is None else ', last fifth'}" not in table.numbers:
            floors(table, run, test, reference, training, "" if whole is None else ", last fifth")
            if whole is not None:
                halves(table, whole.observed.values[0])
        for name in table.missing(row.names):
            chosen = replace(run, model=getattr(run, row.beside[name])) if name in row.beside else run
            numbers, cells = scored(chosen, test, whole, FAR[settings.data])
            cells |= {
                "parameters": f"{run.model.parameters_per_fit:,}", "updates": "-" if isinstance(run.model, Reservoir) else f"{updates_of(row, updates):,}",
            }
            table.add(name, numbers, cells | (published(settings.data, row.notes.get("published", "")) if name == row.name else {}))
    table.close([
        "Published: GTF's Table 1 (ICML 2023; its poster; median +- MAD of 20 runs, 250,000 updates, judged on a test half that is not here), figures in",
        "brackets second-hand, those of one run from the tutorials' notebooks by preset cns-2023. Lost: D_stsp beyond "
        f"{FAR[settings.data]:g} or not finite.",
        "PE(20): mean squared error 20 steps ahead, in variances. Mean: of the parameters over the last quarter of the updates. Best free run, best mean: the",
        "checkpoint, of one in 2,000 updates, and the mean of the parameters, of those over each twentieth of the updates, whose free runs are best beside the",
        f"training data by D_stsp{' times D_H' if settings.data == 'ecg' else ''}. The other rows are of the last update.",
        f"`python studies/gtf_table.py --data {settings.data}{' --file ecg.npy' if settings.file else ''} --seeds {settings.seeds} --updates {updates}`",
    ], [name for row in every for name in row.names])


if __name__ == "__main__":
    main(tyro.cli(Settings))
