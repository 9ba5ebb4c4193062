"""A certificate of one fit, and the check that it holds: what it states is recomputed from the map and bounded, whatever found it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from dynrnn.analysis.contraction.norms import norm_rate, powers_of_two, weighted_rate
from dynrnn.analysis.contraction.quadratic import jacobians_margin, sector_margin
from dynrnn.analysis.contraction.sector import Sector
from dynrnn.analysis.contraction.visited import balls_hold

NORM, WEIGHTED, LMI, VISITED = "norm", "weighted", "lmi", "visited"
TIERS = (NORM, WEIGHTED, LMI, VISITED)
GLOBAL, UNION, NOWHERE = "global", "union of visited regions", ""


def _empty(*shape: int) -> np.ndarray:
    return np.empty(shape)


@dataclass(frozen=True)
class Proof:
    """metric (M, M) or weights (M,) of the infinity norm; multiplier (H,): scales of the units for 'norm', Lambda for 'lmi'; words (n, H'); centres (c, M)."""

    tier: str
    rate: float
    metric: np.ndarray = field(default_factory=lambda: _empty(0, 0))
    weights: np.ndarray = field(default_factory=lambda: _empty(0))
    multiplier: np.ndarray = field(default_factory=lambda: _empty(0))
    words: np.ndarray = field(default_factory=lambda: np.empty((0, 0), bool))
    centres: np.ndarray = field(default_factory=lambda: _empty(0, 0))
    radius: float = 0.0

    @property
    def scope(self) -> str:
        return {VISITED: UNION, "": NOWHERE}.get(self.tier, GLOBAL)


def margin(one: Sector, proof: Proof) -> float:
    """> 0 proves the certificate: for 'norm' and 'weighted' the stated rate less the recomputed bound, else the smallest scaled eigenvalue left after rounding.

    -inf for what is no certificate: a rate that is no number below 1, arrays of other shapes, weights that are not positive.
    """
    M, H = one.shape
    if not 0 <= proof.rate < 1:
        return -np.inf
    if proof.tier == WEIGHTED:
        w = proof.weights
        if w.shape != (M,) or not (np.isfinite(w) & (w > 0)).all():
            return -np.inf
        return proof.rate - weighted_rate(one, w)
    P = proof.metric
    if P.shape != (M, M) or not np.isfinite(P).all():
        return -np.inf
    if proof.tier == VISITED:
        if one.pieces is None or not len(proof.words) or proof.words.shape[1] != one.pieces.n_units:
            return -np.inf
        return jacobians_margin(one.pieces, proof.words, P, proof.rate)
    if proof.multiplier.shape != (H,):
        return -np.inf
    if proof.tier == LMI:
        return sector_margin(one, P, proof.multiplier, proof.rate)
    if not (np.diag(P) > 0).all():
        return -np.inf
    states, units = np.sqrt(np.diag(P)), proof.multiplier
    exact = (np.diag(np.diag(P)) == P).all() and (states == powers_of_two(states)).all() and (units == powers_of_two(units)).all()
    return proof.rate - norm_rate(one, states, units) if exact and proof.tier == NORM else -np.inf


def invariant(one: Sector, proof: Proof) -> bool:
    """Whether balls within the visited regions are proven to stay there."""
    if proof.tier != VISITED or one.pieces is None or not len(proof.centres):
        return False
    return balls_hold(one.pieces, proof.words, proof.metric, proof.rate, proof.centres, proof.radius)


def seal(proof: Proof, fingerprint: str, *more: object) -> str:
    """Digest of all that a certificate states, to find what was changed since it was made."""
    digest = hashlib.sha256(repr((proof.tier, float(proof.rate), float(proof.radius), fingerprint, *more)).encode())
    for array in (proof.metric, proof.weights, proof.multiplier, proof.words, proof.centres):
        digest.update(repr(array.shape if array.size else 0).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]
