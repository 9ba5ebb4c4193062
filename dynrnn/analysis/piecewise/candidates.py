"""What an enumeration or a search hands on: words that may hold a fixed point, to be examined one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MAX_POINTS = 2**16                        # real fixed points of one map
MAX_SINGULAR = 2**15                      # regions with singular I - J that are examined


@dataclass
class Candidates:
    """Words as bits (n, units that take part), in the reduced form's sense, keyed by their bytes.

    real: the solution lies in its region, nearly at least. singular: I - J is, and solutions there may be. escaping: I - J is singular, so
    that fixed points may lie at infinity. degree: sum of the signs of the map at infinity; NaN where not enumerated.
    """

    real: dict[bytes, np.ndarray] = field(default_factory=dict)
    singular: dict[bytes, np.ndarray] = field(default_factory=dict)
    escaping: dict[bytes, np.ndarray] = field(default_factory=dict)
    virtual: list[np.ndarray] = field(default_factory=list)
    degree: float = 0.0
    n_candidates: int = 0
    full: bool = False                    # more than is kept: what follows was not looked at

    def add(self, words: np.ndarray) -> None:
        for word in words:
            self.real[word.tobytes()] = word.copy()
        self.full |= len(self.real) > MAX_POINTS

    def add_singular(self, words: np.ndarray, possible: np.ndarray) -> None:
        for word, keep in zip(words, possible, strict=True):
            key = word.tobytes()
            if len(self.escaping) <= MAX_SINGULAR:
                self.escaping[key] = word.copy()
            if keep:
                self.singular[key] = word.copy()
        self.full |= len(self.singular) > MAX_SINGULAR
        if len(self.escaping) > MAX_SINGULAR:
            self.degree = np.nan

    def set_virtual(self, words: np.ndarray, distance: np.ndarray) -> None:
        """Nearest first."""
        self.virtual = [words[i].copy() for i in np.argsort(distance, kind="stable") if np.isfinite(distance[i])]
