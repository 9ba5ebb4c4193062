"""Lyapunov spectra with errors, covariant vectors, dimensions; what is contracting and what is chaotic."""

from dynrnn.analysis.lyapunov.covariant import covariant_vectors
from dynrnn.analysis.lyapunov.from_data import largest_exponent_from_data
from dynrnn.analysis.lyapunov.spectrum import lyapunov_spectrum

__all__ = ["covariant_vectors", "largest_exponent_from_data", "lyapunov_spectrum"]
