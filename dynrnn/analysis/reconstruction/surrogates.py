"""Phase-randomised surrogates: orbits of a linear Gaussian process with the recording's own spectra."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dynrnn.analysis.reconstruction._checks import as_matrix


def phase_surrogate(x: Float[np.ndarray, "time channel"], generator: np.random.Generator) -> Float[np.ndarray, "time channel"]:
    """A surrogate of ``x`` (time, channel) with the same mean, power spectra and cross-spectra, and random phases.

    Every channel's phase at a frequency is turned by the same random angle, so whatever is linear is kept (all auto- and
    cross-correlations, circular in time) and whatever is not is destroyed. Missing entries are interpolated linearly first.

    Method: Prichard & Theiler 1994 (PRL 73:951); Kantz & Schreiber, Nonlinear Time Series Analysis, ch. 7. Cost: O(channel * time log
    time). A jump between the last and the first sample adds spurious high frequencies.

    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> y = phase_surrogate(x, np.random.default_rng(1))
    >>> np.allclose(np.abs(np.fft.rfft(x, axis=0)), np.abs(np.fft.rfft(y, axis=0)))
    True
    """
    x = fill_linear(as_matrix("x", x))
    spectrum = np.fft.rfft(x, axis=0)
    angle = generator.uniform(0.0, 2 * np.pi, size=len(spectrum))
    angle[0] = 0.0
    if len(x) % 2 == 0:
        angle[-1] = 0.0  # the Nyquist bin is real
    return np.fft.irfft(spectrum * np.exp(1j * angle)[:, None], len(x), axis=0)


def fill_linear(x: np.ndarray) -> np.ndarray:
    """``x`` with missing entries interpolated linearly in time, constant beyond the ends; 0 where a channel has no sample at all."""
    filled = x.copy()
    time = np.arange(len(x))
    for channel in range(x.shape[1]):
        missing = np.isnan(x[:, channel])
        if missing.any():
            known = ~missing
            filled[missing, channel] = np.interp(time[missing], time[known], x[known, channel]) if known.any() else 0.0
    return filled


def fill_forward(x: np.ndarray) -> np.ndarray:
    """``x`` with missing entries replaced by the last observed value, or 0 (the mean, for standardised data) before the first."""
    last = np.maximum.accumulate(np.where(np.isnan(x), -1, np.arange(len(x))[:, None]), axis=0)
    return np.where(last >= 0, np.take_along_axis(x, np.maximum(last, 0), axis=0), 0.0)
