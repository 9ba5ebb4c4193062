"""The pictures of a study's page."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from dynrnn.pages import Html, html, note, number, picture, png_of
from dynrnn.plot import plot_study_front, plot_study_history, plot_study_importances, plot_study_slices
from dynrnn.study.page_tables import link
from dynrnn.study.workers import trial_folder

if TYPE_CHECKING:
    from dynrnn.study.study import Study

PICTURES = 6                # attractors of the best
FEWEST = 20                 # complete trials below which importances are noise
SLICES = 12                 # parameters that are drawn


def importances_of(optuna_study: optuna.Study, study: Study, trials: Sequence[FrozenTrial]) -> dict[str, dict[str, float]] | str:
    """Shares of the parameters for each objective, or why there are none."""
    complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if len(study.task.space) < 2:
        return "Importances compare parameters, and one alone is varied."
    if complete < FEWEST:
        return f"Importances need {FEWEST} complete trials, and there are {complete}."
    shares = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                                         # that low values are taken for good, which the sign sees to
            for i, (name, way) in enumerate(zip(study.task.objectives, study.task.directions)):
                sign = 1.0 if way == "minimize" else -1.0
                shares[name] = optuna.importance.get_param_importances(optuna_study, target=lambda trial, i=i, sign=sign: sign * trial.values[i])
    except (ValueError, RuntimeError) as error:
        return f"Importances could not be computed: {error}"
    return shares


def figures(study: Study, trials: Sequence[FrozenTrial], front: Sequence[FrozenTrial], importances: dict[str, dict[str, float]] | str) -> list[str]:
    if not trials:
        return []
    task = study.task
    values, params = _frames(study, trials)
    history = png_of(plot_study_history(values, dict(zip(task.objectives, task.directions))))
    parts = ["<h2>History</h2>", picture(history, "History", "Every trial, by number; crosses at the foot have failed.")]
    if front and len(task.objectives) > 1:
        parts += ["<h2>Front</h2>", picture(png_of(plot_study_front(values, task.objectives, [t.number for t in front])), "Front",
                                           "Trials by their objectives; on the front, none beats another in all.")]
    parts += _attractors(study, trials, front)
    parts.append("<h2>Parameters</h2>")
    if isinstance(importances, str):
        parts.append(note(importances))
    else:
        parts.append(picture(png_of(plot_study_importances(importances)), "Importances",
                             "How much the better trials' values of a parameter differ from all trials' (PED-ANOVA): of few trials, a hint."))
    shown = pd.DataFrame(params.iloc[:, :SLICES])
    logarithmic = [name for name, d in task.space.items() if getattr(d, "log", False)]
    best = front[0].number if front and len(task.objectives) == 1 else None
    for name in task.objectives:
        if np.isfinite(values[name]).any():
            parts.append(picture(png_of(plot_study_slices(values, shown, name, logarithmic=logarithmic, best=best)), f"Parameters and {name}",
                                 f"{name} against each parameter, all others varying."))
    if len(params.columns) > SLICES:
        parts.append(note(f"The first {SLICES} of {len(params.columns)} parameters are drawn."))
    return parts


def _attractors(study: Study, trials: Sequence[FrozenTrial], front: Sequence[FrozenTrial]) -> list[str]:
    """Pictures of the best trials, as they were stored with them."""
    task = study.task
    ranked = list(front)
    if len(task.objectives) == 1:
        sign = 1.0 if task.directions[0] == "minimize" else -1.0
        ranked = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=lambda t: (sign * t.values[0], t.number))
    found = []
    for trial in ranked[:PICTURES]:
        path = trial_folder(study.path, trial.number) / "attractor.png"
        try:
            png = path.read_bytes()
        except OSError:
            continue
        told = ", ".join(f"{name} {number(v)}" for name, v in zip(task.objectives, trial.values))
        found.append(picture(png, f"Attractor of trial {trial.number}", Html(f"Trial {link(study, trial.number)}: {html(told)}")))
    return ["<h2>Best attractors</h2>", '<div class="side">', *found, "</div>"] if found else []


def _frames(study: Study, trials: Sequence[FrozenTrial]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """States and objectives, and parameters: apart, since a parameter may bear any name."""
    nothing = [np.nan] * len(study.task.objectives)
    at = pd.Index([trial.number for trial in trials], name="number")
    values = pd.DataFrame([trial.values or nothing for trial in trials], index=at, columns=pd.Index(study.task.objectives), dtype=float)
    values.insert(0, "state", np.array([trial.state.name.lower() for trial in trials], dtype=object))
    params = pd.DataFrame({name: pd.Series([trial.params.get(name) for trial in trials], index=at, dtype=object) for name in study.task.space}, index=at)
    return values, params
