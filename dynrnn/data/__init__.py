"""Recordings: what they must be, how they are read, scaled and split."""

from .datasets import load_dataset
from .reading import read_recording
from .recording import as_recording
from .scaling import Scaling, fit_scaling
from .splitting import split
from .training import check_for_training

__all__ = ["Scaling", "as_recording", "check_for_training", "fit_scaling", "load_dataset", "read_recording", "split"]
