"""Attractors of all fits from many initial states, and how much of the states goes to each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.special import ndtri

from dynrnn.analysis.basins.exact import Sink
from dynrnn.analysis.basins.orbits import some_fits
from dynrnn.analysis.basins.overlap import N_SAMPLE, Wanderer, grouped, wanderer
from dynrnn.analysis.basins.settling import DIVERGED, UNRESOLVED, WANDERS, settle, sizes
from dynrnn.analysis.basins.starting import initial_states
from dynrnn.analysis.lyapunov.carrier import Carrier, Subject, subject_of
from dynrnn.analysis.lyapunov.estimate import half_width, mean_and_error
from dynrnn.analysis.lyapunov.segments import frames, segment_states
from dynrnn.analysis.lyapunov.verdict import Verdict, judge
from dynrnn.analysis.piecewise.multipliers import as_complex
from dynrnn.analysis.smooth.tables import Column, padded
from dynrnn.analysis.symbols.intervals import wilson
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state

FIXED_POINT, CYCLE = "fixed point", "cycle"
SEGMENTS = 8                 # over which the exponents of an attractor that is no cycle are measured
ESCAPE = 1e6                 # times the largest start: a state beyond it has left
PATH_NUMBERS = 2**25         # latent numbers of the stretches of a block of fits: 256 MiB


def attractors(
    system: Any, n_starts: int = 256, *, box: Any = None, starts: Any = None, n_steps: int = 1_000, transient: int = 1_000, n_doublings: int = 6,
    max_period: int = 128, bound: float | None = None, random_state: int | None = 0, dim: int | None = None, dt: float | None = None, inputs: Any = None,
    confidence: float = 0.95,
) -> xr.Dataset:
    """The attractors that many initial states end on, exact where they are fixed points or cycles, with the share of states that each attracts.

    Parameters
    ----------
    system, dim, dt, inputs: as in :func:`lyapunov_spectrum`: a model, run, piecewise-linear map or list of them, known flow, or callable with ``dim``.
    n_starts: random initial states of each fit, at least 8. By default latent states from a standard normal distribution (a model's; training data are
        standardised), or uniform in ``box`` = (low, high), each a number or (dim,), which bare maps, callables and known flows must be given.
    starts: the initial states themselves, (start, dim) or (fit, start, dim), instead.
    transient: steps before an orbit is first looked at. One that has not settled is run again and again, until it has run 2, 4, ... 2**n_doublings times so
        long.
    n_steps: states of an orbit that neither rests nor closes, by which it is compared with others, at least 100; they should go round the attractor many times.
    max_period: the longest cycle that is told from other motion, in steps.
    bound: a state with a larger component has diverged; 1e6 times the largest start by default.
    random_state: of starts; every fit draws its own by its label, so that it draws the same alone. confidence: of the intervals.

    Returns
    -------
    Dims fit, attractor (padded, ``valid``; largest share first), phase, latent, mode, start. Per attractor:
    ``kind`` (fixed point, cycle, periodic: the cycle of a flow, quasi-periodic, chaotic, undecided) with its ``evidence``; ``period`` (steps; 0 if it has
    none);
    ``location`` (phase, latent): the points of a cycle in order, else a sample of 256 of its states, ``n_points`` of them; ``multiplier`` (mode) of the
    whole period and ``log_modulus``; ``exponent`` (largest Lyapunov exponent, per time) with ``exponent_standard_error``; ``radius``, of balls about the sample
    within which 0.9 of its states lie (0 for cycles), in units of ``scale`` (latent); ``n_members``, ``share`` with ``share_lower`` and ``share_upper``.
    Per start: ``label``, the attractor's number from 0, -1 where the orbit diverged, -2 where it is unresolved; ``initial`` (latent).
    Per fit: ``diverged_share`` and ``unresolved_share`` with intervals, ``n_attractors``, ``size`` of the states, ``status``.

    Method
    ------
    An orbit that closes within 1e-7 of the states' size after p steps is a candidate only: Newton's iteration leads to the exact cycle, and all its
    multipliers must lie inside the unit circle, and the orbit at it or coming nearer. So an orbit that is slow beside a saddle, or in the gap where two fixed
    points have just met, is no attractor; it runs on. An orbit that does not close has settled if it keeps to the same ranges over its last stretch and since
    half its time; two are of one attractor if each visits what the other does, within balls as wide as the gaps of the orbit itself. Their exponents say
    what they are; where the largest is negative, the orbit still converges, and it is unresolved. Intervals: Wilson 1927 (J Am Stat Assoc 22, 209); shares as
    in Menck et al. 2013 (Nat Phys 9, 89), of the distribution of starts that was taken. O(fit n_starts transient 2**n_doublings M H) at most.

    Fails: a chaotic transient longer than all steps is taken for an attractor; so is every orbit of a conservative map, which has none. A cycle beyond
    max_period is unresolved. An orbit that is confined to one part of an attractor throughout (intermittency) splits it: take more n_steps.
    Two attractors nearer to each other than the gaps of an orbit's own states are merged.

    Raises
    ------
    ArgumentError : too few starts; a box of wrong shape or empty, or none where it is needed; n_steps < 100; what ``lyapunov_spectrum`` raises for systems.

    >>> import torch
    >>> found = attractors(lambda z: 1.5 * torch.tanh(z), 100, box=(-2, 2), dim=1)
    >>> np.sort(found.location.values[0, :, 0, 0]).round(6).tolist(), found.kind.values[0].tolist(), bool((abs(found.share - 0.5) < 0.15).all())
    ([-1.287839, 1.287839], ['fixed point', 'fixed point'], True)
    """
    subject = subject_of(system, dim, inputs, dt)
    n_starts, n_steps, transient = check_int("n_starts", n_starts, low=1), check_int("n_steps", n_steps, low=100), check_int("transient", transient, low=1)
    n_doublings, max_period = check_int("n_doublings", n_doublings, low=2, high=20), check_int("max_period", max_period, low=1)
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        raise ArgumentError(f"confidence must lie between 0 and 1, for example 0.95, got {confidence!r}.")
    if bound is not None and not (np.isfinite(bound) and bound > 0):
        raise ArgumentError(f"bound must be a positive number, beyond which a state counts as diverged, got {bound!r}.")
    seed = check_random_state(random_state)
    z = initial_states(subject, n_starts, box, starts, seed)
    size = sizes(z.numpy())
    limit = np.full(len(z), bound) if bound is not None else ESCAPE * np.maximum(z.abs().amax((1, 2)).numpy(), size)
    rows, labels, reasons = [], np.empty(z.shape[:2], int), []
    width = max(1, PATH_NUMBERS // (z.shape[1] * n_steps * z.shape[2]))
    for first in range(0, len(z), width):
        part = slice(first, min(first + width, len(z)))
        carrier = some_fits(subject.carrier, part.start, part.stop)
        found = settle(
            carrier, z[part], transient=transient, n_steps=n_steps, n_doublings=n_doublings, max_period=max_period, bound=limit[part], size=size[part]
        )
        for f in range(len(found.label)):
            label = int(subject.fit[subject.usable][part.start + f])
            own, labels[part.start + f] = _of_fit(
                subject, some_fits(carrier, f, f + 1), label, found.label[f], found.sinks[f], {s: p for (k, s), p in found.paths.items() if k == f},
                found.z[f].numpy(), n_steps, confidence, seed,
            )
            rows.append(own)
            reasons.append(", ".join(sorted(found.reasons[f])))
    out = _dataset(subject, rows, labels, reasons, z.numpy(), size, limit, confidence)
    return out.assign_attrs(
        dt=subject.dt, n_starts=int(z.shape[1]), n_steps=n_steps, transient=transient, n_doublings=n_doublings, max_period=max_period, random_state=seed,
        confidence=confidence, starts="given" if starts is not None else "standard normal" if box is None else "uniform in a box",
    )


def _of_fit(
    subject: Subject, carrier: Carrier, fit: int, label: np.ndarray, sinks: list[Sink], paths: dict[int, np.ndarray], z: np.ndarray, n_steps: int,
    confidence: float, seed: int,
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Rows of one fit's attractors, largest share first, and the starts' labels."""
    rows, label = [], label.copy()
    for sink in sinks:
        period = len(sink.points)
        kind = FIXED_POINT if period == 1 else CYCLE
        said = "all multipliers inside the unit circle"
        exponent = float(sink.log_modulus[0]) / period / subject.dt
        rows.append(
            {
                "kind": kind, "evidence": said, "period": period, "location": sink.points, "n_points": period, "exponent": exponent,
                "exponent_standard_error": 0.0, "radius": 0.0, "scale": np.ones(carrier.dim), "multiplier": as_complex(sink.log_modulus, sink.angle),
                "log_modulus": sink.log_modulus,
            }
        )
    at = np.flatnonzero(label == WANDERS)
    if len(at):
        group = grouped(np.stack([paths[int(s)] for s in at]))
        for g in range(group.max() + 1):
            mine = at[group == g]
            row = _wandering(subject, carrier, fit, z[mine], np.stack([paths[int(s)] for s in mine]), n_steps, confidence, seed)
            label[mine] = UNRESOLVED if row is None else len(rows)
            if row is not None:
                rows.append(row)
    counts = np.array([(label == i).sum() for i in range(len(rows))], dtype=int)
    order = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
    number = {old: new for new, old in enumerate(order)}
    return [rows[i] | {"n_members": int(counts[i])} for i in order], np.array([number.get(int(i), int(i)) for i in label])


def _wandering(
    subject: Subject, carrier: Carrier, fit: int, z: np.ndarray, paths: np.ndarray, n_steps: int, confidence: float, seed: int
) -> dict[str, Any] | None:
    """One attractor that is no cycle, None where its orbits still converge to something."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4, fit)))
    places: Wanderer = wanderer(paths, rng)
    k, warmup = min(2, carrier.dim), max(100, n_steps // 4)
    begin = segment_states(carrier, torch.tensor(z[:SEGMENTS])[None], SEGMENTS, n_steps, warmup, seed)
    Q, every = frames(carrier, np.array([fit]), SEGMENTS, k, seed), torch.ones(1, dtype=torch.int64)
    turned = carrier.carry(begin, Q, warmup, every, None, None, every.double(), False)
    grown = carrier.carry(turned.z, turned.Q, n_steps, every, None, None, every.double(), False)
    duration = n_steps * subject.dt
    value, error = mean_and_error(grown.log_r[0].numpy() / duration)
    order = np.argsort(-value)
    value, error = value[order], error[order]
    verdict, said = judge(value, half_width(error, SEGMENTS, confidence), 0, duration, subject.flow, bool((grown.failed >= 0).any()))
    if verdict is Verdict.DIVERGING or (verdict is Verdict.UNDECIDED and value[0] < 0 and abs(value[0]) > half_width(error, SEGMENTS, confidence)[0]):
        return None
    empty = np.full(carrier.dim, np.nan)
    return {
        "kind": str(verdict), "evidence": said, "period": 0, "location": places.sample, "n_points": len(places.sample), "exponent": float(value[0]),
        "exponent_standard_error": float(error[0]), "radius": places.radius, "scale": places.scale, "multiplier": empty.astype(complex), "log_modulus": empty,
    }


def _dataset(
    subject: Subject, rows: list[list[dict[str, Any]]], labels: np.ndarray, reasons: list[str], z: np.ndarray, size: np.ndarray, limit: np.ndarray,
    confidence: float,
) -> xr.Dataset:
    usable, M, nan = subject.usable, subject.carrier.dim, float("nan")
    F, S = len(usable), labels.shape[1]
    every = iter(rows)
    whole = [next(every) if fine else [] for fine in usable]
    phases = max((len(row["location"]) for own in whole for row in own), default=1)
    columns: dict[str, Column] = {
        "kind": ({}, "", "kind of attractor"),
        "evidence": ({}, "", "what that rests on"),
        "period": ({}, 0, "period, 0 if it has none"),
        "location": ({"phase": phases, "latent": M}, nan, "points of the cycle, or a sample of states"),
        "n_points": ({}, 0, "how many of them"),
        "multiplier": ({"mode": M}, complex(nan, nan), "multipliers of the whole period"),
        "log_modulus": ({"mode": M}, nan, "logarithm of the multiplier's modulus"),
        "exponent": ({}, nan, "largest Lyapunov exponent"),
        "exponent_standard_error": ({}, nan, "its standard error, 0 where exact"),
        "radius": ({}, nan, f"of balls about the sample of {N_SAMPLE} that hold 0.9 of the states, in units of scale"),
        "scale": ({"latent": M}, nan, "unit of the radius"),
        "n_members": ({}, 0, "starts that end here"),
    }
    out = padded(whole, "attractor", columns, subject.fit)
    out["period"].attrs["units"], out["log_modulus"].attrs["units"] = "steps", "nat / period"
    for name in ("exponent", "exponent_standard_error"):
        out[name].attrs["units"] = "nat / time of dt"

    def filled(values: np.ndarray, fill: Any) -> np.ndarray:
        full = np.full((F, *values.shape[1:]), fill, dtype=values.dtype)
        full[usable] = values
        return full

    z_score = float(ndtri(0.5 + confidence / 2))
    counts = {"diverged": (labels == DIVERGED).sum(1), "unresolved": (labels == UNRESOLVED).sum(1)}
    low, high = wilson(out.n_members.values.astype(float), np.full(out.n_members.shape, float(S)), z_score)
    for name, values in {"share": out.n_members.values / S, "share_lower": low, "share_upper": high}.items():
        said = {"share": "share of the starts", "share_lower": "lower end of its interval", "share_upper": "upper end of its interval"}[name]
        out[name] = (("fit", "attractor"), np.where(out.valid.values, values, np.nan), {"long_name": said, "units": "1"})
    for name, count in counts.items():
        low, high = wilson(count.astype(float), np.full(len(count), float(S)), z_score)
        for ending, values in {"share": count / S, "share_lower": low, "share_upper": high}.items():
            said = f"share of the starts that are {name}" + {"share": "", "share_lower": ", lower end", "share_upper": ", upper end"}[ending]
            out[f"{name}_{ending}"] = ("fit", filled(values, np.nan), {"long_name": said, "units": "1"})
    out["label"] = (("fit", "start"), filled(labels, UNRESOLVED), {"long_name": "number of the attractor; -1 diverged, -2 unresolved"})
    out["initial"] = (("fit", "start", "latent"), filled(z, np.nan), {"long_name": "initial state", "units": "1"})
    out["n_attractors"] = ("fit", np.array([len(own) for own in whole]), {"long_name": "attractors found", "units": "1"})
    out["size"] = ("fit", filled(size, np.nan), {"long_name": "size of the starts", "units": "1"})
    out["bound"] = ("fit", filled(limit, np.nan), {"long_name": "beyond which a state has diverged", "units": "1"})
    status = subject.status
    for i, f in enumerate(np.flatnonzero(usable)):
        n_lost, n_open = int(counts["diverged"][i]), int(counts["unresolved"][i])
        said = f" (beside what is {reasons[i]})" if reasons[i] else ""
        if n_lost == S:
            status[f] = "every orbit diverges"
        elif n_open:
            status[f] = f"{n_open} of {S} starts unresolved{said}: raise n_doublings or transient, or max_period"
    out["status"] = ("fit", status.astype(str), {"long_name": "what was done"})
    return out.assign_coords(attractor=np.arange(out.sizes["attractor"]))
