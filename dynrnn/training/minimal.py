"""How few relu units reconstruct a recording: AL-RNNs of every P, several fits each, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.analysis.reconstruction import score_orbits
from dynrnn.data import as_recording
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models import ALRNN, generate
from dynrnn.training.fit import fit
from dynrnn.training.forcing import SparseTeacherForcing

IN_USE = 1e-3                             # a region counts from this share of the samples of a free run


def minimal_code(
    recording: Any, test: Any, n_relu: Sequence[int] = (0, 1, 2, 3, 4), latent_dim: int = 20, *, n_fits: int = 5, preset: str = "dynrnn-1",
    n_steps: int = 100_000, random_state: int | None = None, **fit_options: Any,
) -> xr.Dataset:
    """Train AL-RNNs with P = 0, 1, 2, ... relu units and say how few reconstruct the recording as well as the best does.

    An AL-RNN with P relu units has 2^P regions at most; the fewest that are needed are the fewest symbols that the dynamics can be
    written in (Brenner et al. 2024, arXiv:2410.14240). P = 0 is a linear map, which reconstructs no chaos: a check of the scale.

    Parameters
    ----------
    recording : what to train on; free runs beside it choose each fit's checkpoint. test : another stretch of the same system.
    n_relu : every P to try, each from 0 to latent_dim. n_fits : seeds of each. preset : of the scores, see ``evaluate``.
    n_steps : samples of the free run that is scored and whose regions are counted.
    fit_options : further arguments of ``fit``; by default sparse forcing at the interval that the recording says.

    Returns a Dataset over n_relu and fit: ``d_stsp``, ``d_hellinger`` (from the test's first sample), ``n_symbols`` (regions that hold at least
    a thousandth of the run), ``status`` of the training; ``median`` and its ``standard_error`` (from the median absolute deviation, as of
    normal numbers) over the fits; and ``minimal`` (): the smallest P whose median d_stsp lies within one standard error of the best median, of
    those that are finite (a run that diverges scores infinity); -1 where none is, and ``minimal_status`` says so.

    Cost: that of len(n_relu) n_fits fits. It fails where the fits do: look at the spread before you believe ``minimal``.
    """
    given = sorted({check_int("n_relu", P, low=0, high=latent_dim) for P in n_relu})
    if not given:
        raise ArgumentError("n_relu must name at least one number of relu units, such as (0, 1, 2, 3).")
    check_int("n_fits", n_fits, low=1)
    recording, test = as_recording(recording), as_recording(test)
    options: dict[str, Any] = {"forcing": SparseTeacherForcing(), **fit_options}
    rows = []
    for P in given:
        model = ALRNN(recording.observed.shape[-1], latent_dim, P, n_fits=n_fits, random_state=random_state)
        run = fit(model, recording, validation=recording, keep="best", random_state=random_state, **options)
        orbit = generate(run, n_steps, initial=test.isel(trial=[0]), transient=n_steps // 10)
        scores = score_orbits([test.observed.values[0, : int(test.n_time[0])]], orbit.observed.values, preset, n_null=0)
        rows.append((scores.d_stsp.values, scores.d_hellinger.values, _symbols(model, orbit.latent.values), run.status.values.astype(str)))
    dims = ("n_relu", "fit")
    d_stsp, d_hellinger, n_symbols, status = (np.array(column) for column in zip(*rows, strict=True))
    median, error = medians(d_stsp)
    minimal, said = fewest(given, median, error)
    return xr.Dataset(
        {
            "d_stsp": (dims, d_stsp, {"units": "nat", "preset": preset}),
            "d_hellinger": (dims, d_hellinger, {"units": "1", "preset": preset}),
            "n_symbols": (dims, n_symbols, {"long_name": "regions in use", "units": "1"}),
            "status": (dims, status),
            "median": ("n_relu", median, {"long_name": "median of d_stsp over the fits", "units": "nat"}),
            "standard_error": ("n_relu", error, {"long_name": "of that median", "units": "nat"}),
            "minimal": ((), minimal, {"long_name": "smallest P within a standard error of the best, -1 where none can be told", "units": "1"}),
            "minimal_status": ((), said, {"long_name": "what minimal rests on"}),
        },
        coords={"n_relu": given, "fit": np.arange(n_fits)},
    )


def medians(d_stsp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median over fits (n_relu, fit) and its standard error, the standard deviation taken from the median absolute deviation; NaN beside one that is inf."""
    median = np.median(d_stsp, 1)
    with np.errstate(invalid="ignore"):
        spread = np.median(np.abs(d_stsp - median[:, None]), 1)
    return median, 1.2533 * 1.4826 * spread / np.sqrt(d_stsp.shape[1])


def fewest(n_relu: Sequence[int], median: np.ndarray, error: np.ndarray) -> tuple[int, str]:
    """The smallest of ``n_relu`` (rising) whose median is within the best one's standard error of it, -1 if no median is finite; and what that rests on.

    >>> fewest([0, 1, 2], np.array([np.inf, 1.05, 1.0]), np.array([np.nan, 0.1, 0.1]))
    (1, 'judged by 2 of 3')
    """
    finite = np.isfinite(median)
    if not finite.any():
        return -1, "most runs of every number of relu units diverge: nothing to judge by"
    best = int(np.argmin(np.where(finite, median, np.inf)))
    allowed = median[best] + (error[best] if np.isfinite(error[best]) else 0.0)
    return int(n_relu[int(np.argmax(finite & (median <= allowed)))]), f"judged by {int(finite.sum())} of {len(median)}"


def _symbols(model: ALRNN, latent: np.ndarray) -> np.ndarray:
    """Regions in use of each fit's run [fit, trial, time, latent]; 0 where it is not finite."""
    out = np.zeros(len(latent), dtype=np.int64)
    for k, map in enumerate(canonical(model).maps):
        states = latent[k].reshape(-1, latent.shape[-1])
        if map is None or not np.isfinite(states).all():
            continue
        _, counts = np.unique(np.packbits(map.words(states), axis=1), axis=0, return_counts=True)
        out[k] = int((counts >= IN_USE * len(states)).sum())
    return out
