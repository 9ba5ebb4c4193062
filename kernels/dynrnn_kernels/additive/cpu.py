"""The additive recurrence on a CPU: Numba, with products in registers (tile.py) inside the loop over time and threads over (fit, batch rows) outside it.

A chunk is ROWS batch rows of one fit; its arrays are [steps, units, ROWS], so that every step is one contiguous block and loops over rows
have a length that the compiler knows. A chunk that a batch does not fill repeats its first row, without a gradient. How a batch is cut
depends on its size alone, and gradients of chunks are added in their order: results do not depend on the number of threads or of
fits. Beside the results a thread holds a block of steps, whose length does not grow with the sequences.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import force
from dynrnn_kernels.additive.cpu_steps import block_backward, block_forward, finish_chunk, scratch_size, start_chunk, steps_per_block
from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.threads import in_threads


@njit(cache=True, nogil=True)
def rows_of(item, rows):
    """Of chunk ``item`` over all fits: fit, first sequence, sequences, steps of the longest."""
    per_fit = (rows.shape[0] + ROWS - 1) // ROWS
    first = item % per_fit * ROWS
    count = min(ROWS, rows.shape[0] - first)
    steps = 0
    for r in range(first, first + count):
        steps = max(steps, rows[r, 1])
    return item // per_fit, first, count, steps


@njit(cache=True, nogil=True)
def take(source, rows, first, count, begin, past, into):
    """into[t, m, r] = sample begin + t of sequence first + r, ``past`` after its end; a chunk that is not full repeats its first sequence.

    A source of length 1 along time or units has the same value everywhere there.
    """
    value = into.dtype.type(past)
    last, last_unit = source.shape[0] - 1, source.shape[1] - 1
    for r in range(ROWS):
        row = first + r if r < count else first
        start, left = rows[row, 0] + begin, rows[row, 1] - begin
        for t in range(into.shape[0]):
            for m in range(into.shape[1]):
                into[t, m, r] = source[min(start + t, last), min(m, last_unit)] if t < left else value


@njit(cache=True, nogil=True)
def give(source, rows, first, count, begin, into):
    """The reverse of ``take``: what lies past a sequence's end is dropped."""
    for r in range(count):
        start, left = rows[first + r, 0] + begin, rows[first + r, 1] - begin
        for t in range(min(left, source.shape[0])):
            for m in range(source.shape[1]):
                into[start + t, m] = source[t, m, r]


@njit(cache=True, nogil=True)
def take_forcing(target, weight, rows, first, count, begin, targets, weights):
    """Targets and weights of a chunk. A target of weight zero may be anything, NaN included: it becomes 0. A state past the end of its
    sequence is held at 0 (weight 1, target 0), so that it stays finite."""
    take(target, rows, first, count, begin, 0, targets)
    take(weight, rows, first, count, begin, 1, weights)
    zero = weights.dtype.type(0)
    w, x = weights.reshape(weights.size), targets.reshape(targets.size)
    for i in range(w.size):
        if w[i] == zero:
            x[i] = zero


@njit(cache=True, nogil=True, inline="always")
def forward_chunk(item, flat, lay, z0, target, weight, u, rows, out):
    f, first, count, T = rows_of(item, rows)
    M, kind, block = out.shape[2], out.dtype, steps_per_block(lay.H)
    z, zt = np.empty((block + 1, M, ROWS), kind), np.empty((block, M, ROWS), kind)
    targets, weights, inputs = np.empty((block, M, ROWS), kind), np.empty((block, M, ROWS), kind), np.empty((block, lay.K, ROWS), kind)
    scratch = start_chunk(flat[f], lay, np.empty(scratch_size(lay), kind))
    for r in range(ROWS):
        for m in range(M):
            z[0, m, r] = z0[f, first + r if r < count else first, m]
    for begin in range(0, T, block):
        n = min(block, T - begin)
        take_forcing(target[f], weight[f], rows, first, count, begin, targets[:n], weights[:n])
        take(u[f], rows, first, count, begin, 0, inputs[:n])
        block_forward(lay, scratch, z[: n + 1], zt[:n], targets[:n], weights[:n], inputs[:n])
        give(z[1 : n + 1], rows, first, count, begin, out[f])
        z[0] = z[n]


@njit(cache=True, nogil=True)
def states_before(z0, out, rows, first, count, begin, z):
    """z[t] = the state that step begin + t starts from, out of stored predictions; 0 past a sequence's end."""
    zero = z.dtype.type(0)
    for r in range(ROWS):
        row = first + r if r < count else first
        start, length = rows[row, 0], rows[row, 1]
        for t in range(z.shape[0]):
            at = begin + t
            for m in range(z.shape[1]):
                z[t, m, r] = z0[row, m] if at == 0 else (out[start + at - 1, m] if at <= length else zero)


@njit(cache=True, nogil=True, inline="always")
def backward_chunk(item, flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partial):
    f, first, count, T = rows_of(item, rows)
    M, kind, block = out.shape[2], out.dtype, steps_per_block(lay.H)
    zt, gz, gforced = np.empty((block, M, ROWS), kind), np.empty((block, M, ROWS), kind), np.empty((block, M, ROWS), kind)
    targets, weights = np.empty((block, M, ROWS), kind), np.empty((block, M, ROWS), kind)
    inputs, ginputs = np.empty((block, lay.K, ROWS), kind), np.empty((block, lay.K, ROWS), kind)
    scratch = start_chunk(flat[f], lay, np.empty(scratch_size(lay), kind))
    for begin in range((T - 1) // block * block, -1, -block):
        n = min(block, T - begin)
        x, w, g, forced = targets[:n], weights[:n], gz[:n], gforced[:n]
        take_forcing(target[f], weight[f], rows, first, count, begin, x, w)
        take(u[f], rows, first, count, begin, 0, inputs[:n])
        take(gout[f], rows, first, count, begin, 0, g)
        g[:, :, count:] = 0
        states_before(z0[f], out[f], rows, first, count, begin, zt[:n])
        force(zt[:n].reshape(n * M * ROWS), w.reshape(n * M * ROWS), x.reshape(n * M * ROWS), zt[:n].reshape(n * M * ROWS))
        block_backward(lay, scratch, zt[:n], w, g, inputs[:n], forced, ginputs[:n], partial)
        if gtarget.shape[1] > 0:
            zero = w.dtype.type(0)
            for t in range(n):
                for m in range(M):
                    for r in range(ROWS):
                        forced[t, m, r] = forced[t, m, r] * w[t, m, r] if w[t, m, r] != zero else zero     # lam may be inf where nothing forces
            give(forced, rows, first, count, begin, gtarget[f])
        give(ginputs[:n], rows, first, count, begin, gu[f])
    finish_chunk(lay, scratch, partial)
    for r in range(count):
        for m in range(M):
            gz0[f, first + r, m] = scratch.lam[m, r]


@njit(cache=True, nogil=True)
def forward_of_thread(thread, n_threads, flat, lay, z0, target, weight, u, rows, out):
    for item in range(thread, out.shape[0] * ((rows.shape[0] + ROWS - 1) // ROWS), n_threads):
        forward_chunk(item, flat, lay, z0, target, weight, u, rows, out)


@njit(cache=True, nogil=True)
def backward_of_thread(thread, n_threads, flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partials):
    for item in range(thread, partials.shape[0], n_threads):
        backward_chunk(item, flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partials[item])


def forward(flat, lay, z0, target, weight, u, rows, out):
    """All fits and sequences, packed: flat [F, size], z0 [F, B, M], target and out [F, N, M], weight [F, 1 or N, 1 or M], u [F, N, K]; rows [B, 2] are
    first sample and length."""
    in_threads(forward_of_thread, len(flat) * -(-rows.shape[0] // ROWS), flat, lay, z0, target, weight, u, rows, out)


def backward(flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, grad):
    """Reverse of ``forward``: fills gz0 [F, B, M], gtarget [F, N, M] unless it is empty, gu [F, N, K] and grad [F, size]; chunks are added in their order."""
    per_fit = -(-rows.shape[0] // ROWS)
    partials = np.zeros((len(flat) * per_fit, lay.size), out.dtype)
    in_threads(backward_of_thread, len(partials), flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partials)
    for c in range(per_fit):
        grad += partials[c::per_fit]
