"""Threads of compiled code: it holds no GIL, and Numba's own parallel regions would compile all that they call several times over."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numba import extending, get_num_threads, njit, types
from numba.core import typing as numba_typing

intrinsic: Any = extending.intrinsic    # which takes the argument ``typing`` away, unknown to type checkers
ARRIVED, ROUND = 0, 1                   # what a meeting's two numbers count
_yield: Any = types.ExternalFunction("sched_yield", numba_typing.signature(types.int32))
CAN_YIELD = os.name == "posix"


def in_threads(function: Callable[..., Any], n_items: int, *arguments: Any) -> None:
    """function(thread, n_threads, *arguments) on as many threads as there are, and as there are items; all of them run at once."""
    n = max(1, min(get_num_threads(), n_items))
    if n == 1:
        function(0, 1, *arguments)
        return
    with ThreadPoolExecutor(n - 1) as pool:
        jobs = [pool.submit(function, k, n, *arguments) for k in range(1, n)]
        function(0, n, *arguments)
        for job in jobs:
            job.result()


def side_by_side(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """[function(item), ...] on as many threads as there are: for what holds no GIL for long, as NumPy's draws, sorting, transforms and reductions."""
    n = min(get_num_threads(), len(items))
    if n <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(function, items))


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def _add_to(typing, numbers, index, value):
    """numbers[index] += value, seen by all threads at once; returns what was there."""

    def build(context, builder, signature, args):
        return builder.atomic_rmw("add", _pointer(context, builder, signature, args), args[2], "seq_cst")

    return types.int64(numbers, index, types.int64), build


@intrinsic
def _read(typing, numbers, index):
    """numbers[index] as the last thread left it, and after it all that this thread wrote before."""

    def build(context, builder, signature, args):
        return builder.load_atomic(_pointer(context, builder, signature, args), "acquire", 8)

    return types.int64(numbers, index), build


@njit(cache=True, nogil=True)
def meet(meeting, n_threads):
    """Go on when all n_threads are here; what each wrote before, all see after. meeting: int64 zeros [2], one for all meetings of the same threads."""
    if n_threads == 1:
        return
    now = _read(meeting, ROUND)
    if _add_to(meeting, ARRIVED, 1) == n_threads - 1:
        _add_to(meeting, ARRIVED, -n_threads)
        _add_to(meeting, ROUND, 1)
        return
    while _read(meeting, ROUND) == now:
        if CAN_YIELD:
            _yield()
