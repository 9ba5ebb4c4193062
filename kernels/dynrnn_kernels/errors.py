"""The error of the kernels."""

from __future__ import annotations


class KernelError(ValueError):
    """An argument that a kernel cannot take; the message names it, says why, and what would fit."""
