"""The table of model families: a new family is a file and a row here."""

from __future__ import annotations

from dynrnn.errors import unknown_name
from dynrnn.models.alrnn import ALRNN
from dynrnn.models.assemblies import Assembly
from dynrnn.models.base import Model
from dynrnn.models.dendritic import DendriticPLRNN
from dynrnn.models.ltc import LTC
from dynrnn.models.plrnn import PLRNN
from dynrnn.models.reservoirs import ESN, DeepESN, EulerStateNetwork, NextGenerationReservoir, ResidualESN, ResidualMemoryNetwork
from dynrnn.models.shallow import ShallowPLRNN
from dynrnn.models.wave import IdentityRNN, WaveRNN

MODELS: dict[str, type[Model]] = {
    cls.family: cls
    for cls in (
        PLRNN, ShallowPLRNN, DendriticPLRNN, ALRNN, ESN, ResidualESN, EulerStateNetwork, DeepESN, ResidualMemoryNetwork, NextGenerationReservoir, WaveRNN,
        IdentityRNN, Assembly, LTC,
    )
}


def model_class(family: str) -> type[Model]:
    """The class of that family; the nearest name is suggested where there is none."""
    if family not in MODELS:
        raise unknown_name("model", family, MODELS)
    return MODELS[family]
