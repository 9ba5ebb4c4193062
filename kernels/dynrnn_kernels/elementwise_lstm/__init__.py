"""Element-wise LSTM: a recurrence without mixing of units, whose real-time recurrent learning is exact and cheap (Irie, Gopalakrishnan and Schmidhuber
2024)."""

from dynrnn_kernels.elementwise_lstm.arrays import Settings, State, empty_state, n_parameters, parts
from dynrnn_kernels.elementwise_lstm.cpu import run

__all__ = ["Settings", "State", "empty_state", "n_parameters", "parts", "run"]
