"""How hard, where and when the state is pulled towards the data: every scheme is a choice of the weights in one formula.

    z~[t] = z[t] + w[t] (target[t] - z[t]),     w = strength(update) * gate(t) * (1 on the forced units, where the data were seen)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.training.interval import INTERVAL_RULES, estimate_interval
from dynrnn.training.norms import JACOBIAN_NORMS

PerFit = float | int | Sequence[float] | np.ndarray


def per_fit(name: str, value: PerFit, n_fits: int, *, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """``value`` as one number per fit within [low, high]: [F] float64."""
    try:
        raw = np.asarray(value)
    except (TypeError, ValueError):
        raw = np.empty(0, dtype=object)
    if raw.dtype.kind not in "iuf":                                                # a text or a truth value is no number
        raise ArgumentError(f"{name} must be a number, or one per fit, got {value!r}.")
    out = raw.astype(np.float64)
    if out.ndim > 1 or (out.ndim == 1 and out.shape[0] != n_fits):
        raise ArgumentError(f"{name} must be one number or one per fit ({n_fits}), got shape {out.shape}.")
    if not ((out >= low) & (out <= high)).all():                                # also refuses NaN
        raise ArgumentError(f"{name} must lie within [{low:g}, {high:g}], got {value!r}.")
    return np.broadcast_to(out, (n_fits,)).copy()


def per_fit_ends(name: str, value: PerFit | tuple[PerFit, PerFit], n_fits: int, *, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Start and end [F] of what is one value, or moves from one to another."""
    ends = value if isinstance(value, tuple) else (value, value)
    if len(ends) != 2:
        raise ArgumentError(f"{name} as a tuple is (start, end), got {value!r}.")
    return per_fit(name, ends[0], n_fits, low=low, high=high), per_fit(name, ends[1], n_fits, low=low, high=high)


@dataclass(frozen=True)
class Forcing:
    """Base of the forcing schemes. ``n_forced``: force only the first so many latent units (partial forcing); None forces all that have a target."""

    n_forced: int | None = field(default=None, kw_only=True)

    def units(self, latent_dim: int, observed_dim: int, observation: str) -> np.ndarray:
        """1 for the latent units [M] that may be forced: only those that have a target."""
        most = latent_dim if observation == "affine" else observed_dim
        forced = latent_dim if self.n_forced is None else check_int("n_forced", self.n_forced, low=0, high=latent_dim)
        return (np.arange(latent_dim) < min(forced, most)).astype(np.float64)

    def strength(self, updates: np.ndarray, n_updates: int, n_fits: int) -> np.ndarray:
        """alpha at each of ``updates`` (0-based), [n, F]."""
        raise NotImplementedError

    def gate(self, sequence_length: int, n_fits: int, recording: xr.Dataset) -> np.ndarray:
        """1 at the samples of a window where forcing acts, [F, T]."""
        return np.ones((n_fits, sequence_length))


@dataclass(frozen=True)
class GeneralizedTeacherForcing(Forcing):
    """Generalised teacher forcing: the state is mixed with the data at every step (Hess et al. 2023, arXiv:2306.04406).

    alpha : strength in [0, 1], constant or, as a pair (start, end), annealed over the updates; each may be one value per fit (an array).
    anneal : ``linear`` or ``exponential`` (start and end > 0).
    n_forced : force only the first so many latent units; None forces all that have a target.

    The Jacobians' product over a window is bounded for alpha >= 1 - 1/sigma_max; larger alpha hides the errors that free running makes.

    >>> GeneralizedTeacherForcing(alpha=(0.4, 0.1)).strength(np.array([0, 50, 99]), 100, 1).ravel().round(3).tolist()
    [0.4, 0.248, 0.1]
    """

    alpha: PerFit | tuple[PerFit, PerFit] = 0.15
    anneal: str = "linear"

    def __post_init__(self) -> None:
        if self.anneal not in ("linear", "exponential"):
            raise unknown_name("anneal", self.anneal, ["linear", "exponential"])
        for value in self._ends():
            per_fit("alpha", value, np.size(value), low=0.0, high=1.0)
            if self.anneal == "exponential" and isinstance(self.alpha, tuple) and np.min(value) <= 0:
                raise ArgumentError(f"alpha must be above 0 at both ends to be annealed exponentially, got {self.alpha!r}.")

    def _ends(self) -> tuple[PerFit, PerFit]:
        if isinstance(self.alpha, tuple):
            if len(self.alpha) != 2:
                raise ArgumentError(f"alpha as a tuple is (start, end); for one value per fit give an array. Got {self.alpha!r}.")
            return self.alpha
        return self.alpha, self.alpha

    def strength(self, updates: np.ndarray, n_updates: int, n_fits: int) -> np.ndarray:
        start, end = (per_fit("alpha", value, n_fits, low=0.0, high=1.0) for value in self._ends())
        part = (updates / max(n_updates - 1, 1))[:, None]
        if self.anneal == "exponential" and isinstance(self.alpha, tuple):
            return start * (end / start) ** part
        return start + (end - start) * part


@dataclass(frozen=True)
class SparseTeacherForcing(Forcing):
    """Sparse teacher forcing: observed units are set to the data every ``interval`` samples and run freely between (Mikhaeil et al. 2022, arXiv:2110.07238).

    interval : samples between forcings, one value per fit if an array; None estimates it from the recording.
    rule : how to estimate: ``mutual-information`` (first minimum), ``autocorrelation`` (fall below 1/e, or first minimum), or ``shortest``
        of both; the smallest over channels.
    """

    interval: int | Sequence[int] | np.ndarray | None = None
    rule: str = "shortest"

    def __post_init__(self) -> None:
        if self.rule not in INTERVAL_RULES:
            raise unknown_name("rule", self.rule, INTERVAL_RULES)
        if self.interval is not None:
            for value in np.ravel(np.asarray(self.interval)):
                check_int("interval", value, low=1)

    def strength(self, updates: np.ndarray, n_updates: int, n_fits: int) -> np.ndarray:
        return np.ones((len(updates), n_fits))

    def gate(self, sequence_length: int, n_fits: int, recording: xr.Dataset) -> np.ndarray:
        interval = estimate_interval(recording, self.rule) if self.interval is None else self.interval
        steps = per_fit("interval", np.asarray(interval, dtype=np.float64), n_fits, low=1.0).astype(np.int64)
        return (np.arange(sequence_length)[None] % steps[:, None] == 0).astype(np.float64)


@dataclass(frozen=True)
class AdaptiveTeacherForcing(Forcing):
    """Generalised teacher forcing whose strength follows the Jacobians of the map at the data (Hess et al. 2023, Algorithm 1).

    Every ``every`` updates, on the batch at hand: kappa = the largest over sequences of G(J), estimate = max(0, 1 - 1/kappa),
    and 1 where kappa is not finite; alpha jumps up to the estimate at once and relaxes down to it by ``alpha <- gamma alpha + (1 - gamma) estimate``.

    alpha : strength at the start. norm : G, one of ``product_upper_bound`` (geometric mean of the spectral norms), ``arithmetic_mean``
    (norm of the mean), ``explog_approx`` (norm of exp of the mean logarithm), ``batch_maximum`` (largest norm), ``jacobian_upper_bound``
    (max|A| + ||W1|| ||W2||, no data needed). A check costs O(B T M^3) and what differs
    between the Jacobians of successive states; with one every 5 updates these take 1.6 to 1.9 times as long as with a constant strength
    (M=3, H=50 and M=20, H=100; kernels/benchmarks/adaptive.py), 1.2 to 1.7 times with ``arithmetic_mean`` or ``jacobian_upper_bound``, and 8 or more
    times with ``explog_approx``.
    """

    alpha: PerFit = 1.0
    norm: str = "product_upper_bound"
    every: int = 5
    gamma: PerFit = 0.999

    def __post_init__(self) -> None:
        if self.norm not in JACOBIAN_NORMS:
            raise unknown_name("norm", self.norm, JACOBIAN_NORMS)
        check_int("every", self.every, low=1)
        per_fit("alpha", self.alpha, np.size(self.alpha), low=0.0, high=1.0)
        per_fit("gamma", self.gamma, np.size(self.gamma), low=0.0, high=1.0)

    def relaxed(self, alpha: np.ndarray, kappa: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        """The strength [F] after norms kappa [F] were found, which ask for all the forcing that there is where they overflow."""
        estimate = np.where(np.isfinite(kappa), 1 - 1 / np.maximum(kappa, 1), 1.0)
        return np.where(estimate > alpha, estimate, gamma * alpha + (1 - gamma) * estimate)

    def strength(self, updates: np.ndarray, n_updates: int, n_fits: int) -> np.ndarray:
        """The strength at the start; the training loop adapts it."""
        return np.broadcast_to(per_fit("alpha", self.alpha, n_fits), (len(updates), n_fits)).copy()


@dataclass(frozen=True)
class FreeRunning(Forcing):
    """No forcing: plain backpropagation through time over the window. On chaotic data its gradients explode with the window's length."""


    def strength(self, updates: np.ndarray, n_updates: int, n_fits: int) -> np.ndarray:
        return np.zeros((len(updates), n_fits))
