"""How much of its past input a reservoir holds: linear memory capacity."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.reservoirs import NextGenerationReservoir, Reservoir
from dynrnn.models.reservoirs.ridge import SumsOfProducts, TriangularFactor, exact_enough
from dynrnn.models.unwrap import model_of
from dynrnn.streams import check_random_state, stream
from dynrnn_kernels.reservoir import run


def memory_capacity(
    model: Any, max_delay: int | None = None, n_steps: int = 6_000, *, ridge: float = 1e-7, amplitude: float = 0.8, random_state: int | None = 0
) -> xr.Dataset:
    """Squared correlation of a linear readout of the state with the input ``delay`` steps ago, on data that it was not solved on.

    Parameters
    ----------
    model : a reservoir of one channel, solved or not: its recurrence alone counts. Its scalings are used as they are.
    max_delay : K, twice the units that are read by default. n_steps : independent inputs, uniform within ``amplitude``; the first K are dropped, and the last
        fifth tests.
    ridge : penalty of the readouts, on the sum of squares; it limits the capacity of nearly linear reservoirs.

    Returns
    -------
    ``memory`` (fit, delay) for delay = 1..K, in [0, 1], and ``capacity`` (fit), its sum: at most the number of units (Jaeger 2001, GMD report 152), plus what
    chance gives, K over the number of tests: ``chance``.

    Cost O(fit (n_steps (values of W + n^2 + n K) + n^3)).

    >>> import dynrnn as dr
    >>> ring = dr.ESN(1, 20, topology="ring", spectral_radius=0.9, input_scaling=1e-3, random_state=0)
    >>> bool(10 < dr.analysis.memory_capacity(ring, n_steps=2_000, ridge=1e-15).capacity[0] < 21)
    True
    """
    model = model_of(model)
    if not isinstance(model, Reservoir) or isinstance(model, NextGenerationReservoir) or model.observed_dim != 1 or model.input_dim:
        raise ArgumentError("memory capacity is that of a reservoir driven by one channel: build it with observed_dim=1 and input_dim=0.")
    n, read = model.n_units, model.readout_units
    held = read.stop - read.start
    K = 2 * held if max_delay is None else check_int("max_delay", max_delay, low=1)
    check_int("n_steps", n_steps, low=K + 10)
    if not (np.isfinite(ridge) and ridge >= 0 and np.isfinite(amplitude) and amplitude > 0):
        raise ArgumentError(f"ridge must be at least 0 and amplitude above 0, got {ridge!r} and {amplitude!r}.")
    first_test = K + (n_steps - K) * 4 // 5
    memory = np.empty((model.n_fits, K))
    for f, number in enumerate(model.fit_number.tolist()):
        u = stream(check_random_state(random_state), "inputs", number).uniform(-amplitude, amplitude, n_steps)
        h = run(model.weights(f), np.concatenate([u[:1], np.zeros(n)]), n_steps, u[1:, None])[0][:, 1:][:, read]     # row t is the state after u[t]
        past = np.lib.stride_tricks.sliding_window_view(u, K + 1)[:, K - 1 :: -1][: n_steps - K]        # row t - K: u[t - 1], ..., u[t - K]
        train, test = slice(K, first_test), slice(first_test, None)
        enough = exact_enough(np.array([ridge]), float((h[train] ** 2).sum(1).mean()), first_test - K)
        sums = (SumsOfProducts if enough else TriangularFactor)(held, K)
        sums.add(h[train], past[: first_test - K])
        solution = sums.solve(np.array([ridge]))
        got, want = h[test] @ solution.W[0] + solution.b[0], past[first_test - K :]
        got, want = got - got.mean(0), want - want.mean(0)
        square = (got**2).sum(0) * (want**2).sum(0)
        memory[f] = np.divide((got * want).sum(0) ** 2, square, out=np.zeros(K), where=square > 0)
    coords = {"fit": model.fit_number.numpy().copy(), "delay": np.arange(1, K + 1)}
    return xr.Dataset(
        {
            "memory": (("fit", "delay"), memory, {"long_name": "squared correlation with the input so many steps ago", "units": "1"}),
            "capacity": ("fit", memory.sum(1), {"long_name": "linear memory capacity", "units": "1"}),
        },
        coords=coords, attrs={"chance": K / (n_steps - first_test), "ridge": ridge, "n_steps": n_steps},
    )
