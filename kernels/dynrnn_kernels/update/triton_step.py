"""From partial derivatives of the map's entries to the parameters' gradient, and the RAdam step that is taken or refused.

No atomics: a parameter's program looks up which entries of the map it is. Everything is added in float64 in a fixed order and rounded once.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from dynrnn_kernels import radam
from dynrnn_kernels.update import problem
from dynrnn_kernels.update.triton_book import ACTIVE, FIELDS, IN_ROW, PLACE, REASON, REFUSED, TAKEN, UPDATE, column_sums, is_finite, total_of

BETA1, BETA2, EPSILON = tl.constexpr(radam.BETA1), tl.constexpr(radam.BETA2), tl.constexpr(radam.EPSILON)
LOG1, LOG2 = tl.constexpr(math.log(radam.BETA1)), tl.constexpr(math.log(radam.BETA2))
RHO_INF = tl.constexpr(2 / (1 - radam.BETA2) - 1)
BAD_GRADIENT, BAD_STEP, AFFINE = tl.constexpr(problem.BAD_GRADIENT), tl.constexpr(problem.BAD_STEP), tl.constexpr(problem.AFFINE)


@triton.jit(do_not_specialize=["S", "P"])
def fill_kernel(theta, fill, constant, flat, S, P, BLOCK: tl.constexpr):
    """flat [F, S]: the map that the parameters fill; grid (blocks of entries, fits)."""
    f = tl.program_id(1).to(tl.int64)
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    which = tl.load(fill + j, mask=j < S, other=-1)
    value = tl.load(constant + j, mask=j < S, other=0.0)
    tl.store(flat + f * S + j, tl.where(which >= 0, tl.load(theta + f * P + which, mask=which >= 0, other=0.0), value), mask=j < S)


@triton.jit(do_not_specialize=["S", "P", "B", "splits", "slope_splits", "most", "loss_blocks", "start", "n_observation"])
def gradient_kernel(
    theta, trainable, decay, decay_to, first_entry, entries, partial, slopes, observation, penalty_gradient, z0, gz0, counts, grad, squares, pulls,
    S, P, B, splits, slope_splits, most, loss_blocks, start, n_observation,
    lay: tl.constexpr, N: tl.constexpr, OBSERVATION: tl.constexpr, CONDITIONED: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):
    """grad [F, P] with regularisers; squares and pulls [F, blocks] its squares and the decay's loss; grid (blocks of parameters, fits).

    Parameter p is the map's entries[first_entry[p]:first_entry[p + 1]], ``most`` at most. The decoder's ``n_observation`` parameters are
    those from ``start`` on.
    """
    f = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    on = p < P
    entry, last = tl.load(first_entry + p, mask=on, other=0), tl.load(first_entry + p + 1, mask=on, other=0)
    total = tl.full((BLOCK,), 0.0, tl.float64)
    for d in range(most):
        has = entry + d < last
        j = tl.load(entries + entry + d, mask=has, other=0)
        if lay.slope >= 0:
            is_slope = has & (j >= lay.slope) & (j < lay.slope + lay.n_bases)
            total += column_sums(slopes + f * slope_splits * lay.n_bases, slope_splits, lay.n_bases, j - lay.slope, is_slope, ROWS)
            has = has & ~is_slope
        total += column_sums(partial + f * splits * S, splits, S, j, has, ROWS)
    i = (p - start).to(tl.int64)
    has = on & (i >= 0) & (i < n_observation)
    if OBSERVATION == AFFINE:
        total += column_sums(observation + f * loss_blocks * n_observation, loss_blocks, n_observation, i, has, ROWS)
    elif lay.M > N:
        for b in range(B):
            row = (f * B + b) * lay.M
            left = tl.load(gz0 + row + N + i // N, mask=has, other=0.0)
            total += (left * tl.load(z0 + row + i % N, mask=has, other=0.0)).to(tl.float64)
    total /= tl.maximum(total_of(counts + f * loss_blocks, loss_blocks, 1024), 1.0)
    gap = (tl.load(theta + f * P + p, mask=on, other=0.0) - tl.load(decay_to + p, mask=on, other=0.0)).to(tl.float64)
    much = tl.load(decay + f * P + p, mask=on, other=0.0).to(tl.float64)
    total += 2 * much * gap
    if CONDITIONED:
        has = has & (i < N * lay.M)
        total += tl.load(penalty_gradient + f * N * lay.M + i, mask=has, other=0.0)
    value = total.to(theta.dtype.element_ty) * tl.load(trainable + p, mask=on, other=0.0)
    tl.store(grad + f * P + p, value, mask=on)
    block = f * tl.num_programs(0) + tl.program_id(0)
    tl.store(squares + block, tl.sum(value.to(tl.float64) * value.to(tl.float64), 0))
    tl.store(pulls + block, tl.sum(much * gap * gap, 0))


@triton.jit
def moved(theta, grad, first, second, at, on, shrink, size, rectified):
    """(parameters, moments) after the step, at offsets ``at``."""
    g = tl.load(grad + at, mask=on, other=0.0) * shrink
    m = BETA1 * tl.load(first + at, mask=on, other=0.0) + (1 - BETA1) * g
    v = BETA2 * tl.load(second + at, mask=on, other=0.0) + (1 - BETA2) * g * g
    move = tl.where(rectified, size * m / (tl.sqrt(v) + EPSILON), size * m)
    return tl.load(theta + at, mask=on, other=0.0) - move, m, v


@triton.jit(do_not_specialize=["P", "blocks", "loss_blocks", "max_refused"])
def step_kernel(
    book, theta, first, second, grad, squares, pulls, penalty, losses, counts, clip, rate, loss_out, norm_out, P, blocks, loss_blocks, max_refused,
    CONDITIONED: tl.constexpr, BLOCK: tl.constexpr,
):
    """One fit's step, or its refusal: nothing is written unless the loss, the gradient's norm and all that would be written are finite.

    rate, loss_out and norm_out [n, F] hold the block's updates. A fit of ``max_refused`` refusals in a row is stopped and not touched again;
    only its update's number goes on. Grid (fits,).
    """
    f = tl.program_id(0).to(tl.int64)
    kind: tl.constexpr = theta.dtype.element_ty
    mine = book + f * FIELDS
    place, update = tl.load(mine + PLACE), tl.load(mine + UPDATE)               # all reads of a row before its writes, with sums between
    taken, refused, in_row = tl.load(mine + TAKEN), tl.load(mine + REFUSED) + 1, tl.load(mine + IN_ROW) + 1
    if tl.load(mine + ACTIVE) != 0:
        loss = total_of(losses + f * loss_blocks, loss_blocks, 1024) / tl.maximum(total_of(counts + f * loss_blocks, loss_blocks, 1024), 1.0)
        loss += total_of(pulls + f * blocks, blocks, 1024)
        if CONDITIONED:
            loss += tl.load(penalty + f)
        norm = tl.sqrt(total_of(squares + f * blocks, blocks, 1024))
        at = place * tl.num_programs(0) + f
        tl.store(loss_out + at, loss)
        tl.store(norm_out + at, norm)
        most = tl.load(clip + f).to(tl.float64)
        shrink = tl.where(norm > most, most / norm, 1.0).to(kind)
        t = (taken + 1).to(tl.float64)
        bias1, power2 = 1 - tl.exp(t * LOG1), tl.exp(t * LOG2)
        rho = RHO_INF - 2 * t * power2 / (1 - power2)
        rectified = rho > 5
        scale = tl.load(rate + at) / bias1
        spread = (rho - 4) * (rho - 2) * RHO_INF / ((RHO_INF - 4) * (RHO_INF - 2) * rho)
        size = tl.where(rectified, scale * tl.sqrt(tl.where(rectified, spread, 1.0)) * tl.sqrt(1 - power2), scale).to(kind)
        i = tl.arange(0, BLOCK)
        good = is_finite(norm) & is_finite(loss)
        fine = tl.full((BLOCK,), 1, tl.int32)
        for start in range(0, P, BLOCK):
            p, m, v = moved(theta, grad, first, second, f * P + start + i, start + i < P, shrink, size, rectified)
            fine = tl.where(is_finite(p) & is_finite(m) & is_finite(v), fine, 0)
        if good & (tl.min(fine, 0) > 0):
            for start in range(0, P, BLOCK):
                at_p, on = f * P + start + i, start + i < P
                p, m, v = moved(theta, grad, first, second, at_p, on, shrink, size, rectified)
                tl.store(theta + at_p, p, mask=on)
                tl.store(first + at_p, m, mask=on)
                tl.store(second + at_p, v, mask=on)
            tl.store(mine + TAKEN, taken + 1)
            tl.store(mine + IN_ROW, taken * 0)
        else:
            tl.store(mine + REASON, tl.where(good, BAD_STEP, BAD_GRADIENT))
            tl.store(mine + REFUSED, refused)
            tl.store(mine + IN_ROW, in_row)
            if in_row >= max_refused:
                tl.store(mine + ACTIVE, taken * 0)
    tl.store(mine + PLACE, place + 1)
    tl.store(mine + UPDATE, update + 1)
