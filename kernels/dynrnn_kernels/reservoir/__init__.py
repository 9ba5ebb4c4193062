"""Reservoirs, one sequence at a time: driven by data where there are any, by their own prediction where not."""

from dynrnn_kernels.reservoir.run import Layer, Weights, at_once, run

__all__ = ["Layer", "Weights", "at_once", "run"]
