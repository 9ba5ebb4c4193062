"""Gradients accumulated forwards in time (real-time recurrent learning): the influence of every number of a map on its state, carried along with it."""

from dynrnn_kernels.influence.algorithms import NAMES, Algorithm, algorithm_of
from dynrnn_kernels.influence.sequence import forward_sequence

__all__ = ["NAMES", "Algorithm", "algorithm_of", "forward_sequence"]
