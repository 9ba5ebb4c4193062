"""A study as one page: what was searched, what was found, beside floors and nulls, and how much of it may be luck."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

import dynrnn
from dynrnn.pages import Html, description, document, html, number
from dynrnn.reporting import fit_states
from dynrnn.results._files import replace_file
from dynrnn.study.page_figures import figures, importances_of
from dynrnn.study.page_tables import Rerun, aggregate, all_trials, best_trials, failures, metrics_of, reruns_of
from dynrnn.study.recorded import floor_of, reason_of, seconds_of
from dynrnn.study.workers import open_queue, trial_folder

if TYPE_CHECKING:
    from dynrnn.study.study import Study


def write_page(study: Study) -> Path:
    """Write ``report.html`` into the study's folder: one file that loads nothing from elsewhere. Returns its path.

    RunFolderError where it cannot be written. What of a trial's folder is missing or damaged is left out and said to be.
    Cost: O(trials) and the pictures of the best; a second or two for hundreds of trials.
    """
    queue = open_queue(study.path, study.task)
    try:
        place, trials = queue.storage.describe(), list(queue.trials())
        importances = importances_of(queue.study(), study, trials)
    finally:
        queue.storage.close()
    path = study.path / "report.html"
    replace_file(path, page(study, trials, place, importances).encode("utf-8", "replace"))
    return path


def page(study: Study, trials: Sequence[FrozenTrial], place: str, importances: dict[str, dict[str, float]] | str) -> str:
    """The page's HTML, of the trials as they are, the storage in words, and the importances or why there are none."""
    task = study.task
    front = study.front if any(trial.state == TrialState.COMPLETE for trial in trials) else []
    reruns = reruns_of(study)
    title = f"Study of {task.setting.get('model') or getattr(task.function, '__qualname__', 'a function')} on {_data_name(study)}"
    parts = [f"<h1>{html(title)}</h1>", f'<p class="sub">{html(_counted(study, trials))}</p>', _verdict(study, trials, front, reruns)]
    parts += ["<h2>Best</h2>", *best_trials(study, trials, front, reruns)]
    parts += figures(study, trials, front, importances)
    parts += ["<h2>All trials</h2>", all_trials(study, trials, {trial.number for trial in front}), *failures(trials)]
    parts += ["<h2>What was searched</h2>", _searched(study, place)]
    return document(title, "\n".join(parts))


def _data_name(study: Study) -> str:
    if study.task.data is None:
        return "its own data"
    attrs = study.task.data.training.attrs
    return str(attrs.get("dataset") or attrs.get("system") or attrs.get("source") or "a recording")


def _counted(study: Study, trials: Sequence[FrozenTrial]) -> str:
    states = [trial.state.name.lower() for trial in trials]
    words = {"complete": "complete", "pruned": "pruned", "fail": "failed", "running": "running", "waiting": "waiting"}
    counts = ", ".join(f"{states.count(state)} {word}" for state, word in words.items() if state in states)
    seconds = float(np.nansum([seconds_of(trial) for trial in trials]))
    return f"{study.path.resolve().name} · {len(trials)} of {study.task.n_trials} trials" + (f": {counts}" if counts else "") + (
        f" · {seconds / 3600:.2f} hours of training" if seconds else "")


def _verdict(study: Study, trials: Sequence[FrozenTrial], front: Sequence[FrozenTrial], reruns: Sequence[Rerun]) -> str:
    """One paragraph out of the numbers alone."""
    task = study.task
    names = list(task.objectives)
    if not front:
        said = "No trial has been completed yet." if trials else "No trial has begun."
        return f'<p class="verdict bad">{said}{" Why they failed is said below." if any(map(reason_of, trials)) else ""}</p>'
    best = front[0]
    if len(names) > 1:
        said = [f"{len(front)} trial{'s are' if len(front) > 1 else ' is'} beaten by no other one in all of {', '.join(names)}."]
    else:
        floor = floor_of(best).get(names[0])
        beside = "" if floor is None else f" (floor {number(floor)})"
        said = [f"Trial {best.number} is best: {names[0]} {number(best.values[0])}{beside}."]
    lost = _lost(study, best)
    said += lost
    complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if task.function is None and complete > 1:
        seeds = f"seed{'s' * (task.n_seeds > 1)}"
        said.append(f"It was chosen among {complete} settings on the same {task.n_seeds} {seeds} and the same data, so it looks better than it is.")
        again = next((r for r in reruns if r.number == best.number and r.seed != task.random_state), None)
        if again is None:
            command = f"dynrnn study rerun {study.path} {best.number} --random-state {task.random_state + 1} --seeds 10"
            said.append(f"How good it is with other seeds is not known yet; this tells: {command}")
        else:
            told = ", ".join(f"{name} {number(aggregate(study, name, values))} of {len(values)} fits" for name, values in again.per_fit.items())
            said.append(f"With seeds that it was not chosen by, trial {again.number} has {told}.")
    return f'<p class="verdict{" bad" if lost else ""}">{html(" ".join(said))}</p>'


def _lost(study: Study, trial: FrozenTrial) -> list[str]:
    """Whether most fits of a trial reconstruct nothing, in words."""
    metrics = None if study.task.function is not None else metrics_of(trial_folder(study.path, trial.number))
    states = [said for said in fit_states(metrics, None).values() if said]
    if metrics is None or 2 * len(states) < metrics.sizes["fit"]:
        return []
    if {"d_stsp_floor", "d_stsp_persistence"} <= set(metrics) and float(metrics.d_stsp_floor.median()) > 0.8 * float(metrics.d_stsp_persistence):
        return ["But true stretches score no better against each other than an orbit that stands still: this validation recording is too short for d_stsp."]
    return [f"But {len(states)} of its {metrics.sizes['fit']} fits have not learned the system: {', '.join(sorted({said[0] for said in states}))}."]


def _searched(study: Study, place: str) -> str:
    task = study.task
    facts: dict[str, Any] = {"fixed": ", ".join(f"{k} = {v}" for k, v in task.setting.items()) or "-"}
    facts["varied"] = Html("<br>".join(html(f"{name}: {_range(d)}") for name, d in task.space.items()))
    facts["objectives"] = ", ".join(f"{name} ({way})" for name, way in zip(task.objectives, task.directions))
    if task.function is None:
        facts["value"] = f"{task.aggregate} of {task.n_seeds} fit{'s' * (task.n_seeds > 1)} with the seeds ({task.random_state}, fit)"
    if task.data is not None:
        for name in ("training", "validation", "reference"):
            part = getattr(task.data, name)
            if part is not None:
                samples, channels = int(part.n_time.sum()), part.sizes[part.observed.dims[-1]]
                facts[f"{name} data"] = f"{samples:,} samples of {channels} channels in {part.sizes['trial']} trial{'s' * (part.sizes['trial'] > 1)}"
    facts |= {"sampler": f"{task.sampler}, {task.batch} trial{'s' * (task.batch > 1)} at a time, random_state {task.random_state}", "pruner": task.pruner}
    facts |= {"storage": place, "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("optuna", "torch", "numba"))
              + f", dynrnn {dynrnn.__version__}"}
    return description(facts) + f"<h3>Configuration</h3><pre>{html(json.dumps(task.describe(), indent=1, ensure_ascii=False))}</pre>"


def _range(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return "one of " + ", ".join(str(choice) for choice in distribution.choices)
    step = getattr(distribution, "step", None)
    how = ", evenly in the logarithm" if distribution.log else f", in steps of {step}" if step not in (None, 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{how}"
