"""The liquid time-constant recurrence on a CPU: Numba, one sequence after the other with the targets of synapses in vector registers, and threads over
(fit, batch rows) outside the loop over time.

A chunk is CHUNK batch rows of one fit, whose gradients are added up together; chunks are added in their order. How a batch is cut depends on its size alone:
results do not depend on the number of threads or of fits. Only predictions are kept over time: the reverse pass computes the unfolds of a step again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from dynrnn_kernels.ltc.cpu_cells import LN2, gather, scatter
from dynrnn_kernels.threads import in_threads

CHUNK = 4


class Parts(NamedTuple):
    """One fit's vector, or its gradient, by parts: units [3, P], synapses [M, 4, P], sensory [K, 4, P]."""

    units: np.ndarray
    synapses: np.ndarray
    sensory: np.ndarray


class Work(NamedTuple):
    """What a step needs: nothing here grows with the length of a sequence."""

    v: np.ndarray            # [unfolds + 1, P] states of a step
    below: np.ndarray        # [unfolds, P] denominators
    s: np.ndarray            # [unfolds, M or 1, P] sigmoids, kept for the reverse pass
    s_in: np.ndarray         # [K or 1, P]
    fixed: np.ndarray        # [2, P] pull and leak that do not change within a step
    c: np.ndarray            # [P] cm unfolds / dt
    by: np.ndarray           # [4, P] dL/dpull and dL/dleak of an unfold, and of all unfolds of a step
    g: np.ndarray            # [2, P] adjoints of the new and the old state
    gx: np.ndarray           # [K]
    keeps: bool              # whether sigmoids are kept


@njit(cache=True, nogil=True)
def parts_of(flat, lay):
    units, synapses = 3 * lay.P, 4 * lay.M * lay.P
    return Parts(
        flat[:units].reshape((3, lay.P)), flat[units : units + synapses].reshape((lay.M, 4, lay.P)), flat[units + synapses :].reshape((lay.K, 4, lay.P))
    )


@njit(cache=True, nogil=True)
def work_for(lay, like, keep):
    kind, P, n = like.dtype, lay.P, lay.unfolds
    s, s_in = np.empty((n if keep else 1, lay.M if keep else 1, P), kind), np.empty((lay.K if keep else 1, P), kind)
    return Work(
        np.zeros((n + 1, P), kind), np.empty((n, P), kind), s, s_in, np.empty((2, P), kind), np.empty(P, kind), np.empty((4, P), kind), np.empty((2, P), kind),
        np.empty(lay.K, kind), keep,
    )


@njit(cache=True, nogil=True)
def force(z, target, weight, forced):
    """forced = z + weight (target - z) for as many units as z has; a target of weight zero is not read. weight may be of length 1."""
    last = weight.size - 1
    for m in range(z.size):
        w = weight[min(m, last)]
        forced[m] = z[m] + w * (target[m] - z[m]) if w != 0 else z[m]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def step(parts, lay, work, u, dt):
    """From the forced state in v[0] to v[unfolds]."""
    fixed, c, units, one = work.fixed, work.c, parts.units, u.dtype.type(1)
    share, keeps = u.dtype.type(lay.unfolds) / dt, work.keeps
    for i in range(lay.P):
        c[i] = units[0, i] * share
        fixed[0, i], fixed[1, i] = units[2, i], units[1, i]
    gather(u, parts.sensory, work.s_in, fixed[0], fixed[1], lay.K, lay.P, lay.P if keeps else 0)
    for k in range(lay.unfolds):
        v, new, below = work.v[k], work.v[k + 1], work.below[k]
        for i in range(lay.P):
            new[i], below[i] = fixed[0, i] + c[i] * v[i], fixed[1, i] + c[i]
        gather(v, parts.synapses, work.s[k if keeps else 0], new, below, lay.M, lay.P, lay.P if keeps else 0)
        for i in range(lay.P):
            below[i] = one / below[i]
            new[i] *= below[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def step_back(parts, lay, work, u, dt, grad):
    """Reverse of ``step``, whose work is at hand: from g[0], the adjoint of v[unfolds], to g[0], that of v[0]; gx becomes that of u. Adds to grad."""
    by, g, c = work.by, work.g, work.c
    by[2:] = 0
    share = u.dtype.type(lay.unfolds) / dt
    for k in range(lay.unfolds - 1, -1, -1):
        v, new, below = work.v[k], work.v[k + 1], work.below[k]
        for i in range(lay.P):
            p = g[0, i] * below[i]
            q = -p * new[i]
            by[0, i], by[1, i] = p, q
            by[2, i] += p
            by[3, i] += q
            grad.units[0, i] += (p * v[i] + q) * share
            g[1, i] = p * c[i]
        scatter(v, parts.synapses, work.s[k], by[0], by[1], grad.synapses, g[1], lay.M, lay.P)
        g[0] = g[1]
    for i in range(lay.P):
        grad.units[1, i] += by[3, i]
        grad.units[2, i] += by[2, i]
    work.gx[:] = 0
    scatter(u, parts.sensory, work.s_in, by[2], by[3], grad.sensory, work.gx, lay.K, lay.P)


@njit(cache=True, nogil=True)
def forward_chunk(item, flat, lay, z0, target, weight, u, dt, rows, out):
    per_fit = (rows.shape[0] + CHUNK - 1) // CHUNK
    f, M = item // per_fit, lay.M
    parts, work = parts_of(flat[f], lay), work_for(lay, flat, False)
    for b in range(item % per_fit * CHUNK, min(item % per_fit * CHUNK + CHUNK, rows.shape[0])):
        z = z0[f, b]
        for n in range(rows[b, 0], rows[b, 0] + rows[b, 1]):
            force(z, target[f, n], weight[f, min(n, weight.shape[1] - 1)], work.v[0])
            step(parts, lay, work, u[f, n], dt[f, min(n, dt.shape[1] - 1)])
            out[f, n] = work.v[lay.unfolds, :M]
            z = out[f, n]


@njit(cache=True, nogil=True)
def backward_chunk(item, flat, lay, z0, target, weight, u, dt, rows, out, gout, gz0, gtarget, gu, partial):
    per_fit = (rows.shape[0] + CHUNK - 1) // CHUNK
    f, M, zero = item // per_fit, lay.M, out.dtype.type(0)
    parts, grad, work = parts_of(flat[f], lay), parts_of(partial, lay), work_for(lay, flat, True)
    lam = np.empty(M, out.dtype)
    for b in range(item % per_fit * CHUNK, min(item % per_fit * CHUNK + CHUNK, rows.shape[0])):
        first, lam[:] = rows[b, 0], 0
        for n in range(first + rows[b, 1] - 1, first - 1, -1):
            z = out[f, n - 1] if n > first else z0[f, b]
            w, time = weight[f, min(n, weight.shape[1] - 1)], dt[f, min(n, dt.shape[1] - 1)]
            force(z, target[f, n], w, work.v[0])
            step(parts, lay, work, u[f, n], time)
            work.g[0] = 0
            for m in range(M):
                work.g[0, m] = gout[f, n, m] + lam[m]
            step_back(parts, lay, work, u[f, n], time, grad)
            gu[f, n] = work.gx
            for m in range(M):
                forced = w[min(m, w.size - 1)]
                if gtarget.shape[1] > 0:
                    gtarget[f, n, m] = work.g[0, m] * forced if forced != zero else zero       # the adjoint may be inf where nothing forces
                lam[m] = work.g[0, m] - work.g[0, m] * forced if forced != 1 else zero
        gz0[f, b] = lam
    grad.synapses[:, :2] *= out.dtype.type(-LN2)
    grad.sensory[:, :2] *= out.dtype.type(-LN2)


@njit(cache=True, nogil=True)
def forward_of_thread(thread, n_threads, flat, lay, z0, target, weight, u, dt, rows, out):
    for item in range(thread, out.shape[0] * ((rows.shape[0] + CHUNK - 1) // CHUNK), n_threads):
        forward_chunk(item, flat, lay, z0, target, weight, u, dt, rows, out)


@njit(cache=True, nogil=True)
def backward_of_thread(thread, n_threads, flat, lay, z0, target, weight, u, dt, rows, out, gout, gz0, gtarget, gu, partials):
    for item in range(thread, partials.shape[0], n_threads):
        backward_chunk(item, flat, lay, z0, target, weight, u, dt, rows, out, gout, gz0, gtarget, gu, partials[item])


def forward(flat, lay, z0, target, weight, u, dt, rows, out):
    """All fits and sequences, packed: flat [F, size], z0 [F, B, M], target and out [F, N, M], weight [F, 1 or N, 1 or M], u [F, N, K], dt [F, 1 or N];
    rows [B, 2] are first sample and length."""
    in_threads(forward_of_thread, len(flat) * -(-rows.shape[0] // CHUNK), flat, lay, z0, target, weight, u, dt, rows, out)


def backward(flat, lay, z0, target, weight, u, dt, rows, out, gout, gz0, gtarget, gu, grad):
    """Reverse of ``forward``: fills gz0 [F, B, M], gtarget [F, N, M] unless it is empty, gu [F, N, K] and grad [F, size]; chunks are added in their order."""
    per_fit = -(-rows.shape[0] // CHUNK)
    partials = np.zeros((len(flat) * per_fit, flat.shape[1]), out.dtype)
    in_threads(backward_of_thread, len(partials), flat, lay, z0, target, weight, u, dt, rows, out, gout, gz0, gtarget, gu, partials)
    for c in range(per_fit):
        grad += partials[c::per_fit]
