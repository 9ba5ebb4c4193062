"""Calls as tasks of a Dask client."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tqdm.auto import tqdm

from dynrnn.errors import StudyError


def submit(client: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")                    # recordings go with the tasks, so that a lost worker loses none
        return client.submit(function, *arguments, pure=False)


def sent_once(client: Any, thing: Any) -> Any:
    """What many tasks take: a task of its own, which Dask can run again where the worker that holds it is lost."""
    return submit(client, _same, thing)


def _same(thing: Any) -> Any:
    return thing


def results_of(futures: Sequence[Any], progress: bool) -> list[Any]:
    """In their order. A task's error comes back as it is, and the others are then dropped."""
    results = []
    try:
        for future in tqdm(futures, unit="task", disable=not progress):
            results.append(_result(future))
    finally:
        for future in futures:
            future.cancel()
    return results


def _result(future: Any) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise StudyError(
            f"a task lost its worker {error.allowed_failures + 1} times; likely it runs out of memory. Make tasks smaller, or give workers more memory."
        ) from None
