"""The deep echo state network, of leaky or residual layers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.models.reservoirs.base import Reservoir, Size
from dynrnn.models.reservoirs.drawing import RESCALINGS, draw_weights, random_orthogonal, rescaled, rescaled_effectively
from dynrnn.models.reservoirs.residual import BRANCHES
from dynrnn.models.reservoirs.sparsity import sparse_where_it_pays
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.chain import ChainMap
from dynrnn_kernels.reservoir import Layer

READOUTS = ("all", "last")


class DeepESN(Reservoir):
    """Deep echo state network (Gallicchio, Micheli and Pedrelli 2017, Neurocomputing 268, 87), or deep residual one (arXiv:2508.21172, 2025).

        h_1[t+1] = keep_1 O_1 h_1[t] + gain_1 tanh(W_1 h_1[t] + V_1 x[t] + D u[t+1] + b_1)
        h_l[t+1] = keep_l O_l h_l[t] + gain_l tanh(W_l h_l[t] + V_l h_(l-1)[t+1] + b_l),      x[t+1] = W_out [h_1; ...; h_L][t+1] + b_out

    A layer reads the one before it as it is after this step. Leaky layers have keep = 1 - a, gain = a, O = I; residual ones (``branch`` given) keep = alpha,
    gain = beta, O orthogonal.

    Parameters
    ----------
    observed_dim : channels N. reservoir_dim : units of all layers together; n_layers : L. Each layer has reservoir_dim // L, the first what is left over, too.
    leak : a, 1 by default, of leaky layers. branch : ``random``, ``cycle`` or ``identity`` of residual ones; alpha, beta : 1 - beta and 0.1 by default.
    spectral_radius (0.9), input_scaling (of V_1 and D, uniform; 1), inter_scaling (the 2-norm of V_2, ..., V_L; 1), bias_scaling (0), density (0.1).
        Each of these a number, one for each layer [L], or [fit, 1] or [fit, L].
    readout : of ``all`` layers, as published, or of the ``last`` alone.
    topology : as in :class:`ESN`; ``sparse`` by default, ``uniform`` with residual layers.
    rescaling : ``effective``, the default of leaky layers: (1 - a) I + a W_l has the spectral radius, which must be above 1 - a; ``radius``, ``norm``,
        ``circular-law`` (the default of residual layers) as in :class:`ESN`.

    ``echo_numbers()`` says whether states are forgotten for sure, ``effective_radius()`` whether small ones are. With leak below 1 and equal settings later
    layers forget more slowly than earlier ones. Drawing is O(sum of n_l^3); a step O(values of all W and V + n N).

    >>> model = DeepESN(observed_dim=1, reservoir_dim=100, n_layers=3, leak=0.5, random_state=0)
    >>> model.layer_dims, model.readout_units, [round(x, 6) for x in model.effective_radius()[0].tolist()]
    ((34, 33, 33), slice(0, 100, None), [0.9, 0.9, 0.9])
    """

    family = "deep-esn"
    sizes: ClassVar[dict[str, tuple[float, float, float]]] = {
        "spectral_radius": (0.9, 0.0, 1e6), "leak": (1.0, 1e-12, 1.0), "beta": (0.1, 1e-12, 1e6), "alpha": (0.9, 0.0, 1e6), "input_scaling": (1.0, 0.0, 1e6),
        "inter_scaling": (1.0, 0.0, 1e6), "bias_scaling": (0.0, 0.0, 1e6), "density": (0.1, 1e-12, 1.0),
    }
    leak: Tensor
    alpha: Tensor
    beta: Tensor
    D: Tensor

    def __init__(
        self, observed_dim: int, reservoir_dim: int, n_layers: int = 3, *, branch: str | None = None, readout: str = "all", leak: Size = None,
        alpha: Size = None, beta: Size = None, spectral_radius: Size = None, input_scaling: Size = None, inter_scaling: Size = None,
        bias_scaling: Size = None, density: Size = None, topology: str | None = None, rescaling: str | None = None, input_dim: int = 0, n_fits: int = 1,
        random_state: int | None = None, init: str | None = None,
    ):
        check_int("observed_dim", observed_dim, low=1)
        self.n_layers = check_int("n_layers", n_layers, low=1)
        self.reservoir_dim = check_int("reservoir_dim", reservoir_dim, low=n_layers)
        each = reservoir_dim // n_layers
        self.layer_dims = (reservoir_dim - each * (n_layers - 1), *[each] * (n_layers - 1))
        self.branch_kind, self.readout_kind = branch, readout
        self.topology = topology or ("sparse" if branch is None else "uniform")
        self.rescaling = rescaling or ("effective" if branch is None else "circular-law")
        rescalings = (*RESCALINGS, "effective") if branch is None else RESCALINGS
        known = {"branch": (branch, (*BRANCHES, None)), "readout": (readout, READOUTS), "rescaling": (self.rescaling, rescalings)}
        for name, (value, allowed) in known.items():
            if value not in allowed:
                raise unknown_name(name, value, [x for x in allowed if x is not None])
        foreign = {"leak": leak} if branch is not None else {"alpha": alpha, "beta": beta}
        if wrong := [name for name, value in foreign.items() if value is not None]:
            kind = f"residual layers (branch={branch!r})" if branch is not None else "leaky layers (branch=None)"
            raise ArgumentError(f"{' and '.join(wrong)} given, but {kind} have none. Leave {' and '.join(wrong)} out, or change branch.")
        if alpha is None and beta is not None:
            alpha = 1 - np.asarray(beta, dtype=np.float64)
        given = {
            "spectral_radius": spectral_radius, "leak": leak, "alpha": alpha, "beta": beta, "input_scaling": input_scaling, "inter_scaling": inter_scaling,
            "bias_scaling": bias_scaling, "density": density,
        }
        self._begin(
            observed_dim, reservoir_dim, given, {}, input_dim=input_dim, n_fits=n_fits, random_state=random_state, init=init, shape=(self.n_layers,)
        )

    def _own_config(self) -> dict[str, Any]:
        return {
            "reservoir_dim": self.reservoir_dim, "n_layers": self.n_layers, "branch": self.branch_kind, "readout": self.readout_kind,
            "topology": self.topology, "rescaling": self.rescaling,
        }

    @property
    def layer_units(self) -> tuple[slice, ...]:
        """Where each layer's units lie among all units h."""
        ends = np.cumsum(self.layer_dims).tolist()
        return tuple(slice(end - n, end) for n, end in zip(self.layer_dims, ends, strict=True))

    @property
    def readout_units(self) -> slice:
        return slice(0, self.n_units) if self.readout_kind == "all" else self.layer_units[-1]

    def of_layer(self, name: str, layer: int) -> Tensor:
        """Weights of a layer, counted from 0: ``W`` [F, n_l, n_l], ``V`` [F, n_l, N or n of the layer before it], ``b`` [F, n_l], ``orthogonal``."""
        return getattr(self, f"{name}_{layer + 1}")

    def _fixed_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"D": (self.layer_dims[0], self.input_dim)}
        for k, (n, before) in enumerate(zip(self.layer_dims, (self.observed_dim, *self.layer_dims), strict=False), 1):
            shapes |= {f"W_{k}": (n, n), f"V_{k}": (n, before), f"b_{k}": (n,)} | ({f"orthogonal_{k}": (n, n)} if self.branch_kind == "random" else {})
        return shapes

    def _draw_fit(self, rng: np.random.Generator, fit: int, given: set[str]) -> dict[str, np.ndarray]:
        shapes, out = self._fixed_shapes(), {}
        for k in range(self.n_layers):
            size = {name: float(getattr(self, name)[fit, k]) for name in self.sizes}
            of_W, of_in, of_b, of_u, of_branch = rng.spawn(5)                   # as a single reservoir has them
            V = of_in.uniform(-1, 1, shapes[f"V_{k + 1}"])
            if k == 0:
                out["D"] = size["input_scaling"] * of_u.uniform(-1, 1, shapes["D"])
            out[f"V_{k + 1}"] = size["input_scaling"] * V if k == 0 else rescaled(V, size["inter_scaling"], "norm")
            out[f"b_{k + 1}"] = size["bias_scaling"] * of_b.uniform(-1, 1, self.layer_dims[k])
            W = draw_weights(of_W, self.layer_dims[k], self.topology, size["density"])
            effective = self.rescaling == "effective"
            radius = size["spectral_radius"]
            out[f"W_{k + 1}"] = rescaled_effectively(W, radius, size["leak"]) if effective else rescaled(W, radius, self.rescaling)
            if self.branch_kind == "random":
                out[f"orthogonal_{k + 1}"] = random_orthogonal(of_branch, self.layer_dims[k])
        return out

    def keep_and_gain(self) -> tuple[Tensor, Tensor]:
        """What each layer keeps of O h, and what the new part counts, [F, L]."""
        return (1 - self.leak, self.leak) if self.branch_kind is None else (self.alpha, self.beta)

    def branch_matrix(self, layer: int) -> Tensor:
        """keep O of a layer written out, [F, n_l, n_l]."""
        n, keep = self.layer_dims[layer], self.keep_and_gain()[0][:, layer]
        eye = torch.eye(n, dtype=torch.float64)
        branch = self.of_layer("orthogonal", layer) if self.branch_kind == "random" else eye.roll(1, 0) if self.branch_kind == "cycle" else eye
        return keep[:, None, None] * branch

    def effective_radius(self) -> Tensor:
        """Spectral radius of keep O + gain W of each layer, [F, L]: that of its step at the origin without input, where biases are 0. Below 1 in all of them
        small states die out: necessary for the echo state property. O(sum of n_l^3)."""
        gain = self.keep_and_gain()[1]
        steps = [self.branch_matrix(k) + gain[:, k, None, None] * self.of_layer("W", k) for k in range(self.n_layers)]
        return torch.stack([torch.linalg.eigvals(J).abs().amax(1) for J in steps], 1)

    def echo_numbers(self) -> Tensor:
        """C_l of each layer, [F, L]: all below 1 are sufficient for the echo state property under any input (in the largest of the layers' 2-norms).

            C_1 = keep_1 + gain_1 |W_1|,      C_l = keep_l + gain_l (|W_l| + |V_l| C_(l-1))
        """
        keep, gain = self.keep_and_gain()
        norms = [[torch.linalg.matrix_norm(self.of_layer(name, k), 2) for name in "WV"] for k in range(self.n_layers)]
        found: list[Tensor] = []
        for k, (W, V) in enumerate(norms):
            found.append(keep[:, k] + gain[:, k] * (W + (V * found[-1] if found else 0)))
        return torch.stack(found, 1)

    def map(self) -> ChainMap:
        """The closed loop on (x, h_1, ..., h_L): a stage for each layer, of which the last reads out, too."""
        F, N, M, gain = self.n_fits, self.observed_dim, self.latent_dim, self.keep_and_gain()[1]
        zeros = lambda *shape: torch.zeros(F, *shape, dtype=torch.float64)  # noqa: E731
        read = zeros(N, self.n_units)
        read[:, :, self.readout_units] = self.W_out
        stages = []
        for k, units in enumerate(self.layer_units):
            own, n = slice(N + units.start, N + units.stop), self.layer_dims[k]
            before = slice(0, N) if k == 0 else slice(own.start - self.layer_dims[k - 1], own.start)
            A, W1, W2, h1, kept = torch.eye(M, dtype=torch.float64).repeat(F, 1, 1), zeros(M, n), zeros(n, M), zeros(M), self.branch_matrix(k)
            A[:, own, own] = kept
            W1[:, own] = gain[:, k, None, None] * torch.eye(n, dtype=torch.float64)
            W2[:, :, before], W2[:, :, own] = self.of_layer("V", k), self.of_layer("W", k)
            if k == self.n_layers - 1:
                A[:, :N, :N], A[:, :N, N : own.start] = 0, read[:, :, : units.start]
                A[:, :N, own], W1[:, :N], h1[:, :N] = read[:, :, units] @ kept, read[:, :, units] @ W1[:, own], self.b_out
            a = A.diagonal(dim1=1, dim2=2).clone()
            A.diagonal(dim1=1, dim2=2).zero_()
            stages.append(AdditiveMap(
                a=a, A=sparse_where_it_pays(A) if A.any() else None, W1=sparse_where_it_pays(W1), h1=h1, W2=sparse_where_it_pays(W2),
                h2=self.of_layer("b", k), D=self.D if self.input_dim and k == 0 else None, phi="tanh",
            ))
        return ChainMap(tuple(stages))

    def layers(self, fit: int) -> tuple[Layer, ...]:
        keep, gain = (x[fit] for x in self.keep_and_gain())
        array = lambda x: x[fit].detach().numpy()  # noqa: E731
        out = []
        for k, n in enumerate(self.layer_dims):
            reads = 0 if k == 0 else self.observed_dim + self.layer_units[k - 1].start
            whole = np.concatenate([array(self.of_layer("V", k)), array(self.of_layer("W", k))], 1)
            out.append(Layer(
                whole, np.full(n, float(keep[k])), np.full(n, float(gain[k])), array(self.of_layer("b", k)), reads=reads,
                source=np.roll(np.arange(n), 1) if self.branch_kind == "cycle" else None,
                mixing=array(self.of_layer("orthogonal", k)) if self.branch_kind == "random" else None,
                D=array(self.D) if self.input_dim and k == 0 else None,
            ))
        return tuple(out)
