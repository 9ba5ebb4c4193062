"""D_H: the Hellinger distance between smoothed power spectra."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from dynrnn.analysis.reconstruction._checks import as_pair, require_variation
from dynrnn.errors import ArgumentError, RecordingError, unknown_name

_FLAT = 1e-6  # of the true standard deviation: below it a float32 orbit is a constant with rounding noise
_MIN_LENGTH = 8


def d_hellinger(
    true: Float[np.ndarray, "time channel"],
    generated: Float[np.ndarray, "time channel"],
    *,
    smoothing_sigma: float = 20.0,
    boundary: Literal["mirror", "reflect"] = "mirror",
    form: Literal["difference", "overlap"] = "difference",
) -> float:
    """Hellinger distance between the power spectra of two orbits of equal length, mean over channels, in [0, 1].

    Each channel is z-scored; |rfft|**2 is smoothed by a Gaussian of ``smoothing_sigma`` frequency bins (0: not at all; radius
    4 sigma), negative values are set to 0, the result is normalised to sum 1, and
    H = sqrt(sum (sqrt(p) - sqrt(q))**2 / 2). No frequency is cut off.

    ``boundary`` is how the smoothing continues the spectrum past its ends: ``"mirror"`` about the end bin, ``"reflect"`` about its outer
    edge (published Python codes). ``form="overlap"`` is the published Python form sqrt(1 - sum sqrt(p q)), which loses half of the
    digits near 0 (up to 1e-7 at equality; where rounding makes the root's argument negative, published codes return NaN and this 0).
    ``"difference"`` is exactly 0 for equal orbits.

    Missing entries (NaN) of ``true``: the spectrum comes from the autocovariance over the pairs of observed samples (Parzen 1963, Sankhya A
    25:383), which is |rfft|**2 itself where nothing is missing; ``generated`` is read through the same mask. RecordingError where a
    lag that the smoothing keeps has no observed pair. A channel that is constant in ``generated`` (sd below 1e-6 of the true one) has no
    power at any frequency: its distance is 1, the largest. Constant in ``true``: RecordingError. A non-finite value in ``generated``
    gives ``inf``.

    Method: Mikhaeil et al. 2022 (NeurIPS), Hess et al. 2023 (ICML). Cost: O(channel * time log time). Since sigma is in bins, the
    value depends on the length; phases do not enter, so a linear surrogate scores 0: read it beside D_stsp.

    >>> t = np.arange(1000)[:, None]
    >>> slow, fast = np.sin(0.05 * np.pi * t), np.sin(0.5 * np.pi * t)
    >>> d_hellinger(slow, slow), d_hellinger(slow, 3 * slow + 1) < 1e-7, round(d_hellinger(slow, fast), 3)
    (0.0, True, 1.0)
    """
    return float(
        hellinger_by_channel(true, generated, smoothing_sigma=smoothing_sigma, boundary=boundary, form=form).mean(),
    )


def hellinger_by_channel(
    true: Float[np.ndarray, "time channel"],
    generated: Float[np.ndarray, "time channel"],
    *,
    smoothing_sigma: float = 20.0,
    boundary: Literal["mirror", "reflect"] = "mirror",
    form: Literal["difference", "overlap"] = "difference",
) -> Float[np.ndarray, " channel"]:
    """:func:`d_hellinger` before the mean: the distance of each channel, (channel,)."""
    true, generated = as_pair(true, generated)
    if len(true) != len(generated):
        raise ArgumentError(
            f"true has {len(true)} samples and generated has {len(generated)}; spectra are compared bin by bin, so cut both to one length."
        )
    if len(true) < _MIN_LENGTH:
        raise ArgumentError(f"a spectrum needs at least {_MIN_LENGTH} samples, got {len(true)}.")
    if boundary not in ("mirror", "reflect"):
        raise unknown_name("boundary", boundary, ("mirror", "reflect"))
    if form not in ("difference", "overlap"):
        raise unknown_name("form", form, ("difference", "overlap"))
    if not (math.isfinite(smoothing_sigma) and smoothing_sigma >= 0):
        raise ArgumentError(f"smoothing_sigma must be at least 0 and finite, got {smoothing_sigma!r}.")
    sd = require_variation(true)
    if not np.isfinite(generated).all():
        return np.full(true.shape[1], math.inf)

    distances = np.ones(true.shape[1])
    for channel in range(true.shape[1]):
        observed = ~np.isnan(true[:, channel])
        other, spread = _centred(generated[:, channel], observed)
        if spread < _FLAT * sd[channel]:
            continue
        _require_pairs(observed, smoothing_sigma, channel)
        p = _smoothed(power_spectrum(_centred(true[:, channel], observed)[0], observed), smoothing_sigma, boundary)
        q = _smoothed(power_spectrum(other, observed), smoothing_sigma, boundary)
        if form == "difference":
            distances[channel] = math.sqrt(0.5 * np.sum((np.sqrt(p) - np.sqrt(q)) ** 2))
        else:
            distances[channel] = math.sqrt(max(1.0 - np.sum(np.sqrt(p * q)), 0.0))
    return distances


def power_spectrum(centred: Float[np.ndarray, " time"], observed: np.ndarray) -> Float[np.ndarray, " frequency"]:
    """|rfft|**2 of a centred series (0 where missing); with missing samples, its estimate from the observed pairs of each lag."""
    n = len(centred)
    power = np.abs(np.fft.rfft(centred)) ** 2
    if observed.all():
        return power
    products = np.fft.irfft(power, n)
    pairs = np.rint(np.fft.irfft(np.abs(np.fft.rfft(observed.astype(float))) ** 2, n))
    autocovariance = np.where(pairs > 0, products * n / np.maximum(pairs, 1), 0.0)
    return np.fft.rfft(autocovariance).real


def _centred(x: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, float]:
    """The series about its observed mean, scaled to largest value 1 (spectra are normalised, and squares must not overflow), and its sd."""
    scale = float(np.abs(x[observed]).max()) or 1.0
    unit = x[observed] / scale
    unit = unit - unit.mean()
    largest = float(np.abs(unit).max()) or 1.0
    result = np.zeros(len(x))
    result[observed] = unit / largest
    return result, float(np.std(unit, ddof=1)) * scale


def _smoothed(power: np.ndarray, sigma: float, boundary: Literal["mirror", "reflect"]) -> np.ndarray:
    if sigma > 0:
        power = gaussian_filter1d(power, sigma, mode=boundary, truncate=4.0)
    power = np.maximum(power, 0.0)
    return power / power.sum()


def _require_pairs(observed: np.ndarray, sigma: float, channel: int) -> None:
    """Smoothing by sigma bins is a lag window of sd n / (2 pi sigma): lags beyond four of these do not matter."""
    if observed.all():
        return
    n = len(observed)
    reach = n // 2 if sigma == 0 else min(n // 2, math.ceil(4 * n / (2 * math.pi * sigma)))
    pairs = np.rint(np.fft.irfft(np.abs(np.fft.rfft(observed.astype(float))) ** 2, n))[: reach + 1]
    if (pairs < 1).any():
        raise RecordingError(
            f"channel {channel} of the true recording has {int((~observed).sum())} of {n} samples missing, and no two observed samples are "
            f"{int(np.argmax(pairs < 1))} steps apart, so its spectrum is unknown. Drop the channel, or score a better observed stretch."
        )
