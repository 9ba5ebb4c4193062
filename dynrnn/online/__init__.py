"""Learning from a stream, sample by sample, with exact gradients that are carried forward: nothing of the past is stored."""

from dynrnn.online.columnar import ColumnarLearner
from dynrnn.online.elementwise_lstm import ElementwiseLSTMLearner

__all__ = ["ColumnarLearner", "ElementwiseLSTMLearner"]
