"""Which symbol of one code is which of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from dynrnn.analysis.symbols.sequence import sequence, transitions
from dynrnn.errors import ArgumentError, unknown_name

ALIGNMENTS = ("auto", "centroid", "occupancy", "label", "region")
MOST_SYMBOLS = 4096                        # the assignment holds a table of all pairs


@dataclass(frozen=True)
class Member:
    """What a comparison needs of one code."""

    share: np.ndarray                      # occupancy of every symbol
    a: np.ndarray                          # edges a -> b ...
    b: np.ndarray
    p: np.ndarray                          # ... with their probabilities
    weight: np.ndarray                     # share of the transitions that leave each symbol
    h_top: float
    centroid: np.ndarray | None            # in observation space where there is one
    spread: np.ndarray | None
    space: str
    label: np.ndarray | None
    region: np.ndarray | None

    @property
    def n(self) -> int:
        return len(self.share)


def member(code: xr.Dataset, self_transitions: bool, lag: int, h_top) -> Member:
    """The statistics of one fit's code."""
    n = int(code.n_symbols)
    flat = sequence(code, self_transitions, lag)
    a, b, count = transitions(flat, n)
    total = np.bincount(a, count, n)
    share = np.bincount(flat[flat >= 0], minlength=n).astype(np.float64)
    space = next((name for name in ("centroid_observed", "centroid") if name in code), "")
    dim = str(code[space].dims[-1]) if space else ""
    return Member(
        share / share.sum(), a, b, count / total[a], total / max(total.sum(), 1.0), h_top(a, b, n),
        code[space].transpose("symbol", dim).values[:n] if space else None,
        code["spread" + space.removeprefix("centroid")].values if space else None, space,
        code.label.values[:n] if "label" in code else None,
        code.region.transpose("symbol", "unit").values[:n] if "region" in code else None,
    )


def align(x: Member, y: Member, by: str = "auto") -> tuple[np.ndarray, str]:
    """(partner in y of every symbol of x, -1 for none; what was used)."""
    if by not in ALIGNMENTS:
        raise unknown_name("align", by, ALIGNMENTS)
    if by == "auto":
        same = x.centroid is not None and y.centroid is not None and x.space == y.space and x.centroid.shape[1] == y.centroid.shape[1]
        by = "centroid" if same and x.space == "centroid_observed" else "occupancy"
    if by in ("label", "region"):
        return _equal(getattr(x, by), getattr(y, by), by), by
    if max(x.n, y.n) > MOST_SYMBOLS:
        raise ArgumentError(
            f"codes of {x.n:,} and {y.n:,} symbols are too many to align, the limit is {MOST_SYMBOLS:,}: merge some with coarse_grain, or code both "
            "by one partition and use align='label'."
        )
    near = _nearness_of_centroids(x, y) if by == "centroid" else _nearness_of_rows(x, y)
    gain = np.minimum(x.share[:, None], y.share[None]) * near
    # among equals the same number wins: numbers go by occupancy and first visit, which no renaming changes
    tie = 1e-12 * np.abs(np.arange(x.n)[:, None] - np.arange(y.n)[None]) / max(x.n, y.n)
    rows, columns = linear_sum_assignment(gain - tie, maximize=True)
    partner = np.full(x.n, -1)
    real = gain[rows, columns] > 0
    partner[rows[real]] = columns[real]
    return partner, by


def _equal(x: np.ndarray | None, y: np.ndarray | None, by: str) -> np.ndarray:
    if x is None or y is None or x.shape[1:] != y.shape[1:]:
        raise ArgumentError(f"align={by!r} needs codes that both have {by}s of one kind. Code both by one partition, or use align='centroid'.")
    place = {row.tobytes(): j for j, row in enumerate(np.ascontiguousarray(y))}
    return np.array([place.get(row.tobytes(), -1) for row in np.ascontiguousarray(x)], dtype=np.int64)


def _nearness_of_centroids(x: Member, y: Member) -> np.ndarray:
    """1 - distance in units of the orbits' spread, at least 0."""
    if x.centroid is None or y.centroid is None or x.centroid.shape[1] != y.centroid.shape[1] or x.spread is None or y.spread is None:
        raise ArgumentError(
            "align='centroid' needs codes with centroids in one space. Code orbits of generate(...), which are observed too, or use align='occupancy'."
        )
    scale = np.sqrt((x.spread**2 + y.spread**2) / 2)
    size = np.abs(np.concatenate([x.centroid, y.centroid])).max(0, initial=0.0)
    scale = np.maximum(scale, 1e-9 * np.maximum(size, 1.0))                         # a fixed point has no spread
    square = np.zeros((x.n, y.n))
    for k in range(x.centroid.shape[1]):
        square += ((x.centroid[:, None, k] - y.centroid[None, :, k]) / scale[k]) ** 2
    return np.nan_to_num(np.maximum(0.0, 1.0 - np.sqrt(square / max(1, x.centroid.shape[1]))))     # no centroid is near none


def _nearness_of_rows(x: Member, y: Member) -> np.ndarray:
    """1 - difference of what no renaming changes: staying, and the sum of squares and largest of the probabilities to leave and to come."""
    columns = list(zip(_profile(x).T, _profile(y).T))
    return np.maximum(0.0, 1.0 - sum(np.abs(a[:, None] - b[None]) for a, b in columns) / len(columns))


def _profile(x: Member) -> np.ndarray:
    flow = x.p * x.weight[x.a]
    arriving = np.bincount(x.b, flow, x.n)
    q = flow / np.where(arriving[x.b] > 0, arriving[x.b], 1)
    stay = np.bincount(x.a, x.p * (x.a == x.b), x.n)
    most = np.zeros((x.n, 2))
    np.maximum.at(most[:, 0], x.a, x.p)
    np.maximum.at(most[:, 1], x.b, q)
    return np.column_stack([stay, np.bincount(x.a, x.p**2, x.n), np.bincount(x.b, q**2, x.n), most])
