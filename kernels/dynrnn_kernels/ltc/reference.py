"""The liquid time-constant recurrence in plain torch: the ground truth that every kernel is compared with, and the explicit solvers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc.checks import elapsed
from dynrnn_kernels.ltc.map import LTCMap
from dynrnn_kernels.stepwise import forced_steps


class Currents(NamedTuple):
    """What drives the units at one state: cm dv/dt = pull - leak v. slope_pull and slope_leak [F, B, M, M] are derivatives by the states v_j."""

    pull: Tensor
    leak: Tensor
    slope_pull: Tensor | None
    slope_leak: Tensor | None


def sensory(map: LTCMap, u: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pull and leak of what does not change within a step, leaks and inputs: u [F, B, K] -> [F, B or 1, M] each."""
    pull, leak = (map.gleak * map.vleak)[:, None], map.gleak[:, None]
    if u is not None and map.w_in is not None and map.sigma_in is not None and map.mu_in is not None and map.E_in is not None:
        if map.input_w is None or map.input_b is None:                          # for type checkers: the map's own checks say that they are there
            raise KernelError("the map lacks a tensor of its inputs")
        x = u * map.input_w[:, None] + map.input_b[:, None]
        opened = map.w_in[:, None] * torch.sigmoid(map.sigma_in[:, None] * (x[:, :, None] - map.mu_in[:, None]))            # [F, B, M, K]
        pull, leak = pull + (opened * map.E_in[:, None]).sum(-1), leak + opened.sum(-1)
    return pull, leak


def currents(map: LTCMap, v: Tensor, fixed: tuple[Tensor, Tensor], slopes: bool = False) -> Currents:
    """At states v [F, B, M]."""
    s = torch.sigmoid(map.sigma[:, None] * (v[:, :, None] - map.mu[:, None]))                                               # [F, B, to, from]
    opened, E = map.w[:, None] * s, map.E[:, None]
    by_v = opened * map.sigma[:, None] * (1 - s) if slopes else None
    return Currents(fixed[0] + (opened * E).sum(-1), fixed[1] + opened.sum(-1), None if by_v is None else by_v * E, by_v)


Unfold = Callable[[LTCMap, Tensor, tuple[Tensor, Tensor], Tensor, bool], tuple[Tensor, Tensor | None]]


def semi_implicit(map: LTCMap, v: Tensor, fixed: tuple[Tensor, Tensor], h: Tensor, slopes: bool) -> tuple[Tensor, Tensor | None]:
    """(cm v / h + pull) / (cm / h + leak): a mean of v, vleak and reversal potentials with weights that are not negative. And its Jacobian."""
    at = currents(map, v, fixed, slopes)
    c = map.cm[:, None] / h
    below = c + at.leak
    new = (c * v + at.pull) / below
    if at.slope_pull is None or at.slope_leak is None:
        return new, None
    return new, (torch.diag_embed(c.expand_as(v)) + at.slope_pull - at.slope_leak * new[..., None]) / below[..., None]


def field(map: LTCMap, v: Tensor, fixed: tuple[Tensor, Tensor], slopes: bool = False) -> tuple[Tensor, Tensor | None]:
    """dv/dt and its Jacobian."""
    at, cm = currents(map, v, fixed, slopes), map.cm[:, None]
    rate = (at.pull - at.leak * v) / cm
    if at.slope_pull is None or at.slope_leak is None:
        return rate, None
    return rate, (at.slope_pull - at.slope_leak * v[..., None] - torch.diag_embed(at.leak)) / cm[..., None]


def euler(map: LTCMap, v: Tensor, fixed: tuple[Tensor, Tensor], h: Tensor, slopes: bool) -> tuple[Tensor, Tensor | None]:
    rate, J = field(map, v, fixed, slopes)
    return v + h * rate, None if J is None else torch.eye(v.shape[-1], dtype=v.dtype, device=v.device) + h[..., None] * J


def rk4(map: LTCMap, v: Tensor, fixed: tuple[Tensor, Tensor], h: Tensor, slopes: bool) -> tuple[Tensor, Tensor | None]:
    one = torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)
    total, total_J, rate, along = torch.zeros_like(v), torch.zeros_like(one), torch.zeros_like(v), torch.zeros_like(one)
    for share, weight in ((0.0, 1.0), (0.5, 2.0), (0.5, 2.0), (1.0, 1.0)):
        rate, J = field(map, v + share * h * rate, fixed, slopes)
        total = total + weight / 6 * rate
        if J is not None:
            along = J @ (one + share * h[..., None] * along)
            total_J = total_J + weight / 6 * along
    return v + h * total, one + h[..., None] * total_J if slopes else None


UNFOLDS: dict[str, Unfold] = {"semi-implicit": semi_implicit, "euler": euler, "rk4": rk4}


def advance(map: LTCMap, z: Tensor, u: Tensor | None, dt: Tensor, slopes: bool) -> tuple[Tensor, Tensor | None]:
    """One step of elapsed time dt [F or 1, B or 1] from z [F, B, M] with inputs u [F, B, K], and its Jacobian [F, B, M, M]."""
    fixed, h, J = sensory(map, u), dt[..., None] / map.unfolds, None
    for _ in range(map.unfolds):
        z, one = UNFOLDS[map.solver](map, z, fixed, h, slopes)
        J = one if J is None or one is None else one @ J
    return z, J


def step(map: LTCMap, z: Tensor, u: Tensor | None = None, dt: Tensor | float | None = None) -> Tensor:
    """One step of every state: z [F, B, M], u [F, B, K] -> [F, B, M]. dt: elapsed time, a number or a tensor [F or 1, B or 1]; by default the map's."""
    return advance(map, z, u, elapsed(map, dt, tuple(z.shape[:2]), z), False)[0]


def jacobian(map: LTCMap, z: Tensor, u: Tensor | None = None, dt: Tensor | float | None = None) -> Tensor:
    """The step's derivative by z, [F, B, M, M], in closed form: the product over the unfolds. Cost O(F B unfolds M^3)."""
    J = advance(map, z, u, elapsed(map, dt, tuple(z.shape[:2]), z), True)[1]
    assert J is not None                                                        # for type checkers: slopes were asked for
    return J


def forced_sequence(
    map: LTCMap, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None = None, rows: Tensor | None = None, dt: Tensor | None = None
) -> Tensor:
    """T forced steps: ``z[t+1] = F(z[t] + weight[t] (target[t] - z[t]), u[t], dt[t])``.

    z0 [F, B, M], target [F, B, T, M], weight broadcastable to target, u [F, B, T, K] (u[t] and dt[t] act in the step from t to t+1), dt broadcastable to
    [F, B, T]. Returns the unforced predictions z[1..T] as [F, B, T, M]. An entry of weight zero is never read from ``target``.
    With ``rows`` [B, 2], first sample and length of each sequence in packed tensors [F, N, ...], the result is packed likewise.
    """
    dt = z0.new_full((1,) * (target.ndim - 1), map.dt) if dt is None else dt
    return forced_steps(
        lambda z, u, dt: advance(map, z, u, dt, False)[0], z0, target, weight, (u, dt.expand(target.shape[:-1])), rows
    )
