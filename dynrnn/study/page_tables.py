"""The tables of a study's page: the best trials with each fit's value, reruns, floors and nulls; all trials; failures by reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from optuna.trial import FrozenTrial, TrialState

from dynrnn.errors import DynrnnError
from dynrnn.pages import Html, html, note, number, table
from dynrnn.results.store import read_results
from dynrnn.study.objectives import AGGREGATES
from dynrnn.study.recorded import per_fit_of, reason_of, seconds_of
from dynrnn.study.workers import trial_folder

if TYPE_CHECKING:
    from dynrnn.study.study import Study

SHOWN = 12                  # trials of a front that are listed with each fit's value
_NULLS = {"floor": "floor", "surrogate": "surrogate", "linear": "linear model", "persistence": "persistence"}
_RERUN = re.compile(r"(\d{5,})-seed(\d+)-fits(\d+)")


class Rerun(NamedTuple):
    """A trial tried again with other seeds: the values of its fits by objective."""

    number: int
    seed: int
    folder: Path
    per_fit: dict[str, list[float]]


def aggregate(study: Study, name: str, values: Sequence[float]) -> float:
    task = study.task
    return AGGREGATES[task.aggregate](np.array(values, dtype=float), dict(zip(task.objectives, task.directions))[name])


def link(study: Study, trial: int) -> Any:
    there = trial_folder(study.path, trial)
    return Html(f'<a href="trials/{there.name}/">{trial}</a>') if there.is_dir() else trial


def best_trials(study: Study, trials: Sequence[FrozenTrial], front: Sequence[FrozenTrial], reruns: Sequence[Rerun]) -> list[str]:
    """The best trial, or the front, with each fit's value, reruns below; then floors and nulls."""
    task = study.task
    if not front:
        return [note("None yet.")]
    varied = list(task.space)
    rows: list[list[Any]] = []
    for trial in front[:SHOWN]:
        fits = per_fit_of(trial)
        said = "; ".join(f"{k} {v}" for k, v in _params(trial, varied))
        rows.append([link(study, trial.number), *(_value(v, fits.get(name)) for name, v in zip(task.objectives, trial.values)), said])
        for again in (r for r in reruns if r.number == trial.number):
            kind = "the study's seeds" if again.seed == task.random_state else "other seeds"
            where = Html(f'<a href="reruns/{html(again.folder.name)}/">again</a><small>{kind}</small>')
            rows.append([where, *(_value(aggregate(study, name, again.per_fit[name]), again.per_fit[name]) for name in task.objectives), ""])
    head = ["trial", *(Html(f"{html(name)}<small>{f'{task.aggregate}; each fit' if task.function is None else way}</small>")
                       for name, way in zip(task.objectives, task.directions)), "parameters"]
    parts = [table(head, rows, texts={len(head) - 1})]
    if len(front) > SHOWN:
        parts.append(note(f"The first {SHOWN} of {len(front)} by {task.objectives[0]}; all of them are marked in the table of all trials."))
    return parts + _beside(study, front[0])


def _value(value: float, fits: Sequence[float] | None) -> Any:
    each = "" if not fits else "<small>" + " ".join(number(v) for v in sorted(fits)) + "</small>"
    return Html(f"{number(value)}{each}")


def _params(trial: FrozenTrial, varied: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name in varied if name in trial.params for value in (trial.params[name],)]


def metrics_of(folder: Path) -> xr.Dataset | None:
    """A run's scores; None where there are none that can be read."""
    try:
        tree = read_results(folder / "results.zarr", lazy=True)
    except (DynrnnError, OSError):
        return None
    return tree["metrics"].to_dataset().load() if "metrics" in tree.children else None


def _beside(study: Study, trial: FrozenTrial) -> list[str]:
    """Scores of the best trial's fits beside floor and nulls."""
    if study.task.function is not None:
        return []
    metrics = metrics_of(trial_folder(study.path, trial.number))
    if metrics is None:
        return [note(f"Floors and nulls: the folder of trial {trial.number} holds no results that can be read.")]
    rows = []
    for name in ("d_stsp", "d_hellinger", "prediction_error", "valid_prediction_time"):
        if name in metrics:
            beside = [_middle(metrics[f"{name}_{key}"]) if f"{name}_{key}" in metrics else "-" for key in _NULLS]
            rows.append([name, _middle(metrics[name]), *beside])
    return [f"<h3>Trial {trial.number} beside floor and nulls</h3>", table(["score", "fits", *_NULLS.values()], rows), note(
        f"Medians, of one free run per fit, preset {study.task.preset}; d_stsp as an objective is the mean over eight starts, so it differs. "
        "Floor: stretches of the true system against each other. Nulls: phase-randomised data, a linear model, an orbit that stands still.")]


def _middle(values: xr.DataArray) -> str:
    return number(np.median(values.values)) if values.size else "-"


def reruns_of(study: Study) -> list[Rerun]:
    """What ``study.rerun`` has left, by trial, other seeds and more fits first."""
    found = []
    folder = study.path / "reruns"
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _RERUN.fullmatch(place.name)
        metrics = metrics_of(place) if match else None
        if match is None or metrics is None or any(f"objective_{name}" not in metrics for name in study.task.objectives):
            continue
        values = {name: [float(v) for v in metrics[f"objective_{name}"].values] for name in study.task.objectives}
        found.append(Rerun(int(match[1]), int(match[2]), place, values))
    return sorted(found, key=lambda r: (r.number, r.seed == study.task.random_state, -len(next(iter(r.per_fit.values()))), r.seed))


def all_trials(study: Study, trials: Sequence[FrozenTrial], front: set[int]) -> str:
    task = study.task
    if not trials:
        return note("None yet.")
    varied = list(task.space)
    rows, bad = [], []
    for at, trial in enumerate(trials):
        if trial.state == TrialState.FAIL:
            bad.append(at)
        state = trial.state.name.lower() if trial.state != TrialState.FAIL else "failed"
        told = dict(_params(trial, varied))
        values = [number(v) for v in trial.values] if trial.values else ["-"] * len(task.objectives)
        rows.append([link(study, trial.number), state + (" *" if trial.number in front else ""), *values, *(told.get(name, "-") for name in varied),
                     f"{seconds_of(trial):.1f}" if np.isfinite(seconds_of(trial)) else "-"])
    head = ["trial", "state", *task.objectives, *varied, Html("training<small>s</small>")]
    more = "" if task.function is not None else ", of which dynrnn report FOLDER makes a page"
    return table(head, rows, texts={1}, bad=bad) + note(f"* best, or on the front. A number leads to the trial's folder{more}.")


def failures(trials: Sequence[FrozenTrial]) -> list[str]:
    reasons: dict[str, list[int]] = defaultdict(list)
    for trial in trials:
        if trial.state == TrialState.FAIL:
            reasons[reason_of(trial) or "no reason was recorded"].append(trial.number)
    if not reasons:
        return []
    rows = [[reason, len(which), ", ".join(map(str, which[:20])) + (", …" if len(which) > 20 else "")]
            for reason, which in sorted(reasons.items(), key=lambda pair: -len(pair[1]))]
    return ["<h2>Failures</h2>", table(["reason", "trials", "which"], rows, texts={0, 2})]
