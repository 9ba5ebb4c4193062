"""The leaky echo state network."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dynrnn.models.reservoirs.base import Size
from dynrnn.models.reservoirs.single import SingleReservoir


class ESN(SingleReservoir):
    """Leaky echo state network that predicts its next input (Jaeger 2001, GMD report 148; Jaeger et al. 2007, Neural Networks 20, 335).

        h[t+1] = (1 - a) h[t] + a tanh(W h[t] + W_in x[t] + D u[t+1] + b),      x[t+1] = W_out h[t+1] + b_out

    Parameters
    ----------
    observed_dim, reservoir_dim : channels N and units n.
    spectral_radius : of W, 0.9 by default. leak : a, 1 by default. input_scaling, bias_scaling : W_in, D and b are uniform within them (1 and 0).
    density : share of connections of ``sparse`` and ``bernoulli``, 0.1. Each of these may be one value per fit.
    topology : ``sparse`` (normal weights), ``uniform``, ``normal``, ``bernoulli``, ``orthogonal``, ``ring``, ``line``, ``small-world``.
    rescaling : ``radius`` (exact), ``norm`` (spectral_radius is the 2-norm), ``circular-law`` (without eigenvalues; right for many independent entries).
    W, W_in : weights of your own: an array, a scipy.sparse array or a networkx graph; they are not scaled.

    Inputs are standardised by ``fit``, so that scalings are in standard deviations of the channels. Solved by ``dr.fit(model, recording, ridge=1e-6)``.
    Drawing is O(n^3) at most; a step O(values of W + n N).

    >>> import torch
    >>> model = ESN(observed_dim=3, reservoir_dim=300, spectral_radius=0.9, leak=0.3, random_state=0)
    >>> model.parameters_per_fit, round(float(abs(torch.linalg.eigvals(model.W[0])).max()), 6)
    (903, 0.9)
    """

    family = "esn"
    sizes: ClassVar[dict[str, tuple[float, float, float]]] = {
        "spectral_radius": (0.9, 0.0, 1e6), "leak": (1.0, 1e-12, 1.0), "input_scaling": (1.0, 0.0, 1e6), "bias_scaling": (0.0, 0.0, 1e6),
        "density": (0.1, 1e-12, 1.0),
    }
    leak: Tensor

    def __init__(
        self, observed_dim: int, reservoir_dim: int, *, spectral_radius: Size = None, leak: Size = None, input_scaling: Size = None,
        bias_scaling: Size = None, density: Size = None, topology: str = "sparse", rescaling: str = "radius", W: Any = None, W_in: Any = None,
        input_dim: int = 0, n_fits: int = 1, random_state: int | None = None, init: str | None = None,
    ):
        given = {"spectral_radius": spectral_radius, "leak": leak, "input_scaling": input_scaling, "bias_scaling": bias_scaling, "density": density}
        self._build(
            observed_dim, reservoir_dim, given, input_dim=input_dim, topology=topology, rescaling=rescaling, weights={"W": W, "W_in": W_in}, n_fits=n_fits,
            random_state=random_state, init=init,
        )

    def keep_and_gain(self) -> tuple[Tensor, Tensor]:
        return 1 - self.leak, self.leak
