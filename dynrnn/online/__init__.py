"""Learning from a stream, sample by sample, with gradients that are carried forward: nothing of the past is stored."""

from dynrnn.online.columnar import ColumnarLearner
from dynrnn.online.elementwise_lstm import ElementwiseLSTMLearner
from dynrnn.online.learner import OnlineLearner
from dynrnn.online.sources import rows_of_file, rows_of_socket
from dynrnn.online.step import Step

__all__ = ["ColumnarLearner", "ElementwiseLSTMLearner", "OnlineLearner", "Step", "rows_of_file", "rows_of_socket"]
