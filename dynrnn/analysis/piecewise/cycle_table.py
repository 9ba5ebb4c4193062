"""Cycles of all fits as one Dataset, ragged rows padded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import NOT_FINITE, Maps
from dynrnn.analysis.piecewise.cycle_finder import Finding
from dynrnn.analysis.piecewise.cycle_list import BORDER, Cycle
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.multipliers import as_complex
from dynrnn.analysis.stability import describe

NEUTRAL = 1e-12                           # |ln mu| below which a multiplier is 1 and the index 0
LONG_NAMES = {
    "valid": "the row holds a cycle",
    "period": "minimal period in steps",
    "location": "points of the cycle",
    "region": "units that are on",
    "multiplier": "eigenvalue of the product of Jacobians over the period",
    "log_modulus": "logarithm of the multiplier's modulus",
    "index": "sign of det(I - product of Jacobians)",
    "margin": "distance to the next switching plane, smallest over phases",
    "residual": "largest distance between a point's image and the next point",
    "on_border": "a point lies on a switching plane",
    "virtual": "the points are outside the regions of their word",
    "hits": "starts of the search that led here",
}


def cycle_table(findings: Sequence[Finding | None], maps: Maps, periods: tuple[int, ...]) -> xr.Dataset:
    """One row a cycle; fits without a map get empty rows."""
    n_rows = max((len(finding.cycles.rows()) for finding in findings if finding), default=0)
    n_phases = max((len(cycle.word) for finding in findings if finding for cycle in finding.cycles.rows()), default=1)
    n_units = max((map.n_units for map in maps.maps if map is not None), default=0)
    sizes = {"cycle": n_rows, "phase": n_phases, "latent": maps.latent_dim, "unit": n_units, "mode": maps.latent_dim}
    tables = [_one_fit(finding.cycles.rows(), finding.cycles.map, maps.dt) if finding else _one_fit([], _empty(maps), maps.dt) for finding in findings]
    out = xr.Dataset(coords={"fit": maps.fit, "cycle_period": np.array(periods)})
    for name, first in tables[0].variables.items():
        parts = [_padded(table[name].variable, sizes) for table in tables]
        out[name] = (("fit", *first.dims), np.stack(parts), {"long_name": LONG_NAMES.get(str(name), ""), **first.attrs})
    n = len(periods)
    complete = [finding.complete if finding else np.zeros(n, bool) for finding in findings]
    unseen = [finding.unseen if finding else np.full(n, np.nan) for finding in findings]
    continua = [finding.n_continua if finding else np.zeros(n, np.int64) for finding in findings]
    dims = ("fit", "cycle_period")
    out["complete"] = (dims, np.array(complete), {"long_name": "no other cycle of this period exists"})
    out["n_unseen"] = (dims, np.array(unseen), {"long_name": "cycles that the search has missed, estimated from below; NaN where unknown", "units": "1"})
    out["n_continua"] = (dims, np.array(continua), {"long_name": "words whose cycles of this period are not isolated, which have no row", "units": "1"})
    out["status"] = (("fit",), np.array([finding.status if finding else NOT_FINITE for finding in findings]), {"long_name": "what was done"})
    return out


def _one_fit(rows: list[Cycle], map: PiecewiseLinearMap, dt: float) -> xr.Dataset:
    M, H, n = map.latent_dim, map.n_units, len(rows)
    longest = max((len(row.word) for row in rows), default=1)
    location, region = np.full((n, longest, M), np.nan), np.zeros((n, longest, H), bool)
    log, angle = np.zeros((n, M)), np.zeros((n, M))
    margin, residual, border = np.zeros(n), np.zeros(n), np.zeros(n, bool)
    virtual = np.array([row.virtual for row in rows], bool)
    period = np.array([len(row.word) for row in rows], np.int64)
    for i, row in enumerate(rows):
        k = len(row.word)
        location[i, :k], region[i, :k] = row.points, row.word
        log[i], angle[i] = row.log_modulus, row.angle
        margin[i] = map.margins(row.points).min()
        y, size = map.preactivations(row.points)
        border[i] = (np.abs(y) <= BORDER * size)[:, map.W1.any(0) & map.W2.any(1)].any()
        onward = map.step(row.points) if not row.virtual else np.einsum("tij,tj->ti", map.jacobians(row.word), row.points) + map.offsets(row.word)
        residual[i] = np.abs(onward - np.roll(row.points, -1, axis=0)).max(initial=0)
    multiplier = as_complex(log, angle)
    growing = ((np.abs(np.sin(angle)) < 1e-12) & (np.abs(angle) < 1) & (log > NEUTRAL)).sum(1)
    neutral = ((np.abs(np.sin(angle)) < 1e-12) & (np.abs(angle) < 1) & (np.abs(log) <= NEUTRAL)).any(1)
    told = describe(xr.DataArray(multiplier, dims=("cycle", "mode")), dt, border=border & ~virtual)
    with np.errstate(divide="ignore"):
        told["time_constant"] = told.time_constant.copy(data=np.where(log == 0, np.inf, -period[:, None] * dt / np.where(log == 0, 1, log)))
    told["frequency"] = told.frequency / period[:, None]
    told.frequency.attrs = {"long_name": "rotation", "units": "1 / time of dt"}
    table = xr.Dataset(
        {
            "valid": ("cycle", np.ones(n, bool)),
            "period": ("cycle", period, {"units": "steps"}),
            "location": (("cycle", "phase", "latent"), location),
            "region": (("cycle", "phase", "unit"), region),
            "multiplier": (("cycle", "mode"), multiplier, {"units": "1"}),
            "log_modulus": (("cycle", "mode"), log, {"units": "nat / period"}),
            "index": ("cycle", np.where(neutral, 0, 1 - 2 * (growing % 2)), {"units": "1"}),
            "margin": ("cycle", margin),
            "residual": ("cycle", residual),
            "on_border": ("cycle", border & ~virtual),
            "virtual": ("cycle", virtual),
            "hits": ("cycle", np.array([row.hits for row in rows], np.int64), {"units": "1"}),
        }
    )
    return table.merge(told)


def _empty(maps: Maps) -> PiecewiseLinearMap:
    M = maps.latent_dim
    return PiecewiseLinearMap(np.zeros(M), np.zeros((M, 0)), np.zeros((0, M)), np.zeros(M), np.zeros(0))


def _padded(variable: xr.Variable, sizes: dict[str, int]) -> np.ndarray:
    fill = {"f": np.nan, "c": complex(np.nan, np.nan), "b": False, "i": 0, "U": ""}[variable.dtype.kind]
    values = variable.values
    width = [(0, sizes[str(dim)] - size) for dim, size in zip(variable.dims, variable.shape, strict=True)]
    return np.pad(values, width, constant_values=fill)  # type: ignore[arg-type]  # a fill of the dtype's own kind
