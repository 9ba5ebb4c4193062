"""Orbits to average over: where their segments start, how long the frame is carried before its growth counts, and how often it is made orthonormal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Carrier, Subject
from dynrnn.errors import ArgumentError
from dynrnn.models.generation import start_states
from dynrnn.streams import stream
from dynrnn_kernels.additive.tangent import Carried, random_frames

TRIES = 16               # starts of a callable that are tried: the first whose orbit stays finite is taken
PILOT_STEPS = 128
WIDE = 12.0              # ln of the longest over the shortest vector that an interval is chosen for: 7 of 16 digits are lost
TOO_WIDE = 25.0          # and that a run may reach: 5 digits are left
MOST_STEPS = 100         # between two orthonormalisations
GROWTH = 60.0            # ln of a vector's length between them, far from overflow of its square
STOPS = 64               # places in the warm-up's length at which staggered orbits are taken
PAIR = 1e-7              # distance of the second trajectory, relative to the size of the states


def first_states(subject: Subject, initial: Any, n_segments: int, transient: int, warmup: int, random_state: int) -> Tensor:
    """States [F, B, M] on the attractors, after the transient: one orbit a fit, or those that ``initial`` or a known system start."""
    carrier, rng = subject.carrier, np.random.default_rng(np.random.SeedSequence(random_state, spawn_key=(1,)))
    if initial is None and subject.starts is not None:
        z = torch.tensor(subject.starts(n_segments, rng))[None]
        return staggered(carrier, carrier.advance(z, transient), warmup if n_segments > 1 else 0, rng)
    if subject.model is not None:
        z = start_states(subject.model, initial)[torch.as_tensor(subject.usable)]
    elif initial is not None:
        z = torch.as_tensor(np.asarray(initial, dtype=np.float64))
        z = z[None] if z.ndim == 1 else z
        if z.ndim != 2 or z.shape[1] != carrier.dim or not bool(torch.isfinite(z).all()):
            raise ArgumentError(f"initial must hold finite states of shape (start, {carrier.dim}), got shape {tuple(np.shape(initial))}.")
        z = z.expand(carrier.n_fits, *z.shape)
    else:
        return _tried(carrier, subject.fit[subject.usable], transient, random_state)
    return carrier.advance(z.contiguous(), transient)


def _tried(carrier: Carrier, fits: np.ndarray, transient: int, random_state: int) -> Tensor:
    """Of TRIES random starts of each map the first whose orbit is finite after the transient."""
    drawn = np.stack([stream(random_state, "initial state", int(k)).standard_normal((TRIES, carrier.dim)) for k in fits])
    end = carrier.advance(torch.tensor(0.3 * drawn), transient)
    first = torch.isfinite(end).all(-1).to(torch.int64).argmax(1)                       # the first where none is: its status will say so
    return end[torch.arange(len(end)), first][:, None]


def staggered(carrier: Carrier, z: Tensor, longest: int, rng: np.random.Generator) -> Tensor:
    """Each orbit a random time later, up to ``longest`` steps.

    Orbits of a phase-coherent attractor such as Roessler's go round in step for hundreds of turns if they start close together: all segments then end on
    the same part of a turn, which shifts their mean by O(1 / n_steps), the same in all of them, so that no spread tells of it.
    """
    if longest == 0:
        return z
    steps, stops = math.ceil(longest / STOPS), torch.as_tensor(rng.integers(0, STOPS, z.shape[1]))
    out = z.clone()
    for stop in range(1, STOPS):
        z = carrier.advance(z, steps)
        out[:, stops == stop] = z[:, stops == stop]
    return out


def segment_states(carrier: Carrier, z: Tensor, n_segments: int, n_steps: int, warmup: int, random_state: int) -> Tensor:
    """Starts of the segments [F, S, M]: each given orbit is cut into as many as it takes, one to two warm-ups apart, at random: they fall out of step."""
    B, rng = z.shape[1], np.random.default_rng(np.random.SeedSequence(random_state, spawn_key=(4,)))
    cut, now = [z], z
    for _ in range(math.ceil(n_segments / B) - 1):
        now = carrier.advance(now, n_steps + warmup + int(rng.integers(0, warmup + 1)))
        cut.append(now)
    return torch.cat(cut, 1)[:, :n_segments].contiguous()


def frames(carrier: Carrier, fits: np.ndarray, n_segments: int, k: int, random_state: int) -> Tensor:
    """Random orthonormal vectors [F, S, k, M], of each fit its own."""
    drawn = [random_frames((1, n_segments, k, carrier.dim), np.random.default_rng(np.random.SeedSequence(random_state, spawn_key=(2, int(f))))) for f in fits]
    return torch.cat(drawn)


def pair_of(z: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    """A second state beside each, and its distance [F]: PAIR of the size of the fit's states, along the first vector."""
    square = torch.where(torch.isfinite(z), z, torch.zeros_like(z)).square().mean((1, 2))
    distance = PAIR * torch.clamp(square.sqrt(), min=1e-3)
    return z + distance[:, None, None] * Q[:, :, 0], distance


def choose_interval(carrier: Carrier, z: Tensor, Q: Tensor, u: Tensor | None = None) -> Tensor:
    """Steps between orthonormalisations [F] at which the frame stays far from collapse, from a short run with one after every step.

    u: inputs [1, 1 or S, steps, K] of that run, at most PILOT_STEPS of them.
    """
    n = min(8, z.shape[1])
    steps = PILOT_STEPS if u is None else u.shape[2]
    drive = None if u is None else u[:, :n].contiguous()
    one = torch.ones(carrier.n_fits, dtype=torch.int64)
    pilot: Carried = carrier.carry(z[:, :n].contiguous(), Q[:, :n].contiguous(), steps, one, drive, None, one.double(), False)
    rate = pilot.log_r.abs() / steps
    rate = torch.where(torch.isfinite(rate), rate, torch.zeros_like(rate)).amax((1, 2))
    widest = torch.nan_to_num(pilot.widest, nan=0.0, posinf=0.0).amax(1)
    most = torch.minimum(WIDE / widest.clamp(min=1e-9), GROWTH / (3 * rate).clamp(min=1e-9))
    return most.clamp(1, MOST_STEPS).to(torch.int64)
