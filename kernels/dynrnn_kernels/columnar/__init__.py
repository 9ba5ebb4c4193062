"""Columnar networks: LSTM columns of one unit each, whose forward traces are the exact gradient (Javed et al. 2023, JMLR 24)."""

from dynrnn_kernels.columnar.arrays import ASKED, CLASSIFICATION, LARGEST, REGRESSION, RESET, SKIP, TD, Settings, State, by_gate, empty_state
from dynrnn_kernels.columnar.cpu import run

__all__ = ["ASKED", "CLASSIFICATION", "LARGEST", "REGRESSION", "RESET", "SKIP", "TD", "Settings", "State", "by_gate", "empty_state", "run"]
