"""Certificates checked again from what they state, without a solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.contraction import proof as proofs
from dynrnn.analysis.contraction.sector import sectors_of
from dynrnn.analysis.contraction.table import from_dataset
from dynrnn.errors import ArgumentError


def verify_certificate(system: Any, certificate: xr.Dataset) -> xr.Dataset:
    """Check certificates again, from what they state alone and without a solver.

    Parameters
    ----------
    system: what :func:`contraction_certificate` was given, or the same model loaded again.
    certificate: what it gave, or a part of it by fit.

    Returns
    -------
    Per fit of the certificate: ``valid``, which is all of: ``holds`` (the inequality or bound is proven again for this system at the stated rate),
    ``same_model`` (the system's numbers are those it was made for), ``unaltered`` (its seal fits what it states), ``consistent`` (rate, time constant,
    scope and the statement of invariance agree with the proof); ``margin``: the stated rate less the recomputed bound for 'norm' and 'weighted', else the
    smallest scaled eigenvalue left after rounding, -inf for what is no certificate; ``status``. A fit without a certificate is not valid, its margin NaN.

    The seal finds changes, it does not stop a forger, who can compute it as well; what a forged certificate says is still proven or refused by ``holds``.

    Method: every matrix is formed anew from the system's parameters with an entrywise bound gamma(n) |.| |.| on its rounding, u = 2^-53 (Higham 2002); that it
    is positive definite follows from a Cholesky factorisation after a shift by the bound and Rump's term (2006, BIT 46, 433). O((M + H)^3), or O(regions M^3).

    Raises ArgumentError if the Dataset is no certificate, or the system lacks one of its fits.

    >>> from dynrnn.analysis import contraction_certificate, verify_certificate
    >>> net = ([0.5, 0.5], [[0.2], [0.1]], [[1.0, 1.0]], [0.0, 0.0], [0.0])
    >>> found = contraction_certificate(net)
    >>> bool(verify_certificate(net, found).valid[0]), bool(verify_certificate(net, found.assign(rate=found.rate * 0.9)).holds[0])
    (True, False)
    """
    if not isinstance(certificate, xr.Dataset) or not {"fit", "tier", "rate", "model", "seal", "scope", "time_constant"} <= set(certificate.variables):
        raise ArgumentError("certificate must be the Dataset that contraction_certificate gave (its variable 'seal' and others are missing here).")
    whole = certificate if "fit" in certificate.dims else certificate.expand_dims("fit")
    inputs = whole.inputs.values if "inputs" in whole else None
    found = sectors_of(system, inputs, float(whole.attrs["dt"]) if "dt" in whole.attrs else None)
    where = {int(k): i for i, k in enumerate(found.fit)}
    missing = [int(k) for k in whole.fit.values if int(k) not in where]
    if missing:
        raise ArgumentError(f"the certificate speaks of fit {missing[0]}, the system has the fits {sorted(where)}. Pass the model that it was made for.")
    rows = []
    for k, number in enumerate(whole.fit.values):
        one = found.fits[where[int(number)]]
        proof, fingerprint, sealed, stated = from_dataset(whole, k)
        if one is None or proof.tier == "":
            rows.append((False, False, False, False, np.nan, "no certificate" if one is not None else found.status[where[int(number)]]))
            continue
        margin = proofs.margin(one, proof)
        same, unaltered = one.fingerprint == fingerprint, proofs.seal(proof, fingerprint, stated) == sealed
        with np.errstate(divide="ignore", invalid="ignore"):
            time = -found.dt / np.log(proof.rate)
        scope, told = str(whole.scope.values[k]), float(whole.time_constant.values[k])
        consistent = scope == proof.scope and bool(np.isclose(told, time, rtol=1e-9)) and bool(whole.contracting.values[k])
        consistent = consistent and (not stated or proofs.invariant(one, proof))
        told_of = {"it does not hold": margin > 0, "it was made for another model": same, "it was altered": unaltered, "it contradicts itself": consistent}
        faults = [text for text, good in told_of.items() if not good]
        rows.append((margin > 0, same, unaltered, consistent, margin, "; ".join(faults) or "proven again"))
    holds, same, unaltered, consistent, margin, status = zip(*rows)
    valid = np.array(holds) & np.array(same) & np.array(unaltered) & np.array(consistent)
    variables = {
        "valid": ("fit", valid, {"long_name": "the certificate stands"}),
        "holds": ("fit", np.array(holds), {"long_name": "proven again at the stated rate"}),
        "same_model": ("fit", np.array(same), {"long_name": "made for this system"}),
        "unaltered": ("fit", np.array(unaltered), {"long_name": "its seal fits"}),
        "consistent": ("fit", np.array(consistent), {"long_name": "its statements agree"}),
        "margin": ("fit", np.array(margin, dtype=np.float64), {"long_name": "what is left after rounding", "units": "1"}),
        "status": ("fit", np.array(status, dtype=object).astype(str), {"long_name": "what was found"}),
    }
    return xr.Dataset(variables, coords={"fit": whole.fit.values})
