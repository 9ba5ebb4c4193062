"""Certificates of all fits as a Dataset, and back."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynrnn.analysis.contraction.proof import TIERS, WEIGHTED, Proof, seal
from dynrnn.errors import ArgumentError


def stacked(arrays: list[np.ndarray], n_dims: int, fill: float | bool) -> np.ndarray:
    """One array with the fit first; what a fit lacks is ``fill``."""
    shape = [max((a.shape[i] for a in arrays if a.size), default=0) for i in range(n_dims)]
    out = np.full((len(arrays), *shape), fill)
    for k, a in enumerate(arrays):
        if a.size:
            out[(k, *(slice(n) for n in a.shape))] = a
    return out


def to_dataset(
    proofs: list[Proof], fit: np.ndarray, prints: list[str], margins: list[float], invariants: list[bool], bounds: np.ndarray, outcomes: list[list[str]],
    status: list[str], dt: float, M: int,
) -> xr.Dataset:
    rate = np.array([p.rate for p in proofs])
    with np.errstate(divide="ignore"):
        time = -dt / np.log(rate)
    names = ("fit", "latent", "latent_other")
    no_metric = "NaN where the tier needs none or nothing was proven"
    variables = {
        "contracting": ("fit", rate < 1, {"long_name": "contraction is proven"}),
        "tier": ("fit", _text([p.tier for p in proofs]), {"long_name": "tier that proved it, empty where none did"}),
        "scope": ("fit", _text([p.scope for p in proofs]), {"long_name": "where it holds"}),
        "rate": ("fit", rate, {"long_name": "distances shrink at least by this factor", "units": "1 / step"}),
        "time_constant": ("fit", time, {"long_name": "they shrink to 1/e in at most", "units": "time of dt"}),
        "margin": ("fit", np.array(margins), {"long_name": "what is left after rounding: the gap to 1, or the smallest scaled eigenvalue", "units": "1"}),
        "metric": (names, stacked([p.metric for p in proofs], 2, np.nan), {"long_name": "P of the norm (z' P z)^(1/2)", "note": no_metric}),
        "weights": (names[:2], stacked([p.weights for p in proofs], 1, np.nan), {"long_name": "of the norm max |z_i| / weights_i", "note": no_metric}),
        "multiplier": (("fit", "unit"), stacked([p.multiplier for p in proofs], 1, np.nan), {"long_name": "units' multipliers", "note": no_metric}),
        "invariant": ("fit", np.array(invariants), {"long_name": "balls within the visited regions are proven to stay there"}),
        "radius": ("fit", np.array([p.radius for p in proofs]), {"long_name": "of these balls in the metric"}),
        "bound": (("fit", "tried"), bounds, {"long_name": "factor that each tier proved; inf: none, NaN: not tried", "units": "1 / step"}),
        "outcome": (("fit", "tried"), np.array(outcomes, dtype=object).astype(str).reshape(len(proofs), len(TIERS)), {"long_name": "of each tier"}),
        "model": ("fit", _text(prints), {"long_name": "fingerprint of the fit's numbers"}),
        "status": ("fit", _text(status), {"long_name": "what was done"}),
    }
    if any(len(p.words) for p in proofs):
        at = ("fit", "region", "relu")
        variables["region"] = (at, stacked([p.words for p in proofs], 2, False).astype(bool), {"long_name": "units that are on in the visited regions"})
        variables["n_regions"] = ("fit", np.array([len(p.words) for p in proofs]), {"long_name": "visited regions", "units": "1"})
    if any(len(p.centres) for p in proofs):
        points = stacked([p.centres for p in proofs], 2, np.nan)
        variables["centre"] = (("fit", "centre_point", "latent"), points, {"long_name": "of the balls, in the order of time"})
    if not variables["multiplier"][1].size:
        del variables["multiplier"]
    for name, of in (("metric", 2), ("weights", 1)):
        if not variables[name][1].size:
            variables[name] = (variables[name][0], np.full((len(proofs), *[M] * of), np.nan), variables[name][2])
    out = xr.Dataset(variables, coords={"fit": fit, "tried": np.array(TIERS)})
    seals = [seal(p, prints[k], bool(invariants[k])) for k, p in enumerate(proofs)]
    return out.assign(seal=("fit", _text(seals), {"long_name": "digest of the certificate"}))


def _text(words: list[str]) -> np.ndarray:
    return np.array(words, dtype=object).astype(str)


def from_dataset(table: xr.Dataset, k: int) -> tuple[Proof, str, str, bool]:
    """Fit ``k`` of a table: the proof, its model's fingerprint, its seal, whether invariance is stated."""
    row = table.isel(fit=k)

    def numbers(name: str, wanted: bool = True) -> np.ndarray:
        """The finite part: padding is NaN at the end."""
        if name not in row or not wanted:
            return np.empty(0)
        value = np.asarray(row[name].values, dtype=np.float64)
        for axis in range(value.ndim):
            there = (~np.isnan(value)).any(tuple(i for i in range(value.ndim) if i != axis)) if value.size else np.zeros(value.shape[axis], bool)
            value = np.take(value, np.arange(int(np.flatnonzero(there).max(initial=-1)) + 1), axis)
        return value

    try:
        tier, rate, radius = str(row.tier.item()), float(row.rate.item()), float(row.radius.item())
        words = row.region.values[: int(row.n_regions.item())].astype(bool) if "region" in row else np.empty((0, 0), bool)
        metric, weights = numbers("metric", tier != WEIGHTED), numbers("weights", tier == WEIGHTED)
        proof = Proof(tier, rate, metric, weights, numbers("multiplier"), words, numbers("centre"), radius)
        return proof, str(row.model.item()), str(row.seal.item()), bool(row.invariant.item())
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise ArgumentError(f"this Dataset is no certificate ({error}). Pass what contraction_certificate gave, or a part of it by fit.") from None


