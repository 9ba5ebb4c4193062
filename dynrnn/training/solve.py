"""Readouts of reservoirs, solved: one pass over the recording, in pieces, while the sums of the last piece are taken on another thread."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import xarray as xr
from numba import get_num_threads
from tqdm import tqdm

from dynrnn.analysis.reconstruction.forecasts import choose_starts, truth_after
from dynrnn.errors import RecordingError
from dynrnn.models.generation import forecast
from dynrnn.models.reservoirs import NextGenerationReservoir, Reservoir
from dynrnn.models.reservoirs.recursive import Recursion
from dynrnn.models.reservoirs.ridge import Solution, SumsOfProducts, TriangularFactor, exact_enough
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.reservoir import Weights, run

PIECE = 1_024           # most steps driven at a time
SHORT = 256             # of few units, whose states then stay in the cache until their sums are taken
Sums = SumsOfProducts | TriangularFactor | Recursion
HORIZON, STARTS, LOST = 50, 64, 4.0   # steps and starts of the forecasts that choose among penalties; the error that one counts at most


@dataclass
class Solved:
    """Per (fit, ridge), in squared standard deviations: mean squared error of one step on the training data, of free forecasts on validation (NaN
    without). Per fit: which penalty was taken, and the mean squared error of each sample just before it was learned (NaN where not by recursion)."""

    ridge: np.ndarray
    training_error: np.ndarray
    validation_error: np.ndarray
    chosen: np.ndarray
    online_error: np.ndarray
    seconds: float


def solve(
    model: Reservoir, recording: xr.Dataset, validation: xr.Dataset | None, ridges: np.ndarray, washout: int, progress: bool,
    forgetting: np.ndarray | None = None,
) -> Solved:
    """Solve W_out, b_out, L and h_start of all fits in place, for ridges [fit, ridge]; the best on validation is kept, without validation the first.
    With forgetting [fit] by recursion over the samples, for one penalty.

    O(samples (values of W + n^2) + n^3) a fit; memory O(n^2 + PIECE n).
    """
    began, F, R = time.perf_counter(), model.n_fits, ridges.shape[1]
    trials = standardised(model, recording)
    training, validated, online = np.full((F, R), np.nan), np.full((F, R), np.nan), np.full(F, np.nan)
    solutions: list[Solution] = []
    for f in tqdm(range(F), desc="solving", unit="fit", disable=not progress or F == 1):
        problem = Problem(trials, ridges[f], washout, None if forgetting is None else float(forgetting[f]))
        found, (L, start) = _solve_fit(model, f, problem)
        model.L[f], model.h_start[f], training[f] = torch.tensor(L.T), torch.tensor(start), found.residual
        solutions.append(found)
        online[f] = found.online
    if validation is not None:
        for r in range(R):
            _take(model, solutions, np.full(F, r))
            validated[:, r] = _forecast_errors(model, validation, washout)
    chosen = np.zeros(F, np.int64) if validation is None else validated.argmin(1)
    _take(model, solutions, chosen)
    return Solved(ridges, training, validated, chosen, online, time.perf_counter() - began)


def standardised(model: Reservoir, recording: xr.Dataset) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Samples [T, N] and inputs [T, K] of each trial, in the model's units."""
    x = np.asarray(recording.observed.values, dtype=np.float64)
    x = (x - model.data_mean[0].numpy()) / model.data_scale[0].numpy()
    u = np.asarray(recording.inputs.values, dtype=np.float64) if model.input_dim else None
    return [(x[k, :n], None if u is None else u[k, :n]) for k, n in enumerate(recording.n_time.values.tolist())]


def _take(model: Reservoir, solutions: list[Solution], which: np.ndarray) -> None:
    """The readouts of one penalty of each fit."""
    for f, (found, r) in enumerate(zip(solutions, which.tolist(), strict=True)):
        model.W_out[f], model.b_out[f] = torch.tensor(found.W[r].T), torch.tensor(found.b[r])


@dataclass(frozen=True)
class Problem:
    """What a readout is solved from: samples and inputs of each trial, penalties; by recursion where there is a number for forgetting."""

    trials: list[tuple[np.ndarray, np.ndarray | None]]
    ridges: np.ndarray
    washout: int
    forgetting: float | None

    def sums(self, X: np.ndarray, m: int) -> Sums:
        """What takes up rows of states of which X are the first, and of m outputs: the fastest that is exact enough."""
        n = X.shape[1]
        if self.forgetting is not None:
            return Recursion(n, m, float(self.ridges[0]), self.forgetting)
        n_rows = sum(max(0, len(x) - 1 - self.washout) for x, _ in self.trials)
        return (SumsOfProducts if exact_enough(self.ridges, float((X**2).sum(1).mean()), n_rows) else TriangularFactor)(n, m)


def _solve_fit(model: Reservoir, fit: int, problem: Problem) -> tuple[Solution, tuple[np.ndarray, np.ndarray]]:
    """The readout, and the regression [N, n] and offset [n] of h on x. Steps to a missing sample are not learned.

    Missing samples enter as the channel's mean; where there are any, all is done again with the predictions of the first readout in their place.
    """
    if isinstance(model, NextGenerationReservoir):
        return _solve_line(model, problem)
    N, n = model.observed_dim, model.n_units
    weights = replace(model.weights(fit), W_out=np.zeros((0, n)), b_out=np.zeros(N))
    found, start = _pass(model, weights, problem)
    if any(np.isnan(x).any() for x, _ in problem.trials):
        W_out = np.zeros((N, n))
        W_out[:, model.readout_units] = found.W[0].T
        found, start = _pass(model, replace(weights, W_out=W_out, b_out=found.b[0]), problem)
    return found, start


def _solve_line(model: NextGenerationReservoir, problem: Problem) -> tuple[Solution, tuple[np.ndarray, np.ndarray]]:
    """The same for polynomials of a line of samples; lines never reach over the start of a trial, nor over a missing sample."""
    sums: Sums | None = None
    start = SumsOfProducts(model.n_units, model.observed_dim)
    for x, u in problem.trials:
        for first in range(problem.washout, len(x) - 1, PIECE):
            end = min(first + PIECE, len(x) - 1)
            lines, X, Y = model.rows(x, u, first, end)
            kept = np.isfinite(lines).all(1) & np.isfinite(Y).all(1)
            lines, X, Y = lines[kept], X[kept], Y[kept]
            if sums is None and len(X):
                sums = problem.sums(X, Y.shape[1])
            if sums is not None:
                sums.add(X, Y)
                start.add(lines[:, model.observed_dim :], lines[:, : model.observed_dim])
    if sums is None:
        raise RecordingError(
            f"no stretch of {model.least_past + 2} samples after the washout of {problem.washout} is observed in all channels: nothing to learn from."
        )
    if not model.n_units:
        return sums.solve(problem.ridges), (np.zeros((model.observed_dim, 0)), np.zeros(0))
    cold = start.solve_back(np.array([1e-9 * max(start.count, 1)]))
    return sums.solve(problem.ridges), (cold.W[0], cold.b[0])


def _pass(model: Reservoir, weights: Weights, problem: Problem) -> tuple[Solution, tuple[np.ndarray, np.ndarray]]:
    N, n, read = model.observed_dim, model.n_units, model.readout_units
    prepared, sums, start = weights.prepared(), None, SumsOfProducts(n, N)
    piece = min(PIECE, max(SHORT, n))
    paths = np.empty((2, piece, N + n))                                             # one is driven while the sums of the other are taken
    with ThreadPoolExecutor(1) as other, one_blas_thread():
        pending = None
        for x, u in problem.trials:
            state = np.concatenate([np.nan_to_num(x[0]), np.zeros(n)])
            for first in range(0, len(x) - 1, piece):
                target = x[first + 1 : first + 1 + piece]
                drive = None if u is None else u[first + 1 : first + 1 + piece]
                path, paths = paths[0, : len(target)], paths[::-1]
                _, state = run(weights, state, len(target), target, drive, prepared=prepared, path=path, share=False)   # the other thread takes the sums
                path[:, :N] = target
                rows = path[max(0, problem.washout - first) :]
                missing = np.isnan(rows[:, :N]).any(1)
                rows = rows[~missing] if missing.any() else rows
                if sums is None and len(rows):
                    sums = problem.sums(rows[:, N:][:, read], N)
                    start = sums if isinstance(sums, SumsOfProducts) and sums.n == n else start
                if pending is not None:
                    pending.result()
                if sums is None:
                    pending = None
                    continue
                job = partial(_add, sums, start, rows, N, read)
                pending = other.submit(job) if get_num_threads() > 1 else job()
        if pending is not None:
            pending.result()
    if sums is None:
        raise RecordingError(f"no sample after the washout of {problem.washout} is observed in all channels, so there is nothing to learn from.")
    cold = start.solve_back(np.array([1e-9 * max(start.count, 1)]))
    return sums.solve(problem.ridges), (cold.W[0], cold.b[0])


def _add(sums: Sums, start: SumsOfProducts, rows: np.ndarray, N: int, read: slice) -> None:
    """Rows (samples, units), which are overwritten; ``start``, which has all units, is ``sums`` where that has them, too."""
    if sums is not start:
        sums.add(rows[:, N:][:, read], rows[:, :N])
    start.add_rows(rows)


def _forecast_errors(model: Reservoir, validation: xr.Dataset, washout: int) -> np.ndarray:
    """Mean squared error of each fit's free forecasts of HORIZON steps, in variances of the channel, at most 4 each: twice that of an independent draw."""
    trials = [x[:n] for x, n in zip(validation.observed.values, validation.n_time.values, strict=True)]
    starts = choose_starts(trials, HORIZON, STARTS, first=washout)
    ahead = forecast(model, validation, starts.where, HORIZON).values
    errors = ((ahead - truth_after(trials, starts)) / model.data_scale.numpy()[:, None, None]) ** 2
    lost = ~np.isfinite(ahead)
    return np.nanmean(np.where(lost, LOST, np.minimum(errors, LOST)), (1, 2, 3))
