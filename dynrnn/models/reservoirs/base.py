"""What all reservoirs share: fixed random weights, a linear readout that is solved, and driving by data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dynrnn.errors import ArgumentError
from dynrnn.models.base import Model, is_blank
from dynrnn.models.reservoirs.drawing import given_weights
from dynrnn.streams import stream
from dynrnn_kernels.reservoir import Layer, Weights, at_once, run

NEAR = 0.1                                                                      # of the data's mean, in standard deviations: a free run's random start
Size = Any                                                                      # a number, or one per fit


class Reservoir(Model):
    """A model that predicts its next input by fixed random units: ``z = (x, h)``, of which the first ``observed_dim`` units are the prediction.

        h[t+1] = F(h[t], x[t], u[t+1]),      x[t+1] = W_out h[t+1] + b_out

    Warm-up is forcing weight 1 on x, closed loop is weight 0. Weights within F are drawn and stay; ``fit`` solves W_out, b_out. All in float64.
    L and h_start, the regression of h on x in the training data, give a state for a single sample, whose past is not known.
    """

    initialisations = ("reservoir",)
    pulled_to: ClassVar[dict[str, float]] = {}
    unit_rows: ClassVar[tuple[str, ...]] = ()
    sizes: ClassVar[dict[str, tuple[float, float, float]]] = {}                 # hyperparameters, one value per fit: default, least, most
    fixed_by: ClassVar[dict[str, tuple[str, ...]]] = {}                         # weights that may be given, and hyperparameters that these replace
    W_out: Tensor
    b_out: Tensor
    L: Tensor
    h_start: Tensor

    def _begin(
        self, observed_dim: int, n_units: int, given: dict[str, Size], weights: dict[str, Any], *, input_dim: int, n_fits: int, random_state: int | None,
        init: str | None, shape: tuple[int, ...] = (),
    ) -> None:
        """Called by families in place of ``__init__``, when all that is no tensor is set; ``given`` are the values of ``sizes``, ``weights`` fixed weights,
        None where the user gave none; ``shape`` is that of a hyperparameter of one fit."""
        super().__init__(observed_dim, observed_dim + n_units, input_dim=input_dim, init=init, n_fits=n_fits, random_state=random_state)
        weights = {name: value for name, value in weights.items() if value is not None}
        for which in weights:
            for name in self.fixed_by[which]:
                if given.get(name) is not None:
                    raise ArgumentError(
                        f"{which} and {name} were both given, but weights that are given stay as they are. Leave {name} out, or scale {which} yourself."
                    )
        for name, (default, low, high) in self.sizes.items():
            values = np.asarray(default if given.get(name) is None else given[name])
            values = values.astype(np.float64) if values.dtype.kind in "iuf" else np.array(np.nan)      # a text or a truth value is no number
            allowed = {(), (n_fits,)} if not shape else {(), shape, (n_fits, 1), (n_fits, *shape)}
            if values.shape not in allowed or not (np.isfinite(values).all() and (values >= low).all() and (values <= high).all()):
                several = f"one for each of {n_fits} fits" if not shape else f"one for each of {shape[0]} layers, or of shape (fit, layer) = {(n_fits, *shape)}"
                raise ArgumentError(f"{name} must be a number from {low:g} to {high:g}, or {several}, got {given.get(name, default)!r}.")
            self.register_buffer(name, torch.tensor(np.broadcast_to(values, (n_fits, *shape)).copy()))
        self._fill(weights)

    @property
    def n_units(self) -> int:
        """Units beside the predictions x."""
        return self.latent_dim - self.observed_dim

    @property
    def readout_units(self) -> slice:
        """Which of these units the readout takes."""
        return slice(0, self.n_units)

    @property
    def n_features(self) -> int:
        """What the readout weighs, beside its offset."""
        return self.readout_units.stop - self.readout_units.start

    @property
    def least_past(self) -> int:
        """Samples of a series before the first that has a state."""
        return 0

    def size(self, name: str, fit: int) -> float:
        """A hyperparameter of one fit, by its place in the ensemble."""
        return float(getattr(self, name)[fit])

    def _fill(self, given: dict[str, Any]) -> None:
        F, N = self.n_fits, self.observed_dim
        zeros = lambda *shape: torch.zeros(F, *shape, dtype=torch.float64)  # noqa: E731
        values = {name: zeros(*shape) for name, shape in self._fixed_shapes().items()}
        if not is_blank():                                                      # else a saved or selected model's own values follow
            for name, value in given.items():
                values[name] = torch.tensor(given_weights(name, value, self._fixed_shapes()[name], F))
            for f, number in enumerate(self.fit_number.tolist()):
                drawn = self._draw_fit(stream(self.random_state, "parameters", number), f, set(given))
                for name in drawn.keys() - given.keys():
                    values[name][f] = torch.as_tensor(drawn[name])
        for name, value in values.items():
            self.register_buffer(name, value)
        units = self.n_units
        for name, shape in {"W_out": (N, self.n_features), "b_out": (N,), "L": (units, N), "h_start": (units,)}.items():
            self.register_parameter(name, nn.Parameter(zeros(*shape), requires_grad=False))

    def _fixed_shapes(self) -> dict[str, tuple[int, ...]]:
        """Weights that are drawn and stay, by name, without the fit axis."""
        raise NotImplementedError

    def _draw_fit(self, rng: np.random.Generator, fit: int, given: set[str]) -> dict[str, np.ndarray]:
        """One fit's fixed weights, each from a stream of its own, so that what is given changes no other draw; those given need no draw."""
        raise NotImplementedError

    def layers(self, fit: int) -> tuple[Layer, ...]:
        """What drives the units of one fit, by its place in the ensemble, without the readout."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        return {k: v for k, v in super().config().items() if k not in ("latent_dim", "observation", "decoder_bias")}

    @property
    def parameters_per_fit(self) -> int:
        """Numbers that are solved."""
        return self.W_out[0].numel() + self.observed_dim

    def encode(self, x: Tensor) -> Tensor:
        x = torch.where(torch.isnan(x), torch.zeros_like(x), x)
        h = torch.einsum("f...n,fmn->f...m", x, self._parameter("L", x))
        return torch.cat([x, h + self._per_fit(self._parameter("h_start", x), h)], -1)

    def random_states(self, n: int, random_state: int) -> Tensor:
        """Those of standard normal observations: units drawn by themselves lead nearly all closed loops where no data lie."""
        return self.encode(self._normal(n, self.observed_dim, random_state)).detach()

    def random_start(self) -> Tensor:
        """That of an observation near the data's mean: from standard normal ones half of the loops of fits to noisy Lorenz-63 went elsewhere, from here one
        of 24."""
        return self.encode(NEAR * self._normal(1, self.observed_dim, self.random_state)).detach()

    def weights(self, fit: int) -> Weights:
        """One fit's arrays for ``dynrnn_kernels.reservoir``, by its place in the ensemble."""
        array = lambda x: x[fit].detach().numpy()  # noqa: E731
        W_out = np.zeros((self.observed_dim, self.n_units))
        W_out[:, self.readout_units] = array(self.W_out)
        return Weights(self.layers(fit), W_out, array(self.b_out))

    def free_runner(self) -> Callable[[Tensor, int, Tensor | None], Tensor]:
        """A function (z [F, B, M], n, u [F, B, n, K]) -> the states [F, B, n, M] of runs without data, one sequence at a time."""
        weights = [self.weights(f) for f in range(self.n_fits)]
        prepared = [w.prepared() for w in weights]

        def free_run(z: Tensor, n_steps: int, u: Tensor | None) -> Tensor:
            F, B, M = z.shape
            out = np.empty((F, B, n_steps, M))

            def one(f: int, k: int) -> None:
                inputs = None if u is None else u[f, k].numpy()
                run(weights[f], z[f, k].numpy(), n_steps, inputs=inputs, prepared=prepared[f], path=out[f, k], share=F * B == 1)

            at_once([partial(one, f, k) for f in range(F) for k in range(B)])
            return torch.from_numpy(out)

        return free_run

    def driven(self, x: np.ndarray, u: Tensor | None, fit: int) -> np.ndarray:
        """States [T, M] of one fit at the standardised samples x [T, N]; u [T - 1, K] from the second sample on. It starts from h = 0."""
        N = self.observed_dim
        out = np.zeros((len(x), self.latent_dim))
        out[0, :N] = np.nan_to_num(x[0])
        run(self.weights(fit), out[0], len(x) - 1, x[1:], None if u is None else u.numpy(), path=out[1:])
        seen = ~np.isnan(x[1:])
        out[1:, :N][seen] = x[1:][seen]
        return out
