"""How the fixed points and cycles of a model change over its training: a table of births, deaths, stability changes and border crossings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from dynrnn.analysis._cycles import cycles
from dynrnn.analysis._fixed_points import fixed_points
from dynrnn.analysis.piecewise.canonical import ANALYSED, NOT_FINITE, Maps, canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.path import Step, follow, n_unstable
from dynrnn.errors import ArgumentError, check_int

BIRTH, DEATH = "birth", "death"


class _Table:
    """Objects by number, with the words that each has now, and their events."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.periods: list[int] = []
        self.first_unstable: list[int] = []
        self.now: dict[bytes, int] = {}
        self.complete = True                                                        # so far, of every snapshot

    def add(self, map: PiecewiseLinearMap, words: np.ndarray) -> int:
        self.periods.append(len(words))
        self.first_unstable.append(n_unstable(map, words))
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
    snapshots: Sequence[Any] | Mapping[int, Any], updates: Any = None, *, max_period: int = 1, objects: Any = None, history: xr.Dataset | None = None,
    inputs: Any = None, n_checks: int = 16, progress: bool = False,
) -> xr.Dataset:
    """Every event of the fixed points and cycles between the first snapshot of a training and the last.

    Between two neighbouring snapshots the parameters are taken along the straight line, and every object is followed along it by its region
    words: what leaves one region goes on in the next, or ends there with its partner (Feigin's border collisions; for trained networks Eisenmann
    et al. 2023, arXiv:2311.04192). What is there at a snapshot and did not come from the one before is followed back to its birth.

    Parameters
    ----------
    snapshots : models (or bare maps) of equal shape, at least two; or, by the number of updates of each, ``run.checkpoints`` of
        ``fit(..., checkpoint_every=n)`` or ``dr.load_checkpoints(folder)``. updates : when each was taken (default 0, 1, 2, ...), increasing.
    max_period : cycles up to this period are followed beside fixed points. objects : in place of ``fixed_points`` and ``cycles``, a function that gives
        the words of all objects of a map, each (period, unit) bool. Where their lists are not ``complete``, births and deaths are of what was
        found: a birth may be that of a search's luck.
    history : run.history, to put the loss beside each event.
    n_checks : places between two snapshots where an object is looked at; opposite events between two of them are missed.

    Returns a Dataset with dims fit, event and object. Of each event: ``kind`` (birth, death, border crossing, stability change; empty past the
    last of a fit), ``mechanism`` of births and deaths (border collision: two objects meet on a switching plane, or a cycle comes from a shorter
    one; escape: to infinity), ``update``, ``number`` of the object, its ``location``, unstable directions before and after (-1 where there is
    nothing), ``loss``. Of each object its ``period``, ``unstable`` directions at first, ``born`` and ``died`` (NaN: outside). Of each fit
    ``n_events``, ``n_objects``, ``complete`` (at every snapshot all isolated objects up to ``max_period`` were found; False where ``objects`` was given,
    since that is not known) and ``status``: a fit whose parameters stop being finite is followed up to there.

    Cost O(fits snapshots objects n_checks M^3) beside what ``objects`` takes.

    >>> maps = [PiecewiseLinearMap([0.5], [[-2.0]], [[1.0]], [mu], [0.0]) for mu in (-1.0, 1.0)]
    >>> table = bifurcations(maps)
    >>> table.kind.values.tolist(), table["update"].values.round(6).tolist()
    ([['border crossing']], [[0.5]])
    """
    if isinstance(snapshots, Mapping):
        if updates is not None:
            raise ArgumentError("updates must be left out where snapshots come with their numbers of updates.")
        updates, snapshots = list(snapshots), list(snapshots.values())
    if len(snapshots) < 2:
        raise ArgumentError(f"snapshots must be at least two states of one training, got {len(snapshots)}.")
    check_int("n_checks", n_checks, low=1)
    check_int("max_period", max_period, low=1)
    when = np.arange(len(snapshots), dtype=np.float64) if updates is None else np.asarray(updates, dtype=np.float64)
    if when.shape != (len(snapshots),) or not (np.diff(when) > 0).all():
        raise ArgumentError(f"updates must be {len(snapshots)} increasing numbers, one for each snapshot, got {np.round(when, 6).tolist()[:10]}.")
    all_maps = [canonical(snapshot, inputs) for snapshot in snapshots]
    shapes = {(len(maps.maps), map.latent_dim, map.n_units) for maps in all_maps for map in maps.maps if map is not None}
    if len(shapes) > 1:
        raise ArgumentError(f"snapshots must be of equal shape, got numbers of fits, latents and units {sorted(shapes)}.")
    look = (lambda map: (objects(map), False)) if objects else (lambda map: _real_words(map, max_period))
    tables, status = [], []
    with tqdm(total=len(all_maps[0].maps) * len(when), disable=not progress, unit="snapshot") as bar:
        for k in range(len(all_maps[0].maps)):
            finite = [map for map in itertools.takewhile(lambda map: map is not None, (maps.maps[k] for maps in all_maps)) if map is not None]
            tables.append(_followed(finite, when, look, n_checks, bar))
            status.append(ANALYSED if len(finite) == len(when) else f"{NOT_FINITE} from update {when[len(finite)]:g} on")
    return _dataset(tables, all_maps[0], np.array(status), history)


def _followed(maps: list[PiecewiseLinearMap], when: np.ndarray, look: Any, n_checks: int, bar: Any) -> _Table:
    table = _Table()
    table.complete = bool(maps)
    words: dict[bytes, np.ndarray] = {}
    for i, map in enumerate(maps):
        listed, complete = look(map)
        table.complete &= complete
        found = {_key(w): w for w in listed}
        if i == 0:
            table.now = {key: table.add(map, w) for key, w in found.items()}
        else:
            _advance(table, maps[i - 1], map, words, found, when[i - 1], when[i], n_checks)
        words = found
        bar.update()
    return table


def _real_words(map: PiecewiseLinearMap, max_period: int) -> tuple[list[np.ndarray], bool]:
    """The words of fixed points and cycles that are isolated and off the switching planes, and whether these are all."""
    points = fixed_points(map, n_virtual=0)
    complete = bool(points.complete[0])
    found = [word[None] for word, kept in zip(points.region.values[0], _isolated(points), strict=True) if kept]
    if max_period > 1:
        more = cycles(map, periods=range(2, max_period + 1))
        regions, periods = more.region.values[0], more.period.values[0]
        found += [regions[i, : periods[i]] for i in np.flatnonzero((more.valid & (more.margin > 0)).values[0])]
        complete &= bool(more.complete.all())
    return found, complete


def _isolated(points: xr.Dataset) -> np.ndarray:
    return (points.valid & (points.kind == "point") & (points.margin > 0)).values[0]


def _advance(
    table: _Table, first: PiecewiseLinearMap, second: PiecewiseLinearMap, before: dict[bytes, np.ndarray], after: dict[bytes, np.ndarray],
    begin: float, end: float, n_checks: int,
) -> None:
    """Follow all objects of one snapshot to the next, and back what is new there."""
    now: dict[bytes, int] = {}
    for key, words in before.items():
        number = table.now[key]
        steps, last = follow(first, second, words, n_checks=n_checks)
        _record(table, number, steps, begin, end, backward=False)
        if last is not None:
            now[_key(last)] = number
    for key, words in after.items():
        if key not in now:
            now[key] = table.add(second, words)
            steps, _ = follow(first, second, words, backward=True, n_checks=n_checks)
            _record(table, now[key], steps, begin, end, backward=True)
            if steps:                                                               # at its birth, or where it comes from
                table.first_unstable[-1] = steps[-1].n_unstable[1]
    table.now = now


def _record(table: _Table, number: int, steps: list[Step], begin: float, end: float, *, backward: bool) -> None:
    for step in steps:
        at = begin + step.s * (end - begin)
        ends = step.words is None
        if backward and not ends:                                                   # seen from behind
            step = Step(step.s, step.kind, step.location, step.words, (step.n_unstable[1], step.n_unstable[0]))
        kind = (BIRTH if backward else DEATH) if ends else step.kind
        table.event(number, kind, step, at, step.kind if ends else "")


def _dataset(tables: list[_Table], maps: Maps, status: np.ndarray, history: xr.Dataset | None) -> xr.Dataset:
    F, E, n_objects, M = len(tables), max(len(t.rows) for t in tables), max(len(t.periods) for t in tables), maps.latent_dim
    kind, mechanism = np.full((F, E), "", dtype=object), np.full((F, E), "", dtype=object)
    number, before, after = (np.full((F, E), -1, dtype=np.int64) for _ in range(3))
    update, loss, location = np.full((F, E), np.nan), np.full((F, E), np.nan), np.full((F, E, M), np.nan)
    period, unstable = np.zeros((F, n_objects), dtype=np.int64), np.full((F, n_objects), -1, dtype=np.int64)
    born, died = np.full((F, n_objects), np.nan), np.full((F, n_objects), np.nan)
    for k, table in enumerate(tables):
        period[k, : len(table.periods)], unstable[k, : len(table.periods)] = table.periods, table.first_unstable
        for i, row in enumerate(sorted(table.rows, key=lambda row: (row["update"], row["object"]))):
            kind[k, i], mechanism[k, i], number[k, i], update[k, i] = row["kind"], row["mechanism"], row["object"], row["update"]
            before[k, i], after[k, i], location[k, i] = row["before"], row["after"], row["at"]
            if row["kind"] in (BIRTH, DEATH):
                (born if row["kind"] == BIRTH else died)[k, row["object"]] = row["update"]
        if history is not None:
            loss[k] = np.interp(update[k], history["update"].values, history.loss.isel(fit=k).values)
    event, thing = ("fit", "event"), ("fit", "object")
    return xr.Dataset(
        {
            "kind": (event, kind.astype(str), {"long_name": "what happens"}),
            "mechanism": (event, mechanism.astype(str), {"long_name": "how an object is born or dies"}),
            "update": (event, update, {"long_name": "when it happens, on the straight line between two snapshots", "units": "updates"}),
            "number": (event, number, {"long_name": "object that it happens to"}),
            "location": ((*event, "latent"), location, {"long_name": "a point of the object at the event", "units": "latent units"}),
            "unstable_before": (event, before, {"long_name": "unstable directions before, -1 for none"}),
            "unstable_after": (event, after, {"long_name": "unstable directions after, -1 for none"}),
            "loss": (event, loss, {"long_name": "loss at the event, between rows of the history by straight lines"}),
            "period": (thing, period, {"long_name": "period", "units": "samples"}),
            "unstable": (thing, unstable, {"long_name": "unstable directions at its birth, or at the first snapshot", "units": "1"}),
            "born": (thing, born, {"long_name": "update of its birth, NaN if before the first snapshot", "units": "updates"}),
            "died": (thing, died, {"long_name": "update of its death, NaN if it is there at the last snapshot", "units": "updates"}),
            "n_events": ("fit", np.array([len(t.rows) for t in tables]), {"long_name": "events of the fit", "units": "1"}),
            "n_objects": ("fit", np.array([len(t.periods) for t in tables]), {"long_name": "objects of the fit", "units": "1"}),
            "complete": ("fit", np.array([t.complete for t in tables]), {"long_name": "all objects of every snapshot were found"}),
            "status": ("fit", status, {"long_name": "what was done"}),
        },
        coords={"fit": maps.fit},
    )
