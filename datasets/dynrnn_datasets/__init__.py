"""Known systems and packaged recordings as labelled arrays; knows nothing of dynrnn."""

from .errors import DatasetError, UnknownDatasetError
from .load import available, load
from .spectra import reference_spectrum, spectra
from .systems import SYSTEMS, Lorenz63, Lorenz96, Roessler

__all__ = ["SYSTEMS", "DatasetError", "Lorenz63", "Lorenz96", "Roessler", "UnknownDatasetError", "available", "load", "reference_spectrum", "spectra"]
