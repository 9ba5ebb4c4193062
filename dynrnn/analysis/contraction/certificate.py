"""Proofs that a trained map contracts, tried from cheap to dear."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.contraction import proof as proofs
from dynrnn.analysis.contraction.norms import propose_norm, propose_weighted, quadratic_of_norm, quadratic_of_weights
from dynrnn.analysis.contraction.programs import have_solver, need_solver, sector_program
from dynrnn.analysis.contraction.proof import LMI, NORM, TIERS, VISITED, WEIGHTED, Proof
from dynrnn.analysis.contraction.quadratic import sector_margin, smallest_rate
from dynrnn.analysis.contraction.sector import Sector, sectors_of
from dynrnn.analysis.contraction.table import to_dataset
from dynrnn.analysis.contraction.visited import certify_visited, orbit_states
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.errors import ArgumentError, unknown_name

ULPS = 1e-12               # of a norm's rate, so that a check on another machine, which sums in another order, finds no more
PROVED, CHEAPER, NOT_WANTED = "proved", "not tried: a cheaper tier proved it", "not tried: not asked for"


def contraction_certificate(
    system: Any, tier: str | None = None, *, rate: float | None = None, inputs: Any = None, orbit: Any = None, dt: float | None = None,
    tolerance: float = 1e-3, max_size: int = 150,
) -> xr.Dataset:
    """Proofs, per fit, that any two states that see the same inputs approach each other by a fixed factor in every step.

    Global contraction is the echo-state property for every input, with a rate; without input all orbits end in one fixed point.

    Parameters
    ----------
    system: a model or run, a ``PiecewiseLinearMap``, its arrays ``(A, W1, W2, h1, h2)``, or a list of maps. A reservoir is its closed loop, which predicts its
        own input; the echo state property is that of ``reservoir.driven_map()``, its units under the input.
    tier: the one to try; by default from cheap to dear until one proves it: ``norm`` (2-norms, diagonally rescaled), ``weighted`` (weighted infinity norm),
        ``lmi`` (a quadratic metric, by a matrix inequality; needs the extra ``certificates``), ``visited`` (a quadratic metric for the regions that ``orbit``
        visits; piecewise-linear maps alone, and never a global statement).
    rate: stop at the first tier that proves this factor a step; any below 1 by default.
    inputs: a constant input (K,) for the regions of ``visited``; all other tiers hold for every input.
    orbit: for ``visited``: what ``generate`` gives, or states (time, latent),
        (trial, time, latent), (fit, trial, time, latent). dt: time of a step, by default the recording's, 1 for bare maps.
    tolerance: relative width of the bracket at which bisection over the rate stops. max_size: M + H beyond which ``lmi`` is tried only if asked for.

    Returns
    -------
    Per fit: ``contracting``; ``tier`` that proved it and ``scope`` ('global' or 'union of visited regions'); ``rate``, the proven factor a step, and the
    ``time_constant`` -dt / ln rate (NaN where nothing was proven); the ``metric`` (fit, latent, latent_other), P of |z| = (z' P z)^(1/2), or the
    ``weights`` (fit, latent) of |z| = max |z_i| / weights_i; ``multiplier`` (fit, unit): Lambda of ``lmi``, scales of the units of ``norm``; ``margin``
    after subtracting a bound on rounding: 1 - rate for ``norm`` and ``weighted``, else the smallest eigenvalue of the inequality at that rate, scaled to a
    unit diagonal (small where the rate is the best for its metric). ``bound`` (fit, tried): the factor that each tier came to (inf: none below 1, NaN: not
    tried) and its ``outcome``. ``model`` and ``seal``: fingerprints, for :func:`verify_certificate`. ``status``.
    Of ``visited``: ``region`` (fit, region, relu), units on, and ``n_regions``. There |J z| <= rate |z| for every Jacobian of these regions, so two states
    approach as long as the straight line between them lies in their union. ``invariant``: balls of ``radius`` in the metric about the points ``centre``
    (fit, centre_point, latent), the fixed point or cycle at the orbit's end, are proven to lie in the union and to map into one another; False: not shown.

    Method
    ------
    F(z) - F(y) = (A + W1 S W2)(z - y) with S diagonal in [0, 1], whatever the input: relu, tanh; clipped units have slopes 0 to 1 as one unit, bases the
    range of their cumulative slopes. norm: ||A + W1 W2 / 2|| + ||W1|| ||W2|| / 2, never more than ||A|| + ||W1|| ||W2||. weighted: the Perron root of
    |A + W1 W2 / 2| + |W1| |W2| / 2, which is the largest |J_ij| over all S entry by entry. lmi: P > 0 and diagonal Lambda >= 0 with
    [[g^2 P - A'PA, -A'P W1 - W2'Lambda], [., 2 Lambda - W1'P W1]] > 0 (Boyd et al. 1994, Linear Matrix Inequalities in System and Control Theory,
    chapter 8), by bisection on g; it proves whatever the two before do. visited: g^2 P - J'PJ > 0 for each Jacobian (where cvxpy is missing by the
    gradient method of Liberzon and Tempo 2004, IEEE Trans. Automatic Control 49, 990).
    Nothing is taken on a solver's word: definiteness is proven by Cholesky factorisation with Rump's bound (2006, BIT 46, 433), norms likewise, and
    the map's own rounding on the way to A, W1, W2 is bounded. It is the map in exact arithmetic on its float64 parameters that contracts.
    Cost per fit: norm and weighted O((M + H)^3); lmi about 15 programs of size M + H, each O((M + H)^6) at worst (seconds at M + H = 50);
    visited about 15 of size M per visited region.

    Fails: a map that contracts though no metric of these kinds shows it; ``contracting=False`` is no proof of the opposite.

    Raises
    ------
    ArgumentError : an unknown tier; tier='lmi' without cvxpy; tier='visited' without an orbit or for tanh units; a callable or flow; a rate outside (0, 1).

    >>> import numpy as np
    >>> from dynrnn.analysis import contraction_certificate, verify_certificate
    >>> rng = np.random.default_rng(0)
    >>> net = (np.full(5, 0.5), 0.03 * rng.standard_normal((5, 20)), 0.3 * rng.standard_normal((20, 5)), np.zeros(5), np.zeros(20))
    >>> found = contraction_certificate(net)
    >>> bool(found.contracting[0]), str(found.tier.values[0]), bool(verify_certificate(net, found).valid[0])
    (True, 'norm', True)
    """
    if tier is not None and tier not in TIERS:
        raise unknown_name("tier", tier, TIERS)
    if rate is not None and not (isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 < rate < 1):
        raise ArgumentError(f"rate must be a factor a step between 0 and 1, for example 0.99, got {rate!r}.")
    if not (isinstance(tolerance, float) and 0 < tolerance < 1):
        raise ArgumentError(f"tolerance must lie between 0 and 1, for example 1e-3, got {tolerance!r}.")
    if tier == LMI:
        need_solver()
    if tier == VISITED and orbit is None:
        raise ArgumentError(
            "tier='visited' certifies the regions that an orbit visits: pass orbit=dynrnn.generate(model, n_steps=10_000, transient=1_000), or states."
        )
    found = sectors_of(system, inputs, dt)
    usable = [one for one in found.fits if one is not None]
    if tier == VISITED and usable[0].pieces is None:
        raise ArgumentError("tier='visited' needs regions, and tanh units have none. Use tier='lmi', which holds everywhere.")
    finite = np.array([one is not None for one in found.fits])
    states = iter([] if orbit is None else orbit_states(orbit, found.fit[finite], usable[0].shape[0]))
    results, bounds, outcomes, status = [], np.full((len(found.fits), len(TIERS)), np.nan), [], []
    for k, one in enumerate(found.fits):
        if one is None:
            results.append(Proof("", np.nan))
            outcomes.append([found.status[k]] * len(TIERS))
            status.append(found.status[k])
            continue
        best, said, bounds[k] = _certify(one, tier, rate, next(states, None), tolerance, max_size)
        results.append(best)
        outcomes.append(said)
        short = "" if rate is None or not best.rate > rate else f"; a rate of {rate:g} was not"
        told = "; ".join(f"{name}: {words}" for name, words in zip(TIERS, said) if words != NOT_WANTED)
        status.append(f"{ANALYSED}: proven by tier {best.tier!r}{short}" if best.tier else f"{ANALYSED}: contraction not proven; {told}")
    margins, held = [], []
    for one, p in zip(found.fits, results):
        if one is None or p.tier == "":
            margins.append(np.nan)
            held.append(False)
            continue
        margins.append(1 - p.rate if p.tier in (NORM, WEIGHTED) else proofs.margin(one, p))
        held.append(proofs.invariant(one, p))
    prints = ["" if one is None else one.fingerprint for one in found.fits]
    out = to_dataset(results, found.fit, prints, margins, held, bounds, outcomes, status, found.dt, usable[0].shape[0])
    if inputs is not None:
        out["inputs"] = ("input", np.asarray(inputs, dtype=np.float64), {"long_name": "constant input of the regions"})
    out.attrs = {"dt": found.dt, "tolerance": tolerance, "unit_roundoff": 2.0**-53, "solver": "cvxpy" if have_solver() else "none"}
    return out


def _certify(one: Sector, tier: str | None, goal: float | None, states: np.ndarray | None, tolerance: float, max_size: int):
    """The first proof that meets the goal, else the best global one, else the visited one; the outcome and factor of every tier."""
    target = 1.0 if goal is None else goal
    outcome: dict[str, str] = dict.fromkeys(TIERS, NOT_WANTED)
    bound: dict[str, float] = dict.fromkeys(TIERS, np.nan)
    best = Proof("", np.nan)
    for name in TIERS if tier is None else (tier,):
        if best.tier and (best.rate <= target or name == VISITED):
            outcome[name] = CHEAPER
            continue
        result = _try(one, name, states, tolerance, max_size if tier is None else 10**9)
        if isinstance(result, str):
            outcome[name] = result
            bound[name] = np.nan if result.startswith("not tried") else np.inf
            continue
        bound[name] = result.rate
        sound = result.rate < 1 and proofs.margin(one, result) > 0
        outcome[name] = PROVED if sound else f"its factor is {result.rate:.6g}, not below 1"
        if sound and not best.rate <= result.rate:
            best = result
    return best, [outcome[name] for name in TIERS], [bound[name] for name in TIERS]


def _try(one: Sector, name: str, states: np.ndarray | None, tolerance: float, max_size: int) -> Proof | str:
    """A proof that is still to be judged, or why there is none."""
    if name == NORM:
        rate, scales, units = propose_norm(one)
        return Proof(NORM, rate * (1 + ULPS), metric=np.diag(scales**2), multiplier=units)
    if name == WEIGHTED:
        rate, weights = propose_weighted(one)
        return Proof(WEIGHTED, rate * (1 + ULPS), weights=weights)
    if name == LMI:
        if not have_solver():
            return "not tried: cvxpy is not installed, see the extra 'certificates'"
        if sum(one.shape) > max_size:
            return f"not tried: M + H = {sum(one.shape)} is more than max_size = {max_size}; ask for it by tier='lmi'"
        return _by_lmi(one, tolerance)
    if states is None:
        return "not tried: no orbit was given"
    if one.pieces is None:
        return "not tried: tanh units have no regions"
    metrics = [np.eye(one.shape[0]), *(P for P, _ in _starts(one))]
    result = certify_visited(one.pieces, states, metrics, tolerance)
    if isinstance(result, str):
        return result
    return Proof(VISITED, result.rate, metric=result.metric, words=result.words, centres=result.centres, radius=result.radius)


def _starts(one: Sector) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs (P, Lambda) that prove what the cheaper tiers do."""
    _, scales, units = propose_norm(one)
    return [quadratic_of_norm(one, scales, units), quadratic_of_weights(one)]


def _by_lmi(one: Sector, tolerance: float) -> Proof | str:
    corners = [one.A, one.A + one.W1 @ one.W2, one.centre]                             # Jacobians of three choices of slopes: no rate is below theirs
    low = max(float(np.abs(np.linalg.eigvals(J)).max()) for J in corners)
    if low >= 1:
        return f"a Jacobian of its slopes has spectral radius {low:.6g}, so no metric proves it"
    start = None
    for P, multiplier in _starts(one):
        rate = smallest_rate(lambda g, P=P, m=multiplier: sector_margin(one, P, m, g), low, 1.0)
        if rate < 1 and (start is None or rate < start[0]):
            start = rate, P, multiplier
    found = sector_program(one, start, low, tolerance)
    if found is None or not found[0] < 1:
        return "no metric was found that proves it"
    return Proof(LMI, found[0], metric=found[1], multiplier=found[2])
