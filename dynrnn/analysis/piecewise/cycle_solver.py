"""The points of cycles with given words of regions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn_kernels.cycles.solve import solve_all


def arrays_of(map: PiecewiseLinearMap) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A, W1, W2, h1, h2 as kernels take them."""
    A, W1, W2, h1, h2 = (np.ascontiguousarray(value) for value in (map.A, map.W1, map.W2, map.h1, map.h2))
    return A, W1, W2, h1, h2


def solve_words(
    map: PiecewiseLinearMap, words: Bool[np.ndarray, "B k H"], refine: bool = False
) -> tuple[Float[np.ndarray, "B k M"], Float[np.ndarray, " B"]]:
    """Points of every word's cycle, inside its regions or not, and the smallest over the largest pivot: 0 where there is no isolated solution (points NaN).

    refine : always by blocks, with one step of iterative refinement.
    """
    z, ratio = np.full((*words.shape[:2], map.latent_dim), np.nan), np.zeros(len(words))
    solve_all(*arrays_of(map), np.ascontiguousarray(words), refine, z, ratio)
    z[ratio <= 0] = np.nan
    return z, ratio
