"""Shannon entropy of a distribution out of counts, in nat, by estimators that differ in how they meet the bias of small samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import digamma

from dynrnn.errors import unknown_name


def plug_in(count: np.ndarray) -> float:
    """Entropy of the relative frequencies; too low by about (K - 1) / 2N."""
    n = count.sum()
    return float(np.log(n) - (count * np.log(count)).sum() / n)


def miller_madow(count: np.ndarray) -> float:
    """Plug-in + (K - 1) / 2N with K the outcomes that occur (Miller 1955)."""
    return plug_in(count) + (len(count) - 1) / (2 * float(count.sum()))


def grassberger(count: np.ndarray) -> float:
    """ln N - sum n G(n) / N, G(n) = psi(n) + (-1)^n [psi((n + 1)/2) - psi(n/2)] / 2 (Grassberger 2003, arXiv:physics/0307138)."""
    sizes, times = np.unique(count, return_counts=True)
    sizes = sizes.astype(np.float64)
    G = digamma(sizes) + 0.5 * np.where(sizes % 2 == 0, 1.0, -1.0) * (digamma((sizes + 1) / 2) - digamma(sizes / 2))
    n = float(count.sum())
    return float(np.log(n) - (times * sizes * G).sum() / n)


def chao_shen(count: np.ndarray) -> float:
    """Coverage-adjusted Horvitz-Thompson (Chao & Shen 2003, Environ. Ecol. Stat. 10:429); one outcome is taken for seen twice where all are seen once."""
    n = float(count.sum())
    once = float((count == 1).sum())
    cover = 1 - min(once, n - 1) / n
    sizes, times = np.unique(count, return_counts=True)
    p = cover * sizes / n
    seen = -np.expm1(n * np.log1p(-np.minimum(p, 1 - 1e-16)))
    return float(-(times * p * np.log(p) / seen).sum()) + 0.0


CORRECTIONS: dict[str, Callable[[np.ndarray], float]] = {
    "grassberger": grassberger, "miller-madow": miller_madow, "chao-shen": chao_shen, "none": plug_in,
}


def entropy_of_counts(count: np.ndarray, correction: str = "grassberger") -> float:
    """Entropy in nat of an unknown distribution from positive counts, by name: grassberger, miller-madow, chao-shen or none.

    >>> round(entropy_of_counts(np.array([500, 500]), "none"), 6)
    0.693147
    """
    if correction not in CORRECTIONS:
        raise unknown_name("correction", correction, CORRECTIONS)
    return CORRECTIONS[correction](count)
