"""A whole training update: windows, forcing targets, loss, gradient, regularisers and optimiser step, for all fits at once."""

from dynrnn_kernels.update.cpu import run_updates
from dynrnn_kernels.update.problem import AFFINE, IDENTITY, Draws, Problem, State
from dynrnn_kernels.update.reference import by_backpropagation, by_influence, run_updates_reference

__all__ = ["AFFINE", "IDENTITY", "Draws", "Problem", "State", "by_backpropagation", "by_influence", "run_updates", "run_updates_reference"]
