"""BLAS held to one thread: our kernels thread over fits and batch rows, and BLAS threads inside would fight with them and change bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock

import scipy.linalg  # noqa: F401  Numba calls the BLAS that scipy loads, so it must be there to be found
from threadpoolctl import ThreadpoolController

_lock, _restore = Lock(), ExitStack()
_holders = 0


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Context in which BLAS runs on one thread, until the last of those that ask for it at a time is done.

    The first to enter pays half a millisecond, others nothing: hold it for a whole fit around many calls that want it as well.
    """
    global _holders
    with _lock:
        if _holders == 0:
            _restore.enter_context(_controller().limit(limits=1, user_api="blas"))
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _restore.close()
