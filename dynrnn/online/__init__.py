"""Learning from a stream, sample by sample."""

from dynrnn.online.learner import OnlineLearner, Step

__all__ = ["OnlineLearner", "Step"]
