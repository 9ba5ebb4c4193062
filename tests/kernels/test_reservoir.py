"""One sequence of layers against the same in numpy, and shared by threads against one thread alone."""

from __future__ import annotations

import numpy as np
import pytest

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.reservoir import Layer, Weights, run

N, K = 2, 3


def layer(g, n, reads, density, **options):
    """A layer whose units follow those of ``reads[1]`` numbers of the state, of which it reads from ``reads[0]`` on."""
    W = 0.3 * g.standard_normal((n, reads[1] + n - reads[0])) * (g.random((n, reads[1] + n - reads[0])) < density)
    return Layer(W, g.uniform(0, 1, n), g.uniform(0, 1, n), g.standard_normal(n), reads=reads[0], **options)


def three_layers(g, density):
    """A linear memory on a ring that reads x; units with a random branch that read x, the memory and themselves; units that read those."""
    n = (5, 7, 4)
    layers = (
        layer(g, n[0], (0, N), density, linear=True, source=np.roll(np.arange(5), 1)),
        layer(g, n[1], (0, N + 5), density, mixing=g.standard_normal((7, 7)) / 4, D=g.standard_normal((7, K))),
        layer(g, n[2], (N + 5, N + 12), density),
    )
    return Weights(layers, 0.1 * g.standard_normal((N, sum(n))), g.standard_normal(N))


def in_numpy(weights, state, n_steps, data, inputs):
    state, path = state.copy(), []
    for t in range(n_steps):
        first = N
        for one in weights.layers:
            n = len(one.b)
            own = state[first : first + n]
            v = one.W @ state[one.reads : first + n] + one.b + (0 if one.D is None else one.D @ inputs[t])
            kept = one.mixing @ own if one.mixing is not None else own[one.source] if one.source is not None else own
            state[first : first + n] = one.keep * kept + one.gain * (v if one.linear else np.tanh(v))
            first += n
        state[:N] = weights.W_out @ state[N:] + weights.b_out
        path.append(state.copy())
        if t < len(data):
            state[:N] = np.where(np.isnan(data[t]), state[:N], data[t])
    return np.array(path), state


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_layers_are_what_they_are_in_numpy(density):
    g = np.random.default_rng(1)
    weights = three_layers(g, density)
    state, data, inputs = g.standard_normal(N + 16), g.standard_normal((20, N)), g.standard_normal((30, K))
    data[3, 0] = data[7] = np.nan
    path, last = run(weights, state, 30, data, inputs)
    want, end = in_numpy(weights, state, 30, data, inputs)
    np.testing.assert_allclose(path, want, atol=1e-12)
    np.testing.assert_allclose(last, end, atol=1e-12)
    middle = run(weights, run(weights, state, 11, data[:11], inputs[:11])[1], 19, data[11:], inputs[11:])[0]
    np.testing.assert_array_equal(middle, path[11:])


def test_threads_change_no_bit():
    """Large enough to be shared, in two layers, with an odd number of units."""
    g = np.random.default_rng(2)
    layers = (layer(g, 601, (0, N), 0.1), layer(g, 401, (N, N + 601), 0.1, source=np.roll(np.arange(401), 1)))
    weights = Weights(layers, g.standard_normal((N, 1_002)) / 30, np.zeros(N))
    assert weights.prepared().shared
    state, data = g.standard_normal(N + 1_002), g.standard_normal((20, N))
    for one, other in zip(run(weights, state, 60, data), run(weights, state, 60, data, share=False), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_is_refused():
    g = np.random.default_rng(0)
    weights = three_layers(g, 1.0)
    with pytest.raises(KernelError, match=r"a state of shape \(18,\)"):
        run(weights, np.zeros(17), 5, None, np.zeros((5, K)))
    with pytest.raises(KernelError, match=r"inputs of shape \(5, 3\)"):
        run(weights, np.zeros(18), 5)
    with pytest.raises(KernelError, match="reads from 1 on has W of shape"):
        Weights((layer(g, 5, (0, N), 1.0), layer(g, 3, (0, N + 5), 1.0, mixing=np.eye(3)), Layer(np.zeros((2, 3)), *3 * [np.zeros(2)], reads=1)),
                np.zeros((N, 10)), np.zeros(N)).prepared()
