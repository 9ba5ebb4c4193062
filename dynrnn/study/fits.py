"""Fits of an ensemble spread over the workers of a Dask client, with the result of one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.base import Model
from dynrnn.models.ensemble import concat_models, select_model
from dynrnn.models.unwrap import model_of
from dynrnn.streams import check_random_state
from dynrnn.study.cluster import check_client
from dynrnn.study.tasks import results_of, sent_once, submit
from dynrnn.training.run import Run


def map_fits(
    function: Callable[..., Any], model: Any, *arguments: Any, client: Any = None, fits_per_task: int | None = None, progress: bool = False, **options: Any
) -> Any:
    """``function(model, *arguments, **options)``, with the fits of the ensemble spread over a client's workers; the result is the same to the bit.

    Parameters
    ----------
    function : what takes a model first and gives a Dataset or DataArray with the dim ``fit``, a model or a run: ``dr.evaluate``, ``dr.generate``, ``dr.fit``
        and the functions of ``dr.analysis`` over ensembles. Dask sends it to the workers, and it may run again where a worker is lost: it must have no
        effects beside its result.
    model : a model or the run of a fit; or a list of anything that the function takes (models of unequal shape, known maps), whose results are then put
        together along ``fit``, numbered in the list's order: a sweep.
    arguments, options : the function's own. Arrays of xarray with a dim ``fit`` are split with the fits; all else goes to every part as it is.
        ``random_state=None`` is drawn once for all.
    client : a ``dask.distributed.Client``; None calls the function here, at once.
    fits_per_task : at least 1; default spreads them evenly over the workers there are. Fits of one task are computed side by side, which is quicker than
        one by one.
    progress : show how many tasks have ended.

    A model that ``dr.fit`` trains this way is not changed in place: take ``run.model``.
    Errors of the function come back as they are. ArgumentError for ``out=`` (parts would write to the same place), and for results that cannot be put together,
    such as tables whose length depends on the fit; StudyError where a task loses its worker time and again.
    Cost: the function's own, and for each task a few milliseconds and the way of its arguments over the network.

    >>> import dynrnn as dr
    >>> model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=10, n_fits=2, random_state=0)
    >>> spectrum = dr.study.map_fits(dr.analysis.lyapunov_spectrum, model, n_steps=100, random_state=0)     # client=client spreads it
    >>> dict(spectrum.value.sizes)
    {'fit': 2, 'exponent': 3}
    """
    if options.get("out") is not None:
        raise ArgumentError("out= would have every part write to the same place. Leave it out, and store the result.")
    options = _with_one_seed(function, options)
    listed = isinstance(model, list | tuple)
    alone = list(model) if listed else [model]
    if not alone:
        raise ArgumentError("there is nothing to map: the list is empty.")
    if client is None:
        return _numbered([function(item, *arguments, **options) for item in alone]) if listed else function(model, *arguments, **options)
    check_client(client)
    parts: list[tuple[Any, Any]] = [(item, slice(None)) for item in alone] if listed else list(_parts(client, model_of(model), fits_per_task))
    common = sent_once(client, (_without_fits(arguments), _without_fits(options)))
    futures = [submit(client, _call, function, part, _of_fits(arguments, at), _of_fits(options, at), common) for part, at in parts]
    results = results_of(futures, progress)
    return _numbered(results) if listed else _joined(results)


def _call(function: Callable[..., Any], part: Any, arguments: dict[int, Any], options: dict[str, Any], common: tuple[dict[int, Any], dict[str, Any]]) -> Any:
    """A part's own arguments by place and by name, and in ``common`` those that it shares with the others."""
    places = common[0] | arguments
    return function(part, *[places[i] for i in range(len(places))], **common[1], **options)


def _with_one_seed(function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return options
    if "random_state" not in known:
        return options
    given = options.get("random_state", known["random_state"].default)
    return options | {"random_state": check_random_state(None)} if given is None else options


def _parts(client: Any, model: Model, fits_per_task: int | None):
    """Models of some fits each, and which those are."""
    n_workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    size = -(-model.n_fits // n_workers) if fits_per_task is None else check_int("fits_per_task", fits_per_task, low=1)
    for first in range(0, model.n_fits, size):
        at = range(first, min(first + size, model.n_fits))
        yield select_model(model, list(at)), slice(at.start, at.stop)


def _has_fits(value: Any) -> bool:
    return isinstance(value, xr.DataArray | xr.Dataset) and "fit" in value.dims


def _without_fits(values: Any) -> Any:
    """Of the arguments what all parts share, by place or name."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    return {key: value for key, value in pairs if not _has_fits(value)}


def _of_fits(values: Any, at: slice) -> Any:
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    return {key: value.isel(fit=at) for key, value in pairs if _has_fits(value)}


def _joined(results: Sequence[Any]) -> Any:
    """Results of parts of an ensemble as the ensemble's."""
    first = results[0]
    if isinstance(first, xr.Dataset | xr.DataArray):
        return _concat(results)
    if isinstance(first, Model):
        return concat_models(results)
    if isinstance(first, Run):
        return Run(
            concat_models([run.model for run in results]), _concat([run.history for run in results]), _concat([run.status for run in results]),
            _concat([run.refused for run in results]), concat_models([run.last for run in results]),
            None if first.best is None else concat_models([run.best for run in results]), first.config,
            {n: concat_models([run.checkpoints[n] for run in results]) for n in first.checkpoints},
            None if first.mean is None else concat_models([run.mean for run in results]),
        )
    raise ArgumentError(f"results of type {type(first).__name__} cannot be put together along fit: a Dataset, a DataArray, a model or a run is wanted.")


def _numbered(results: Sequence[Any]) -> Any:
    joined = _joined(results)
    return joined.assign_coords(fit=np.arange(joined.sizes["fit"])) if isinstance(joined, xr.Dataset | xr.DataArray) else joined


def _concat(results: Sequence[Any]) -> Any:
    """Along ``fit``; what does not have it must be the same in all."""
    if "fit" not in results[0].dims:
        raise ArgumentError(f"the function's result has no dim fit but {tuple(results[0].dims)}, so that parts cannot be put together.")
    how: dict[str, Any] = {"join": "exact", "combine_attrs": "drop_conflicts"}
    if isinstance(results[0], xr.Dataset):
        how |= {"data_vars": "minimal", "coords": "minimal", "compat": "equals"}
    try:
        return xr.concat(results, "fit", **how)
    except ValueError as error:
        raise ArgumentError(
            f"results of the fits differ in more than the fit ({error}). Tables whose length depends on the fit are made at once, with client=None."
        ) from None
