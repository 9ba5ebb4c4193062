"""The additive recurrence in plain torch: the ground truth that every kernel is compared with."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.additive.structure import Scalar, apply
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.stepwise import forced_steps


def preactivation(map: AdditiveMap, z: Tensor, u: Tensor | None) -> Tensor:
    """``W2 z + D u + h2``: z [F, B, M], u [F, B, K] -> [F, B, H]."""
    M, H = map.latent_dim, map.hidden_dim
    if map.W2 is not None:
        v = apply(map.W2, z)
    elif map.w2 == "centring":
        v = z - z.mean(-1, keepdim=True)
    else:
        v = z[..., M - H :]
    if map.D is not None and u is not None:
        v = v + torch.einsum("fbk,fhk->fbh", u, map.D)
    if map.h2 is not None:
        v = v + map.h2[:, None]
    return v


def given(tensor: Tensor | None) -> Tensor:
    """A tensor that the map's own checks say is there, for its phi; for type checkers."""
    if tensor is None:
        raise KernelError("the map lacks a tensor of its phi")
    return tensor


def activation(map: AdditiveMap, v: Tensor) -> Tensor:
    """phi(v), [F, B, H]."""
    if map.phi == "relu":
        return torch.relu(v)
    if map.phi == "clipped":
        return torch.relu(v) - torch.relu(v - given(map.h2)[:, None])
    if map.phi == "tanh":
        return torch.tanh(v)
    if map.phi == "identity":
        return v
    terms = torch.relu(v[..., None] - given(map.threshold)[:, None])          # [F, B, H, n_bases]
    if map.phi == "clipped_basis":
        terms = terms - torch.relu(v)[..., None]
    return torch.einsum("fbhn,fn->fbh", terms, given(map.slope))


def activation_slope(map: AdditiveMap, v: Tensor) -> Tensor:
    """phi'(v), [F, B, H], with the slope at a kink that of its left side, as autograd has it for relu."""
    if map.phi == "relu":
        return (v > 0).to(v.dtype)
    if map.phi == "clipped":
        return (v > 0).to(v.dtype) - (v - given(map.h2)[:, None] > 0).to(v.dtype)
    if map.phi == "tanh":
        return 1 - torch.tanh(v) ** 2
    if map.phi == "identity":
        return torch.ones_like(v)
    masks = (v[..., None] > given(map.threshold)[:, None]).to(v.dtype)
    if map.phi == "clipped_basis":
        masks = masks - (v > 0).to(v.dtype)[..., None]
    return torch.einsum("fbhn,fn->fbh", masks, given(map.slope))


def step(map: AdditiveMap, z: Tensor, u: Tensor | None = None) -> Tensor:
    """One step of every state: z [F, B, M], u [F, B, K] -> [F, B, M]."""
    phi = activation(map, preactivation(map, z, u))
    out = apply(map.W1, phi)
    if map.a is not None:
        out = (map.a.apply(z) if isinstance(map.a, Scalar) else map.a[:, None] * z) + out
    out = out + map.h1[:, None]
    if map.A is not None:
        out = out + apply(map.A, z)
    if map.C is not None and u is not None:
        out = out + torch.einsum("fbk,fmk->fbm", u, map.C)
    return out


def jacobian(map: AdditiveMap, z: Tensor, u: Tensor | None = None) -> Tensor:
    """``A + W1 diag(phi'(v)) W2`` at every state, in closed form: z [F, B, M] -> [F, B, M, M]. Cost O(F B H M^2)."""
    slope = activation_slope(map, preactivation(map, z, u))
    return map.dense_A()[:, None] + torch.einsum("fmh,fbh,fhn->fbmn", map.dense_W1(), slope, map.dense_W2())


def forced_sequence(map: AdditiveMap, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
    """T forced steps: ``z[t+1] = F(z[t] + weight[t] (target[t] - z[t]), u[t])``.

    z0 [F, B, M], target [F, B, T, M], weight broadcastable to target, u [F, B, T, K] (u[t] acts in the step from t to t+1).
    Returns the unforced predictions z[1..T] as [F, B, T, M]. An entry of weight zero is never read from ``target``.
    With ``rows`` [B, 2], first sample and length of each sequence in packed tensors [F, N, ...], the result is packed likewise.
    """
    return forced_steps(partial(step, map), z0, target, weight, (u,), rows)
