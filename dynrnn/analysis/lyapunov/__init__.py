"""Lyapunov spectra with errors, along inputs and from data alone; covariant vectors."""

from dynrnn.analysis.lyapunov.conditional import conditional_exponents
from dynrnn.analysis.lyapunov.covariant import covariant_vectors
from dynrnn.analysis.lyapunov.from_data import largest_exponent_from_data
from dynrnn.analysis.lyapunov.spectrum import lyapunov_spectrum

__all__ = ["conditional_exponents", "covariant_vectors", "largest_exponent_from_data", "lyapunov_spectrum"]
