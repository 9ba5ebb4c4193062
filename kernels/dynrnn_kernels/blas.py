"""BLAS held to one thread: our kernels thread over fits and batch rows, and BLAS threads inside would fight with them and change bits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import scipy.linalg  # noqa: F401  Numba calls the BLAS that scipy loads, so it must be there to be found
from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager:
    """Context in which BLAS runs on one thread. Entering costs tens of microseconds: hold it for a whole fit, not for an update."""
    return _controller().limit(limits=1, user_api="blas")
