"""What an update works on: the fixed problem, the state that it changes, and what is drawn afresh for every update."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IDENTITY, AFFINE = 0, 1      # observation models: first units read out | x = B z + b
BAD_GRADIENT, BAD_STEP = 1, 2  # why a step was refused: loss or gradient not finite | what it would write not finite


class Problem(NamedTuple):
    """Fixed for a fit of F members with P parameters each; floats of the training dtype unless said. S is the size of the map's flat vector."""

    fill: np.ndarray         # [S] int64: the parameter that each entry of the map is, -1 for a constant
    constant: np.ndarray     # [S] the constants
    observation: int         # IDENTITY | AFFINE
    obs_weight: int          # offset in the parameters of L [M-N, N] (identity) or B [N, M] (affine)
    obs_bias: int            # offset of b [N] (affine), -1 where there is none
    data: np.ndarray         # [trials, time, N] in the units of the loss; NaN = missing
    inputs: np.ndarray       # [trials, time, K]
    has_missing: bool
    channel_mean: np.ndarray # [F, N] stands in for a missing first sample
    noise_level: np.ndarray  # [F] sd of the observation noise added to windows
    gate: np.ndarray         # [F, T] 1 where forcing acts within the window
    unit: np.ndarray         # [M] 1 for latent units that may be forced
    trainable: np.ndarray    # [P] 0 for entries that stay as they are
    decay: np.ndarray        # [F, P] weight of the quadratic regulariser (theta - decay_to)^2
    decay_to: np.ndarray     # [P]
    condition: np.ndarray    # [F] weight of the condition-number penalty of B
    clip: np.ndarray         # [F] largest gradient norm, inf for none
    max_refused: int         # refused steps in a row after which a fit is stopped


class State(NamedTuple):
    """Changed in place."""

    theta: np.ndarray        # [F, P]
    first: np.ndarray        # [F, P] moments of RAdam
    second: np.ndarray       # [F, P]
    taken: np.ndarray        # [F] int64 steps taken
    active: np.ndarray       # [F] bool; a stopped fit is not touched again
    refused: np.ndarray      # [F] int64 steps refused in all
    refused_in_row: np.ndarray  # [F] int64
    reason: np.ndarray       # [F] int64: BAD_GRADIENT or BAD_STEP of the last refusal


class Draws(NamedTuple):
    """What n updates are made from."""

    windows: np.ndarray        # [n, F, B, 2] int64: trial and first sample
    noise: np.ndarray          # [n, F, T + 1, B, N] standard normal, or [0, ...] where no fit has noise
    alpha: np.ndarray          # [n, F] forcing strength
    learning_rate: np.ndarray  # [n, F] float64
