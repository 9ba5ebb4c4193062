"""The gradient of one chunk of batch rows: a pass forward over its windows and one back, block by block."""

from __future__ import annotations

from numba import njit

from dynrnn_kernels.additive.cpu_cells import force
from dynrnn_kernels.additive.cpu_steps import block_backward, block_forward, finish_chunk, scratch_size, start_chunk, steps_per_block
from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.update.cpu_loss import affine_loss, identity_loss
from dynrnn_kernels.update.cpu_windows import affine_targets, first_state, gather, gather_inputs, identity_targets
from dynrnn_kernels.update.problem import AFFINE


@njit(cache=True, nogil=True)
def chunk_numbers(lay, N, T, R, keep_targets):
    """Numbers of scratch that ``chunk_gradient`` wants. It is kept from update to update: fresh pages cost as much as a quarter of a small update."""
    block = steps_per_block(lay.H)
    states = (T + 1) * lay.M * R + (2 * T * lay.M * R if keep_targets else 0)
    return states + ((2 * N + lay.M) * (block + 1) + (4 * lay.M + lay.K) * block) * ROWS + scratch_size(lay)


@njit(cache=True, nogil=True)
def keep(block, store, first):
    """store[first + t, :, :R] = block[t], and below the reverse: rows that only fill the chunk up are not stored."""
    n, M, R = block.shape[0], store.shape[1], store.shape[2]
    for t in range(n):
        for m in range(M):
            for r in range(R):
                store[first + t, m, r] = block[t, m, r]


@njit(cache=True, nogil=True)
def recall(store, first, block):
    n, M, R = block.shape[0], store.shape[1], store.shape[2]
    for t in range(n):
        for m in range(M):
            for r in range(ROWS):
                block[t, m, r] = store[first + t, m, r if r < R else 0]


@njit(cache=True, nogil=True)
def chunk_gradient(lay, problem, f, theta, flat, inverse, windows, noise, alpha, first, R, T, work, partial):
    """Add this chunk's unscaled gradient to partial = [map S | observation]; return its sum of squared errors and their count.

    Of the whole window only the states are held; what the data say is prepared again, block by block, on the way back. Pseudo-inverses for
    missing channels would cost more than that: their targets are held, too.
    """
    N, M, S = problem.data.shape[2], lay.M, lay.size
    affine = problem.observation == AFFINE
    keep_targets = affine and problem.has_missing
    block = steps_per_block(lay.H)
    states = work[: (T + 1) * M * R].reshape((T + 1, M, R))
    end = states.size
    n_kept = T if keep_targets else 0
    kept = work[end : end + 2 * n_kept * M * R].reshape((2, n_kept, M, R))
    end += kept.size
    sequences = work[end : end + 2 * (block + 1) * N * ROWS].reshape((2, block + 1, N, ROWS))
    end += sequences.size
    z = work[end : end + (block + 1) * M * ROWS].reshape((block + 1, M, ROWS))
    end += z.size
    latent = work[end : end + 4 * block * M * ROWS].reshape((4, block, M, ROWS))
    end += latent.size
    u = work[end : end + block * lay.K * ROWS].reshape((block, lay.K, ROWS))
    scratch = start_chunk(flat, lay, work[end + u.size :])
    nothing, no_input = latent[0, :0], u[:0]
    for begin in range(0, T, block):
        n = min(block, T - begin)
        x, seen, target, weight = sequences[0, : n + 1], sequences[1, : n + 1], latent[2, :n], latent[3, :n]
        gather(problem, f, windows, noise, first, begin, x, seen)
        gather_inputs(problem, windows, first, begin, u[:n])
        if begin == 0:
            first_state(problem, f, theta, inverse, x[0], seen[0], z[0])
            keep(z[:1], states, 0)
        if affine:
            affine_targets(problem, f, theta, inverse, alpha, begin, x, seen, target, weight)
        else:
            identity_targets(problem, f, alpha, begin, x, seen, target, weight)
        if keep_targets:
            keep(target, kept[0], begin)
            keep(weight, kept[1], begin)
        block_forward(lay, scratch, z[: n + 1], latent[0, :n], target, weight, u[:n])
        keep(z[1 : n + 1], states, begin + 1)
        z[0] = z[n]
    loss, count = 0.0, 0
    for begin in range((T - 1) // block * block, -1, -block):
        n = min(block, T - begin)
        x, seen, target, weight = sequences[0, : n + 1], sequences[1, : n + 1], latent[2, :n], latent[3, :n]
        zt, gz = latent[0, :n], latent[1, :n]
        count += gather(problem, f, windows, noise, first, begin, x, seen)
        gather_inputs(problem, windows, first, begin, u[:n])
        recall(states, begin, z[: n + 1])
        if keep_targets:
            recall(kept[0], begin, target)
            recall(kept[1], begin, weight)
        elif affine:
            affine_targets(problem, f, theta, inverse, alpha, begin, x, seen, target, weight)
        else:
            identity_targets(problem, f, alpha, begin, x, seen, target, weight)
        force(z[:n].reshape(n * M * ROWS), weight.reshape(n * M * ROWS), target.reshape(n * M * ROWS), zt.reshape(n * M * ROWS))
        if affine:
            loss += affine_loss(problem, theta, x[1:], seen[1:], z[1 : n + 1], R, gz, partial[S:])
        else:
            loss += identity_loss(x[1:], seen[1:], z[1 : n + 1], R, gz)
        block_backward(lay, scratch, zt, weight, gz, u[:n], nothing, no_input, partial[:S])
    finish_chunk(lay, scratch, partial[:S])
    if not affine:
        for m in range(M - N):
            for n in range(N):
                for r in range(R):
                    partial[S + m * N + n] += scratch.lam[N + m, r] * states[0, n, r]
    return loss, count
