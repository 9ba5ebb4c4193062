"""Partitions that a user gives, and codes made coarser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from dynrnn.errors import ArgumentError


def partition_labels(partition: Any, dim: int) -> Callable[[np.ndarray], np.ndarray]:
    """States (n, dim) -> labels (n, 1), checked."""
    if callable(partition):
        def label(z: np.ndarray) -> np.ndarray:
            try:
                found = np.asarray(partition(z))
            except (TypeError, ValueError, AttributeError) as error:
                raise ArgumentError(
                    f"partition failed on an array of states {z.shape}: {error}. It must give one whole number a state; "
                    "a map itself, z -> f(z), has no regions."
                ) from error
            if found.shape != (len(z),) or found.dtype.kind not in "iub":
                raise ArgumentError(f"partition must give one whole number a state, shape ({len(z)},), got {found.dtype} {found.shape}.")
            if (found.astype(np.int64) < 0).any():
                raise ArgumentError("partition gave a negative number; cells are numbered from 0 up, -1 stands for no symbol.")
            return found.astype(np.int64)[:, None]

        return label
    centres = np.asarray(partition, dtype=np.float64)
    if centres.ndim != 2 or centres.shape[1] != dim or not len(centres) or not np.isfinite(centres).all():
        raise ArgumentError(f"partition must be a callable or finite centres of shape (cell, {dim}), got {centres.shape}.")
    tree = KDTree(centres)
    return lambda z: np.asarray(tree.query(z)[1], dtype=np.int64)[:, None]
