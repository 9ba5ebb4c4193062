"""Models on the additive map, which exact analysis and whole compiled updates are for."""

from __future__ import annotations

from dynrnn.models.base import Model
from dynrnn_kernels.additive import AdditiveMap


class AdditiveModel(Model):
    """A model that fills the additive map ``z' = A z + W1 phi(W2 z + h2) + C u + h1``; its families are final subclasses.

    Where each entry of the map is a parameter or a constant, ``fit`` computes whole updates in compiled code; any other differentiable
    ``additive_map`` is pulled back by autograd, at some milliseconds an update.
    """

    def additive_map(self) -> AdditiveMap:
        """The map that the parameters fill at this moment; differentiable."""
        raise NotImplementedError

    def map(self) -> AdditiveMap:
        return self.additive_map()
