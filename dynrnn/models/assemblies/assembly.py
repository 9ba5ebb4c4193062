"""RNNs of RNNs: areas that contract, coupled so that the whole does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import ArgumentError, CertificateError, check_int, unknown_name
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.assemblies.blocks import Design, FixedBlocks, SVDBlocks, SymmetricBlocks, drawn_sparse, given_blocks, proven_metric, stacked
from dynrnn.models.assemblies.bounds import Area
from dynrnn.models.assemblies.certificate import Certificate, certify, refusal
from dynrnn.models.assemblies.coupling import Metric, bounded_coupling, coupling
from dynrnn.models.assemblies.rates import INTEGRATORS, coupling_limit, largest_step, step_rate
from dynrnn.models.assemblies.topology import coupled_entries, edges_of
from dynrnn.models.base import is_blank
from dynrnn.models.initialisation import uniform_fan
from dynrnn.streams import stream
from dynrnn_kernels.additive import AdditiveMap

BLOCKS = ("sparse", "symmetric", "svd")
ACTIVATIONS = ("relu", "tanh")


class Assembly(AdditiveModel):
    """RNN of RNNs: areas that contract each by itself, coupled so that all of it does (Kozachkov, Ennis & Slotine 2022, NeurIPS, arXiv:2106.08928).

        tau dz/dt = -z + W phi(g z) + L z + C u + h,      L = B - P^-1 B' P,      W and the metric P block-diagonal

    In steps of ``dt`` (in tau), with R = ((1 + dt) I - dt L)^-1:

        implicit-explicit   z[t+1] = R (z[t] + dt (W phi(g z[t]) + C u[t+1] + h))
        euler               z[t+1] = z[t] + dt (-z[t] + W phi(g z[t]) + L z[t] + C u[t+1] + h)

    Two states under the same input approach each other in the metric P, for any B, at a proven factor a step: see :meth:`certificate`. This holds
    by construction, after every update. So free runs of a constant input end in one fixed point: an assembly is for driven data, and cannot be chaotic.

    Parameters
    ----------
    observed_dim : channels N. areas : units of each area, four of 32 by default; the latent units M are all of them, area by area.
    blocks : ``sparse``: W drawn at a share ``density`` of places off the diagonal, within +-weight_range, until the area contracts (Theorem 1 of the paper);
        fixed, as is its diagonal metric. ``symmetric``: eigenvalues of g W between ``lowest`` and ``bound``. ``svd``: W = P^(-1/2) U S V' P^(1/2) with
        g S < ``bound`` and diagonal P within [1/100, 100]. The last two are trained.
    W : arrays (n, n), one an area, in place of drawn blocks; fixed, the same in all fits, refused where no metric is found that proves them.
    topology : areas that are coupled: ``all``, ``hierarchical`` (each with the next), ``hub`` (all with the last, a global workspace), a networkx graph
        with a node for each area, directed or not, or pairs of areas. Every coupling goes both ways.
    integrator : ``implicit-explicit``, whose certificate does not depend on the coupling, or ``euler``, which needs
        dt < 2 / (1 + |L|^2) at least: there L is scaled by a factor (1 + |L|^2 / limit^2)^(-1/2) so that half of the areas' contraction stays.
    dt : step (0.1). activation : ``relu``, ``tanh``. gain : g (1). observation : ``affine`` by default, with a bias.

    Trained: coupling (fit, entries of B of coupled areas, below the diagonal), h (fit, M), C (fit, M, K), the decoder, and of blocks
    ``symmetric``: rotation, eigenvalue; ``svd``: left, right, singular, log_metric.

    Published settings: "Sparse Combo" for images pixel by pixel, 16 to 32 areas of 32 units, density 1/30, relu, dt 0.03, Adam 1e-3 on B, C and the
    readout. "GW-Net": 5 areas of 32 units, hub, tanh, half of W's entries 0, singular values at most 1 (here ``bound``). Cognitive tasks: dt 0.3.

    Where the public code differs: its coupling is B - P B' P^-1, skew in the inverse metric, and its check passes whatever the weights, since it multiplies
    elementwise; both are explained in ``studies/assemblies.py``. Its metric of symmetric W, too, is the inverse of one that is proven here.

    Cost of filling the map: O(M^3), of a step O(M^2). Errors: CertificateError for blocks that are not certified and for a step beyond the
    certified one, with the range that is; ArgumentError otherwise.

    >>> model = Assembly(observed_dim=2, areas=(8, 8), topology="hub", input_dim=1, random_state=0)
    >>> found = model.certificate()
    >>> bool(found.check()[0]), bool(found.rate[0] < 1), float(found.dt_max[0])
    (True, True, inf)
    """

    family = "assembly"
    initialisations = ("assembly",)
    pulled_to: ClassVar[dict[str, float]] = {"coupling": 0.0, "h": 0.0, "C": 0.0}
    unit_rows = ()
    coupling: Tensor
    coupling_limit: Tensor
    h: Tensor
    C: Tensor
    dt: float
    gain: float
    bound: float
    lowest: float
    density: float
    weight_range: float

    def __init__(
        self, observed_dim: int, areas: Sequence[int] = (32, 32, 32, 32), *, blocks: str = "sparse", topology: Any = "all", dt: float = 0.1,
        integrator: str = "implicit-explicit", activation: str = "relu", gain: float = 1.0, bound: float = 0.95, lowest: float = -3.0,
        density: float = 1 / 30, weight_range: float = 1.0, W: Any = None, observation: str = "affine", decoder_bias: bool | None = None, **options: Any,
    ):
        if "latent_dim" in options:
            raise ArgumentError("an assembly has as many latent units as its areas together: give areas=(units of each, ...) in place of latent_dim.")
        if not isinstance(areas, Sequence) or isinstance(areas, str) or not len(areas):
            raise ArgumentError(f"areas must be the units of each area, for example (32, 32, 32), or (32,) * 16 for sixteen, got {areas!r}.")
        sizes = tuple(check_int(f"areas[{k}]", n, low=1) for k, n in enumerate(areas))
        bias = observation == "affine" if decoder_bias is None else decoder_bias
        super().__init__(observed_dim, sum(sizes), observation=observation, decoder_bias=bias, **options)
        self.areas, self.topology = sizes, topology if isinstance(topology, str) else edges_of(topology, len(sizes))
        self.edges = edges_of(topology, len(sizes))
        for name, value, known in (("integrator", integrator, INTEGRATORS), ("activation", activation, ACTIVATIONS)):
            if value not in known:
                raise unknown_name(name, value, known)
        if blocks not in (*BLOCKS, "given") or (blocks == "given" and W is None and not is_blank()):
            raise unknown_name("blocks", blocks, BLOCKS)
        drawing = {"blocks": (blocks, "sparse"), "density": (density, 1 / 30), "weight_range": (weight_range, 1.0)}
        if W is not None and (wrong := [name for name, (value, default) in drawing.items() if value != default]):
            raise ArgumentError(f"W and {', '.join(wrong)} were both given, but weights that are given stay as they are. Leave one out.")
        self.blocks, self.integrator, self.activation = "given" if W is not None else blocks, integrator, activation
        limits = {"dt": (dt, 0.0, np.inf), "gain": (gain, 0.0, np.inf), "bound": (bound, 0.0, 1.0), "density": (density, 0.0, 1.0 + 1e-12)}
        for name, (value, low, high) in (limits | {"weight_range": (weight_range, 0.0, np.inf), "lowest": (lowest, -np.inf, bound)}).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < high:
                raise ArgumentError(f"{name} must be a number between {low:g} and {high:g}, got {value!r}.")
            setattr(self, name, float(value))
        self.rows, self.columns = (torch.from_numpy(index) for index in coupled_entries(self.edges, self.areas))
        kinds = {"svd": lambda: SVDBlocks(self.areas, self.bound), "symmetric": lambda: SymmetricBlocks(self.areas, self.bound, self.lowest)}
        self.kind: SVDBlocks | SymmetricBlocks | FixedBlocks = kinds.get(self.blocks, lambda: FixedBlocks(diagonal=self.blocks == "sparse"))()
        if isinstance(self.kind, FixedBlocks):
            self._fix_blocks(W)
        if not is_blank():
            self._limit_coupling()
        elif self.integrator == "euler":
            self.register_buffer("coupling_limit", torch.ones(self.n_fits, dtype=torch.float64))
        self._fill_parameters()

    def _fix_blocks(self, W: Any) -> None:
        """Weights and scales of the metric as buffers: drawn fit by fit, or given."""
        F, M = self.n_fits, self.latent_dim
        values = {"W": torch.zeros(F, M, M, dtype=torch.float64), "scale": torch.ones(F, M, dtype=torch.float64)}
        if self.blocks == "given":
            values["axes"] = torch.zeros(F, M, M, dtype=torch.float64)
        if not is_blank():
            for f, number in enumerate(self.fit_number.tolist()):
                if self.blocks == "given":
                    made = given_blocks(W, self.areas)
                    scales, axes = zip(*(proven_metric(self.gain * block, k) for k, block in enumerate(made)))
                    values["axes"][f] = torch.from_numpy(stacked(list(axes)))
                else:
                    rng = stream(self.random_state, "parameters", number, block=1)
                    drawn = [drawn_sparse(rng, n, self.density, self.gain * self.weight_range) for n in self.areas]
                    made, scales = [block / self.gain for block, _ in drawn], [np.sqrt(P) for _, P in drawn]
                values["W"][f] = torch.from_numpy(stacked(made))
                values["scale"][f] = torch.from_numpy(np.concatenate(scales))
        for name, value in values.items():
            self.register_buffer(name, value)

    def _designs(self) -> list[Design]:
        """What the blocks keep to, by fit, whatever becomes of their parameters."""
        if not isinstance(self.kind, FixedBlocks):
            return [self.kind.design()] * self.n_fits
        metric, W = self._metric_and_weights()
        P, W, ends = metric.power(2).numpy(), self.gain * W.numpy(), np.cumsum(self.areas)
        places = [slice(e - n, e) for n, e in zip(self.areas, ends)]
        areas = [[Area(P[f, s, s], W[f, s, s]) for s in places] for f in range(self.n_fits)]
        return [Design(lambda h, one=one: max(a.growth(h) for a in one), max(a.norm for a in one)) for one in areas]

    def _limit_coupling(self) -> None:
        """Refuse steps that the areas alone do not bear; for Euler, what the coupling may be."""
        limits = []
        for number, design in zip(self.fit_number.tolist(), self._designs()):
            rate = lambda dt, design=design: step_rate(self.integrator, dt, design.growth, design.kappa, 0.0, 0.0)  # noqa: E731
            if not rate(self.dt) < 1:
                most = largest_step(rate, 1.0 if self.integrator == "euler" else 1e6)
                raise CertificateError(refusal(self.dt, self.integrator, most, f"blocks={self.blocks!r} of fit {number}"))
            limits.append(coupling_limit(self.dt, design.growth, design.kappa) if self.integrator == "euler" else np.inf)
        if self.integrator == "euler":
            self.register_buffer("coupling_limit", torch.tensor(limits, dtype=torch.float64))

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M = self.latent_dim
        return self.kind.draw(rng) | {"coupling": rng.standard_normal(len(self.rows)) / np.sqrt(M), "h": uniform_fan(rng, (M,), M)}

    def _own_config(self) -> dict[str, Any]:
        topology = self.topology if isinstance(self.topology, str) else [list(edge) for edge in self.topology]
        names = ("blocks", "dt", "integrator", "activation", "gain", "bound", "lowest", "density", "weight_range")
        return {"areas": list(self.areas), "topology": topology} | {name: getattr(self, name) for name in names}

    def config(self) -> dict[str, Any]:
        return {k: v for k, v in super().config().items() if k != "latent_dim"}

    def _metric_and_weights(self) -> tuple[Metric, Tensor]:
        """The metric, and W [F, M, M], in float64."""
        metric, W = self.kind({name: getattr(self, name).double() for name in self.kind.takes})
        return metric, W if isinstance(self.kind, FixedBlocks) else W / self.gain

    def parts(self) -> tuple[Metric, Tensor, Tensor]:
        """The metric, W and L [F, M, M], float64 and differentiable."""
        metric, W = self._metric_and_weights()
        B = W.new_zeros(W.shape)
        B[:, self.rows, self.columns] = self.coupling.double()
        L = coupling(B, metric)
        if self.integrator == "euler" and len(self.rows):
            L = bounded_coupling(L, metric, self.coupling_limit)
        return metric, W, L

    def additive_map(self) -> AdditiveMap:
        """Filled in float64 whatever the parameters are: L is skew in P to rounding."""
        _, W, L = self.parts()
        dt, h = self.dt, self.h.double()
        C = self.C.double() if self.input_dim else None
        eye = torch.eye(self.latent_dim, dtype=torch.float64, device=h.device)
        gained: dict[str, Any] = {"w2": "identity"} if self.gain == 1 else {"W2": (self.gain * eye).expand_as(W)}
        if self.integrator == "euler":
            return AdditiveMap(
                a=(1 - dt) * torch.ones_like(h), A=dt * L, W1=dt * W, h1=dt * h, C=None if C is None else dt * C, phi=self.activation, **gained
            )
        R = torch.linalg.inv((1 + dt) * eye - dt * L)
        a = R.diagonal(dim1=1, dim2=2)
        return AdditiveMap(
            a=a, A=R - torch.diag_embed(a), W1=dt * R @ W, h1=dt * (R @ h[:, :, None])[:, :, 0], C=None if C is None else dt * R @ C,
            phi=self.activation, **gained,
        )

    def certificate(self) -> Certificate:
        """The proof that this model contracts as it is now, recomputed from its parameters in float64; NaN in fits whose parameters are not finite.

        Its ``rate``, ``continuous_rate`` and ``dt_max`` are those of these numbers, at least as good as what the construction guarantees. O(M^3) a fit.
        """
        with torch.no_grad():
            metric, W, L = self.parts()
            numbers = (metric.power(2).numpy(), (self.gain * W).numpy(), L.numpy())
        return certify(*numbers, self.areas, dt=self.dt, integrator=self.integrator, fit=self.fit_number.numpy().copy())

    def violations(self, z: Tensor) -> np.ndarray:
        """How many Jacobians of the map at states z (fit, n, M) stretch some direction, in the metric, by more than the certificate says, (fit,)."""
        with torch.no_grad():
            return self.certificate().violations(self.jacobian(z.double()))
