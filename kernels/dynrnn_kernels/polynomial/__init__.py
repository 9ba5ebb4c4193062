"""Polynomials of the last samples: next-generation reservoirs."""

from dynrnn_kernels.polynomial.map import PolynomialMap, monomials
from dynrnn_kernels.polynomial.operator import backends, forced_sequence
from dynrnn_kernels.polynomial.reference import features, jacobian, step
from dynrnn_kernels.polynomial.run import run

__all__ = ["PolynomialMap", "backends", "features", "forced_sequence", "jacobian", "monomials", "run", "step"]
