"""Element-wise LSTM, trained by exact real-time recurrent learning."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError, check_int
from dynrnn.online.elementwise import HEADS, ElementwiseLearner
from dynrnn.streams import stream
from dynrnn.training.forcing import PerFit, per_fit
from dynrnn_kernels.elementwise_lstm import Settings, empty_state, parts, run


class ElementwiseLSTMLearner(ElementwiseLearner):
    """One layer of LSTM units that do not mix, so that real-time recurrent learning is exact at the cost of its parameters (Irie et al. 2024, ICLR,
    arXiv:2305.19044).

        z = tanh(Z x[t] + w_z c[t-1] + b_z),   f = sigmoid(F x[t] + w_f c[t-1] + b_f),   c[t] = f c[t-1] + (1 - f) z          element by element
        o = sigmoid(O [x[t]; c[t]] + b_o),     h[t] = o c[t],     y[t] = R h[t] + b

    dc/d(Z, F, w, b) is carried forward exactly, O(hidden_dim input_dim) numbers; the output gate and the readout feed nothing back, so that
    their gradient is that of the sample. Gradients of ``update_every`` samples are added up, divided by the number of those that had a target, clipped, and
    applied by Adam.

    Staleness: the gradient is exact as long as weights stand still, so within the first update_every samples, and for sequences that begin
    after an update and end before the next. Traces that live through an update hold derivatives at the weights of before; the larger update_every and the
    smaller learning_rate, the truer they are. reset=True at a sequence's first sample drops them, with the state.

    Parameters
    ----------
    input_dim, hidden_dim, output_dim : D, n, P. head : "regression", loss |target - y|^2 / 2, or "classification", cross entropy of a softmax over P classes.
    update_every : samples from one update to the next. learning_rate : of Adam (0.9, 0.999), one for all or one per fit; the array
        ``learner.learning_rate`` may be written to between blocks.
    clip : largest norm of an update's gradient, None for none. initial : all weights are N(0, initial^2). forget_bias : is added to b_f.
    n_layers : 1. More are refused: through a layer above, every weight below acts on all its units, and exact traces cost O(n) times as much.
    on_bad : "raise" or "skip", see ``learn``. n_fits, random_state : independent networks; fit k draws from (random_state, k).

    Errors: ArgumentError for arguments out of range. Cost: O(n D + n^2) a sample, the square for the output gate; memory O(n D + n^2), whatever
    the stream's length. Fails where units would have to be rotated into each other: without mixing each remembers on its own.

    >>> learner = ElementwiseLSTMLearner(1, 8, 1, update_every=4, learning_rate=0.01, random_state=0)
    >>> x = np.sin(np.arange(2000) / 3)[:, None]
    >>> loss = learner.learn(x[:-1], x[1:]).loss
    >>> bool(loss[0, -200:].mean() < 0.1 * loss[0, :200].mean())
    True
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, output_dim: int, *, head: str = "regression", update_every: int = 1, learning_rate: PerFit = 1e-3,
        clip: float | None = 1.0, initial: float = 0.1, forget_bias: float = 0.0, n_layers: int = 1, on_bad: str = "raise", n_fits: int = 1,
        random_state: int | None = None,
    ):
        super().__init__(input_dim, output_dim, head, n_fits, on_bad, random_state)
        self.hidden_dim = check_int("hidden_dim", hidden_dim, low=1)
        D, n, P = self.input_dim, self.hidden_dim, self.output_dim
        if check_int("n_layers", n_layers, low=1) > 1:
            below = 2 * n * (D + 2)
            raise ArgumentError(
                f"exact real-time recurrent learning of {n_layers} layers is not cheap: each weight of a layer acts on all units of those above, so that the "
                f"first layer's {below:,} traces become {below * n:,} for each layer above, {n} times the memory and the time. Take one layer (wider, "
                "if need be); chain learners, which truncates the gradient between layers; or fit by backpropagation through time with dynrnn.fit."
            )
        self.update_every = check_int("update_every", update_every, low=1)
        self.learning_rate = per_fit("learning_rate", learning_rate, n_fits, low=0.0, high=1e3)
        self.clip = None if clip is None else float(per_fit("clip", clip, 1, low=1e-12, high=1e12)[0])
        self.initial = float(per_fit("initial", initial, 1, low=0.0, high=1e3)[0])
        self.forget_bias = float(per_fit("forget_bias", forget_bias, 1, low=-1e3, high=1e3)[0])
        self.settings = Settings(HEADS[head], self.learning_rate, self.update_every, np.inf if self.clip is None else self.clip)
        self.state = empty_state(self.n_fits, D, n, P)
        for f in range(self.n_fits):
            self.state.theta[f] = self.initial * stream(self.random_state, "parameters", f).standard_normal(self.state.theta.shape[1])
        self.weights()["A"][:, :, 1, 1] += self.forget_bias

    def weights(self) -> dict[str, np.ndarray]:
        """Views of the parameters: A (fit, n, 2, 2 + D), z and f on (c[t-1], 1, x[t]); O (fit, n, 1 + D + n) on (1, x[t], c[t]); R (fit, P, n + 1) on (h[t],
        1)."""
        A, O, R = parts(self.state.theta, self.input_dim, self.hidden_dim, self.output_dim)  # noqa: E741
        return {"A": A, "O": O, "R": R}

    def config(self) -> dict[str, Any]:
        return {
            "input_dim": self.input_dim, "hidden_dim": self.hidden_dim, "output_dim": self.output_dim, "head": self.head, "update_every": self.update_every,
            "learning_rate": self.learning_rate.tolist(), "clip": self.clip, "initial": self.initial, "forget_bias": self.forget_bias, "on_bad": self.on_bad,
            "n_fits": self.n_fits, "random_state": self.random_state,
        }

    def _pick_settings(self, fit: int) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate[fit]}

    def _run(self, x: np.ndarray, target: np.ndarray, flags: np.ndarray, y: np.ndarray, loss: np.ndarray) -> np.ndarray:
        return run(self.state, self.settings, x, target, flags, y, loss)
