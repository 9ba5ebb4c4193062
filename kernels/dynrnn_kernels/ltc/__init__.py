"""The liquid time-constant recurrence: leaky units whose synapses open with the states, by a semi-implicit step. Map, reference, kernels and operator."""

from dynrnn_kernels.ltc.config import Config
from dynrnn_kernels.ltc.library import backends
from dynrnn_kernels.ltc.map import SOLVERS, LTCMap
from dynrnn_kernels.ltc.operator import forced_sequence
from dynrnn_kernels.ltc.reference import jacobian, step

__all__ = ["SOLVERS", "Config", "LTCMap", "backends", "forced_sequence", "jacobian", "step"]
