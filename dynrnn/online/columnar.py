"""Columnar, constructive and columnar-constructive networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from dynrnn.errors import ArgumentError, check_int
from dynrnn.online.elementwise import HEADS, ElementwiseLearner
from dynrnn.streams import stream
from dynrnn.training.forcing import PerFit, per_fit
from dynrnn_kernels.columnar import Settings, by_gate, empty_state, run

FOREVER = 2**62


class ColumnarLearner(ElementwiseLearner):
    """A network of LSTM columns of one unit each that learns from a stream with the exact gradient, at a cost linear in its parameters (Javed et al. 2023,
    JMLR 24).

        i, f, o = sigmoid(w . x~ + u h[t-1] + b),  g = tanh(...),  c[t] = f c[t-1] + i g,  h[t] = o tanh(c[t])          a column, 4 gates
        y[t] = sum_k w_k h~_k[t] + b,     h~ = (h - mean) / sqrt(max(var, floor)),  and x~ likewise,  running mean and var

    Columns do not read each other within a stage, so that a weight acts on its own column alone, and dh/dw of each is carried forward exactly. A stage reads
    the inputs and the features of all earlier stages at the same sample. When it ends, its weights and its statistics, and with the first stage those of the
    inputs, are frozen for good, and the next begins; the readout learns on. Every weight moves by rate / (sqrt(v) + 1e-8) times its change, v a running mean
    of the change's square that starts at 1; the readout's rate is divided by the number of features.

    Heads: "td" predicts the discounted sum of later cumulants, of which ``target`` at a sample is the one that came with it; TD(lambda), where the error
    delta[t] = cumulant[t] + gamma y[t] - y[t-1] acts on eligibilities that decay by gamma lambda, and loss is delta^2 / 2. "regression" has loss
    |target - y|^2 / 2, and "classification" the cross entropy of a softmax, whose probabilities are the prediction. Supervised steps use the sample's
    gradient alone.

    Gradients are exact for weights that stand still. While they learn, traces hold contributions of earlier weights, as with all online
    learning; smaller rates make them truer. Between features of different stages no gradient flows back, as earlier ones are frozen.

    Parameters
    ----------
    input_dim : inputs D.
    stages : (columns, samples) of each stage; samples may be None in the last, which then learns for ever. A whole number is one such stage, a columnar
        network; [(1, n)] * k is a constructive one, [(4, n)] * k columnar-constructive.
    head, output_dim : as above; "td" has one output. gamma, td_lambda : discount and lambda, from 0 to below 1 and to 1.
    learning_rate, readout_rate : step sizes, one for all or one per fit; readout_rate None is learning_rate. Both arrays may be
        written to between blocks.
    square_decay : of v. statistics_decay : of mean and var, per sample; var starts at 1, so that 1 / (1 - decay) should be well below a stage's length.
    floor : least variance. initial : weights are uniform in [-initial, initial], the readout starts at zero.
    on_bad : "raise" or "skip", see ``learn``; a TD error never reaches over a skipped sample.
    n_fits, random_state : independent networks; fit k draws from (random_state, k).

    Errors: ArgumentError for arguments out of range. Cost: O(parameters) a sample and memory, whatever the stream's length. Fails when what is to be
    predicted needs features that must be learned jointly in one recurrent layer: columns cannot read each other.

    >>> learner = ColumnarLearner(2, [(3, 500), (3, None)], statistics_decay=0.99, random_state=0)
    >>> bell = (np.arange(1000) % 5 == 0).astype(float)
    >>> seen = learner.learn(np.stack([bell, np.roll(bell, 2)], 1), np.roll(bell, 2))
    >>> seen.prediction.dims, learner.stage, learner.n_columns
    (('fit', 'time', 'output'), 1, 6)
    >>> learner.step([1.0, 0.0], 0.0).prediction.shape
    (1, 1)
    """

    heads: ClassVar[tuple[str, ...]] = tuple(HEADS)

    def __init__(
        self, input_dim: int, stages: int | Sequence[Sequence[int | None]], *, head: str = "td", output_dim: int = 1, gamma: float = 0.9,
        td_lambda: float = 0.99, learning_rate: PerFit = 1e-3, readout_rate: PerFit | None = None, square_decay: float = 0.9999,
        statistics_decay: float = 0.99999, floor: float = 0.01, initial: float = 0.01, on_bad: str = "raise", n_fits: int = 1, random_state: int | None = None,
    ):
        super().__init__(input_dim, output_dim, head, n_fits, on_bad, random_state)
        if head == "td" and output_dim != 1:
            raise ArgumentError(f"head 'td' predicts one return, output_dim must be 1, got {output_dim}. Take a learner per cumulant.")
        self.stages = _stages(stages)
        self.gamma, self.td_lambda = _within("gamma", gamma, 0.0, float(np.nextafter(1, 0))), _within("td_lambda", td_lambda, 0.0, 1.0)
        self.learning_rate = per_fit("learning_rate", learning_rate, n_fits, low=0.0, high=1e3)
        self.readout_rate = self.learning_rate.copy() if readout_rate is None else per_fit("readout_rate", readout_rate, n_fits, low=0.0, high=1e3)
        below = float(np.nextafter(1, 0))
        self.square_decay, self.statistics_decay = _within("square_decay", square_decay, 0.0, below), _within("statistics_decay", statistics_decay, 0.0, below)
        self.floor, self.initial = _within("floor", floor, 1e-12, 1e12), _within("initial", initial, 0.0, 1e3)
        sizes = tuple(size for size, _ in self.stages)
        self.n_columns = sum(sizes)
        ends = np.cumsum([FOREVER // len(sizes) if n is None else n for _, n in self.stages])
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        self.settings = Settings(
            HEADS[head], bounds, ends, self.learning_rate, self.readout_rate, self.gamma, self.gamma * self.td_lambda, self.square_decay, self.statistics_decay,
            self.floor,
        )
        self.state = empty_state(self.n_fits, self.input_dim, sizes, self.output_dim)
        for f in range(self.n_fits):
            rng = stream(self.random_state, "parameters", f)
            for first, end in pairwise(bounds):                                         # what a column does not read stays zero
                n = 2 + self.input_dim + first
                self.state.W[f, first:end, : 4 * n] = rng.uniform(-self.initial, self.initial, (end - first, 4 * n))

    @property
    def stage(self) -> int:
        """The stage that the next sample falls into (of the first fit), the last one after all have ended."""
        return min(int(np.searchsorted(self.settings.ends, self.state.seen[0], side="right")), len(self.stages) - 1)

    def weights(self, stage: int) -> np.ndarray:
        """A copy of a stage's weights, (fit, column, gate, input): gates i, f, g, o, on (its own h[t-1], 1, inputs, features of earlier stages)."""
        s = check_int("stage", stage, low=0, high=len(self.stages) - 1)
        first, end = self.settings.bounds[s : s + 2]
        return by_gate(self.state.W[:, first:end], 2 + self.input_dim + int(first)).copy()

    @property
    def n_operations(self) -> int:
        """Multiplications of a TD sample in the last stage, by weight: 1 of a frozen column; 14 of one that learns (activation 1, traces 5, change 6,
        eligibility 2; a root and a quotient are not counted); 9 of the readout."""
        columns = np.arange(self.settings.bounds[-2]), np.arange(self.settings.bounds[-2], self.n_columns)
        first = np.repeat(self.settings.bounds[:-1], np.diff(self.settings.bounds))
        frozen, learning = (int((4 * (2 + self.input_dim + first[k])).sum()) for k in columns)
        return frozen + 14 * learning + 9 * self.output_dim * (self.n_columns + 1)

    def config(self) -> dict[str, Any]:
        return {
            "input_dim": self.input_dim, "stages": [list(s) for s in self.stages], "head": self.head, "output_dim": self.output_dim, "gamma": self.gamma,
            "td_lambda": self.td_lambda, "learning_rate": self.learning_rate.tolist(), "readout_rate": self.readout_rate.tolist(),
            "square_decay": self.square_decay, "statistics_decay": self.statistics_decay, "floor": self.floor, "initial": self.initial, "on_bad": self.on_bad,
            "n_fits": self.n_fits, "random_state": self.random_state,
        }

    def _pick_settings(self, fit: int) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate[fit], "readout_rate": self.readout_rate[fit]}

    def _run(self, x: np.ndarray, target: np.ndarray, flags: np.ndarray, y: np.ndarray, loss: np.ndarray) -> np.ndarray:
        return run(self.state, self.settings, x, target, flags, y, loss)


def _stages(stages: int | Sequence[Sequence[int | None]]) -> list[tuple[int, int | None]]:
    if isinstance(stages, (int, np.integer)):
        return [(check_int("stages", stages, low=1), None)]
    pairs = list(stages)
    if not pairs or any(isinstance(p, (int, np.integer)) or len(p) != 2 for p in pairs):
        raise ArgumentError(f"stages must be a number of columns, or pairs (columns, samples) such as [(4, 100_000), (4, None)], got {stages!r}.")
    if any(n is None for _, n in pairs[:-1]):
        raise ArgumentError("only the last stage may have None samples, and learn for ever: those after an earlier one would never begin.")
    return [(check_int("columns of a stage", k, low=1), None if n is None else check_int("samples of a stage", n, low=1, high=2**48)) for k, n in pairs]


def _within(name: str, value: float, low: float, high: float) -> float:
    return float(per_fit(name, value, 1, low=low, high=high)[0])
