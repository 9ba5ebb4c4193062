"""Known systems and packaged recordings as labelled arrays; knows nothing of dynrnn."""

from .conditioning import TraceConditioning, TracePatterning, discounted_return
from .copying import copy_stream
from .errors import DatasetError, UnknownDatasetError
from .load import available, load
from .spectra import reference_spectrum, spectra
from .systems import SYSTEMS, Lorenz63, Lorenz96, Roessler
from .tasks import TASKS, adding_task, copy_task

__all__ = [
    "SYSTEMS", "TASKS", "DatasetError", "Lorenz63", "Lorenz96", "Roessler", "TraceConditioning", "TracePatterning", "UnknownDatasetError", "adding_task",
    "available", "copy_stream", "copy_task", "discounted_return", "load", "reference_spectrum", "spectra",
]
