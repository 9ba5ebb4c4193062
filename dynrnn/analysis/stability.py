"""What the multipliers of a fixed point or cycle of a map say: its class, time constants and frequencies, and growth on the way."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Bool, Complex, Float

TOLERANCE = 1e-6                          # of | |mu| - 1 |, beyond what rounding makes of an eigenvalue that is not defective
SINK, SOURCE, SADDLE, NON_HYPERBOLIC, NONE = "sink", "source", "saddle", "non-hyperbolic", ""


def sorted_multipliers(J: Float[np.ndarray, "*batch M M"]) -> Complex[np.ndarray, "*batch M"]:
    """Eigenvalues, largest modulus first; of a complex pair the one with positive imaginary part first."""
    mu = np.linalg.eigvals(J).astype(np.complex128)
    order = np.lexsort((-mu.imag, -np.round(np.abs(mu), 12)), axis=-1)              # rounding keeps pairs together
    return np.take_along_axis(mu, order, -1)


def stability_class(multiplier: Complex[np.ndarray, "*batch M"], tolerance: float = TOLERANCE) -> np.ndarray:
    """``sink`` (all moduli below 1), ``source`` (all above), ``saddle``, or ``non-hyperbolic`` where a modulus is within ``tolerance`` of 1.

    >>> stability_class(np.array([[0.5 + 0j, 0.1], [2.0, 0.5], [1.0, 0.5]])).tolist()
    ['sink', 'saddle', 'non-hyperbolic']
    """
    size = np.abs(multiplier)
    above, near = size > 1 + tolerance, np.abs(size - 1) <= tolerance
    out = np.full(multiplier.shape[:-1], SADDLE, dtype=object)
    out[~above.any(-1)] = SINK
    out[above.all(-1)] = SOURCE
    out[near.any(-1)] = NON_HYPERBOLIC
    return out


def describe(multiplier: xr.DataArray, dt: float = 1.0, tolerance: float = TOLERANCE, border: Bool[np.ndarray, "*batch"] | None = None) -> xr.Dataset:
    """Variables that go beside multipliers of a map sampled every ``dt``; multiplier (..., mode), of the whole period for a cycle.

    stability as above; n_unstable: multipliers outside the unit circle, beyond the tolerance; of the leading one: spiral, it is not real; flip, it is
    negative; monotone, it is positive or 0;
    time_constant = -dt / ln|mu| (negative where it grows, inf at 1, 0 at mu = 0) and frequency = |arg mu| / (2 pi dt), each (..., mode); all are what the
    rows' padding makes of NaN: "", 0, False and NaN. border: rows on a switching plane, whose multipliers are those of one side and do not decide:
    they are non-hyperbolic, and their other variables are of that side.
    """
    mu: Complex[np.ndarray, "*batch M"] = np.asarray(multiplier.values, dtype=np.complex128)
    dims = multiplier.dims
    valid = ~np.isnan(mu).any(-1) if mu.shape[-1] else np.ones(mu.shape[:-1], bool)
    size = np.abs(np.where(np.isnan(mu), 0, mu))
    leading = np.asarray(mu[..., 0] if mu.shape[-1] else np.zeros(mu.shape[:-1]), dtype=np.complex128)
    near_real = np.abs(leading.imag) <= 1e-9 * np.abs(leading)
    with np.errstate(divide="ignore", invalid="ignore"):
        time_constant = np.where(size == 0, 0.0, -dt / np.log(size))
    time_constant = np.where(np.isnan(mu), np.nan, np.where(size == 1, np.inf, time_constant))
    kinds = stability_class(mu, tolerance)
    if border is not None:
        kinds[border] = NON_HYPERBOLIC
    kinds[~valid] = NONE
    return xr.Dataset(
        {
            "stability": (dims[:-1], kinds.astype(str), {"long_name": "class by the multipliers", "tolerance": tolerance}),
            "n_unstable": (dims[:-1], (size > 1 + tolerance).sum(-1), {"long_name": "multipliers outside the unit circle", "units": "1"}),
            "spiral": (dims[:-1], valid & ~near_real, {"long_name": "the leading multiplier is not real"}),
            "flip": (dims[:-1], valid & near_real & (leading.real < 0), {"long_name": "the leading multiplier is negative"}),
            "monotone": (dims[:-1], valid & near_real & (leading.real >= 0), {"long_name": "the leading multiplier is positive"}),
            "time_constant": (dims, time_constant, {"long_name": "decay to 1/e takes so long", "units": "time of dt"}),
            "frequency": (dims, np.abs(np.angle(mu)) / (2 * np.pi * dt), {"long_name": "rotation", "units": "1 / time of dt"}),
        }
    )


def henrici(J: Float[np.ndarray, "*batch M M"], multiplier: Complex[np.ndarray, "*batch M"]) -> Float[np.ndarray, "*batch"]:
    """Departure from normality, sqrt(|J|^2 - sum |mu|^2) / |J| in Frobenius' norm: 0 for orthogonal eigenvectors, 1 for a nilpotent J (Henrici 1962).

    >>> henrici(np.array([[0.0, 1.0], [0.0, 0.0]]), np.zeros(2, complex)).item()
    1.0
    """
    size = np.maximum(np.abs(J).max(axis=(-2, -1), initial=0), 1e-300)              # taken out, so that no square overflows
    whole = ((J / size[..., None, None]) ** 2).sum(axis=(-2, -1))
    rest = whole - (np.abs(multiplier / size[..., None]) ** 2).sum(-1)
    return np.asarray(np.sqrt(np.maximum(rest, 0) / np.maximum(whole, 1e-300)))


def transient_growth(J: Float[np.ndarray, "*batch M M"], n_steps: int = 100) -> Float[np.ndarray, "*batch"]:
    """max over n <= n_steps of ||J^n||_2: how far a small deviation grows on the way, though all multipliers may lie below 1; inf where a power overflows.

    Cost O(batch n_steps M^3).

    >>> float(transient_growth(np.array([[0.5, 10.0], [0.0, 0.4]])).round(2))
    10.02
    """
    power, most = J.copy(), np.zeros(J.shape[:-2])
    for _ in range(n_steps):
        finite = np.isfinite(power.sum(axis=(-2, -1), keepdims=True))
        norm = np.linalg.norm(np.where(finite, power, 0), 2, axis=(-2, -1))
        most = np.asarray(np.maximum(most, np.where(finite[..., 0, 0], norm, np.inf)))
        with np.errstate(over="ignore", invalid="ignore"):
            power = power @ J
    return most
