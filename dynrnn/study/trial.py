"""One trial, or several of equal shape side by side: a pure function of the task, the settings and the seed, which a checkpoint cuts short and nothing else."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, FileFormatError
from dynrnn.models.reservoirs import Reservoir
from dynrnn.models.storage import save
from dynrnn.pages import png_of
from dynrnn.plot import plot_attractor
from dynrnn.results._files import replace_file
from dynrnn.results.run_folder import RunFolder
from dynrnn.results.schema import stamp
from dynrnn.results.store import write_results
from dynrnn.study.claims import Claim
from dynrnn.study.objectives import KEPT, judge
from dynrnn.study.setting import build, side_by_side
from dynrnn.study.task import Task
from dynrnn.training.fit import fit
from dynrnn.training.loop import Progress
from dynrnn.training.resume import TRAINING
from dynrnn.training.run import Run, concat, select_run
from dynrnn.training.state import TrainingState, concat_states

SAVE_SECONDS = 10.0          # the state of a training is kept about so often, though not between two twentieths of it, or two rungs


class Part(NamedTuple):
    """A trial of a batch: what varies, its folder, and the right to work on it, where that may be lost: who has lost a trial writes nothing more of it."""

    params: dict[str, Any]
    folder: Path
    claim: Claim | None = None


@dataclass
class Outcome:
    """``values`` of the objectives (what a function of the user's returned, whatever it is), or why there are none; ``stopped``: ``watch`` ended it."""

    values: Any
    reason: str = ""
    stopped: bool = False
    about: dict[str, Any] | None = None


Watch = Callable[[int, int, np.ndarray], bool]      # (part, rung, D_stsp per fit) -> stop?


def run_trial(task: Task, params: dict[str, Any], folder: Path, *, n_seeds: int | None = None, random_state: int | None = None) -> Outcome:
    """Fit, judge and store one setting; taken up from its checkpoint where there is one."""
    return run_trials(task, [Part(params, folder)], n_seeds=n_seeds, random_state=random_state)[0]


def run_trials(
    task: Task, parts: Sequence[Part], watch: Watch | None = None, *, n_seeds: int | None = None, random_state: int | None = None,
) -> list[Outcome]:
    """Trials of one shape, in one ensemble: fit k of each is bit-equal to the same trial alone. ``watch`` sees the quality of each at the rungs."""
    assert task.data is not None
    S, seed = n_seeds or task.n_seeds, task.random_state if random_state is None else random_state
    settings = [task.setting | part.params for part in parts]
    model, training = build(side_by_side(settings, S), task.data.training, S, seed)
    if len(parts) > 1:
        model = concat([model] * len(parts))                                        # every setting sees the same first weights and windows
    for part, setting in zip(parts, settings):
        open_trial(part.folder, setting, S, seed)
    began = time.perf_counter()
    if isinstance(model, Reservoir):
        run = fit(model, task.data.training, progress=False, **training)
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ fits stopped early")   # the trial's own outcome says it
            run = _descend(task, parts, model, training, S, seed, watch)
    stopped = bool((run.status == "stopped: by the callback").any())
    return [_conclude(task, part, select_run(run, range(i * S, (i + 1) * S)), setting, seed, stopped, time.perf_counter() - began)
            for i, (part, setting) in enumerate(zip(parts, settings))]


def _descend(task: Task, parts: Sequence[Part], model: Any, training: dict[str, Any], S: int, seed: int, watch: Watch | None) -> Run:
    data = task.data
    assert data is not None
    n_updates = training.pop("n_updates", 50_000)
    start = _checkpoint(parts, model, n_updates)
    every = max(1, n_updates // 20) if task.pruner == "none" else max(1, -(-n_updates // task.n_rungs))
    beside = None
    if training.get("keep") == "best":
        beside = data.training                                                      # what judges the trial has no part in its choice
    elif watch is not None or training.get("validate_mean"):
        beside = data.validation
    kept = time.monotonic()

    def callback(progress: Progress) -> bool:
        nonlocal kept
        stop = False
        if watch is not None and progress.validation is not None and progress.update < n_updates:
            rung = progress.update // every
            told = [watch(i, rung, progress.validation[i * S : (i + 1) * S]) for i in range(len(parts))]
            stop = all(told)                                                        # an ensemble goes on while one of its settings is worth it
        if not stop and time.monotonic() - kept <= SAVE_SECONDS:
            return False
        state, kept = progress.state(), time.monotonic()
        held = [part.claim is None or not part.claim.lost.is_set() for part in parts]
        for i, part in enumerate(parts):
            if held[i]:
                state.select(range(i * S, (i + 1) * S)).save(part.folder / "checkpoints" / TRAINING)
        return stop or not any(held)

    return fit(
        model, data.training, n_updates=n_updates, validation=beside, validate_every=every, callback=callback,
        resume=start if start is not None else False, progress=False, random_state=seed, **training,
    )


def _checkpoint(parts: Sequence[Part], model: Any, n_updates: int) -> TrainingState | None:
    """The state that all parts stand at, or None: parts of a batch that were cut off at different updates begin anew, and reach the same bits."""
    try:
        states = [TrainingState.load(part.folder / "checkpoints" / TRAINING) for part in parts]
        state = concat_states(states)
    except (FileFormatError, ArgumentError):
        return None
    return state if state.n_fits == model.n_fits and state.done <= n_updates else None


def open_trial(folder: Path, setting: dict[str, Any], n_seeds: int, random_state: int) -> RunFolder:
    """A trial's folder: a new one, or the one that a killed worker left."""
    config = {"setting": setting, "n_seeds": n_seeds, "random_state": random_state, "threads": numba.get_num_threads()}
    if RunFolder(folder).config_path.exists():
        return RunFolder.open(folder)
    return RunFolder.create(folder, config)


def _conclude(task: Task, part: Part, run: Run, setting: dict[str, Any], seed: int, stopped: bool, seconds: float) -> Outcome:
    """Judge and store a trial that has been trained."""
    assert task.data is not None
    if part.claim is not None and not part.claim.renew():
        return Outcome(None, "another worker has the trial")
    judged = judge(run.model, run.status.values, task.data, task.objectives, task.aggregate, task.preset)
    folder = RunFolder.open(part.folder)
    save(run.model, folder.checkpoints / "last")
    shown = {"time": slice(0, KEPT)}
    test = task.data.validation.isel(shown)
    test["n_time"] = test.n_time.clip(max=KEPT)
    tree = xr.DataTree.from_dict({
        "/training": run.history.assign(status=run.status, refused=run.refused), "/observed_data": test, "/generated": judged.orbit,
        "/metrics": judged.scores.assign({f"objective_{name}": ("fit", value) for name, value in judged.per_fit.items()}),
    })
    figure = plot_attractor(tree)
    replace_file(part.folder / "attractor.png", png_of(figure, dpi=80))
    tree.attrs = stamp({"setting": setting}, random_state=seed, data_fingerprint=task.data.prints()["training"] or "")
    write_results(folder.results, tree)
    ended = [str(status) for status in run.status.values]
    about = {
        "folder": part.folder.name, "seconds": round(seconds, 3), "per_fit": {name: [float(v) for v in value] for name, value in judged.per_fit.items()},
        "status": ended, "floor": {name: float(np.median(judged.scores[f"{name}_floor"])) for name in ("d_stsp", "d_hellinger")},
    }
    about["per_fit"] = {name: [v if np.isfinite(v) else str(v) for v in value] for name, value in about["per_fit"].items()}
    bad = [name for name, value in zip(task.objectives, judged.values) if not np.isfinite(value)]
    if bad:
        lost = int((~np.isfinite(judged.per_fit[bad[0]])).sum())
        states = sorted({status for status in ended if status != "finished"}) or ["their free runs are not finite"]
        return Outcome(None, f"{lost} of {len(ended)} fits have no finite {bad[0]}: {'; '.join(states)}", stopped, about)
    return Outcome([float(value) for value in judged.values], "", stopped, about)


