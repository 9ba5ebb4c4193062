"""Maps of all fits as a linear part and units whose slope lies in [0, 1]: what a certificate of contraction is about.

``z' = A z + W1 psi(W2 z + ...) + ...`` for every input: inputs shift units and states and leave the slopes' range alone. A unit with slopes in [lo, hi]
becomes lo times the identity, which enters A, and one of [0, 1] times hi - lo. relu and tanh have [0, 1]; a clipped unit has slopes 0 and the sign of
its h2, as one unit (its two relus taken for independent would have -1 to 1); a basis has the cumulative sums of its slopes in the order of its thresholds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynrnn.analysis.piecewise.canonical import ANALYSED, NOT_FINITE, canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.errors import ArgumentError
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn.rounding import UNIT, gamma
from dynrnn_kernels.additive import AdditiveMap


@dataclass(frozen=True)
class Sector:
    """One fit. A (M, M), W1 (M, H), W2 (H, M); their ``_error``: entrywise bounds of what rounding did to them. pieces: its regions, None for tanh."""

    A: np.ndarray
    W1: np.ndarray
    W2: np.ndarray
    A_error: np.ndarray
    W1_error: np.ndarray
    W2_error: np.ndarray
    pieces: PiecewiseLinearMap | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Latent units M, units H."""
        return self.W1.shape[0], self.W1.shape[1]

    @property
    def centre(self) -> np.ndarray:
        """The Jacobian with all slopes at 1/2."""
        return self.A + 0.5 * (self.W1 @ self.W2)

    @property
    def centre_error(self) -> np.ndarray:
        """Entrywise bound on the rounding of ``centre``."""
        units = np.abs(self.W1) @ np.abs(self.W2)
        data = self.A_error + self.W1_error @ (np.abs(self.W2) + self.W2_error) + np.abs(self.W1) @ self.W2_error
        return 1.01 * (gamma(self.shape[1] + 3) * (np.abs(self.A) + units) + data)

    @property
    def entries(self) -> np.ndarray:
        """Upper bound of every entry of |J| over all slopes: |centre| + |W1| |W2| / 2, which every entry reaches, rounded upwards."""
        H = self.shape[1]
        radius = 0.5 * ((np.abs(self.W1) + self.W1_error) @ (np.abs(self.W2) + self.W2_error))
        return (np.abs(self.centre) + self.centre_error + radius) * (1 + 2 * gamma(H + 6))

    @property
    def fingerprint(self) -> str:
        """Of the numbers that a certificate rests on."""
        digest = hashlib.sha256()
        parts = [self.A, self.W1, self.W2]
        if self.pieces is not None:
            parts += [self.pieces.A, self.pieces.W1, self.pieces.W2, self.pieces.h1, self.pieces.h2]
        for part in parts:
            digest.update(repr(part.shape).encode())
            digest.update(np.ascontiguousarray(part + 0.0).tobytes())                # -0 and 0 are one number
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Sectors:
    """Of all fits; None where parameters are not finite."""

    fits: tuple[Sector | None, ...]
    fit: np.ndarray
    dt: float

    @property
    def status(self) -> list[str]:
        return [NOT_FINITE if one is None else ANALYSED for one in self.fits]


def sectors_of(system: Any, inputs: Any = None, dt: float | None = None) -> Sectors:
    """``system``: a model or run, a ``PiecewiseLinearMap``, its five arrays, a list of maps, or an ``AdditiveMap`` of tanh units.
    inputs: constant (K,), for the regions alone."""
    if dt is not None and not (isinstance(dt, (int, float)) and not isinstance(dt, bool) and np.isfinite(dt) and dt > 0):
        raise ArgumentError(f"dt must be a positive number, the time of one step, got {dt!r}.")
    model = system if isinstance(system, Model) else getattr(system, "model", None)
    if isinstance(model, Model):
        found = _of_model(model, inputs)
    elif isinstance(system, AdditiveMap):
        if inputs is not None or system.phi != "tanh":
            raise ArgumentError("of bare additive maps those of tanh units are taken, without inputs: reservoir.driven_map(). Give others as their model.")
        map = system.to(torch.float64).written_out()
        if not all(bool(torch.isfinite(value).all()) for value in map.tensors().values()):
            raise ArgumentError("the map holds values that are not finite.")
        found = Sectors(tuple(_of_additive(map, k, None) for k in range(map.n_fits)), np.arange(map.n_fits), 1.0)
    elif isinstance(system, (PiecewiseLinearMap, tuple, list, np.ndarray)):
        if inputs is not None:
            raise ArgumentError("inputs are for models; a bare map has its constant input in its biases, and a certificate holds for every input anyway.")
        bare = canonical(system)
        if len({map.latent_dim for map in bare.maps if map is not None}) > 1:
            raise ArgumentError("the maps of one call must have the same number of latent units. Certify them one by one.")
        found = Sectors(tuple(None if map is None else _of_pieces(map) for map in bare.maps), bare.fit, bare.dt)
    else:
        raise ArgumentError(
            f"a model, a run or a piecewise-linear map is wanted here, got {type(system).__name__}: a certificate needs the form A z + W1 phi(W2 z + h2) + h1, "
            "which a callable or a flow does not show. For those, lyapunov_spectrum says whether orbits that were run came together."
        )
    return found if dt is None else Sectors(found.fits, found.fit, float(dt))


def _of_model(model: Model, inputs: Any) -> Sectors:
    K = model.input_dim
    if inputs is not None and (np.shape(inputs) != (K,) or not np.isfinite(np.asarray(inputs, dtype=np.float64)).all()):
        raise ArgumentError(
            f"inputs must be one constant input of shape ({K},), finite, got shape {np.shape(inputs)}. It is used for the regions of tier 'visited' alone; "
            "all other tiers hold for every input, so leave it out."
        )
    if not isinstance(model, AdditiveModel):
        raise ArgumentError(
            f"{model.family} is not of the form A z + W1 phi(W2 z + h2) + h1 that a certificate needs. lyapunov_spectrum and conditional_exponents say whether "
            "orbits that were run came together."
        )
    with torch.no_grad():
        map = model.additive_map().to(torch.float64).written_out()
    numbers = map.tensors()
    finite = np.array([all(bool(torch.isfinite(value[k]).all()) for value in numbers.values()) for k in range(model.n_fits)])
    if not finite.any():
        raise ArgumentError("no fit has finite parameters: all have diverged. Train again, or load another checkpoint.")
    pieces = (None,) * model.n_fits if map.phi == "tanh" else canonical(model, inputs).maps
    fits = tuple(_of_additive(map, k, pieces[k]) if finite[k] else None for k in range(model.n_fits))
    return Sectors(fits, model.fit_number.numpy().copy(), float(model.recording_info.get("dt", 1.0)))


def _of_additive(map: AdditiveMap, k: int, pieces: PiecewiseLinearMap | None) -> Sector:
    def whole(value: torch.Tensor) -> np.ndarray:
        return value[k].detach().numpy().astype(np.float64)

    A, W1, W2 = whole(map.dense_A()), whole(map.dense_W1()), whole(map.dense_W2())
    # a diagonal in two parts is one addition; 1 - 1/M of centring is rounded twice
    A_error = np.zeros_like(A) if map.A is None else UNIT * np.abs(A)
    W2_error = 2 * UNIT * np.abs(W2) if map.w2 == "centring" else np.zeros_like(W2)
    H = W1.shape[1]
    zero = np.zeros(H)
    if map.phi == "identity":
        return sector(A, W1, W2, zero + 1, zero + 1, zero, A_error, W2_error, pieces)
    if map.phi == "clipped":
        assert map.h2 is not None
        sign = np.sign(whole(map.h2))
        return sector(A, W1, W2, np.minimum(sign, 0), np.maximum(sign, 0), zero, A_error, W2_error, pieces)
    if "basis" in map.phi:
        assert map.slope is not None
        assert map.threshold is not None
        ranges = basis_range(whole(map.slope), whole(map.threshold), map.phi == "clipped_basis")
        return sector(A, W1, W2, *ranges, A_error, W2_error, pieces)
    return sector(A, W1, W2, zero, zero + 1, zero, A_error, W2_error, pieces)


def basis_range(slope: np.ndarray, threshold: np.ndarray, clipped: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest slope of every unit (H,), and a bound on their rounding; slope (n,), threshold (H, n). Equal thresholds are passed at once."""
    steps, at = np.broadcast_to(slope, threshold.shape), threshold
    if clipped:
        steps = np.concatenate([steps, np.full((len(at), 1), -slope.sum())], 1)
        at = np.concatenate([at, np.zeros((len(at), 1))], 1)
    order = np.argsort(at, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(steps, order, 1), 1)
    ordered = np.take_along_axis(at, order, 1)
    last = np.ones(sums.shape, bool)
    last[:, :-1] = ordered[:, 1:] > ordered[:, :-1]                                  # a slope is taken between two different thresholds
    low, high = (np.where(last, sums, 0.0).min(1, initial=0.0), np.where(last, sums, 0.0).max(1, initial=0.0))
    error = np.full(len(at), gamma(2 * steps.shape[1]) * np.abs(slope).sum() * 2)
    return low, high, error


def sector(A, W1, W2, low, high, range_error, A_error, W2_error, pieces) -> Sector:
    """The form with slopes in [0, 1]; range_error (H,): of low and high. A unit of slopes [-1, 0] changes its sign, which rounds nothing."""
    flip = (low < 0) & (high == 0)
    W1 = np.where(flip, -W1, W1) + 0.0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    plain = (low == 0) & (high == 1)
    shift = (W1 * low) @ W2
    wider = high - low
    scaled = W1 * wider
    size, moved = np.abs(W1), np.abs(W1) * np.abs(low)
    A_error = A_error + 1.01 * (gamma(len(low) + 3) * (moved @ np.abs(W2)) + (size * range_error) @ np.abs(W2) + moved @ W2_error)
    if (low != 0).any():
        A_error = A_error + UNIT * np.abs(A + shift)
    W1_error = np.where(plain, 0.0, size * (4 * UNIT * np.abs(wider) + 4 * range_error))  # widened on both sides: slopes beyond the range change nothing
    return Sector(A + shift, scaled, W2, A_error, W1_error, W2_error, pieces)


def _of_pieces(map: PiecewiseLinearMap) -> Sector:
    """Units on parallel copies of one plane that act along one line (c relu(w z + h) - c relu(w z + h')) are one unit of the range of their sums."""
    M = map.latent_dim
    groups: dict[bytes, list[int]] = {}
    for i in range(map.n_units):
        lead = map.W1[np.flatnonzero(map.W1[:, i])[:1], i]
        column = map.W1[:, i] * (np.sign(lead[0]) if len(lead) else 0.0) + 0.0       # up to its sign
        groups.setdefault(column.tobytes() + (map.W2[i] + 0.0).tobytes(), []).append(i)
    first = [members[0] for members in groups.values()]
    low, high = np.zeros(len(first)), np.zeros(len(first))
    for g, members in enumerate(groups.values()):
        steps = np.array([1.0 if (map.W1[:, i] == map.W1[:, members[0]]).all() else -1.0 for i in members])
        thresholds = -map.h2[members]
        lows, highs, _ = basis_range(steps, thresholds[None], False)                 # whole numbers: nothing is rounded
        low[g], high[g] = lows[0], highs[0]
    H = len(first)
    W1, W2 = map.W1[:, first].reshape(M, H), map.W2[first].reshape(H, M)
    return sector(map.A, W1, W2, low, high, np.zeros(H), np.zeros((M, M)), np.zeros((H, M)), map)
