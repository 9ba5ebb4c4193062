"""How many dimensions data fill, and how fast they make information."""

from dynrnn.analysis.dimension.correlation import correlation_dimension
from dynrnn.analysis.dimension.entropy import correlation_entropy

__all__ = ["correlation_dimension", "correlation_entropy"]
