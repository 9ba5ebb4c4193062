"""Attractors from many initial states, their basins' shares, and slices through basins."""

from dynrnn.analysis.basins.finding import attractors
from dynrnn.analysis.basins.slices import basin_slice

__all__ = ["attractors", "basin_slice"]
