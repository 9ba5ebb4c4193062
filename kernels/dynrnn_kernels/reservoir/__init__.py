"""Reservoirs, one sequence at a time: driven by data where there are any, by their own prediction where not."""

from dynrnn_kernels.reservoir.run import Weights, run

__all__ = ["Weights", "run"]
