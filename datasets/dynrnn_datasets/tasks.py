"""Tasks as recordings: ``inputs`` that drive a network, ``observed`` what it is to answer, NaN where nothing is asked."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ._recording import build
from .errors import DatasetError

RandomState = int | np.integer | Sequence[int] | None


def copy_task(n_trials: int = 128, delay: int = 30, *, n_symbols: int = 8, n_recalled: int = 10, random_state: RandomState = 0) -> xr.Dataset:
    """The copy memory task: symbols, blanks, a delimiter, and then the symbols again in their order (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016).

    A trial has delay + 2 n_recalled steps: symbols 1..n_symbols at 0..n_recalled - 1, drawn uniformly; blanks, symbol 0; the delimiter, n_symbols + 1,
    at delay + n_recalled; blanks. The answer is blank up to the delimiter's step, at which it is the first symbol, and so on: every symbol is due
    delay + n_recalled steps after it was shown. With delay = 0 the delimiter follows the last symbol, and takes no symbol's place (in the code published with
    wave-RNN it does, and its T counts n_recalled more).

    Returns ``inputs`` (trial, time, input), one-hot over blank, symbols and delimiter; ``observed`` (trial, time, feature), the answer, one-hot over the same;
    ``answer`` (trial, time), the same as numbers. random_state: a number, or several such as (seed, update), which draw independently.

    Who answers blank at all times and guesses symbols at random has a cross entropy of n_recalled log(n_symbols) / (delay + 2 n_recalled), attribute
    ``chance_cross_entropy``, and recalls 1 / n_symbols of them.

    >>> task = copy_task(1, delay=2, n_recalled=3, random_state=1)
    >>> task.inputs.values[0].argmax(1).tolist(), task.answer.values[0].tolist()
    ([4, 5, 7, 0, 0, 9, 0, 0], [0, 0, 0, 0, 0, 4, 5, 7])
    """
    n_trials, delay = _whole("n_trials", n_trials, 1), _whole("delay", delay, 0)
    n_symbols, n_recalled = _whole("n_symbols", n_symbols, 1), _whole("n_recalled", n_recalled, 1)
    symbols = _generator(random_state).integers(1, n_symbols + 1, (n_trials, n_recalled))
    shown, answer = np.zeros((2, n_trials, delay + 2 * n_recalled), np.int64)
    shown[:, :n_recalled], answer[:, delay + n_recalled :] = symbols, symbols
    shown[:, delay + n_recalled] = n_symbols + 1
    one_hot = np.eye(n_symbols + 2)
    names = ["blank", *(f"symbol {k}" for k in range(1, n_symbols + 1)), "delimiter"]
    chance = n_recalled * np.log(n_symbols) / shown.shape[1]
    parameters = {"delay": delay, "n_symbols": n_symbols, "n_recalled": n_recalled}
    task = _task("copy", one_hot[answer], names, one_hot[shown], names, parameters, random_state, {"chance_cross_entropy": float(chance)})
    return task.assign(answer=(("trial", "time"), answer))


def adding_task(n_trials: int = 128, n_steps: int = 100, *, random_state: RandomState = 0) -> xr.Dataset:
    """The adding problem: the sum of the two values that are marked, of ``n_steps`` of them (Hochreiter & Schmidhuber 1997, in the form of Le et al. 2015).

    Returns ``inputs`` (trial, time, input): value, uniform on 0 to 1, and marker, 1 at one step of the first half and one of the second, else 0;
    ``observed`` (trial, time, feature): the sum at the last step, NaN before. random_state as for ``copy_task``.

    Who always answers 1 has a mean squared error of 1/6, attribute ``chance_squared_error``.

    >>> task = adding_task(2, 6, random_state=0)
    >>> value, marker = task.inputs.values.transpose(2, 0, 1)
    >>> np.allclose((value * marker).sum(1), task.observed.values[:, -1, 0]), marker.sum(1).tolist()
    (True, [2.0, 2.0])
    """
    n_trials, n_steps = _whole("n_trials", n_trials, 1), _whole("n_steps", n_steps, 2)
    rng, half, rows = _generator(random_state), n_steps // 2, np.arange(n_trials)
    value, marker = rng.random((n_trials, n_steps)), np.zeros((n_trials, n_steps))
    marker[rows, rng.integers(0, half, n_trials)] = 1
    marker[rows, rng.integers(half, n_steps, n_trials)] = 1
    total = np.full((n_trials, n_steps, 1), np.nan)
    total[:, -1, 0] = (value * marker).sum(1)
    inputs = np.stack([value, marker], 2)
    return _task("adding", total, ["sum"], inputs, ["value", "marker"], {"n_steps": n_steps}, random_state, {"chance_squared_error": 1 / 6})


TASKS: dict[str, Callable[..., xr.Dataset]] = {"copy": copy_task, "adding": adding_task}


def _task(
    name: str, observed: np.ndarray, answers: list[str], inputs: np.ndarray, names: list[str], parameters: dict[str, int], random_state: RandomState,
    attrs: dict[str, Any],
) -> xr.Dataset:
    about = {"system": name, "parameters": json.dumps(parameters), "random_state": json.dumps(np.asarray(random_state).tolist()), **attrs}
    return build(observed, dim="feature", channels=answers, dt=1.0, units="", attrs=about, inputs=inputs, input_names=names)


def _generator(random_state: RandomState) -> np.random.Generator:
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"random_state must be a whole number from 0 up, several of them, or None, got {random_state!r}: {error}.") from None


def _whole(name: str, value: object, low: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # what is no number raises
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < low:
        raise DatasetError(f"{name} must be a whole number of at least {low}, got {value!r}.")
    return number
