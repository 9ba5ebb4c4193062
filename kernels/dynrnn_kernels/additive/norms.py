"""Spectral norms of the Jacobian at many states, whatever computes them: what adaptive forcing asks for.

``cpu`` forms J and is exact to rounding (cpu_norms.py); ``reference`` is torch's singular values; ``triton`` is power iteration without J,
from below (triton.spectral_norms has the bound). All take the map as its flat vector, since a check during training costs less than
filling an AdditiveMap's tensors and packing them again would.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dynrnn_kernels.additive import cpu_norms, library
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS, AdditiveMap
from dynrnn_kernels.additive.reference import activation_slope, jacobian, preactivation
from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.errors import KernelError


def map_of(flat: Tensor, lay: Layout) -> AdditiveMap:
    """The map that lies in flat [F, size]: ``layout.pack`` backwards."""
    M, H, K, n = lay.M, lay.H, lay.K, lay.n_bases
    shapes = dict(a=(M,), W1=(M, H), h1=(M,), A=(M, M), W2=(H, M), h2=(H,), C=(M, K), D=(H, K), slope=(n,), threshold=(H, n))
    tensors = {}
    for name, shape in shapes.items():
        first = getattr(lay, name)
        if first >= 0:
            tensors[name] = flat[:, first : first + int(np.prod(shape))].reshape(flat.shape[0], *shape)
    return AdditiveMap(phi=PHI_KINDS[lay.phi], w2=W2_KINDS[lay.w2], **tensors)


def spectral_norms(flat: Tensor, lay: Layout, states: Tensor, u: Tensor | None = None, *, backend: str | None = None) -> Tensor:
    """||J||_2 of each fit's Jacobian at its states.

    flat [F, size] as ``lay`` says; states [F, R, M]; u [F, R, K], needed where the map has a D. backend: see ``choose_backend``.
    Returns [F, R]. Where J is not finite: NaN. Relative error a few M eps on the CPU, whatever the singular values; a J below the smallest
    normal number counts as zero. Cost there O(M^2 n + M^3) a state, with n <= H the units whose slope differs from the state before (phi with
    kinks alone, states that follow each other in time), else n = H; memory O(M^2 + M H) a thread.
    """
    backend = choose_backend(states.device, backend)
    states, u = _checked(flat, lay, states, u, 3)
    if backend == "triton":
        return library.device_kernels().spectral_norms(flat.contiguous(), lay, states, u)
    if backend == "reference":
        return _norm(jacobian(map_of(flat, lay), states, u))
    out = states.new_empty(states.shape[:2])
    none = np.empty((states.shape[0], 0, lay.H), out.numpy().dtype)
    cpu_norms.norms(flat.detach().contiguous().numpy(), _plain(lay), states.numpy(), u.numpy(), none, out.numpy())
    return out


def mean_norms(flat: Tensor, lay: Layout, states: Tensor, u: Tensor | None = None, *, backend: str | None = None) -> Tensor:
    """||mean over time of J||_2: states [F, B, T, M], u [F, B, T, K] -> [F, B].

    J is linear in phi', so the mean of phi' [H] of each sequence gives the mean of J exactly: one norm a sequence. On a device in torch.
    """
    backend = choose_backend(states.device, backend)
    states, u = _checked(flat, lay, states, u, 4)
    F, B, T, M = states.shape
    if backend != "cpu":
        map = map_of(flat, lay)
        slope = activation_slope(map, preactivation(map, states.reshape(F, B * T, M), u.reshape(F, B * T, lay.K))).reshape(F, B, T, lay.H).mean(2)
        return _norm(map.dense_A()[:, None] + torch.einsum("fmh,fbh,fhn->fbmn", map.dense_W1(), slope, map.dense_W2()))
    out = states.new_empty(F, B)
    slope = np.empty((F, B, lay.H), out.numpy().dtype)
    flats = flat.detach().contiguous().numpy()
    cpu_norms.mean_slopes(flats, _plain(lay), states.numpy(), u.numpy(), slope)
    cpu_norms.norms(flats, _plain(lay), np.empty((F, 0, M), slope.dtype), np.empty((F, 0, lay.K), slope.dtype), slope, out.numpy())
    return out


def _norm(J: Tensor) -> Tensor:
    """torch refuses matrices that are not finite; here their norm is NaN."""
    finite = torch.isfinite(J).all(-1).all(-1)
    norms = torch.linalg.matrix_norm(torch.where(finite[..., None, None], J, torch.zeros_like(J)), ord=2)
    return torch.where(finite, norms, torch.full_like(norms, float("nan")))


def _plain(lay: Layout) -> Layout:
    """Without a pattern, which no norm reads, and which would be compiled for anew."""
    return lay._replace(pattern=None)


def _checked(flat: Tensor, lay: Layout, states: Tensor, u: Tensor | None, ndim: int) -> tuple[Tensor, Tensor]:
    """States and inputs, contiguous; KernelError for what does not fit."""
    if flat.ndim != 2 or flat.shape[1] != lay.size:
        raise KernelError(f"flat must have shape (fit, {lay.size}), got {tuple(flat.shape)}")
    if states.ndim != ndim or states.shape[0] != flat.shape[0] or states.shape[-1] != lay.M:
        raise KernelError(f"states must have {ndim} axes, {flat.shape[0]} fits first and {lay.M} latent units last, got shape {tuple(states.shape)}")
    if u is None:
        if lay.D >= 0:
            raise KernelError(f"the map's inputs enter phi, so its Jacobian depends on u, which is missing; give {(*states.shape[:-1], lay.K)}")
        u = states.new_zeros(*states.shape[:-1], lay.K)
    if u.shape != (*states.shape[:-1], lay.K):
        raise KernelError(f"u must have shape {(*states.shape[:-1], lay.K)}, got {tuple(u.shape)}")
    for name, x in (("flat", flat), ("u", u)):
        if x.dtype != states.dtype or x.device != states.device:
            raise KernelError(f"{name} is {x.dtype} on {x.device}, states are {states.dtype} on {states.device}; convert one of them")
    return states.detach().contiguous(), u.detach().contiguous()
