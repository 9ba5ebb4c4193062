"""Published initialisations, one function a rule; each draws for one fit."""

from __future__ import annotations

import numpy as np


def normalised_positive_definite(rng: np.random.Generator, M: int) -> np.ndarray:
    """``K / max|eig K|`` with ``K = R'R / M + I``, R standard normal: [M, M], largest eigenvalue 1 (Talathi & Vartak 2016, arXiv:1511.03771)."""
    R = rng.standard_normal((M, M))
    K = R.T @ R / M + np.eye(M)
    return K / np.linalg.eigvalsh(K)[-1]


def uniform_fan(rng: np.random.Generator, shape: tuple[int, ...], fan: int) -> np.ndarray:
    """Uniform on (-1/sqrt(fan), 1/sqrt(fan))."""
    bound = 1.0 / np.sqrt(fan)
    return rng.uniform(-bound, bound, shape)


def glorot_uniform(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Uniform on +-sqrt(6 / (rows + columns)) (Glorot & Bengio 2010)."""
    bound = np.sqrt(6.0 / max(rows + columns, 1))
    return rng.uniform(-bound, bound, (rows, columns))


def kaiming_normal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Normal with standard deviation sqrt(2 / columns) (He et al. 2015)."""
    return rng.standard_normal((rows, columns)) * np.sqrt(2.0 / columns)


def logit(p: np.ndarray) -> np.ndarray:
    """The inverse of the logistic function, of values kept within [0.001, 0.999]."""
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return np.log(p / (1 - p))
