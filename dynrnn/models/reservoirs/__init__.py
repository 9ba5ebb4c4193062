"""Reservoirs: fixed random recurrences on the additive map, with readouts that are solved."""

from dynrnn.models.reservoirs.base import Reservoir
from dynrnn.models.reservoirs.deep import DeepESN
from dynrnn.models.reservoirs.esn import ESN
from dynrnn.models.reservoirs.euler import EulerStateNetwork
from dynrnn.models.reservoirs.memory import ResidualMemoryNetwork
from dynrnn.models.reservoirs.next_generation import NextGenerationReservoir
from dynrnn.models.reservoirs.residual import ResidualESN

__all__ = ["ESN", "DeepESN", "EulerStateNetwork", "NextGenerationReservoir", "Reservoir", "ResidualESN", "ResidualMemoryNetwork"]
