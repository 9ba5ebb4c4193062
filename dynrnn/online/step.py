"""What a learner says to one sample, and what it may do with a bad one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ON_BAD = ("raise", "skip")


class Step(NamedTuple):
    """prediction (fit, output) of the sample, made before it was learned; loss (fit,). NaN where there is none."""

    prediction: np.ndarray
    loss: np.ndarray
