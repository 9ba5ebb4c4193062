"""Several additive maps within one step, each on what the one before it left: deep reservoirs."""

from dynrnn_kernels.chain.map import ChainMap
from dynrnn_kernels.chain.operator import backends, forced_sequence
from dynrnn_kernels.chain.orbit import orbit
from dynrnn_kernels.chain.reference import jacobian, step, tangents
from dynrnn_kernels.chain.tangent import carry

__all__ = ["ChainMap", "backends", "carry", "forced_sequence", "jacobian", "orbit", "step", "tangents"]
