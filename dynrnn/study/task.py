"""What a study is of: data, what is fixed, what is varied, what is looked for. Kept in its folder, so that any worker and any later day can go on.

    runs/study/
      study.json      the task; sealed
      data.zarr       the recordings
      study.db        the storage, unless another one was named
      trials/00012/   a run's folder for each trial: config.json, checkpoints/, results.zarr, attractor.png
      report.html
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json, json_to_distribution

from dynrnn.analysis.reconstruction import get_preset
from dynrnn.data import as_recording, split
from dynrnn.errors import ArgumentError, DynrnnError, FileFormatError, RecordingError, RunFolderError, StudyError, check_int, unknown_name
from dynrnn.models.registry import model_class
from dynrnn.models.reservoirs import Reservoir
from dynrnn.results._files import json_value, read_sealed, replace_file, seal, writing
from dynrnn.results.schema import data_fingerprint
from dynrnn.results.store import read_results, write_results
from dynrnn.study.objectives import OBJECTIVES, check_objectives, judge, names_in
from dynrnn.study.pruners import PRUNERS
from dynrnn.study.queue import check_lease
from dynrnn.study.sampling import sampler_named
from dynrnn.study.setting import build, starting_point
from dynrnn.study.space import as_space, distribution
from dynrnn.study.storage.opening import place_of
from dynrnn.training.common import adopt_units

KIND, FORMAT_VERSION = "dynrnn-study", 2
_UNREADABLE = "is no study that this dynrnn can read: another version wrote it, or it was changed. Use the version that made it."
MAY_CHANGE = ("n_trials", "storage", "study_name", "lease")
NAME = "study"                # of a study in its storage, where the storage is its own, within the folder; elsewhere the folder's name and a mark


@dataclass(frozen=True)
class Data:
    """training: what models are fitted to; validation: what they are judged on; reference: a second true recording for the floors, or None."""

    training: xr.Dataset
    validation: xr.Dataset
    reference: xr.Dataset | None = None

    def prints(self) -> dict[str, str | None]:
        return {name: None if (part := getattr(self, name)) is None else data_fingerprint(part) for name in ("training", "validation", "reference")}


@dataclass(frozen=True)
class Task:
    """``function``, where there is one, is tried in place of a model: see ``optimize``."""

    data: Data | None
    setting: dict[str, Any]
    space: dict[str, BaseDistribution]
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    n_seeds: int = 4
    aggregate: str = "median"
    preset: str = "dynrnn-1"
    sampler: str = "tpe"
    pruner: str = "none"
    n_rungs: int = 10
    batch: int = 1
    n_trials: int = 40
    random_state: int = 0
    storage: str = ""
    study_name: str = NAME
    lease: float = 60.0
    function: Callable | None = field(default=None, compare=False)

    def describe(self) -> dict[str, Any]:
        """All of it but the data, as JSON."""
        own: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("data", "space", "function")}
        own["space"] = {name: distribution_to_json(d) for name, d in self.space.items()}
        own["data"] = None if self.data is None else self.data.prints()
        own["function"] = None if self.function is None else getattr(self.function, "__qualname__", type(self.function).__name__)
        return json_value(own, "study")

    def identity(self) -> dict[str, Any]:
        """What must be the same for a worker to join, beside what the storage compares anyway."""
        return {name: value for name, value in self.describe().items() if name not in (*MAY_CHANGE, "space", "directions", "random_state")}


def make_task(
    setting: Any, space: Any, recording: Any, validation: Any, reference: Any, objective: Any, *, n_seeds: int, aggregate: str, preset: str, sampler: str,
    pruner: str, n_rungs: int, batch: int, n_trials: int, random_state: int, storage: str, lease: float,
) -> Task:
    """A task whose every part has been checked; errors come before any work."""
    check_int("n_seeds", n_seeds, low=1)
    check_int("batch", batch, low=1)
    check_int("n_trials", n_trials, low=1)
    check_int("n_rungs", n_rungs, low=1, high=20)
    sampler_named(sampler)
    if pruner not in PRUNERS:
        raise unknown_name("pruner", pruner, PRUNERS)
    if storage:
        place_of(storage)
    lease = check_lease(lease)
    common: dict[str, Any] = dict(n_seeds=n_seeds, aggregate=aggregate, preset=preset, sampler=sampler, pruner=pruner, n_rungs=n_rungs, batch=batch,
                                  n_trials=n_trials, random_state=random_state, storage=storage, lease=lease)
    if callable(setting):
        return _of_function(setting, space, objective, recording, common)
    get_preset(preset)
    fixed = starting_point(setting)
    objectives = check_objectives(objective, fixed["model"], aggregate)
    if pruner != "none" and issubclass(model_class(fixed["model"]), Reservoir):
        raise ArgumentError(f"a {fixed['model']} is solved at once, so there is nothing to prune. Leave pruner out.")
    if pruner != "none" and len(objectives) > 1:
        raise ArgumentError("a pruner compares trials by one objective, and Optuna has none for several. Leave pruner out, or name one objective.")
    if recording is None:
        raise ArgumentError("a study of a model needs a recording to train on.")
    training = as_recording(recording)
    if validation is None:
        training, validation = split(training, train=0.8)
    data = Data(training, as_recording(validation), None if reference is None else as_recording(reference))
    distributions = as_space(space, setting, training)
    if pruner != "none" and "n_updates" in distributions:
        raise ArgumentError("n_updates is varied, so trials have no common rungs to be compared at. Fix it, or leave pruner out.")
    task = Task(data, fixed, distributions, objectives, tuple(OBJECTIVES[name].direction for name in objectives), **common)
    for name, value in task.describe()["setting"].items():
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise ArgumentError(f"{name} is {value!r} in the setting, and a study keeps finite numbers. Leave it out where that is its default.") from None
    return task


def _of_function(function: Callable, space: Any, objective: Any, recording: Any, common: dict[str, Any]) -> Task:
    if not isinstance(space, Mapping) or not space:
        raise ArgumentError("the search space of a function is a table such as {'alpha': (0.05, 0.5)}, of one parameter or more.")
    directions = names_in(objective)
    if not directions or any(way not in ("minimize", "maximize") for way in directions):
        raise ArgumentError(f"for a function of your own objective is 'minimize' or 'maximize', or one for each value it returns; got {objective!r}.")
    if recording is not None or common["pruner"] != "none":
        raise ArgumentError("a function of your own has its data with it and is not pruned: leave recording and pruner out.")
    names = tuple(f"value_{i}" for i in range(len(directions)))
    return Task(None, {}, {name: distribution(name, value) for name, value in space.items()}, names, directions, **common, function=function)


def try_judging(task: Task) -> None:
    """A model that is not trained is judged once, so that data on which nothing can be judged are told before the first trial."""
    if task.data is None:
        return
    first = {name: d.choices[0] if isinstance(d, CategoricalDistribution) else d.low for name, d in task.space.items()}  # pyright: ignore
    model, _ = build(task.setting | first, task.data.training, 1, 0)
    adopt_units(model, task.data.training, standardise=True)
    try:
        judge(model, np.array(["finished"]), task.data, task.objectives, task.aggregate, task.preset)
    except DynrnnError as error:
        raise RecordingError(f"no model can be judged by {', '.join(task.objectives)} on the validation recording: {error}") from None


def keep(task: Task, folder: Path) -> Task:
    """Write the task into its folder, or compare it with the one there: StudyError names what differs. More trials and another lease are taken over.

    Returns the task as it is kept.
    """
    path = folder / "study.json"
    if path.exists():
        old = read_sealed(path, KIND, FORMAT_VERSION)["task"]
        if not isinstance(old, dict) or not {"storage", "study_name", "n_trials"} <= old.keys():
            raise FileFormatError(f"{path} {_UNREADABLE}")
        task = replace(task, storage=task.storage or old["storage"], study_name=old["study_name"])
        new = task.describe()
        wrong = [name for name in new if old.get(name) != new[name] and name not in ("lease", "n_trials")]
        if wrong:
            said = "; ".join(f"{name} is {old.get(name)!r} there and {new[name]!r} here" for name in wrong)
            raise StudyError(f"{folder} holds another study: {said}. Give another out=, or go on with what it was made with.")
        task = replace(task, n_trials=max(task.n_trials, old["n_trials"]))
        replace_file(path, seal({"format": KIND, "format_version": FORMAT_VERSION, "task": task.describe()}))
        return task
    try_judging(task)
    if not lies_within(folder, task):
        task = replace(task, study_name=f"{folder.resolve().name}-{uuid.uuid4().hex[:8]}")       # others may use that storage
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is in use: it holds other files. Give a new folder as out=.")
    with writing(folder):
        (folder / "trials").mkdir(parents=True, exist_ok=True)
    if task.data is not None:
        parts = {name: part for name in ("training", "validation", "reference") if (part := getattr(task.data, name)) is not None}
        write_results(folder / "data.zarr", parts)
    replace_file(path, seal({"format": KIND, "format_version": FORMAT_VERSION, "task": task.describe()}))      # last: with it the folder is a study
    return task


def load_task(folder: str | os.PathLike[str]) -> Task:
    """The task in a study's folder. FileFormatError for a folder without one or with other data; StudyError for one that only its own script can go on with."""
    path = Path(folder)
    if not (path / "study.json").exists():
        above = path.resolve().parents[1] if len(path.resolve().parents) > 1 else path
        hint = f"It lies within the study {above}; name that. A trial's own page: dynrnn report {path}" if (above / "study.json").exists() else (
            "Give the folder that was passed as out=.")
        raise FileFormatError(f"{path} holds no study of dynrnn (no study.json). {hint}")
    try:
        record = dict(read_sealed(path / "study.json", KIND, FORMAT_VERSION)["task"])
        prints, function = record.pop("data"), record.pop("function")
        record["space"] = {name: json_to_distribution(text) for name, text in record["space"].items()}
        arguments: dict[str, Any] = {name: tuple(value) if name in ("objectives", "directions") else value for name, value in record.items()}
        task = Task(None, **arguments)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path / 'study.json'} {_UNREADABLE} ({type(error).__name__}: {error})") from None
    if function is not None:
        raise StudyError(f"{path} tries a function of a script ({function}), and no code is loaded from a folder. Go on with that script's optimize(...).")
    tree = read_results(path / "data.zarr")
    data = Data(*(tree[name].to_dataset() if name in tree.children else None for name in ("training", "validation", "reference")))  # pyright: ignore
    if data.prints() != prints:
        raise FileFormatError(f"{path / 'data.zarr'} holds other data than the study was made with. Restore it from a copy.")
    return replace(task, data=data)


def storage_of(folder: Path, task: Task) -> str:
    """Where trials are kept: within the folder unless a path, a variable or a file was named."""
    text = task.storage or "study.db"
    inside = not any(sign in text for sign in (":", "/", os.sep))
    return str(folder / text) if inside else text


def lies_within(folder: Path, task: Task) -> bool:
    """Whether the storage is a file of the study's own folder."""
    place = place_of(storage_of(folder, task))
    return isinstance(place, Path) and place.resolve().parent == folder.resolve()
