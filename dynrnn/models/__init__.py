"""Models: one file a family, all on the additive map; observation models, free running, ensembles."""

from dynrnn.models.additive import AdditiveModel
from dynrnn.models.alrnn import ALRNN
from dynrnn.models.assemblies import Assembly, Certificate
from dynrnn.models.averaging import average
from dynrnn.models.base import Model
from dynrnn.models.dendritic import DendriticPLRNN
from dynrnn.models.ensemble import concat_models, select_model
from dynrnn.models.generation import forecast, generate, warmup
from dynrnn.models.ltc import LTC
from dynrnn.models.plrnn import PLRNN
from dynrnn.models.registry import MODELS, model_class
from dynrnn.models.reservoirs import ESN, DeepESN, EulerStateNetwork, NextGenerationReservoir, Reservoir, ResidualESN, ResidualMemoryNetwork
from dynrnn.models.reservoirs.recursive import RecursiveLeastSquares
from dynrnn.models.shallow import ShallowPLRNN
from dynrnn.models.unwrap import model_of
from dynrnn.models.wave import IdentityRNN, WaveRNN

__all__ = [
    "ALRNN",
    "ESN",
    "LTC",
    "MODELS",
    "PLRNN",
    "AdditiveModel",
    "Assembly",
    "Certificate",
    "DeepESN",
    "DendriticPLRNN",
    "EulerStateNetwork",
    "IdentityRNN",
    "Model",
    "NextGenerationReservoir",
    "RecursiveLeastSquares",
    "Reservoir",
    "ResidualESN",
    "ResidualMemoryNetwork",
    "ShallowPLRNN",
    "WaveRNN",
    "average",
    "concat_models",
    "forecast",
    "generate",
    "model_class",
    "model_of",
    "select_model",
    "warmup",
]
