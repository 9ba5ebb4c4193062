"""Scores against stored recordings that are larger than memory, trial by trial, here or on the workers of a Dask client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xarray as xr

from dynrnn.analysis.reconstruction import evaluate, get_preset
from dynrnn.errors import ArgumentError, RecordingError, check_int, unknown_name
from dynrnn.models.unwrap import model_of
from dynrnn.results.store import read_results
from dynrnn.study.cluster import check_client
from dynrnn.study.tasks import results_of, sent_once, submit


def evaluate_store(
    model: Any, path: str | os.PathLike[str], group: str = "test_data", *, client: Any = None, trials_per_task: int = 1, progress: bool = False, **options: Any
) -> xr.Dataset:
    """``dr.evaluate`` of every fit against each trial of a stored recording; no process holds more than one trial.

    Parameters
    ----------
    model : what ``dr.evaluate`` takes.
    path, group : a store of ``dr.results.write_results``, and the group in it that is a recording (``observed`` with dims trial, time, feature). With a client,
        workers open it themselves: it lies on a file system that all see.
    client : a ``dask.distributed.Client``; None works here, one trial after the other.
    trials_per_task : at least 1. Many short trials are quicker in tasks of several.
    progress : show how many tasks have ended.
    options : of ``dr.evaluate``, but ``generated``. ``reference`` and ``training`` go to every task as they are.

    Returns the scores of ``dr.evaluate`` with the dim ``trial`` before the others. ``dr.evaluate`` of the whole recording pools trials for D_stsp instead, and
    so has a lower floor; here each trial stands beside its own floor and nulls, which shows where a model fails. The result is the same to the bit with and
    without a client.

    FileFormatError for what is no store or is damaged, UnknownNameError for a group that is not there, RecordingError for one that is no recording or has a
    trial that is too short for the preset, before any work; the errors of ``dr.evaluate``, which then name the trial.
    Cost: that of ``dr.evaluate`` for each trial; memory O(length of a trial) in each process.

    >>> import tempfile
    >>> import numpy as np, dynrnn as dr
    >>> model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=10, n_fits=2, random_state=0)
    >>> recording = dr.as_recording(list(np.random.default_rng(0).standard_normal((2, 300, 3)).cumsum(1)), dt=0.1)
    >>> store = dr.results.write_results(tempfile.mkdtemp() + "/many.zarr", {"test_data": recording})
    >>> scores = dr.study.evaluate_store(model, store, n_null=1)                          # client=client spreads it
    >>> dict(scores.d_stsp.sizes)
    {'trial': 2, 'fit': 2}
    """
    if "generated" in options:
        raise ArgumentError("generated= is one orbit for the whole recording. Leave it out: each trial has a free run of its own.")
    check_int("trials_per_task", trials_per_task, low=1)
    place, trained = Path(path).resolve(), model_of(model)
    recording = _recording(place, group)
    trials, steps = recording.trial.values, get_preset(options.get("preset", "dynrnn-1")).prediction_steps
    for trial, length in zip(trials.tolist(), recording.n_time.values.tolist(), strict=True):
        if length <= steps:
            raise RecordingError(f"trial {trial} of {place} has {length} samples, and a forecast of {steps} steps needs more. Leave it out of the store.")
    parts = [range(first, min(first + trials_per_task, len(trials))) for first in range(0, len(trials), trials_per_task)]
    if client is None:
        scored = [_scores(trained, place, group, part, options) for part in parts]
    else:
        check_client(client)
        common = [sent_once(client, thing) for thing in (trained, options)]
        scored = results_of([submit(client, _scores, common[0], place, group, part, common[1]) for part in parts], progress)
    how: dict[str, Any] = {"join": "exact", "combine_attrs": "drop_conflicts", "data_vars": "all", "coords": "minimal", "compat": "override"}
    return xr.concat([scores for part in scored for scores in part], "trial", **how).assign_coords(trial=trials)


def _recording(path: Path, group: str) -> xr.Dataset:
    """Lazily: nothing but coordinates is read."""
    tree = read_results(path, lazy=True)
    if group not in tree.children:
        raise unknown_name(f"group of {path}", group, list(tree.children))
    found = tree[group].to_dataset()
    if not {"observed", "n_time"} <= set(found.variables) or "trial" not in found.observed.dims:
        raise RecordingError(f"the group {group!r} of {path} is no recording: it has no variables observed (trial, time, feature) and n_time (trial).")
    return found


def _scores(model: Any, path: Path, group: str, trials: range, options: dict[str, Any]) -> list[xr.Dataset]:
    recording, found = _recording(path, group), []
    for k in trials:
        try:
            found.append(evaluate(model, recording.isel(trial=[k]).load(), **options))
        except (ArgumentError, RecordingError) as error:
            raise type(error)(f"trial {recording.trial.values[k]} of {path}: {error}") from None
    return found
