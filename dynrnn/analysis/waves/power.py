"""Fourier power of activity over time and position, and how much of it lies on the lines of travelling waves."""

from __future__ import annotations

import numpy as np
from scipy import fft


def windows(x: np.ndarray, length: int) -> np.ndarray:
    """x [time, ...] as stretches [n, length, ...] that follow each other; what is left over at the end is dropped."""
    n = len(x) // length
    return x[: n * length].reshape(n, length, *x.shape[1:])


def line_power(x: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Power along omega = -v k for every v: [run, velocity], of stretches x [run, window, time, channel, position] with real values.

    The sum over wavenumbers k other than 0, half of which suffice, of |sum over t of F(k, t) exp(i v k t)|^2, F being the transform over positions on the ring:
    the two-dimensional transform at frequencies that need not be on its grid. Divided by n^2 T, and summed over windows and channels. Uniform activity has
    k = 0 and moves at any velocity: it does not count. O(run window channel time position velocity).
    """
    R, W, T, c, n = x.shape
    by_time = fft.rfft(x, axis=4)[..., 1:].transpose(4, 0, 2, 1, 3).reshape(-1, R, T, W * c)                  # [k, run, time, rest]
    twice = np.where(np.arange(1, n // 2 + 1) * 2 == n, 1.0, 2.0)                                            # k and -k have the same power
    out, angle = np.zeros((R, len(velocities))), velocities[:, None] * np.arange(T)
    for k, (row, weight) in enumerate(zip(by_time, twice, strict=True), 1):
        moved = np.exp(2j * np.pi * k / n * angle) @ row                                                        # [run, velocity, rest]
        out += weight * (moved.real**2 + moved.imag**2).sum(2)
    return out / (n**2 * T)


def plane_power(x: np.ndarray) -> np.ndarray:
    """Fourier power [frequency, wavenumber] of windows x [window, time, channel, position], mean over windows and channels, both axes in rising order with
    0 in the middle (``numpy.fft.fftshift``); a wave of velocity v has omega = -v k."""
    power = np.abs(fft.fft2(x, axes=(1, 3))) ** 2
    return fft.fftshift(power.mean((0, 2)), axes=(0, 1)) / (x.shape[1] * x.shape[3])
