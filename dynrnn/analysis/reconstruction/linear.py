"""The linear null: a vector autoregression, fitted by least squares and run freely with its own innovations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dynrnn.analysis.reconstruction.surrogates import fill_forward
from dynrnn.errors import RecordingError, check_int

_LARGEST_RADIUS = 0.9999


@dataclass(frozen=True)
class VectorAutoregression:
    """x[t] = intercept + sum_k coefficients[k-1] x[t-k] + innovation, with innovation ~ N(0, covariance).

    ``coefficients`` (order, channel, channel), ``intercept`` (channel,), ``covariance`` (channel, channel);
    ``spectral_radius`` is that of the companion matrix.
    """

    intercept: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    spectral_radius: float

    @property
    def order(self) -> int:
        return len(self.coefficients)

    @property
    def stable(self) -> bool:
        return self.spectral_radius <= _LARGEST_RADIUS

    def stabilised(self) -> VectorAutoregression:
        """Itself if stable. Otherwise coefficient k times rho**k about the same mean: every root times rho, so the radius is 0.9999."""
        if self.stable:
            return self
        rho = _LARGEST_RADIUS / self.spectral_radius
        scaled = self.coefficients * rho ** np.arange(1, self.order + 1)[:, None, None]
        mean = np.linalg.lstsq(np.eye(len(self.intercept)) - self.coefficients.sum(axis=0), self.intercept, rcond=None)[0]
        return VectorAutoregression(mean - scaled.sum(axis=0) @ mean, scaled, self.covariance, _LARGEST_RADIUS)

    def simulate(
        self, n_steps: int, generator: np.random.Generator, start: Float[np.ndarray, "order channel"], transient: int = 1_000
    ) -> Float[np.ndarray, "time channel"]:
        """A free run (n_steps, channel) from the past ``start`` (latest row last) with Gaussian innovations, after ``transient`` steps."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        total = self.order + transient + n_steps
        x = np.empty((total, len(self.intercept)))
        x[: self.order] = start
        x[self.order :] = generator.standard_normal((total - self.order, x.shape[1])) @ root.T + self.intercept
        stacked = np.concatenate(list(self.coefficients[::-1]), axis=1)  # oldest lag first, as rows of x lie in memory
        for t in range(self.order, total):
            x[t] += stacked @ x[t - self.order : t].ravel()
        return x[self.order + transient :]

    def filled(self, x: Float[np.ndarray, "time channel"]) -> Float[np.ndarray, "time channel"]:
        """``x`` with its missing entries (NaN) replaced by the conditional mean given the samples before, those of the first ``order`` by the last observed.

        O(missing samples * order * channel**2). Of an unstable fit the stabilised one predicts, so that a long gap stays finite.
        """
        missing, own = np.isnan(x), self.stabilised()
        out = fill_forward(x)
        for t in np.flatnonzero(missing.any(axis=1)):
            if t >= self.order:
                step = own.intercept + sum(own.coefficients[k - 1] @ out[t - k] for k in range(1, self.order + 1))
                out[t, missing[t]] = step[missing[t]]
        return out

    def forecast(self, past: Float[np.ndarray, "start order channel"], n_steps: int) -> Float[np.ndarray, "start lead channel"]:
        """Conditional mean at leads 1 .. n_steps after each ``past`` (latest row last)."""
        window = np.asarray(past, dtype=np.float64)
        result = np.empty((len(window), n_steps, window.shape[2]))
        with np.errstate(over="ignore", invalid="ignore"):  # an unstable fit may diverge; the score then says inf
            for lead in range(n_steps):
                step = self.intercept + sum(window[:, -k] @ self.coefficients[k - 1].T for k in range(1, self.order + 1))
                result[:, lead] = step
                window = np.concatenate([window[:, 1:], step[:, None]], axis=1)
        return result


def fit_vector_autoregression(trials: Sequence[Float[np.ndarray, "_ channel"]], max_order: int = 5) -> VectorAutoregression:
    """Least-squares fit to trials (time, channel), NaN = missing, with the order in 1 .. ``max_order`` of least BIC.

    Only rows whose own and all lagged entries are observed enter; orders are compared on the rows of the highest one, and the chosen
    one is fitted again on all of its rows. Method: Luetkepohl 2005, New Introduction to Multiple Time Series Analysis, ch. 3-4. Cost:
    O(time * (order * channel)**2). RecordingError where too few complete rows are left for order 1.

    >>> noise = np.random.default_rng(0).normal(size=(2000, 1))
    >>> x = np.zeros((2000, 1))
    >>> for t in range(1, 2000):
    ...     x[t] = 0.8 * x[t - 1] + noise[t]
    >>> model = fit_vector_autoregression([x])
    >>> model.order, round(model.spectral_radius, 1)
    (1, 0.8)
    """
    check_int("max_order", max_order, low=1)
    n_channels = trials[0].shape[1]
    while max_order > 1:
        rows = _rows(trials, max_order)[0]
        if len(rows) >= 2 * (max_order * n_channels + 1):
            break
        max_order -= 1
    regressors, targets = _rows(trials, max_order)
    if len(targets) < n_channels + 2:
        raise RecordingError(
            f"only {len(targets)} pairs of successive samples are observed in all {n_channels} channels, too few to fit the linear null. "
            "Pass a longer or more complete recording as training=, or drop the channels that are missing most."
        )
    criteria = [_criterion(regressors[:, : 1 + order * n_channels], targets) for order in range(1, max_order + 1)]
    order = int(np.argmin(criteria)) + 1
    regressors, targets = _rows(trials, order)
    beta, covariance = _least_squares(regressors, targets)
    coefficients = beta[1:].T.reshape(n_channels, order, n_channels).transpose(1, 0, 2)
    companion = np.zeros((order * n_channels, order * n_channels))
    companion[:n_channels] = np.concatenate(list(coefficients), axis=1)
    companion[n_channels:, :-n_channels] = np.eye((order - 1) * n_channels)
    radius = float(np.abs(np.linalg.eigvals(companion)).max())
    return VectorAutoregression(beta[0], coefficients, covariance, radius)


def _rows(trials: Sequence[np.ndarray], order: int) -> tuple[np.ndarray, np.ndarray]:
    """Regressors (row, 1 + order * channel), latest lag first, and targets (row, channel), complete rows only."""
    blocks, targets = [], []
    for x in trials:
        if len(x) > order:
            blocks.append(np.concatenate([x[order - k : len(x) - k] for k in range(1, order + 1)], axis=1))
            targets.append(x[order:])
    if not blocks:
        return np.empty((0, 1 + order * trials[0].shape[1])), np.empty((0, trials[0].shape[1]))
    block, target = np.concatenate(blocks), np.concatenate(targets)
    complete = ~(np.isnan(block).any(axis=1) | np.isnan(target).any(axis=1))
    return np.concatenate([np.ones((int(complete.sum()), 1)), block[complete]], axis=1), target[complete]


def _least_squares(regressors: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    beta = np.linalg.lstsq(regressors, targets, rcond=None)[0]
    residual = targets - regressors @ beta
    return beta, residual.T @ residual / len(targets)


def _criterion(regressors: np.ndarray, targets: np.ndarray) -> float:
    """BIC. Variances are floored at rounding: noiseless data would otherwise reward every order with -inf."""
    _, covariance = _least_squares(regressors, targets)
    floor = np.finfo(float).eps * max(float(np.trace(np.atleast_2d(np.cov(targets.T)))), np.finfo(float).tiny)
    variances = np.maximum(np.linalg.eigvalsh(covariance), floor)
    return float(np.log(variances).sum()) + regressors.shape[1] * targets.shape[1] * math.log(len(targets)) / len(targets)
