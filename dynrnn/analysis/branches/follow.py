"""Branches of fixed points and cycles over a parameter or an input, with their bifurcations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.branches.curve import Curve, Point, multipliers, words_at
from dynrnn.analysis.branches.family import Family, Pieces, Words, family_of
from dynrnn.analysis.branches.walk import Event, Walk, walk
from dynrnn.analysis.stability import describe
from dynrnn.errors import ArgumentError, check_int

LARGEST = 600                # unknowns k M: the linear systems are dense


def continuation(
    system: Any, z0: Any, p0: float | int, p_range: Any, *, period: int = 1, dim: int | None = None, step: float | int = 0.02, max_points: int = 2_000,
    input: int | None = None, inputs: Any = None, fit: Any = None,
) -> xr.Dataset:
    """Follow a fixed point or cycle over a parameter, through folds, and locate its bifurcations.

    Parameters
    ----------
    system: a function f(z, p) of states (..., dim) and a parameter, a tensor (), differentiable in torch in both; or a function of p that gives a function
        of z, or a ``PiecewiseLinearMap`` (p is then a number); or a model or run and the number of its ``input`` that is the parameter.
    z0: a point of the cycle, (dim,), or all of them in order, (period, dim), at the parameter p0; Newton's iteration makes it exact.
    p_range: (low, high), between which the branch is followed from p0 in both directions.
    period: minimal period; period * dim may be 600 at most. dim: for functions f(z, p).
    step: the longest step of arclength, in which the range of the parameter has length 1 and so have 1 + max |z0|, root mean square over the points. Default
        0.02.
    max_points: of either direction.
    inputs: the model's other constant inputs (K,), 0 by default. fit: of a model with several.

    Returns
    -------
    Along ``point``: ``parameter``; ``location`` (phase, latent); ``multiplier`` (mode) of the whole period with all that ``stability.describe`` says;
    ``arclength``, negative on the way to lower p; ``residual``, the largest |f(x_i) - x_{i+1}|; ``margin``: distance to the next switching plane (inf for
    smooth maps).
    Along ``event``, in the same order: ``kind`` (fold, flip, neimark-sacker, branch point, border collision), ``mechanism`` of border
    collisions (persistence; non-smooth fold; meets a shorter cycle; grazing), ``event_parameter``, ``event_location`` (phase, latent), ``event_multiplier``
    (mode), ``event_arclength``, ``unstable_before`` and ``unstable_after`` (multipliers outside the unit circle in the order of the points, -1 where the
    branch ends), ``unit`` and ``unit_phase`` that switch, -1 at others.
    attrs: ``ended_low``, ``ended_high``: why either direction ended.

    Method
    ------
    Pseudo-arclength (Keller 1977, in Applications of Bifurcation Theory, 359) on all points of the cycle at once (multiple shooting), which does not lose
    digits to long unstable cycles; bordered Newton steps; steps adapted to their number and to the curve's turning. Test functions as in Kuznetsov 2004
    (Elements of Applied Bifurcation Theory, chapter 10) change their signs at events, which are found by regula falsi along the branch to about 1e-12 of the
    range. At a branch point another branch crosses; start again with a point of it. A piecewise-linear map is followed in one region's words at a time, so
    that borders are reached exactly; beyond one the next region's curve is taken to the side that its margin changes to, which also goes round non-smooth folds
    (Feigin; di Bernardo et al. 2008, Piecewise-smooth Dynamical Systems). O((period dim)^3) an iteration.

    Fails: two events of a kind within one step cancel: make ``step`` smaller. A function f(z, p) with kinks has no borders that could be known: its branch
    stops or jumps there, so give it as a PiecewiseLinearMap of p. Branches that come from infinity are not found.

    Raises
    ------
    ArgumentError : no fixed point or cycle of this period at the start (with Newton's residual); p0 outside of p_range; a map that is not differentiable or
    ignores p.

    >>> found = continuation(lambda z, p: p * z * (1 - z), [0.6], 2.5, (1.5, 3.5), dim=1)
    >>> found.kind.values.tolist(), found.event_parameter.values.round(9).tolist()
    (['flip'], [3.0])
    """
    low, high, start = _numbers(p_range, p0)
    period, max_points = check_int("period", period, low=1), check_int("max_points", max_points, low=2)
    if not (isinstance(step, (int, float)) and 1e-5 <= step <= 1):
        raise ArgumentError(f"step must lie between 1e-5 and 1, in parts of the parameter's range, got {step!r}.")
    family, label, dt = family_of(system, start, high if start != high else low, dim, input, inputs, fit)
    if period * family.dim > LARGEST:
        raise ArgumentError(
            f"period {period} with {family.dim} variables makes {period * family.dim} unknowns, beyond the {LARGEST} of dense multiple shooting."
        )
    x = _cycle(family, z0, start, period)
    size = 1 + float(np.abs(x).max())
    curve = Curve(family, period, np.append(np.full(x.size, size * math.sqrt(x.size)), high - low))
    first = _first(curve, x, start)
    ways = [walk(curve, Point(first.y, sign * first.t, first.J, 0, first.residual), low, high, float(step), max_points) for sign in (-1, 1)]
    if ways[1].ended == "it closes":
        ways[0] = Walk(curve, [0.0], [first], None, ended="it closes")
    out = _dataset(curve, ways, dt)
    if label is not None:
        out = out.assign_coords(fit=label)
    return out.assign_attrs(
        p0=start, p_low=low, p_high=high, period=period, step=float(step), max_points=max_points, ended_low=ways[0].ended, ended_high=ways[1].ended, dt=dt
    )


def _numbers(p_range: Any, p0: Any) -> tuple[float, float, float]:
    try:
        low, high = (float(value) for value in p_range)
        start = float(p0)
    except (TypeError, ValueError):
        raise ArgumentError(f"p_range must be two numbers (low, high) and p0 one, got {p_range!r} and {p0!r}.") from None
    if not (np.isfinite([low, high, start]).all() and low < high):
        raise ArgumentError(f"p_range must be finite with low < high, and p0 finite, got {(low, high)} and {start}.")
    if not low <= start <= high:
        raise ArgumentError(f"p0 = {start:g} lies outside of p_range = ({low:g}, {high:g}). Start within it.")
    return low, high, start


def _cycle(family: Family, z0: Any, p: float, period: int) -> np.ndarray:
    """All points (k, M) from what was given."""
    try:
        x = np.array(z0, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"z0 must be a state: {error}.") from None
    M = family.dim
    if x.shape not in ((M,), (1, M), (period, M)) or not np.isfinite(x).all():
        raise ArgumentError(f"z0 must be a finite state of shape ({M},), or all points of the cycle, ({period}, {M}), got shape {x.shape}.")
    if x.ndim == 2 and len(x) == period:
        return x
    points = [x.reshape(M)]
    for _ in range(period - 1):
        points.append(family.step(points[-1][None], p)[0])
    points = np.array(points)
    if not np.isfinite(points).all():
        raise ArgumentError(f"the orbit from z0 is not finite within {period} steps at p = {p:g}. Give another start.")
    return points


def _first(curve: Curve, x: np.ndarray, p: float) -> Point:
    """The exact cycle next to the start, at this parameter."""
    family, k = curve.family, curve.period
    y = np.append(x.ravel(), p) / curve.scale
    fixed = np.append(np.zeros(x.size), 1.0)
    words: Any = words_at(curve, y)
    point = curve.correct(y, fixed, words)
    for _ in range(20 if isinstance(family, Pieces) else 0):                         # the words of where Newton's iteration ended, until they are its own
        if point is None or _same(words_at(curve, point.y), words):
            break
        words = words_at(curve, point.y)
        point = curve.correct(point.y, fixed, words)
    missed = float(np.abs(curve.system(y, words_at(curve, y))[0]).max())
    if point is None or not _same(words_at(curve, point.y), words):
        raise ArgumentError(
            f"there is no {'fixed point' if k == 1 else f'cycle of period {k}'} next to z0 at p = {p:g}: Newton's iteration does not converge; the start "
            f"misses by {missed:.3g} after a round. Give a point nearer to one, from fixed_points, cycles, smooth_cycles or attractors at this parameter, "
            "and its period; not one at a fold."
        )
    shorter = Walk(curve, [], [], None).shorter(point.y)
    if shorter:
        raise ArgumentError(
            f"the start leads to a cycle of period {shorter}, not {k} (at p = {p:g}, z = {np.round(curve.split(point.y)[0][0], 6).tolist()}): "
            f"pass period={shorter}, or a start on a cycle of minimal period {k}."
        )
    t = point.t if point.t[-1] > 0 or abs(point.t[-1]) < 1e-12 else -point.t
    return Point(point.y, t, point.J, 0, point.residual)


def _same(words: Words, others: Words) -> bool:
    return words is None or bool((words == others).all())


def _dataset(curve: Curve, ways: list[Walk], dt: float) -> xr.Dataset:
    low, high = ways
    points = low.points[:0:-1] + high.points
    s = [-value for value in low.s[:0:-1]] + high.s
    events: list[Event] = [
        Event(e.kind, e.mechanism, -e.s, e.y, e.J, (e.n_unstable[1], e.n_unstable[0]), e.unit, e.phase) for e in reversed(low.events)
    ] + high.events
    events.sort(key=lambda event: event.s)
    k, M = curve.period, curve.family.dim
    modes = np.array([multipliers(point.J) for point in points])
    cycles = [curve.split(point.y) for point in points]
    margin = [float(np.abs(curve.family.margins(*cycle)).min(initial=np.inf)) if isinstance(curve.family, Pieces) else np.inf for cycle in cycles]
    out = xr.Dataset(
        {
            "parameter": ("point", [p for _, p in cycles], {"long_name": "parameter", "units": "1"}),
            "location": (("point", "phase", "latent"), np.array([x for x, _ in cycles]), {"long_name": "points of the cycle", "units": "1"}),
            "multiplier": (("point", "mode"), modes, {"long_name": "multipliers of the whole period", "units": "1"}),
            "arclength": ("point", s, {"long_name": "arclength from the start", "units": "range of the parameter"}),
            "residual": ("point", [point.residual for point in points], {"long_name": "what a step misses the next point by", "units": "1"}),
            "margin": ("point", margin, {"long_name": "distance to the next switching plane", "units": "1"}),
        }
    )
    out.update(describe(out["multiplier"], dt * k))
    at = [curve.split(event.y) for event in events]
    counts = np.array([event.n_unstable for event in events], dtype=int).reshape(-1, 2)
    multiplier = np.array([multipliers(event.J) for event in events], dtype=complex).reshape(len(events), M)
    words = {name: np.array([getattr(event, name) for event in events], dtype=str) for name in ("kind", "mechanism")}
    out["kind"] = ("event", words["kind"], {"long_name": "what happens"})
    out["mechanism"] = ("event", words["mechanism"], {"long_name": "how, at a border"})
    out["event_parameter"] = ("event", np.array([p for _, p in at], dtype=float), {"long_name": "parameter of the event", "units": "1"})
    places = np.array([x for x, _ in at], dtype=float).reshape(-1, k, M)
    out["event_location"] = (("event", "phase", "latent"), places, {"long_name": "points of the cycle there", "units": "1"})
    out["event_multiplier"] = (("event", "mode"), multiplier, {"long_name": "its multipliers there", "units": "1"})
    where = np.array([event.s for event in events], dtype=float)
    out["event_arclength"] = ("event", where, {"long_name": "where on the branch", "units": "range of the parameter"})
    out["unstable_before"] = ("event", counts[:, 0], {"long_name": "multipliers outside the unit circle before", "units": "1"})
    out["unstable_after"] = ("event", counts[:, 1], {"long_name": "and after it, -1 where the branch ends", "units": "1"})
    out["unit"] = ("event", np.array([event.unit for event in events], dtype=int), {"long_name": "unit that switches, -1 if none does"})
    out["unit_phase"] = ("event", np.array([event.phase for event in events], dtype=int), {"long_name": "at which point of the cycle"})
    return out
