"""Cycles of piecewise-linear models: exact points, multipliers that do not overflow, and whether the list is complete."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import NOT_FINITE, canonical
from dynrnn.analysis.piecewise.cycle_arguments import check_orbits, check_periods, check_route, check_words
from dynrnn.analysis.piecewise.cycle_finder import SMOOTH, Settings, check_all_words, find_cycles
from dynrnn.analysis.piecewise.cycle_table import cycle_table
from dynrnn.analysis.smooth import smooth_cycles
from dynrnn.analysis.smooth.system import LEAVE_ROUTE, needs_smooth_route, refuse_on_the_smooth_route
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state

LIMIT = 100_000


def cycles(
    model: Any,
    max_period: int = 10,
    inputs: Any = None,
    *,
    dim: int | None = None,
    periods: Any = None,
    route: str | None = None,
    words: Any = None,
    orbits: Any = None,
    n_starts: int | None = None,
    limit: int = LIMIT,
    virtual: bool = False,
    random_state: int | None = 0,
) -> xr.Dataset:
    """Cycles of minimal period 1 (fixed points) to ``max_period``, one row each, of every fit.

    Parameters
    ----------
    model: a model or run, a ``PiecewiseLinearMap``, its arrays ``(A, W1, W2, h1, h2)``, or a list of maps; or any differentiable callable on torch
        tensors (..., dim) with its ``dim``.
    max_period, periods: minimal periods 1 to ``max_period`` (10), or just those in ``periods``.
    inputs: a constant input (K,), 0 by default.
    route: ``"all"`` solves every word of regions; ``"pruned"`` every word that states can follow (exact polygons for M <= 2, beyond that linear
        programmes, two for each word and unit, milliseconds each); ``"search"`` draws words. None: pruned for M <= 2, all where at most ``limit``
        words (and 2e10 multiplications), and a search where neither can be done. ``"smooth"`` is for callables and tanh units, which take it by
        themselves: see :func:`dynrnn.analysis.smooth_cycles`, which has no words, orbits, limit and virtual solutions.
    words: start the search from these too: bool (k, H) or (n, k, H), or a list of (k, H).
    orbits: likewise from stretches of these orbits: (..., time, latent), or the result of :func:`dynrnn.generate`; NaN marks missing samples.
    n_starts: words that the search draws for each period (2000), or seeds of the smooth route (1000).
    limit: words, and sets of states at a time, of a complete route (100,000).
    virtual: keep solutions outside the regions of their word too (of ``words`` and of complete routes); they tell of border collisions.
    random_state: of the search; None draws one, which attrs record.

    Returns
    -------
    Dims fit, cycle, phase, latent, unit (of the canonical form), mode, cycle_period. Per cycle, padded where not ``valid``: ``period`` (minimal),
    ``location`` (fit, cycle, phase, latent), ``region`` (fit, cycle, phase, unit), ``multiplier`` (fit, cycle, mode) of the whole period, cut at
    e^700, ``log_modulus`` (never cut, -inf for 0), the variables of ``stability.describe`` (time constants and frequencies per unit of time),
    ``index`` = sign det(I - product of Jacobians), ``margin`` (distance to the next switching plane, smallest over phases; a tiny one warns of a border
    collision), ``residual`` (largest entry of f(z[t]) - z[t+1]; of the word's affine pieces where ``virtual``), ``virtual``, ``on_border`` (a
    point lies on a switching plane: multipliers are those of the side where its unit is off, ``stability`` is non-hyperbolic), ``hits`` (starts of the
    search that led there). Per period looked for (fit, cycle_period): ``complete``, and ``n_unseen``, Chao's lower estimate of what a search has missed
    (0 where complete, NaN where nothing was searched or no start led anywhere; it knows nothing of cycles that starts hardly ever lead to),
    ``n_continua`` (words whose cycles of this period are not isolated: these have no row). ``status`` (fit) says why a list is not complete.

    Rows are keyed by words, never by positions: sorted by period and word, phase 0 where the smallest rotation of the word begins. States within
    1e-10 of a plane (of its terms) count as on it, unit off. Complete means that no other cycle of this period exists, up to rounding: by route
    "all" exactly; "pruned" may lose cycles that come within 1e-8 (polygons; states in units of the largest bias) or 1e-6 (linear programmes) of a
    plane, or polygons' cycles whose multiplier times 1e-16 comes near their margin. A period with a continuum of cycles is never complete (one around a
    cycle whose multiplier is a root of 1 is noticed where that cycle's period is asked for too).

    Method: block elimination (Ascher, Mattheij & Russell 1995); search after Eisenmann, Monfared, Goering & Durstewitz, NeurIPS 2023. A word costs
    O(k M^2 (M + H)); route "all" takes 2^(k H)/k words, and "pruned" as many as there are, which grows as exp(k times the topological entropy).

    ArgumentError: units that are not piecewise linear; periods, words or orbits that do not fit; route="all" beyond ``limit``.

    The tent map has cycles of points with odd denominators:

    >>> tent = ([2.0], [[-4.0]], [[1.0]], [0.0], [-0.5])
    >>> found = cycles(tent, 3)
    >>> found.period.values.tolist(), bool(found.complete.all())
    ([[1, 1, 2, 3, 3]], True)
    >>> found.location[0, 2, :2, 0].values.round(6).tolist()
    [0.4, 0.8]
    """
    if route == SMOOTH or (route is None and needs_smooth_route(model)):
        refuse_on_the_smooth_route(words=words is not None, orbits=orbits is not None, limit=limit != LIMIT, virtual=virtual)
        wanted = [int(k) for k in check_periods(max_period, periods)]
        return smooth_cycles(model, wanted, dim, inputs, n_starts=1000 if n_starts is None else n_starts, random_state=random_state)
    n_starts = 2000 if n_starts is None else n_starts
    maps = canonical(model, inputs, dim=dim, otherwise=LEAVE_ROUTE)
    how = Settings(
        periods=check_periods(max_period, periods),
        route=check_route(route),
        words=check_words(words, maps),
        n_starts=check_int("n_starts", n_starts, low=0),
        limit=check_int("limit", limit, low=1),
        virtual=bool(virtual),
        random_state=check_random_state(random_state),
    )
    stretches = check_orbits(orbits, maps)
    for map in maps.maps:
        if map is not None:
            check_all_words(map, how)
    findings = [None if map is None else find_cycles(map, how, stretches[k], int(maps.fit[k])) for k, map in enumerate(maps.maps)]
    out = cycle_table(findings, maps, how.periods)
    out.attrs = {"route": route or "auto", "n_starts": how.n_starts, "limit": how.limit, "random_state": how.random_state, "dt": maps.dt}
    return out


def n_fixed(found: Any, n: int) -> xr.DataArray:
    """Fixed points of the n-th iterate, #Fix(f^n) (fit): every cycle whose period divides n counts with its points.

    found: a result of :func:`cycles` with all divisors of n complete, or anything that ``cycles`` takes. NaN for a fit without a map.
    ArgumentError where a period is missing or not complete.

    >>> tent = ([2.0], [[-4.0]], [[1.0]], [0.0], [-0.5])
    >>> [int(n_fixed(tent, n)[0]) for n in (1, 2, 3, 4)]
    [2, 4, 8, 16]
    """
    n = check_int("n", n, low=1)
    divisors = [k for k in range(1, n + 1) if n % k == 0]
    if not isinstance(found, xr.Dataset):
        found = cycles(found, periods=divisors)
    have = found.cycle_period.values.tolist()
    fine = found.status.values != NOT_FINITE
    for k in divisors:
        if k not in have or not found.complete.sel(cycle_period=k).values[fine].all():
            what, then = (
                ("are not all known", "Where words were too many, raise limit, or use route='pruned'; a continuum, or a smooth map's search, has no count.")
                if k in have
                else ("were not asked for", f"Ask for periods={divisors}, or give n_fixed the model itself.")
            )
            raise ArgumentError(f"cycles of period {k} {what}, so the fixed points of f^{n} cannot be counted. {then}")
    real = found.valid & ~found.virtual & (n % found.period.where(found.period > 0, 1) == 0)
    count = xr.where(fine, found.period.where(real, 0).sum("cycle"), np.nan)
    return count.rename("n_fixed").assign_attrs(long_name=f"fixed points of the iterate {n}", units="1")


def growth_rate(found: Any, n: int) -> xr.DataArray:
    """(1/n) ln #Fix(f^n) (fit), which tends to the topological entropy of hyperbolic systems; -inf without any. In nat per step; see :func:`n_fixed`.

    >>> tent = ([2.0], [[-4.0]], [[1.0]], [0.0], [-0.5])
    >>> bool(np.isclose(growth_rate(tent, 5)[0], np.log(2)))
    True
    """
    count = n_fixed(found, n)
    with np.errstate(divide="ignore"):
        rate = count.copy(data=np.log(count.values) / n)
    return rate.rename("growth_rate").assign_attrs(long_name="growth rate of periodic points", units="nat / step")
