"""Regions with the inverses of their affine pieces: which regions count, whether the map is invertible on them, preimages of segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.point import region_exists
from dynrnn.analysis.piecewise.polyline import plane_values
from dynrnn.errors import ArgumentError

MAX_UNITS = 12                                                        # all 2^12 regions are tried unless regions are named
SINGULAR = 1e-12                                                      # ratio of the singular values
NARROW = 1e-11                                                        # of a segment; less than this is no part of it


@dataclass(frozen=True)
class Regions:
    """words [R, H], J [R, M, M], c [R, M], inverse [R, M, M] (zeros where singular), sign of det J [R] (0 where singular); complete: none is missing."""

    map: PiecewiseLinearMap
    words: np.ndarray
    J: np.ndarray
    c: np.ndarray
    inverse: np.ndarray
    sign: np.ndarray
    complete: bool

    @property
    def singular(self) -> np.ndarray:
        return self.sign == 0

    def find(self, word: np.ndarray) -> int:
        return int(np.flatnonzero((self.words == word).all(1))[0])

    def invertible(self) -> bool:
        """Whether det J has one sign on all regions that are not empty: then the map is one-to-one, if no more than two switching planes meet in a
        face of codimension two (Kuhn & Loewen 1987). Regions are tried by a linear programme until both signs are met."""
        signs = sorted({int(s) for s in self.sign}, key=lambda s: int((self.sign == s).sum()))
        return sum(any(self._inhabited(word) for word in self.words[self.sign == s]) for s in signs) <= 1 and not (
            0 in signs and any(self._inhabited(word) for word in self.words[self.singular])
        )

    def _inhabited(self, word: np.ndarray) -> bool:
        return region_exists(self.map, word, idle=True, least=1e-9)


def find_regions(map: PiecewiseLinearMap, own: np.ndarray, regions: np.ndarray | None, orbit: np.ndarray | None) -> Regions:
    """All 2^H words of at most 12 units, or the words given and those that an orbit visits; ``own`` words always count. O(R M^3)."""
    H = map.n_units
    named = [own]
    if regions is not None:
        bits = np.asarray(regions)
        if bits.ndim != 2 or bits.shape[1] != H or bits.dtype != bool:
            raise ArgumentError(f"regions must be words, a bool array (n, {H}) of units that are on; got {bits.dtype} {bits.shape}.")
        named.append(bits)
    if orbit is not None:
        states = np.asarray(orbit, dtype=np.float64)
        if states.ndim != 2 or states.shape[1] != map.latent_dim or not np.isfinite(states).all():
            raise ArgumentError(f"orbit must be states (n, {map.latent_dim}), finite, in the map's coordinates; got {states.shape}.")
        named.append(map.words(states))
    everything = len(named) == 1
    if everything and H > MAX_UNITS:
        raise ArgumentError(
            f"a stable manifold needs the preimages in every region, and {H} units have 2^{H} = {2**H:,} words, more than 2^{MAX_UNITS}. "
            "Name the regions that matter: orbit=states (n, M) of a free run, or regions=words (n, H); the result then says that it may be incomplete."
        )
    words = (np.arange(2**H)[:, None] >> np.arange(H) & 1).astype(bool) if everything else np.unique(np.concatenate(named), axis=0)
    J = map.jacobians(words)
    values = np.linalg.svd(J, compute_uv=False)
    singular = values[:, -1] <= SINGULAR * values[:, 0]
    inverse = np.zeros_like(J)
    inverse[~singular] = np.linalg.inv(J[~singular])
    sign = np.where(singular, 0, np.linalg.slogdet(J)[0]).astype(np.int64)
    return Regions(map, words, J, map.offsets(words), inverse, sign, everything or len(words) == 2**H)


@dataclass(frozen=True)
class Pulled:
    """Preimages of segments: of segment ``parent`` through region ``region`` what lies between the shares ``low`` and ``high`` of it.

    z [n, 2, M]: both ends; low_tied, high_tied [n, H]: planes that cut there (none: the segment's own end)."""

    parent: np.ndarray
    region: np.ndarray
    low: np.ndarray
    high: np.ndarray
    z: np.ndarray
    low_tied: np.ndarray
    high_tied: np.ndarray


def pull_segments(regions: Regions, p: np.ndarray, block: int = 2**22) -> Pulled:
    """Every preimage of the segments p [S, 2, M] in regions that are not singular. O(R S M (M + H)), memory in blocks."""
    map, S = regions.map, len(p)
    usable = np.flatnonzero(~regions.singular)
    step = max(1, block // max(1, 2 * S * (map.latent_dim + map.n_units)))
    found = [_pull(regions, usable[i : i + step], p) for i in range(0, len(usable), step)] or [_pull(regions, usable, p)]
    return Pulled(*(np.concatenate([getattr(part, name) for part in found]) for name in Pulled.__dataclass_fields__))


def _pull(regions: Regions, rows: np.ndarray, p: np.ndarray) -> Pulled:
    map = regions.map
    z = np.einsum("rmn,rsen->rsem", regions.inverse[rows], p[None] - regions.c[rows, None, None])         # [R, S, 2, M]
    inner = plane_values(map, z) * np.where(regions.words[rows], 1.0, -1.0)[:, None, None, :]                               # >= 0 within the closed region
    g0, g1 = inner[:, :, 0], inner[:, :, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = g0 / (g0 - g1)
    entry = np.where(g0 < 0, np.where(g1 > 0, at, np.inf), 0.0)
    leave = np.where(g1 < 0, np.where(g0 > 0, at, -np.inf), 1.0)
    # within a plane a segment belongs to the side where the unit is off
    entry[(g0 == 0) & (g1 == 0) & regions.words[rows][:, None, :]] = np.inf
    low, high = entry.max(-1, initial=0.0), leave.min(-1, initial=1.0)
    low[low <= NARROW], high[high >= 1 - NARROW] = 0.0, 1.0
    r, s = np.nonzero(high - low > NARROW)
    a, b = low[r, s], high[r, s]
    ends = np.stack([z[r, s, 0] + x[:, None] * (z[r, s, 1] - z[r, s, 0]) for x in (a, b)], 1)
    exact = b == 1.0
    ends[exact, 1] = z[r, s, 1][exact]
    tied = (a[:, None] > 0) & (np.abs(entry[r, s] - a[:, None]) <= NARROW), (b[:, None] < 1) & (np.abs(leave[r, s] - b[:, None]) <= NARROW)
    return Pulled(s, rows[r], a, b, ends, *tied)


def singular_hits(regions: Regions, p: np.ndarray) -> int:
    """How many singular regions hold preimages of points of the convex pieces p [S, v, M] (v vertices each): affine sets, which are not followed.

    Only pieces that reach the range of such a region's affine map are tried, by a linear programme each.
    """
    map, hits = regions.map, 0
    for r in np.flatnonzero(regions.singular).tolist():
        left, values, _ = np.linalg.svd(regions.J[r])
        null = left[:, values <= SINGULAR * max(values[0], 1e-300)]                                       # normals of the range
        off = (p - regions.c[r]) @ null
        size = 1e-9 * (1 + np.abs(p).max())
        near = np.flatnonzero(((off.min(1) <= size) & (off.max(1) >= -size)).all(-1))
        hits += any(_meets(map, regions, r, p[s]) for s in near[:64])
    return hits


def _meets(map: PiecewiseLinearMap, regions: Regions, r: int, piece: np.ndarray) -> bool:
    """Whether some z of region r maps into the hull of ``piece``: J z + c = sum of shares times vertices."""
    M, v = map.latent_dim, len(piece)
    A_eq = np.block([[regions.J[r], -piece.T], [np.zeros((1, M)), np.ones((1, v))]])
    side = np.where(regions.words[r], -1.0, 1.0)
    A_ub = np.column_stack([side[:, None] * map.W2, np.zeros((map.n_units, v))])
    bounds = [(None, None)] * M + [(0, 1)] * v
    found = linprog(np.zeros(M + v), A_ub, -side * map.h2, A_eq, np.r_[-regions.c[r], 1.0], bounds)
    return found.status == 0
