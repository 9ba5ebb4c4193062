"""Recordings: what they must be, how they are read, scaled and split."""

from ._elapsed import refuse_uneven
from ._tables import is_clock
from .datasets import known_system, load_dataset, reference_spectrum
from .reading import read_recording
from .recording import as_recording, uneven_or_even
from .scaling import Scaling, fit_scaling
from .splitting import split
from .training import check_for_training

__all__ = [
    "Scaling",
    "as_recording",
    "check_for_training",
    "fit_scaling",
    "is_clock",
    "known_system",
    "load_dataset",
    "read_recording",
    "reference_spectrum",
    "refuse_uneven",
    "split",
    "uneven_or_even",
]
