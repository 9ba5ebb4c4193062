"""Learning from a stream, sample by sample."""

from dynrnn.online.learner import OnlineLearner, Step
from dynrnn.online.sources import rows_of_file, rows_of_socket

__all__ = ["OnlineLearner", "Step", "rows_of_file", "rows_of_socket"]
