"""How many dimensions data fill, and how fast they make information."""

from dynrnn.analysis.dimension.correlation import correlation_dimension

__all__ = ["correlation_dimension"]
