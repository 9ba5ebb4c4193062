"""Fixed points, slow points, continua and cycles of maps without regions: searched for, never complete."""

from dynrnn.analysis.smooth.cycles import smooth_cycles
from dynrnn.analysis.smooth.fixed import smooth_fixed_points

__all__ = ["smooth_cycles", "smooth_fixed_points"]
