"""Orbits run until it is known where they end, twice as long each time, all starts of all fits side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.basins.exact import Sink, at_sink, polish
from dynrnn.analysis.basins.orbits import STRETCH_NUMBERS, closing, running, some_fits, stretch
from dynrnn.analysis.basins.overlap import SHARED, Wanderer, ranges, steady
from dynrnn.analysis.lyapunov.carrier import Carrier

DIVERGED, UNRESOLVED, RUNNING, WANDERS = -1, -2, -3, -4
RECURRENCE = 1e-7        # of the size: how nearly an orbit must close to be looked at as a cycle
LONG_ENOUGH = 3          # runs after which an orbit that does not close may be called settled
CANDIDATES = 16          # that are tried by Newton's iteration, a fit and round


@dataclass
class Settled:
    """label [F, S]: number of the sink, or one of the codes above; where the orbits are; of those that wander, their last stretch.

    sinks, reasons: of every fit the attracting cycles, and what was found instead of one.
    """

    label: np.ndarray
    z: Tensor
    n_steps: np.ndarray
    sinks: list[list[Sink]]
    paths: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    reasons: list[set[str]] = field(default_factory=list)


def sizes(z: np.ndarray) -> np.ndarray:
    """Size of the states of each fit [F]: the largest range of a coordinate over its finite states, or |z| where all are one; z [F, S, M]."""
    out = np.empty(len(z))
    for f, own in enumerate(z):
        own = own[np.isfinite(own).all(-1)]
        out[f] = max(float(np.ptp(own, 0).max()), 1e-6 * float(np.abs(own).max()), 1e-12) if len(own) else 1.0
    return out


def settle(
    carrier: Carrier, z: Tensor, *, transient: int, n_steps: int, n_doublings: int, max_period: int, bound: np.ndarray, size: np.ndarray,
    known: list[list[Sink]] | None = None, wanderers: list[list[Wanderer]] | None = None,
) -> Settled:
    """Where the orbits from z [F, S, M] end. bound, size [F].

    known: sinks that are looked for and no others, with ``wanderers`` that other orbits are compared with, numbered after the sinks. Else
    every orbit that closes is a candidate for a new sink, and those that have settled without closing are left as WANDERS with their stretch.
    """
    F, S, _M = z.shape
    learn = known is None
    out = Settled(np.full((F, S), RUNNING), z.clone(), np.zeros((F, S), int), [list(own) for own in known] if known else [[] for _ in range(F)])
    out.reasons = [set() for _ in range(F)]
    fits = [some_fits(carrier, f, f + 1) for f in range(F)]
    before: dict[tuple[int, int], np.ndarray] = {}
    run = transient
    for turn in range(n_doublings + 1):
        active = out.label == RUNNING
        if not active.any():
            break
        index = running(active)
        rows = torch.arange(F)[:, None]
        now = carrier.advance(out.z[rows, index].contiguous(), run)
        lost = ~(now.abs().amax(-1) <= torch.as_tensor(bound)[:, None]).numpy()     # NaN counts as lost
        taken = np.take_along_axis(active, index.numpy(), 1)
        now = torch.where(torch.as_tensor(lost | ~taken)[..., None], out.z[rows, index], now)
        out.z[rows, index] = now
        period = closing(carrier, now, max_period, RECURRENCE * size)
        for f in range(F):
            at = index[f].numpy()[taken[f]]
            out.n_steps[f, at] += run
            out.label[f, at[lost[f][taken[f]]]] = DIVERGED
            live = ~lost[f][taken[f]]
            _cycles(fits[f], out, f, at[live], period[f][taken[f]][live], float(size[f]), learn)
            if wanderers is not None:
                _compare(fits[f], out, f, wanderers[f], n_steps)
        if wanderers is None:
            _wandering(carrier, out, before, n_steps, settled=turn + 1 >= LONG_ENOUGH)
        run = transient * 2**turn                                                    # 1, 2, 4, ... transients in all
    out.label[out.label == RUNNING] = UNRESOLVED
    return out


def _cycles(carrier: Carrier, out: Settled, f: int, at: np.ndarray, period: np.ndarray, size: float, learn: bool) -> None:
    """Label starts ``at`` of fit f that are at a sink, and look for new ones where orbits close."""
    z, closed = out.z[f, at].numpy(), period > 0
    label = at_sink(carrier, out.sinks[f], z, closed, size)
    if learn:
        failed = np.zeros(len(at), dtype=bool)
        for _ in range(CANDIDATES):
            left = np.flatnonzero(closed & (label < 0) & ~failed)
            if not len(left):
                break
            found = polish(carrier, z[left[0]], int(period[left[0]]), size)
            if isinstance(found, str):
                out.reasons[f].add(found)
                failed |= closed & (np.abs(z - z[left[0]]).max(-1) <= 1e-3 * size)    # whatever passes there is not settled either
                continue
            is_new = all(sink.distance(found.points[:1])[0] > 1e-7 * size for sink in out.sinks[f])
            if is_new:
                out.sinks[f].append(found)
            here = at_sink(carrier, out.sinks[f], z, closed & (label < 0), size)
            label = np.where(label < 0, here, label)
            failed[left[0]] = True
    out.label[f, at[label >= 0]] = label[label >= 0]


def _blocks(carrier: Carrier, out: Settled, n_steps: int):
    """Stretches of the running orbits, (fit, start, states (n_steps, M)), a block of starts at a time."""
    active = out.label == RUNNING
    if not active.any():
        return
    F, _, M = out.z.shape
    index = running(active)
    width = max(1, STRETCH_NUMBERS // (F * n_steps * M))
    for first in range(0, index.shape[1], width):
        part = index[:, first : first + width]
        path = stretch(carrier, out.z[torch.arange(F)[:, None], part].contiguous(), n_steps).numpy()
        for f in range(F):
            mine = active[f, part[f].numpy()]
            if mine.any():
                yield f, part[f].numpy()[mine], path[f][mine]


def _wandering(carrier: Carrier, out: Settled, before: dict[tuple[int, int], np.ndarray], n_steps: int, settled: bool) -> None:
    for f, at, path in _blocks(carrier, out, n_steps):
        finite = np.isfinite(path).all((1, 2))
        at, path = at[finite], path[finite]
        if not len(at):
            continue
        now = ranges(path)
        if settled:
            fine = steady(np.stack([before.get((f, int(s)), np.full(now.shape[1:], np.nan)) for s in at]), path)
            for s, own in zip(at[fine], path[fine], strict=True):
                out.paths[f, int(s)] = own
            out.label[f, at[fine]] = WANDERS
        before.update({(f, int(s)): own for s, own in zip(at, now, strict=True)})


def _compare(carrier: Carrier, out: Settled, f: int, wanderers: list[Wanderer], n_steps: int) -> None:
    at = np.flatnonzero(out.label[f] == RUNNING)
    width = max(1, STRETCH_NUMBERS // (n_steps * out.z.shape[2]))
    for first in range(0, len(at) if wanderers else 0, width):
        part = at[first : first + width]
        for s, path in zip(part, stretch(carrier, out.z[f, part][None].contiguous(), n_steps)[0].numpy(), strict=True):
            share = [attractor.share(path) if np.isfinite(path).all() else 0.0 for attractor in wanderers]
            if max(share) >= SHARED:
                out.label[f, s] = len(out.sinks[f]) + int(np.argmax(share))
