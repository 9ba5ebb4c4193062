"""Next-generation reservoirs: polynomials of the last samples, solved like a readout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.reservoirs.base import Reservoir
from dynrnn_kernels.polynomial import PolynomialMap, features, monomials, run
from dynrnn_kernels.reservoir import at_once

MOST_FEATURES = 20_000


class NextGenerationReservoir(Reservoir):
    """Nonlinear vector autoregression, also called next-generation reservoir (Gauthier, Bollt, Griffith and Barbosa 2021, Nature Communications 12, 5564).

        x[t+1] = x[t] + b_out + W_out p(x[t], x[t - s], ..., x[t - (k - 1) s], u[t+1])

    p are all different products of ``order`` of these numbers, for each order. The state is the line of the last (k - 1) s + 1 samples, the newest first;
    nothing is drawn. Solved by ``dr.fit(model, recording, ridge=2.5e-8)``; b_out is not penalised.

    Parameters
    ----------
    observed_dim : channels N. n_delays : k. stride : s, samples between them. orders : of the monomials, (1, 2).
    increment : whether the sum is added to the last sample, as published, or is the next one.

    A series has a state from its sample (k - 1) s on: none is learned from, forecast from or returned before, and a line never reaches from one trial into
    another or over a missing sample. With d = N k and orders (1, 2) there are 1 + d + d (d + 1) / 2 features, the constant with them. Polynomials have no
    bound: a free run that leaves the data diverges at once, which ``generate`` reports. A step is O(P (order + N)).

    The published penalty, 2.5e-6 in the data's own units (``standardise=False``), goes with the published data, of RK23 at tolerances of 1e-3: their error is
    the noise that keeps weights small where an orbit has no extent. Along an exact orbit x[t - s] is a function of x[t]; that penalty then leaves weights
    that make small differences grow e^11 to e^100 fold per unit of time, and nearly every free run diverges. Standardise such data, with a ridge of 2.5e-8:
    ``studies/reservoirs.py --only next-generation`` has all of these. 400 samples that change lobes twice or thrice determine the map less well.

    ArgumentError for more than 20,000 features.

    >>> import dynrnn as dr
    >>> model = NextGenerationReservoir(observed_dim=3, n_delays=2)
    >>> model.feature_count, model.least_past
    (28, 1)
    >>> run = dr.fit(model, dr.load_dataset("lorenz63", n_steps=400, dt=0.025, random_state=0), ridge=2.5e-8, progress=False)
    >>> bool(run.history.loss[0, 0] < 1e-6)
    True
    """

    family = "next-generation-reservoir"

    def __init__(
        self, observed_dim: int, n_delays: int = 2, *, orders: Sequence[int] = (1, 2), stride: int = 1, increment: bool = True, input_dim: int = 0,
        n_fits: int = 1, random_state: int | None = None, init: str | None = None,
    ):
        N, K = check_int("observed_dim", observed_dim, low=1), check_int("input_dim", input_dim, low=0)
        self.n_delays, self.stride = check_int("n_delays", n_delays, low=1), check_int("stride", stride, low=1)
        self.orders, self.increment = tuple(orders), bool(increment)
        if not self.orders or any(check_int("orders", order, low=1, high=9) and self.orders.count(order) > 1 for order in self.orders):
            raise ArgumentError(f"orders must be different whole numbers from 1 to 9, such as (1, 2), got {orders!r}.")
        M, d = N * (self.least_past + 1), N * self.n_delays + K
        count = sum(math.comb(d + order - 1, order) for order in self.orders)
        if count > MOST_FEATURES:
            raise ArgumentError(
                f"{d} numbers have {count:,} monomials of orders {self.orders}, more than {MOST_FEATURES:,}: "
                "take fewer n_delays, lower orders or fewer channels."
            )
        taps = [lag * self.stride * N + c for lag in range(self.n_delays) for c in range(N)]
        self.table = monomials([*taps, *range(M, M + K)], self.orders, M + K)
        self._begin(observed_dim, M - N, {}, {}, input_dim=input_dim, n_fits=n_fits, random_state=random_state, init=init)

    def _own_config(self) -> dict[str, Any]:
        return {"n_delays": self.n_delays, "stride": self.stride, "orders": list(self.orders), "increment": self.increment}

    def _fixed_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def _draw_fit(self, rng: np.random.Generator, fit: int, given: set[str]) -> dict[str, np.ndarray]:
        return {}

    @property
    def least_past(self) -> int:
        return (self.n_delays - 1) * self.stride

    @property
    def n_features(self) -> int:
        return len(self.table)

    @property
    def feature_count(self) -> int:
        """Features with the constant."""
        return 1 + self.n_features

    def map(self) -> PolynomialMap:
        """The closed loop on the line of samples."""
        return PolynomialMap(self.W_out, self.b_out, self.table, self.latent_dim, self.input_dim, self.increment)

    def lines(self, x: np.ndarray, first: int, end: int) -> np.ndarray:
        """The last samples of x [T, N] at first <= t < end, the newest first: [end - first, M]."""
        return np.concatenate([x[first - lag : end - lag] for lag in range(self.least_past + 1)], 1)

    def rows(self, x: np.ndarray, u: np.ndarray | None, first: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lines, features and what these are to give, of the steps from samples first <= t < end."""
        lines = self.lines(x, first, end)
        drive = None if u is None else torch.tensor(u[first + 1 : end + 1])[None]
        with torch.no_grad():
            X = features(self.map(), torch.tensor(lines)[None], drive)[0].numpy()
        return lines, X, x[first + 1 : end + 1] - (x[first:end] if self.increment else 0)

    def free_runner(self) -> Callable[[Tensor, int, Tensor | None], Tensor]:
        map = self.map()

        def free_run(z: Tensor, n_steps: int, u: Tensor | None) -> Tensor:
            F, B, M = z.shape
            out = np.empty((F, B, n_steps, M))

            def one(f: int, k: int) -> None:
                run(map, f, z[f, k].numpy(), n_steps, inputs=None if u is None else u[f, k].numpy(), path=out[f, k])

            at_once([partial(one, f, k) for f in range(F) for k in range(B)])
            return torch.from_numpy(out)

        return free_run

    def driven(self, x: np.ndarray, u: Tensor | None, fit: int) -> np.ndarray:
        """As of any reservoir; samples before the series are NaN. A missing one is the prediction, or the channel's mean where the line is not full yet."""
        N, past, x = self.observed_dim, self.least_past, x.copy()
        x[: past + 1] = np.nan_to_num(x[: past + 1])
        out = np.zeros((len(x), self.latent_dim))
        out[0, :N] = x[0]
        run(self.map(), fit, out[0], len(x) - 1, x[1:], None if u is None else u.numpy(), path=out[1:])
        seen = ~np.isnan(x[1:])
        out[1:, :N][seen] = x[1:][seen]
        for t in range(min(past, len(x))):
            out[t, N * (t + 1) :] = np.nan
        return out
