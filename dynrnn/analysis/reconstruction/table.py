"""Scores as text: every score between its floor and its nulls."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError

ROWS = (
    ("d_stsp", "D_stsp"),
    ("d_hellinger", "D_H"),
    ("prediction_error", "PE"),
    ("valid_prediction_time", "valid time"),
)
COLUMNS = ("floor", "surrogate", "linear", "persistence", "published")


def score_table(scores: xr.Dataset) -> str:
    """Aligned plain text: a row for each score; median [min, max] over fits, then medians of floor and nulls, then the published figure.

    Notes below the table say what the bare numbers do not: fits that diverged, a floor from shorter stretches, where a
    published figure was read, at what length and for which preset. A figure in brackets is second-hand. ArgumentError for what holds no score.

    >>> data = xr.Dataset({"d_stsp": ("fit", [0.3, 0.2]), "d_stsp_floor": ("pair", [0.1])}, attrs={"preset": "gtf-2023"})
    >>> print(score_table(data))
    gtf-2023   fits, median [min, max]  floor  surrogate  linear  persistence  published
    D_stsp     0.25 [0.2, 0.3]          0.1    -          -       -            -
    """
    if not isinstance(scores, xr.Dataset) or not any(name in scores for name, _ in ROWS):
        raise ArgumentError(f"score_table takes what dr.evaluate gives, a Dataset with {', '.join(name for name, _ in ROWS)}; got {type(scores).__name__}.")
    header = [str(scores.attrs.get("preset", "")), "fits, median [min, max]", *COLUMNS]
    body, notes = [], []
    for name, label in ROWS:
        if name not in scores:
            continue
        if name == "prediction_error" and "prediction_steps" in scores.attrs:
            label += f"({scores.attrs['prediction_steps']})"
        if name == "valid_prediction_time":
            label += f" ({scores[name].attrs.get('units', 'step')})"
        cells = [label]
        values = scores[name].values.ravel()
        cells.append(f"{_number(np.median(values))} [{_number(values.min())}, {_number(values.max())}]")
        for column in COLUMNS:
            variable = scores.get(f"{name}_{column}")
            if variable is None or not variable.size:
                cells.append("-")
            elif column == "published":
                spread = variable.attrs.get("spread")
                mark = "*" * (len(notes) + 1)
                figure = _number(float(variable)) + (f"+-{_number(spread)}" if spread is not None else "")
                cells.append((f"({figure})" if variable.attrs.get("second_hand") else figure) + mark)
                notes.append(f"{mark} {_source(variable)}")
            else:
                cells.append(_number(np.median(variable.values)))
        body.append(cells)
    widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]
    widths[0] = max(widths[0], 9)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *body]]
    return "\n".join([*lines, *_merged(notes), *_warnings(scores)])


def _number(value: float) -> str:
    return f"{value:.3g}"


def _source(variable: xr.DataArray) -> str:
    attrs = variable.attrs
    parts = [str(attrs[key]) for key in ("method", "where", "note") if attrs.get(key)]
    if attrs.get("n_steps"):
        parts.append(f"at {attrs['n_steps']:,} samples")
    if attrs.get("measured_by"):
        parts.append(f"measured as {attrs['measured_by']}")
    return "; ".join(parts)


def _merged(notes: list[str]) -> list[str]:
    """One line for all figures of one source."""
    marks: dict[str, list[str]] = {}
    for note in notes:
        mark, text = note.split(" ", 1)
        marks.setdefault(text, []).append(mark)
    return [f"{', '.join(found)} {text}" for text, found in marks.items()]


def _warnings(scores: xr.Dataset) -> list[str]:
    found = []
    if "diverged" in scores and bool(scores.diverged.any()):
        which = [str(k) for k in scores.fit.values[scores.diverged.values]]
        found.append(f"{len(which)} of {scores.sizes['fit']} fits diverged (fit {', '.join(which)}); their scores are inf.")
    if scores.attrs.get("floor_is_shorter"):
        found.append(f"floor: {scores.attrs['floor_source']}; shorter than the scored orbit, so its D_stsp is too high.")
    if scores.attrs.get("var_stabilised"):
        found.append("linear: the fitted model was unstable and its roots were scaled down.")
    if "valid_prediction_time_censored" in scores and bool((scores.valid_prediction_time_censored >= 0.5).any()):
        found.append("valid time: at least half of the forecasts of a fit outlast the horizon, so it is a lower bound.")
    return found
