"""The base of all models: fit axis, observation model, scaling, one step, Jacobian."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.models.initialisation import glorot_uniform, kaiming_normal
from dynrnn.streams import check_random_state, stream
from dynrnn_kernels.recurrences import Map, jacobian, step

OBSERVATIONS = ("identity", "affine")
_BLANK: ContextVar[bool] = ContextVar("blank", default=False)


@contextmanager
def blank() -> Iterator[None]:
    """Models that are built within get their values from elsewhere, and need not draw any: drawing a large reservoir takes seconds."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)


def is_blank() -> bool:
    return _BLANK.get()


class Model(nn.Module):
    """A map of latent states that parameters fill, and how states are read out; families are final subclasses, most of ``AdditiveModel``.

    A family states its parameters (``draw``), how they fill its map (``map``), and what its regularisers pull where (``pulled_to``). Every
    parameter has the fit axis first.

    Observation models
        ``identity``: x = z[:N]; the other units start from ``L x`` (L is learned), so latent_dim >= observed_dim.
        ``affine``: x = B z (+ b); states are inferred by pinv(B), outside the gradient.
    """

    family: ClassVar[str]
    initialisations: ClassVar[tuple[str, ...]]
    pulled_to: ClassVar[dict[str, float]]       # parameters that the latent regulariser pulls, and where to
    unit_rows: ClassVar[tuple[str, ...]]        # parameters whose first axis is the latent unit, for the manifold-attractor regulariser
    takes_elapsed: ClassVar[bool] = False       # whether each step may take a time of its own

    def __init__(
        self, observed_dim: int, latent_dim: int, *, input_dim: int = 0, observation: str = "identity", decoder_bias: bool = False,
        init: str | None = None, n_fits: int = 1, random_state: int | None = None, **unknown: Any,
    ):
        super().__init__()
        if unknown:
            own = {**inspect.signature(type(self).__init__).parameters, **inspect.signature(Model.__init__).parameters}
            known = [name for name, parameter in own.items() if name != "self" and parameter.kind is not parameter.VAR_KEYWORD]
            raise unknown_name(f"argument of {type(self).__name__}", next(iter(unknown)), known)
        self.observed_dim = check_int("observed_dim", observed_dim, low=1)
        self.latent_dim = check_int("latent_dim", latent_dim, low=1)
        self.input_dim = check_int("input_dim", input_dim, low=0)
        self.random_state = check_random_state(random_state)
        if observation not in OBSERVATIONS:
            raise unknown_name("observation", observation, OBSERVATIONS)
        if observation == "identity" and latent_dim < observed_dim:
            raise ArgumentError(
                f"latent_dim must be at least observed_dim = {observed_dim} with observation='identity', got {latent_dim}: "
                "the first units are the observed channels. Raise latent_dim, or use observation='affine'."
            )
        if decoder_bias and observation != "affine":
            raise ArgumentError("decoder_bias needs observation='affine'; with 'identity' the channels are the first units themselves.")
        self.observation, self.decoder_bias = observation, bool(decoder_bias)
        self.init = self.initialisations[0] if init is None else init
        if self.init not in self.initialisations:
            raise unknown_name(f"init of {self.family}", init, self.initialisations)
        check_int("n_fits", n_fits, low=1)
        N = self.observed_dim
        self.data_mean: Tensor
        self.data_scale: Tensor
        self.fit_number: Tensor
        self.register_buffer("data_mean", torch.zeros(n_fits, N, dtype=torch.float64))
        self.register_buffer("data_scale", torch.ones(n_fits, N, dtype=torch.float64))
        self.register_buffer("fit_number", torch.arange(n_fits))
        self.recording_info: dict[str, Any] = {}                                # dim, names, dt and units of what it was trained on

    def _fill_parameters(self) -> None:
        """Draw every parameter, fit by fit, each from its own stream. Families call this last in ``__init__``."""
        draws = [self._draw_all(stream(self.random_state, "parameters", int(k))) for k in self.fit_number]
        for name in draws[0]:
            self.register_parameter(name, nn.Parameter(torch.tensor(np.stack([d[name] for d in draws]), dtype=torch.float32)))

    def _draw_all(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M, N, K = self.latent_dim, self.observed_dim, self.input_dim
        values = self.draw(rng)
        if K:
            values["C"] = glorot_uniform(rng, M, K)
        if self.observation == "affine":
            values["B"] = kaiming_normal(rng, N, M)
            if self.decoder_bias:
                values["b"] = np.zeros(N)
        elif M > N:
            values["L"] = glorot_uniform(rng, M - N, N)
        return values

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial values of one fit's parameters of the recurrence, by name."""
        raise NotImplementedError

    def map(self) -> Map:
        """The map of a recurrence of ``dynrnn_kernels`` that the parameters fill at this moment; differentiable."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, enough to build a model of the same shape."""
        own = dict(
            observed_dim=self.observed_dim, latent_dim=self.latent_dim, input_dim=self.input_dim, observation=self.observation,
            decoder_bias=self.decoder_bias, init=self.init, n_fits=self.n_fits, random_state=self.random_state,
        )
        return own | self._own_config()

    def _own_config(self) -> dict[str, Any]:
        return {}

    def frozen_entries(self) -> dict[str, np.ndarray]:
        """Masks, by parameter name, of entries that are not trained (True = stays as it is); without the fit axis."""
        return {}

    def adapt_to_data(self, low: np.ndarray, high: np.ndarray) -> None:
        """Set what a published initialisation takes from the data's range [N] (in the units of training); called once before the first update."""

    @property
    def n_fits(self) -> int:
        return self.fit_number.shape[0]

    @property
    def parameters_per_fit(self) -> int:
        """Trained numbers of one fit."""
        return sum(p[0].numel() for p in self.parameters()) - sum(int(mask.sum()) for mask in self.frozen_entries().values())

    def step(self, z: Float[Tensor, "fit B M"], u: Float[Tensor, "fit B K"] | None = None) -> Float[Tensor, "fit B M"]:
        """One step of the latent map for a batch of states of every fit."""
        return step(self.map().to(z.dtype), z, u)

    def jacobian(self, z: Float[Tensor, "fit B M"], u: Float[Tensor, "fit B K"] | None = None) -> Float[Tensor, "fit B M M"]:
        """``dF/dz`` at every state, in closed form; at a kink the slope of the left side. Additive models: O(fit B H M^2)."""
        return jacobian(self.map().to(z.dtype), z, u)

    def own_times(self, elapsed: np.ndarray) -> np.ndarray:
        """Elapsed times in the recording's unit as the model counts time, of families that take them."""
        raise ArgumentError(f"a {self.family} model steps evenly and takes no elapsed times; dr.LTC does.")

    def readout(self, z: Float[Tensor, "fit *B M"]) -> Float[Tensor, "fit *B N"]:
        """Observation of latent states, in the recording's units."""
        if self.observation == "identity":
            x = z[..., : self.observed_dim]
        else:
            x = torch.einsum("f...m,fnm->f...n", z, self._parameter("B", z))
            if self.decoder_bias:
                x = x + self._per_fit(self._parameter("b", z), x)
        return x * self._per_fit(self.data_scale, x) + self._per_fit(self.data_mean, x)

    def initial_state(self, x: Float[Tensor, "fit *B N"]) -> Float[Tensor, "fit *B M"]:
        """Latent state for observations in the recording's units: [x; L x] or pinv(B) (x - b). Missing entries (NaN) enter as the channel's mean."""
        return self.encode((x - self._per_fit(self.data_mean, x)) / self._per_fit(self.data_scale, x))

    def random_states(self, n: int, random_state: int) -> Float[Tensor, "fit B M"]:
        """``n`` states of each fit to start from where nobody says which: standard normal, in the units of training; float64."""
        return self._normal(n, self.latent_dim, random_state)

    def random_start(self) -> Float[Tensor, "fit 1 M"]:
        """One state of each fit, from which a free run should find the attractor of the data."""
        return self.random_states(1, self.random_state)

    def _normal(self, n: int, size: int, random_state: int) -> Tensor:
        return torch.tensor(np.stack([stream(random_state, "initial state", int(k)).standard_normal((n, size)) for k in self.fit_number]))

    def encode(self, x: Float[Tensor, "fit *B N"]) -> Float[Tensor, "fit *B M"]:
        """The same for standardised observations."""
        x = torch.where(torch.isnan(x), torch.zeros_like(x), x)
        if self.observation == "affine":
            if self.decoder_bias:
                x = x - self._per_fit(self._parameter("b", x), x)
            return torch.einsum("f...n,fmn->f...m", x, torch.linalg.pinv(self._parameter("B", x)))
        if self.latent_dim == self.observed_dim:
            return x
        return torch.cat([x, torch.einsum("f...n,fmn->f...m", x, self._parameter("L", x))], -1)

    def _parameter(self, name: str, like: Tensor) -> Tensor:
        return getattr(self, name).to(like.dtype)

    @staticmethod
    def _per_fit(value: Tensor, like: Tensor) -> Tensor:
        """[F, N] with axes put in so that it broadcasts against ``like`` [F, ..., N]."""
        return value.to(like.dtype).reshape(value.shape[0], *[1] * (like.ndim - 2), value.shape[1])

    def forward(self, z: Tensor, u: Tensor | None = None) -> Tensor:
        return self.step(z, u)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.config().items())
