"""What all reservoirs share: fixed random weights, a linear readout that is solved, and driving by data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import is_blank
from dynrnn.models.reservoirs.drawing import RESCALINGS, draw_weights, given_weights, rescaled
from dynrnn.models.reservoirs.sparsity import sparse_where_it_pays
from dynrnn.streams import stream
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.reservoir import Layer, Weights, at_once, run

Size = Any                                                                      # a number, or one per fit


class Reservoir(AdditiveModel):
    """A reservoir that predicts its next input: ``z = (x, h)``, of which the first ``observed_dim`` units are the prediction.

        h[t+1] = keep O h[t] + gain tanh(W h[t] + W_in x[t] + D u[t+1] + b),      x[t+1] = W_out h[t+1] + b_out

    Warm-up is forcing weight 1 on x, closed loop is weight 0. W, W_in, b, D are drawn and stay; ``fit`` solves W_out, b_out. All in float64.
    L and h_start, the regression of h on x in the training data, give a state for a single sample, whose past is not known.
    """

    initialisations = ("reservoir",)
    pulled_to: ClassVar[dict[str, float]] = {}
    unit_rows: ClassVar[tuple[str, ...]] = ()
    sizes: ClassVar[dict[str, tuple[float, float, float]]] = {}                 # hyperparameters, one value per fit: default, least, most
    fixed_by: ClassVar[dict[str, tuple[str, ...]]] = {"W": ("spectral_radius", "density"), "W_in": ("input_scaling",)}   # weights that may be given
    branch_kind = "identity"
    W: Tensor
    orthogonal: Tensor
    W_in: Tensor
    b: Tensor
    D: Tensor
    W_out: Tensor
    b_out: Tensor
    L: Tensor
    h_start: Tensor

    def _build(
        self, observed_dim: int, reservoir_dim: int, given: dict[str, Size], *, input_dim: int, topology: str, rescaling: str,
        weights: dict[str, Any], n_fits: int, random_state: int | None, init: str | None, branch: str = "identity", memory_dim: int = 0,
    ) -> None:
        """Called by families in place of ``__init__``; ``given`` are the values of ``sizes``, ``weights`` fixed weights, None where the user gave none."""
        latent_dim = check_int("observed_dim", observed_dim, low=1) + check_int("reservoir_dim", reservoir_dim, low=1) + memory_dim
        super().__init__(observed_dim, latent_dim, input_dim=input_dim, init=init, n_fits=n_fits, random_state=random_state)
        self.reservoir_dim = int(reservoir_dim)
        self.topology, self.rescaling, self.branch_kind = topology, rescaling, branch
        weights = {name: value for name, value in weights.items() if value is not None}
        for which in weights:
            for name in self.fixed_by[which]:
                if given.get(name) is not None:
                    raise ArgumentError(
                        f"{which} and {name} were both given, but weights that are given stay as they are. Leave {name} out, or scale {which} yourself."
                    )
        if "W" in weights:
            self.topology = "given"
        if rescaling not in RESCALINGS:
            raise unknown_name("rescaling", rescaling, RESCALINGS)
        for name, (default, low, high) in self.sizes.items():
            values = np.asarray(default if given.get(name) is None else given[name], dtype=np.float64)
            if values.shape not in ((), (n_fits,)) or not (np.isfinite(values).all() and (values >= low).all() and (values <= high).all()):
                raise ArgumentError(f"{name} must be a number from {low:g} to {high:g}, or one for each of {n_fits} fits, got {given.get(name, default)!r}.")
            self.register_buffer(name, torch.tensor(np.broadcast_to(values, (n_fits,)).copy()))
        self._fill(weights)

    @property
    def n_units(self) -> int:
        """Units beside the predictions x."""
        return self.latent_dim - self.observed_dim

    @property
    def readout_units(self) -> slice:
        """Which of these units the readout takes."""
        return slice(0, self.n_units)

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
                drawn = self._draw_fit(stream(self.random_state, "parameters", number), f, draw_W="W" not in given)
                for name in drawn.keys() - given.keys():
                    values[name][f] = torch.as_tensor(drawn[name])
        for name, value in values.items():
            self.register_buffer(name, value)
        units, read = self.n_units, self.readout_units.stop - self.readout_units.start
        for name, shape in {"W_out": (N, read), "b_out": (N,), "L": (units, N), "h_start": (units,)}.items():
            self.register_parameter(name, nn.Parameter(zeros(*shape), requires_grad=False))

    def _fixed_shapes(self) -> dict[str, tuple[int, ...]]:
        """Weights that are drawn and stay, by name, without the fit axis."""
        n = self.reservoir_dim
        return {"W": (n, n), "W_in": (n, self.observed_dim), "b": (n,), "D": (n, self.input_dim)} | (
            {"orthogonal": (n, n)} if self.branch_kind == "random" else {}
        )

    def _draw_fit(self, rng: np.random.Generator, fit: int, draw_W: bool) -> dict[str, np.ndarray]:
        """One fit's fixed weights. Each comes from a stream of its own, so that what is given does not change what is drawn."""
        N, K, n = self.observed_dim, self.input_dim, self.reservoir_dim
        of_W, of_in, of_b, of_u, of_branch = rng.spawn(5)
        out = {
            "W_in": self.size("input_scaling", fit) * of_in.uniform(-1, 1, (n, N)), "b": self.size("bias_scaling", fit) * of_b.uniform(-1, 1, n),
            "D": self.size("input_scaling", fit) * of_u.uniform(-1, 1, (n, K)),
        }
        if draw_W:
            out["W"] = self._draw_W(of_W, fit)
        return out | self._draw_branch(of_branch)

    def _draw_W(self, rng: np.random.Generator, fit: int) -> np.ndarray:
        drawn = draw_weights(rng, self.reservoir_dim, self.topology, self.size("density", fit))
        return rescaled(drawn, self.size("spectral_radius", fit), self.rescaling)

    def _draw_branch(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The matrix of the branch, where it has one of its own: ``{"orthogonal": ...}``."""
        return {}

    def _recurrent(self) -> Tensor:
        """W as it acts, [F, n, n]."""
        return self.W

    def keep_and_gain(self) -> tuple[Tensor, Tensor]:
        """What is kept of O h, and what the new part counts, [F]."""
        raise NotImplementedError

    def branch(self) -> str | Tensor:
        """O: ``identity``, ``cycle``, or a matrix [F, n, n]."""
        return self.orthogonal if self.branch_kind == "random" else self.branch_kind

    def _own_config(self) -> dict[str, Any]:
        return {"reservoir_dim": self.reservoir_dim, "topology": self.topology, "rescaling": self.rescaling}

    def config(self) -> dict[str, Any]:
        return {k: v for k, v in super().config().items() if k not in ("latent_dim", "observation", "decoder_bias")}

    @property
    def parameters_per_fit(self) -> int:
        """Numbers that are solved."""
        return self.W_out[0].numel() + self.observed_dim

    def branch_matrix(self) -> Tensor:
        """keep O written out, [F, n, n]."""
        n, keep, branch = self.reservoir_dim, self.keep_and_gain()[0], self.branch()
        if isinstance(branch, str):
            eye = torch.eye(n, dtype=torch.float64)
            branch = (eye if branch == "identity" else eye.roll(1, 0)).expand(self.n_fits, n, n)
        return keep[:, None, None] * branch

    def additive_map(self) -> AdditiveMap:
        """The closed loop on (x, h); matrices mostly of zeros are structures."""
        N, n, F = self.observed_dim, self.reservoir_dim, self.n_fits
        kept, gain = self.branch_matrix(), self.keep_and_gain()[1]
        A = torch.zeros(F, N + n, N + n, dtype=torch.float64)
        A[:, N:, N:], A[:, :N, N:] = kept, self.W_out @ kept
        W1 = gain[:, None, None] * torch.cat([self.W_out, torch.eye(n, dtype=torch.float64).expand(F, n, n)], 1)
        a = A.diagonal(dim1=1, dim2=2).clone()
        A.diagonal(dim1=1, dim2=2).zero_()
        h1 = torch.cat([self.b_out, torch.zeros(F, n, dtype=torch.float64)], 1)
        return AdditiveMap(
            a=a, A=sparse_where_it_pays(A) if A.any() else None, W1=sparse_where_it_pays(W1), h1=h1,
            W2=sparse_where_it_pays(torch.cat([self.W_in, self._recurrent()], 2)), h2=self.b, D=self.D if self.input_dim else None, phi="tanh",
        )

    def encode(self, x: Tensor) -> Tensor:
        x = torch.where(torch.isnan(x), torch.zeros_like(x), x)
        h = torch.einsum("f...n,fmn->f...m", x, self._parameter("L", x))
        return torch.cat([x, h + self._per_fit(self._parameter("h_start", x), h)], -1)

    def weights(self, fit: int) -> Weights:
        """One fit's arrays for ``dynrnn_kernels.reservoir``, by its place in the ensemble."""
        array = lambda x: x[fit].detach().numpy()  # noqa: E731
        W_out = np.zeros((self.observed_dim, self.n_units))
        W_out[:, self.readout_units] = array(self.W_out)
        return Weights(self.layers(fit), W_out, array(self.b_out))

    def layers(self, fit: int) -> tuple[Layer, ...]:
        """What drives the units, without the readout."""
        n, (keep, gain), branch = self.reservoir_dim, self.keep_and_gain(), self.branch()
        array = lambda x: x[fit].detach().numpy()  # noqa: E731
        whole = np.concatenate([array(self.W_in), array(self._recurrent())], 1)
        return (
            Layer(
                whole, np.full(n, float(keep[fit])), np.full(n, float(gain[fit])), array(self.b), D=array(self.D) if self.input_dim else None,
                source=np.roll(np.arange(n), 1) if self.branch_kind == "cycle" else None, mixing=array(branch) if isinstance(branch, Tensor) else None,
            ),
        )

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
