"""D_stsp by Gaussian mixtures, for more channels than can be binned."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from dynrnn.analysis.reconstruction._checks import as_pair, stream
from dynrnn.errors import ArgumentError, RecordingError, check_int, unknown_name
from dynrnn.streams import check_random_state

Underflow = Literal["exact", "drop", "epsilon"]
UNDERFLOW = ("exact", "drop", "epsilon")
_BLOCK = 1 << 21  # distances held at once: 16 MB
_FAR = 1e100  # a component beyond this has no density in float64 at any sample, and its squared distance may overflow


def d_stsp_gmm(
    true: Float[np.ndarray, "time channel"],
    generated: Float[np.ndarray, "time_generated channel"],
    *,
    variance: float = 1.0,
    n_components: int | None = 10_000,
    n_samples: int = 1_000,
    components: Literal["even", "first"] = "even",
    underflow: Underflow = "exact",
    random_state: int | None = 0,
) -> float:
    """State-space divergence KL(p_true || p_generated) in nats, each measure a mixture of Gaussians around its samples.

    At most ``n_components`` samples of each orbit become Gaussians of covariance ``variance`` times the identity, spread evenly over the
    orbit (``"even"``) or its first ones (``"first"``, as published). The divergence is the mean of log p - log q over ``n_samples``
    Monte-Carlo draws from p_true; it is unbiased, and may come out slightly negative where the two agree. Equal orbits give exactly 0.

    ``true`` (time, channel) and ``generated`` (time_generated, channel) should be standardised, since ``variance`` is one number for all
    channels. Samples of ``true`` with a missing (NaN) channel are left out. A non-finite value in ``generated`` gives ``inf``.

    ``underflow``: ``"exact"`` is a log-sum-exp in float64, in which nothing is ever dropped. ``"drop"`` reproduces published codes:
    densities in float32, without the factor (2 pi)**(-channel/2), and draws where either is zero are dropped, which flatters bad
    models; where all are dropped (published: NaN) this is ``inf``. ``"epsilon"`` adds 1e-8 to both densities in float32.

    Method: Koppe et al. 2019 (PLoS Comput. Biol. 15:e1007263); log-sum-exp here. Cost: O(n_components * n_samples * channel), memory
    O(n_components + 16 MB). It is blind to structure finer than sqrt(variance).

    >>> x = np.random.default_rng(0).normal(size=(500, 8))
    >>> d_stsp_gmm(x, x)
    0.0
    >>> d_stsp_gmm(x, x + 3.0) > 1.0
    True
    """
    true, generated = as_pair(true, generated)
    n_samples, random_state = check_int("n_samples", n_samples, low=1), check_random_state(random_state)
    if not (math.isfinite(variance) and variance > 0):
        raise ArgumentError(f"variance must be positive and finite, got {variance!r}.")
    if underflow not in UNDERFLOW:
        raise unknown_name("underflow", underflow, UNDERFLOW)
    true = true[~np.isnan(true).any(axis=1)]
    if not len(true):
        raise RecordingError("no sample of the true recording has all channels observed. Drop the channels that are missing most.")
    if not np.isfinite(generated).all():
        return math.inf
    centre = true.mean(axis=0)
    p_means = _choose(true - centre, n_components, components)
    q_means = _choose(generated - centre, n_components, components)

    generator = stream(random_state, "mixture")
    draws = p_means[generator.integers(len(p_means), size=n_samples)]
    draws = draws + math.sqrt(variance) * generator.standard_normal(draws.shape)
    log_p, log_q = log_density(draws, p_means, variance), log_density(draws, q_means, variance)
    if underflow == "exact":
        return float(np.mean(log_p - log_q))
    # published codes leave out the factor (2 pi)**(-N/2), which cancels, and with it 64 channels would underflow at once
    constant = 0.5 * draws.shape[1] * math.log(2 * math.pi)
    with np.errstate(under="ignore", over="ignore"):
        p, q = np.exp(log_p + constant).astype(np.float32), np.exp(log_q + constant).astype(np.float32)
    if underflow == "epsilon":
        return float(np.mean(np.log(p + np.float32(1e-8)) - np.log(q + np.float32(1e-8)), dtype=np.float64))
    kept = (p > 0) & (q > 0)
    return float(np.mean(np.log(p[kept] / q[kept]), dtype=np.float64)) if kept.any() else math.inf


def log_density(
    x: Float[np.ndarray, "sample channel"], means: Float[np.ndarray, "component channel"], variance: float
) -> Float[np.ndarray, " sample"]:
    """Log density at ``x`` of the equal mixture of Gaussians of covariance ``variance`` times the identity, by log-sum-exp."""
    near = means[np.abs(means).max(axis=1) < _FAR]
    constant = -0.5 * x.shape[1] * math.log(2 * math.pi * variance) - math.log(len(means))
    if not len(near):
        return np.full(len(x), -np.inf)
    result = np.empty(len(x))
    norms = np.einsum("ij,ij->i", near, near)
    step = max(1, _BLOCK // len(near))
    for start in range(0, len(x), step):
        block = x[start : start + step]
        exponent = (block @ near.T - 0.5 * norms - 0.5 * np.einsum("ij,ij->i", block, block)[:, None]) / variance
        largest = exponent.max(axis=1, keepdims=True)
        result[start : start + step] = largest[:, 0] + np.log(np.exp(exponent - largest).sum(axis=1))
    return result + constant


def _choose(x: np.ndarray, n_components: int | None, rule: str) -> np.ndarray:
    if n_components is None or len(x) <= check_int("n_components", n_components, low=1):
        return x
    if rule == "first":
        return x[:n_components]
    if rule != "even":
        raise unknown_name("components", rule, ("even", "first"))
    return x[np.linspace(0, len(x) - 1, n_components).round().astype(np.int64)]
