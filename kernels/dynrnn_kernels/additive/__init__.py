"""The additive recurrence ``z' = A z + W1 phi(W2 z + D u + h2) + C u + h1``: map, reference, CPU kernel and operator."""

from dynrnn_kernels.additive.config import Config
from dynrnn_kernels.additive.library import backends
from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS, AdditiveMap
from dynrnn_kernels.additive.operator import forced_sequence
from dynrnn_kernels.additive.reference import activation, jacobian, step
from dynrnn_kernels.additive.structure import Block, Circulant, Permutation, Scalar, Sparse, Structure

__all__ = [
    "PHI_KINDS", "W2_KINDS", "AdditiveMap", "Block", "Circulant", "Config", "Permutation", "Scalar", "Sparse", "Structure", "activation",
    "backends", "forced_sequence", "jacobian", "step",
]
