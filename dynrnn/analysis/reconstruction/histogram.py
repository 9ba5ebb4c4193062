"""D_stsp by binning: the Kullback-Leibler divergence of two invariant measures, on a sparse histogram."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from dynrnn.analysis.reconstruction._checks import as_pair, require_variation
from dynrnn.errors import ArgumentError, RecordingError, check_int, unknown_name

BinRange = Literal["padded", "min-max", "two-sd"]
BIN_RANGES = ("padded", "min-max", "two-sd")


class BinnedDivergence(NamedTuple):
    """The divergence in nats and what went into it, in samples."""

    value: float
    n_true: int
    """true samples that were binned"""
    n_true_missing: int
    """true samples left out since a channel was missing"""
    n_true_outside: int
    n_generated_outside: int
    """generated samples outside the box: in the overflow cell, or dropped without one"""


def d_stsp_binned(
    true: Float[np.ndarray, "time channel"],
    generated: Float[np.ndarray, "time_generated channel"],
    *,
    n_bins: int = 30,
    bin_range: BinRange = "padded",
    laplace: float = 1e-5,
    overflow_cell: bool = True,
    drop_edges: bool = False,
) -> float:
    """State-space divergence KL(p_true || p_generated) in nats, over a box of ``n_bins**channel`` cells.

    See :func:`binned_divergence`, which takes the same arguments and also returns the counts.

    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> d_stsp_binned(x, x)
    0.0
    >>> round(d_stsp_binned(x, x + 10.0), 1)         # every sample outside the box
    11.5
    """
    return binned_divergence(
        true, generated, n_bins=n_bins, bin_range=bin_range, laplace=laplace, overflow_cell=overflow_cell, drop_edges=drop_edges
    ).value


def binned_divergence(
    true: Float[np.ndarray, "time channel"],
    generated: Float[np.ndarray, "time_generated channel"],
    *,
    n_bins: int = 30,
    bin_range: BinRange = "padded",
    laplace: float = 1e-5,
    overflow_cell: bool = True,
    drop_edges: bool = False,
) -> BinnedDivergence:
    """State-space divergence on a sparse histogram, with the counts behind it.

    Each measure is ``p = (count + laplace) / (total + laplace * n_cells)`` with ``n_cells = n_bins**channel`` (one more with an
    overflow cell). Empty cells enter as a number, never as an array.

    Parameters: ``true`` (time, channel), NaN = missing; a sample with any missing channel is left out and counted. ``generated``
    (time_generated, channel); a non-finite value anywhere gives ``inf``. ``bin_range`` per channel, always from ``true``:
    ``"padded"`` [min - 0.1 sd, max + 0.1 sd], ``"min-max"`` [min, max], ``"two-sd"`` [-2 sd, 2 sd] around zero.
    ``overflow_cell=True`` puts all samples outside the box into one extra cell, where (for the first two ranges) no true sample can be:
    mass that leaves the box is taken from the cells that it should fill, so an orbit with a share f outside pays at least -log(1 - f)
    nats. Clipping to the border cells would instead credit it to cells that true samples may visit. ``overflow_cell=False`` drops these
    samples and normalises over the rest, as published codes do. ``drop_edges=True`` reproduces published Python codes: bin 0 of every
    channel is dropped, and so is a sample at the upper edge.

    Method: Koppe et al. 2019 (PLoS Comput. Biol. 15:e1007263), Hess et al. 2023 (ICML). Cost: O(channel * time log time), memory O(time).
    The value depends strongly on both lengths, so compare only scores of equal lengths. It fails in many dimensions, where each sample
    has a cell to itself: use :func:`d_stsp_gmm` above about five.
    """
    true, generated = as_pair(true, generated)
    n_bins = check_int("n_bins", n_bins, low=1)
    if not laplace > 0:
        raise ArgumentError(f"laplace must be positive, got {laplace!r}: without it an empty cell makes the divergence infinite.")
    low, high = bin_edges(true, bin_range)
    complete = ~np.isnan(true).any(axis=1)
    if not complete.any():
        raise RecordingError(
            f"no sample of the true recording has all {true.shape[1]} channels observed, so none can be binned. "
            "Drop the channels that are missing most, or use d_stsp_gmm on fewer channels."
        )
    n_missing = int((~complete).sum())
    true = true[complete]
    if not np.isfinite(generated).all():
        return BinnedDivergence(math.inf, len(true), n_missing, 0, int((~np.isfinite(generated)).any(axis=1).sum()))

    coordinates, inside = _coordinates(np.concatenate([true, generated]), low, high, n_bins, drop_edges)
    is_true = np.arange(len(inside)) < len(true)
    _, cell = np.unique(_one_number(coordinates[inside], n_bins), return_inverse=True)
    n_occupied = int(cell.max()) + 1 if cell.size else 0
    counts_true = np.bincount(cell[is_true[inside]], minlength=n_occupied)
    counts_generated = np.bincount(cell[~is_true[inside]], minlength=n_occupied)
    true_outside, generated_outside = int((~inside & is_true).sum()), int((~inside & ~is_true).sum())
    try:
        n_cells = float(n_bins) ** true.shape[1]
    except OverflowError:
        raise ArgumentError(f"{n_bins} bins in {true.shape[1]} channels are more cells than a float holds; use d_stsp_gmm.") from None
    if overflow_cell:
        n_cells += 1
        counts_true = np.append(counts_true, true_outside)
        counts_generated = np.append(counts_generated, generated_outside)
    value = smoothed_divergence(counts_true, counts_generated, n_cells, laplace)
    return BinnedDivergence(value, len(true), n_missing, true_outside, generated_outside)


def smoothed_divergence(counts_p: np.ndarray, counts_q: np.ndarray, n_cells: float, laplace: float) -> float:
    """KL of two Laplace-smoothed histograms of ``n_cells`` cells, of which only the listed ones are not empty in both."""
    total_p, total_q = counts_p.sum() + laplace * n_cells, counts_q.sum() + laplace * n_cells
    p, q = (counts_p + laplace) / total_p, (counts_q + laplace) / total_q
    empty = (n_cells - counts_p.size) * (laplace / total_p) * math.log(total_q / total_p)
    return max(float(np.sum(p * np.log(p / q)) + empty), 0.0)  # the sum is non-negative but for rounding


def bin_edges(true: np.ndarray, bin_range: BinRange) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of the box, (channel,) each, over the observed entries of ``true``."""
    sd = require_variation(true)
    low, high = np.nanmin(true, axis=0), np.nanmax(true, axis=0)
    if bin_range == "padded":
        return low - 0.1 * sd, high + 0.1 * sd
    if bin_range == "min-max":
        return low, high
    if bin_range == "two-sd":
        return -2 * sd, 2 * sd
    raise unknown_name("bin_range", bin_range, BIN_RANGES)


def _coordinates(x: np.ndarray, low: np.ndarray, high: np.ndarray, n_bins: int, drop_edges: bool) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore"):  # a sample far outside may overflow, and is outside all the same
        position = np.floor(n_bins * ((x - low) / (high - low)))
    if not drop_edges:
        position = np.where(x == high, n_bins - 1, position)  # the box is closed
    lowest = 1 if drop_edges else 0
    inside = np.all((position >= lowest) & (position < n_bins), axis=1)
    return np.where(inside[:, np.newaxis], position, 0).astype(np.int64), inside


def _one_number(coordinates: np.ndarray, n_bins: int) -> np.ndarray:
    """One integer a row, equal for equal rows. Where n_bins**channel passes 2**62, ranks replace codes after each channel."""
    n_channels = coordinates.shape[1]
    if n_channels * math.log2(max(n_bins, 2)) < 62:
        return coordinates @ (n_bins ** np.arange(n_channels, dtype=np.int64))
    code = coordinates[:, 0]
    for column in coordinates.T[1:]:
        _, code = np.unique(code * n_bins + column, return_inverse=True)
    return code
