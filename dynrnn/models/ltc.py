"""Liquid time-constant networks: leaky units whose synapses change how fast they react."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.models.base import Model
from dynrnn_kernels.ltc import SOLVERS, LTCMap
from dynrnn_kernels.ltc import jacobian as ltc_jacobian
from dynrnn_kernels.ltc import step as ltc_step

SLOWER = 4.0                                    # channels at the start of ``reconstruction``
POSITIVE = ("cm", "gleak", "w", "w_in")         # stored so that softplus of them is what the equation has


class LTC(Model):
    """Liquid time-constant network (Hasani et al. 2021, AAAI; Lechner et al. 2020, Nat. Mach. Intell. 2:642).

        cm_i dz_i/dt = gleak_i (vleak_i - z_i) + sum_j w_ij s_ij(z_j) (E_ij - z_i) + sum_k w_in_ik s_in_ik(x_k) (E_in_ik - z_i)

    with s_ij(z) = 1 / (1 + exp(-sigma_ij (z - mu_ij))) and x = input_w u + input_b. A step covers the time ``dt`` in ``unfolds`` semi-implicit parts: the
    synapses open by the old states, the driving forces have the new ones. ``cm``, ``gleak``, ``w`` and ``w_in`` are kept as numbers whose softplus they are, so
    that they stay positive through any update. States stay within ``bounds()``, and react within ``time_constants()``.

    Parameters
    ----------
    observed_dim, latent_dim, input_dim : channels N, units M, inputs K.
    observation : ``identity`` (default), the first units are the channels, or ``affine``, x = B z + b. Forcing pulls all units of an affine model towards the
        data, after which it predicts noisy Lorenz-63 by a step as well as noise allows and collapses when it runs freely; of the other the channels alone.
    unfolds : parts of a step, default 6. dt : time that a step takes, default .1, in the unit of cm / gleak (at the start 0.5 to 2,000). Where a recording
        has ``elapsed`` times, a step of the recording's ``dt`` takes it, and others as much more or less.
    solver : ``semi-implicit`` (default; first order, bounded, compiled), or ``euler`` or ``rk4``, which are explicit, run in plain torch, and diverge where
        dt / unfolds is above some times the shortest time constant.
    wiring : who reaches whom, [M, M] of -1, 0 and 1, to row from column: the signs of E at the start, and no synapse where 0. By default all are connected,
        and a third inhibits.
    init : ``ncps``, as there, is gleak U(.001, 1), vleak U(-.2, .2), cm U(.4, .6), w U(.001, 1), sigma U(3, 8), mu U(.3, .8), E -1 or 1, for steps of dt = 1.
        ``reconstruction`` (default) is the same with four times the cm where units are channels: data that are sampled well move slowly, and the other
        units should follow them.

    States cannot leave ``bounds()``, at the start [-1, 1], before training has widened them. Errors: ArgumentError. Cost of a step O(unfolds M^2)
    exponentials a state, M^3 for its Jacobian. A long ``dt`` beside the time constants is integrated coarsely: halving the parts' length halves the error.

    >>> model = LTC(3, 8, random_state=0)
    >>> low, high = model.bounds()
    >>> bool(((low >= -1) & (high <= 1)).all()), model.time_constants().shape
    (True, torch.Size([1, 2, 8]))
    """

    family = "ltc"
    initialisations = ("reconstruction", "ncps")
    pulled_to: ClassVar[dict[str, float]] = {"vleak": 0.0, "E": 0.0}
    unit_rows: ClassVar[tuple[str, ...]] = ()
    takes_elapsed: ClassVar[bool] = True

    def __init__(
        self, observed_dim: int, latent_dim: int, *, input_dim: int = 0, observation: str = "identity", decoder_bias: bool | None = None, unfolds: int = 6,
        dt: float = 0.1, solver: str = "semi-implicit", wiring: Any = None, init: str | None = None, n_fits: int = 1, random_state: int | None = None,
    ):
        bias = observation == "affine" if decoder_bias is None else decoder_bias
        super().__init__(
            observed_dim, latent_dim, input_dim=input_dim, observation=observation, decoder_bias=bias, init=init, n_fits=n_fits, random_state=random_state
        )
        self.unfolds = check_int("unfolds", unfolds, low=1)
        if not isinstance(dt, int | float) or not 0 < dt < float("inf"):
            raise ArgumentError(f"dt must be a time above 0 and finite, got {dt!r}: the time that one step takes, in the unit of cm / gleak.")
        if solver not in SOLVERS:
            raise unknown_name("solver", solver, SOLVERS)
        self.dt, self.solver = float(dt), solver
        self.wiring = None if wiring is None else np.asarray(wiring)
        if self.wiring is not None and (self.wiring.shape != (latent_dim, latent_dim) or not np.isin(self.wiring, (-1, 0, 1)).all()):
            raise ArgumentError(
                f"wiring must be an array of shape (latent_dim, latent_dim) = ({latent_dim}, {latent_dim}) of -1, 0 and 1 (to row, from column), "
                f"got shape {self.wiring.shape} with values {np.unique(self.wiring)[:5]}."
            )
        self._fill_parameters()

    def _own_config(self) -> dict[str, Any]:
        wiring = None if self.wiring is None else self.wiring.astype(int).tolist()
        return dict(unfolds=self.unfolds, dt=self.dt, solver=self.solver, wiring=wiring)

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M, K = self.latent_dim, self.input_dim

        def raw(low: float, high: float, *shape: int) -> np.ndarray:
            return np.log(np.expm1(rng.uniform(low, high, shape)))

        def synapses(n: int, end: str) -> dict[str, np.ndarray]:
            drawn = dict(w=raw(0.001, 1.0, M, n), sigma=rng.uniform(3, 8, (M, n)), mu=rng.uniform(0.3, 0.8, (M, n)), E=rng.choice([-1.0, 1.0, 1.0], (M, n)))
            return {name + end: value for name, value in drawn.items()}

        cm = rng.uniform(0.4, 0.6, M)
        if self.init == "reconstruction" and self.observation == "identity":
            cm[: self.observed_dim] *= SLOWER
        values = dict(cm=np.log(np.expm1(cm)), gleak=raw(0.001, 1.0, M), vleak=rng.uniform(-0.2, 0.2, M)) | synapses(M, "")
        if self.wiring is not None:
            values["E"] = np.where(self.wiring == 0, values["E"], self.wiring)
        return values | (synapses(K, "_in") | dict(input_w=np.ones(K), input_b=np.zeros(K)) if K else {})

    def _draw_all(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        values = super()._draw_all(rng)
        values.pop("C", None)                                                   # inputs open synapses here, they are not added
        return values

    def frozen_entries(self) -> dict[str, np.ndarray]:
        return {} if self.wiring is None else dict.fromkeys(("w", "sigma", "mu", "E"), self.wiring == 0)

    def map(self) -> LTCMap:
        tensors = {name: getattr(self, name) for name in ("cm", "gleak", "vleak", "w", "sigma", "mu", "E")}
        if self.input_dim:
            tensors |= {name: getattr(self, name) for name in ("w_in", "sigma_in", "mu_in", "E_in", "input_w", "input_b")}
        tensors |= {name: softplus(tensors[name]) for name in POSITIVE if name in tensors}
        if self.wiring is not None:
            tensors["w"] = tensors["w"] * torch.as_tensor(self.wiring != 0).to(tensors["w"])
        return LTCMap(**tensors, unfolds=self.unfolds, dt=self.dt, solver=self.solver)

    def step(
        self, z: Float[Tensor, "fit B M"], u: Float[Tensor, "fit B K"] | None = None, dt: float | Tensor | None = None
    ) -> Float[Tensor, "fit B M"]:
        """One step, of the model's ``dt`` or of another one: a number, or a tensor of exactly two axes (fit, trial), either of which may be 1."""
        return ltc_step(self.map().to(z.dtype), z, u, dt)

    def jacobian(
        self, z: Float[Tensor, "fit B M"], u: Float[Tensor, "fit B K"] | None = None, dt: float | Tensor | None = None
    ) -> Float[Tensor, "fit B M M"]:
        """``dF/dz`` at every state in closed form, the product over the unfolds; ``dt`` as in ``step``. Cost O(fit B unfolds M^3)."""
        return ltc_jacobian(self.map().to(z.dtype), z, u, dt)

    def own_times(self, elapsed: np.ndarray) -> np.ndarray:
        """Elapsed times in the unit of the recording that the model was trained on, as the model counts time: ``dt`` for the recording's."""
        return self.dt * (np.asarray(elapsed, dtype=np.float64) / float(self.recording_info.get("dt", 1.0)))

    def bounds(self) -> tuple[Float[Tensor, "fit M"], Float[Tensor, "fit M"]]:
        """Lowest and highest state of each unit, once it is within: the least and the largest of vleak and of the E of its synapses.

        A semi-implicit step is a mean of the old state and of these with weights above 0, so that this holds for any inputs, dt and unfolds, to rounding.
        """
        with torch.no_grad():
            map = self.map()
            ends = [map.vleak[..., None]]
            for w, E in ((map.w, map.E), *([] if map.w_in is None or map.E_in is None else [(map.w_in, map.E_in)])):
                ends.append(torch.where(w > 0, E, map.vleak[..., None]))
            whole = torch.cat(ends, -1)
            return whole.amin(-1), whole.amax(-1)

    def time_constants(self) -> Float[Tensor, "fit 2 M"]:
        """Shortest and longest time constant of each unit, in the unit of dt: cm / (gleak + sum of w and w_in), all synapses open, and cm / gleak."""
        with torch.no_grad():
            map = self.map()
            opened = map.w.sum(-1) + (0 if map.w_in is None else map.w_in.sum(-1))
            return torch.stack([map.cm / (map.gleak + opened), map.cm / map.gleak], 1)
