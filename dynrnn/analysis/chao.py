"""How many objects a search, or a sample, has missed."""

from __future__ import annotations

import numpy as np


def unseen(hits: np.ndarray) -> float:
    """Chao's estimate of how many objects were never hit (NaN if none was), (n - 1) / n * f1 (f1 - 1) / (2 (f2 + 1)), from those hit once and twice;
    hits (objects,).

    A lower bound in expectation, for hits that are drawn independently (Chao 1984, Scand. J. Statist. 11:265).

    >>> unseen(np.array([1, 1, 1, 2, 30]))
    1.457...
    """
    n, once, twice = int(hits.sum()), int((hits == 1).sum()), int((hits == 2).sum())
    return (n - 1) / n * once * max(once - 1, 0) / (2 * (twice + 1)) if n else float("nan")
