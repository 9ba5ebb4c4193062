"""How the fixed points and cycles of a model change over its training: a table of births, deaths, stability changes and border crossings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis._cycles import cycles
from dynrnn.analysis._fixed_points import fixed_points
from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.path import Step, follow
from dynrnn.errors import ArgumentError, check_int

BIRTH, DEATH = "birth", "death"


class _Table:
    """Objects by number, with the words that each has now, and their events."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.periods: list[int] = []
        self.now: dict[bytes, int] = {}

    def add(self, words: np.ndarray) -> int:
        self.periods.append(len(words))
        return len(self.periods) - 1

    def event(self, number: int, kind: str, step: Step, at: float, mechanism: str) -> None:
        before, after = step.n_unstable
        if kind == BIRTH:                                                           # found going back: what comes before is nothing
            before, after = -1, before
        elif kind == DEATH:
            after = -1
        self.rows.append({"object": number, "kind": kind, "mechanism": mechanism, "update": at, "before": before, "after": after, "at": step.location})


def _key(words: np.ndarray) -> bytes:
    """Of all rotations the smallest, so that a cycle has one key wherever it starts."""
    return min(np.packbits(np.roll(words, -n, 0)).tobytes() for n in range(len(words)))


def bifurcations(
    snapshots: Sequence[Any], updates: Any = None, *, max_period: int = 1, objects: Any = None, history: xr.Dataset | None = None,
    fit: int = 0, inputs: Any = None, n_checks: int = 16,
) -> xr.Dataset:
    """Every event of the fixed points and cycles between the first snapshot of a training and the last.

    Between two neighbouring snapshots the parameters are taken along the straight line, and every object is followed along it by its region
    words: what leaves one region goes on in the next, or ends there with its partner (Feigin's border collisions; for trained networks Eisenmann
    et al. 2023, arXiv:2311.04192). What is there at a snapshot and did not come from the one before is followed back to its birth.

    Parameters
    ----------
    snapshots : models (or bare maps) of equal shape, at least two. updates : when each was taken (default 0, 1, 2, ...), increasing.
    max_period : cycles up to this period are followed beside fixed points. objects : in place of ``fixed_points`` and ``cycles``, a function that gives
        the words of all objects of a map, each (period, unit) bool. Where their lists are not complete, births and deaths are of what was found.
    history : run.history, to put the loss beside each event. fit : which fit of the models (by its place).
    n_checks : places between two snapshots where an object is looked at; opposite events between two of them are missed.

    Returns a Dataset with dims event and object: ``kind`` (birth, death, border crossing, stability change), ``mechanism`` of births and deaths
    (border collision: two objects meet on a switching plane, or a cycle comes from a shorter one; escape: to infinity), ``update`` of the event,
    ``number`` of the object, its ``location``, unstable directions before and after (-1 where there is nothing), ``loss``; and for each
    object its ``period``, ``born`` and ``died`` (NaN: outside).

    Cost O(snapshots objects n_checks M^3) beside what ``objects`` takes.
    """
    if len(snapshots) < 2:
        raise ArgumentError(f"snapshots must be at least two states of one training, got {len(snapshots)}.")
    check_int("n_checks", n_checks, low=1)
    check_int("max_period", max_period, low=1)
    when = np.arange(len(snapshots), dtype=np.float64) if updates is None else np.asarray(updates, dtype=np.float64)
    if when.shape != (len(snapshots),) or not (np.diff(when) > 0).all():
        raise ArgumentError(f"updates must be {len(snapshots)} increasing numbers, one for each snapshot, got {np.round(when, 6).tolist()[:10]}.")
    maps = [_one(snapshot, fit, inputs, when[i]) for i, snapshot in enumerate(snapshots)]
    shapes = {(map.latent_dim, map.n_units) for map in maps}
    if len(shapes) > 1:
        raise ArgumentError(f"snapshots must be of equal shape, got latent and unit numbers {sorted(shapes)}.")
    objects = objects or (lambda map: _real_words(map, max_period))
    table = _Table()
    first = {_key(words): words for words in objects(maps[0])}
    table.now = {key: table.add(words) for key, words in first.items()}
    words_now = first
    for i in range(len(maps) - 1):
        words_now = _advance(table, maps[i], maps[i + 1], words_now, {_key(w): w for w in objects(maps[i + 1])}, when[i], when[i + 1], n_checks)
    return _dataset(table, maps[0].latent_dim, history, fit)


def _real_words(map: PiecewiseLinearMap, max_period: int) -> list[np.ndarray]:
    """The words of fixed points and cycles that are isolated and off the switching planes."""
    points = fixed_points(map, n_virtual=0)
    found = [word[None] for word, kept in zip(points.region.values[0], _isolated(points), strict=True) if kept]
    if max_period > 1:
        more = cycles(map, periods=range(2, max_period + 1))
        regions, periods = more.region.values[0], more.period.values[0]
        found += [regions[i, : periods[i]] for i in np.flatnonzero((more.valid & (more.margin > 0)).values[0])]
    return found


def _isolated(points: xr.Dataset) -> np.ndarray:
    return (points.valid & (points.kind == "point") & (points.margin > 0)).values[0]


def _one(snapshot: Any, fit: int, inputs: Any, update: float) -> PiecewiseLinearMap:
    maps = canonical(snapshot, inputs).maps
    if not 0 <= fit < len(maps):
        raise ArgumentError(f"fit must be from 0 to {len(maps) - 1}, got {fit}.")
    map = maps[fit]
    if map is None:
        raise ArgumentError(f"fit {fit} has parameters that are not finite at update {update:g}; leave that snapshot and those after it out.")
    return map


def _advance(
    table: _Table, first: PiecewiseLinearMap, second: PiecewiseLinearMap, before: dict[bytes, np.ndarray], after: dict[bytes, np.ndarray],
    begin: float, end: float, n_checks: int,
) -> dict[bytes, np.ndarray]:
    """Follow all objects of one snapshot to the next, and back what is new there. Returns the objects of the next."""
    now: dict[bytes, int] = {}
    for key, words in before.items():
        number = table.now[key]
        steps, last = follow(first, second, words, n_checks=n_checks)
        _record(table, number, steps, begin, end, backward=False)
        if last is not None:
            now[_key(last)] = number
    for key, words in after.items():
        if key not in now:
            now[key] = table.add(words)
            steps, _ = follow(first, second, words, backward=True, n_checks=n_checks)
            _record(table, now[key], steps, begin, end, backward=True)
    table.now = now
    return after


def _record(table: _Table, number: int, steps: list[Step], begin: float, end: float, *, backward: bool) -> None:
    for step in steps:
        at = begin + step.s * (end - begin)
        ends = step.words is None
        if backward and not ends:                                                   # seen from behind
            step = Step(step.s, step.kind, step.location, step.words, (step.n_unstable[1], step.n_unstable[0]))
        kind = (BIRTH if backward else DEATH) if ends else step.kind
        table.event(number, kind, step, at, step.kind if ends else "")


def _dataset(table: _Table, M: int, history: xr.Dataset | None, fit: int) -> xr.Dataset:
    rows = sorted(table.rows, key=lambda row: (row["update"], row["object"]))
    update = np.array([row["update"] for row in rows])
    loss = np.full(len(rows), np.nan)
    if history is not None and len(rows):
        loss = np.interp(update, history["update"].values, history.loss.isel(fit=fit).values)
    number = np.array([row["object"] for row in rows], dtype=np.int64)
    kinds = np.array([row["kind"] for row in rows], dtype=str)
    born, died = (np.array([next(iter(update[(number == k) & (kinds == kind)]), np.nan) for k in range(len(table.periods))]) for kind in (BIRTH, DEATH))
    places = np.array([row["at"] for row in rows]).reshape(len(rows), M)
    event = {
        "kind": (kinds, "what happens"),
        "mechanism": (np.array([row["mechanism"] for row in rows], dtype=str), "how an object is born or dies"),
        "number": (number, "object that it happens to"),
        "unstable_before": (np.array([row["before"] for row in rows], dtype=np.int64), "unstable directions before, -1 for none"),
        "unstable_after": (np.array([row["after"] for row in rows], dtype=np.int64), "unstable directions after, -1 for none"),
        "loss": (loss, "loss at the event, between rows of the history by straight lines"),
    }
    data: dict[str, Any] = {name: ("event", values, {"long_name": text}) for name, (values, text) in event.items()}
    data["update"] = "event", update, {"long_name": "when it happens, on the straight line between two snapshots", "units": "updates"}
    data["location"] = ("event", "latent"), places, {"long_name": "a point of the object at the event"}
    data["period"] = "object", np.array(table.periods, dtype=np.int64), {"long_name": "period", "units": "samples"}
    data["born"] = "object", born, {"long_name": "update of its birth, NaN if before the first snapshot", "units": "updates"}
    data["died"] = "object", died, {"long_name": "update of its death, NaN if it is there at the last snapshot", "units": "updates"}
    return xr.Dataset(data)
