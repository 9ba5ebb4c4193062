"""What studies that print one table share: rows that are computed once, and what they will cost, told before.

Every row's numbers go into a JSON beside the Markdown table as soon as they are there, so that a study that was broken off goes on with the next row.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

import dynrnn as dr
from dynrnn.models import Reservoir

FULL = 250_000            # updates of a fit as published (Hess et al. 2023)
MOST_TRIED = 20_000       # updates, to see what one costs


@dataclass
class Row:
    """One line of a table: ``make(n_fits=, random_state=)`` builds the model, ``options`` are those of ``fit``. A reservoir takes no updates."""

    name: str
    make: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    training: Any = None
    """What this row trains on, where it is not the table's recording."""
    share: float = 1.0
    """Of the table's updates, for a model of which each costs many times as much."""
    notes: dict[str, str] = field(default_factory=dict)
    """Cells that are no result of the fits, by column."""
    beside: dict[str, Literal["last", "best", "mean"]] = field(default_factory=dict)
    """More lines of the same fits, with the parameters of another choice; "best" is by free runs against the training data."""

    @property
    def names(self) -> list[str]:
        return [self.name, *self.beside]


class Table:
    """``path`` (.md), and the numbers in a .json of the same name, which must be of the same settings."""

    def __init__(self, path: Path, title: str, columns: Sequence[str], settings: dict[str, Any]):
        self.path, self.title, self.columns = path, title, list(columns)
        self.settings = json.loads(json.dumps(settings, default=str))
        self.numbers: dict[str, dict[str, Any]] = {}
        self.footer: list[str] = []
        store = path.with_suffix(".json")
        if store.exists():
            kept = json.loads(store.read_text())
            if kept["settings"] != self.settings:
                raise SystemExit(f"{store} holds rows of other settings ({kept['settings']}); give another --out, or remove it.")
            self.numbers, self.footer = kept["rows"], kept["footer"]
        path.parent.mkdir(parents=True, exist_ok=True)

    def missing(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self.numbers]

    def add(self, name: str, numbers: dict[str, Any], cells: dict[str, str]) -> None:
        """A finished row: ``numbers`` (JSON-able) and what each column shows. Both files are whole at any moment."""
        self.numbers[name] = {**numbers, "cells": cells}
        self._write()
        print(self._line(name), flush=True)

    def close(self, footer: Sequence[str], order: Sequence[str] = ()) -> None:
        """The lines below the table, and its rows as in ``order``, after those that it does not name."""
        place = {name: k for k, name in enumerate(order)}
        self.numbers = dict(sorted(self.numbers.items(), key=lambda item: place.get(item[0], -1)))
        self.footer = list(footer)
        self._write()

    def _line(self, name: str) -> str:
        cells = self.numbers[name]["cells"]
        return "| " + " | ".join([name, *(str(cells.get(c, "-")) for c in self.columns[1:])]) + " |"

    def _write(self) -> None:
        head = ["# " + self.title, "", "| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        text = "\n".join([*head, *(self._line(name) for name in self.numbers), "", *self.footer]) + "\n"
        kept = json.dumps({"settings": self.settings, "rows": self.numbers, "footer": self.footer}, indent=1)
        for path, content in ((self.path, text), (self.path.with_suffix(".json"), kept)):
            beside = path.with_name(path.name + ".part")
            beside.write_text(content)
            os.replace(beside, path)


def tell_cost(rows: Sequence[Row], training: Any, seeds: int, updates: int, random_state: int) -> None:
    """Core-hours that the rows' fits will take: by processor time of one fit each on one thread."""
    total = 0.0
    for row in rows:
        model = row.make(n_fits=1, random_state=random_state)
        if isinstance(model, Reservoir):
            continue
        descent = {name: value for name, value in row.options.items() if not name.startswith("validate")}
        options = {"progress": False, "random_state": random_state, "n_threads": 1, **descent, "keep": "last"}
        data = training if row.training is None else row.training
        total += seconds_per_update(model, data, options, 0.3, time.process_time) * seeds * updates_of(row, updates)
    print(f"{len(rows)} rows of {seeds} seeds, {updates:,} updates each unless a row says fewer: about {total / 3600:.2f} core-hours of training", flush=True)


def recordings(settings: Any) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset, xr.Dataset | None]:
    """What trains, what judges, a reference for its floor, and the whole recording where it is scored too, by a study's settings."""
    if settings.data == "ecg":
        if settings.file is None:
            raise SystemExit("--data ecg needs --file: a .npy of shape (time, channel).")
        whole = dr.as_recording(np.load(settings.file).astype(np.float64))
        training, test = dr.split(whole, train=0.8)
        whole.attrs["dataset"] = "ecg"
        return training, test, training, whole
    load = partial(dr.load_dataset, settings.data, n_steps=settings.steps, **({"n_dims": 20} if settings.data == "lorenz96" else {}))
    training = load(noise=0.05, random_state=settings.random_state)
    return training, load(n_trials=settings.tests, random_state=1_000), load(n_trials=2, random_state=2_000), None


def updates_of(row: Row, updates: int) -> int:
    return max(1, round(row.share * updates))


def seconds_per_update(model: Any, data: Any, options: dict[str, Any], enough: float, clock: Callable[[], float]) -> float:
    """By ``clock``, of so many updates that they take ``enough`` seconds more than a third of them, since every call prepares its data; none that compiles.
    Fits that have all stopped take no time however many there are, so it ends at some number, as if they had taken ``enough``."""

    def took(n: int) -> float:
        began = clock()
        dr.fit(dr.concat([model]), data, n_updates=n, **options)
        return clock() - began

    took(2)
    n, more = 4, 0.0
    while more < enough and n < MOST_TRIED:
        n *= 3
        more = took(n) - took(n // 3)
    return max(more, enough) / (n - n // 3)


def trained(row: Row, training: Any, seeds: int, updates: int, random_state: int) -> Any:
    """The run of all seeds of a row; what is best is so by free runs against the training data."""
    model = row.make(n_fits=seeds, random_state=random_state)
    data = training if row.training is None else row.training
    if isinstance(model, Reservoir):
        return dr.fit(model, data, progress=False, **row.options)
    beside = data if "best" in row.beside.values() else None
    return dr.fit(model, data, validation=beside, n_updates=updates_of(row, updates), random_state=random_state, progress=False, **row.options)


def judged(run: Any, tests: xr.Dataset, preset: str) -> dict[str, list[float]]:
    """D_stsp, D_H, the prediction error and the valid prediction time of each seed, and D_stsp of a phase-randomised surrogate of each trial: means over the
    trials of ``tests``, from whose first samples the free runs start."""
    scores = [dr.evaluate(run, tests.isel(trial=[k]), preset=preset, n_null=1) for k in range(tests.sizes["trial"])]
    names = ("d_stsp", "d_hellinger", "prediction_error", "valid_prediction_time", "d_stsp_surrogate")
    return {name: np.mean([s[name].values for s in scores], 0).tolist() for name in names}


def floors(table: Table, run: Any, test: xr.Dataset, reference: Any, training: Any, label: str = "") -> None:
    """Rows of what a score can be at best, and without any dynamics learned."""
    found = dr.evaluate(run, test.isel(trial=[0]), reference=reference, preset="gtf-2023", training=training)
    for name in ("floor", "surrogate", "linear"):
        cells = {"D_stsp": spread(found[f"d_stsp_{name}"].values), "D_H": spread(found[f"d_hellinger_{name}"].values, 3)}
        if f"prediction_error_{name}" in found:
            cells["PE(20)"] = f"{float(found[f'prediction_error_{name}']):.2g}"
        what = {"floor": "floor (a true recording)", "surrogate": "phase-randomised surrogate", "linear": "linear model (VAR)"}[name]
        table.add(what + label, {}, cells)


def spread(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """Median and range, of those that are numbers; how many are not is said."""
    x = np.asarray(values)
    known = x[~np.isnan(x)]
    if not len(known):
        return f"{len(x)} undefined"
    text = f"{np.median(known):.{digits}f} ({np.min(known):.{digits}f} to {np.max(known):.{digits}f})"
    return text if len(known) == len(x) else f"{text}, {len(x) - len(known)} undefined"


def lost(values: Sequence[float] | np.ndarray, far: float) -> str:
    return f"{int((~(np.asarray(values) <= far)).sum())} of {len(values)}"
