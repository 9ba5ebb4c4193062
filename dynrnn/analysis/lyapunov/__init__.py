"""Lyapunov spectra with errors, covariant vectors, dimensions; what is contracting and what is chaotic."""

from dynrnn.analysis.lyapunov.conditional import conditional_exponents
from dynrnn.analysis.lyapunov.spectrum import lyapunov_spectrum

__all__ = ["conditional_exponents", "lyapunov_spectrum"]
