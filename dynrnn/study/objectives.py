"""What a study looks for: figures of a trained model on data that it has not seen, one per fit, and how fits make one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynrnn.analysis.reconstruction import evaluate
from dynrnn.analysis.symbols import symbolic_code
from dynrnn.errors import ArgumentError, unknown_name
from dynrnn.models.base import Model
from dynrnn.models.generation import generate
from dynrnn.models.ltc import LTC
from dynrnn.models.registry import model_class
from dynrnn.models.reservoirs import Reservoir
from dynrnn.training.validation import Validator

CODED = 20_000      # samples of the free run whose symbols are counted
KEPT = 5_000        # samples of the free run that are kept with a trial
N_NULL = 1          # draws of each null in a trial's scores


class Objective(NamedTuple):
    """``per_fit(model, validation, scores)`` gives a value [F], inf where a fit has none."""

    direction: str
    meaning: str
    per_fit: Callable[[Model, xr.Dataset, xr.Dataset], np.ndarray]


def _of(name: str) -> Callable[[Model, xr.Dataset, xr.Dataset], np.ndarray]:
    return lambda model, validation, scores: scores[name].values.astype(np.float64)


def _d_stsp(model: Model, validation: xr.Dataset, scores: xr.Dataset) -> np.ndarray:
    if isinstance(model, Reservoir):                                                # started from states that were driven, as evaluate does
        return scores.d_stsp.values.astype(np.float64)
    check = Validator(model, validation)
    return check.measure(model, check.few)[0]


def _n_parameters(model: Model, validation: xr.Dataset, scores: xr.Dataset) -> np.ndarray:
    return np.full(model.n_fits, float(model.parameters_per_fit))


def _n_symbols(model: Model, validation: xr.Dataset, scores: xr.Dataset) -> np.ndarray:
    code = symbolic_code(model, generate(model, CODED, initial=validation, transient=CODED // 4))
    return np.array([len(np.unique(row[row >= 0])) for row in code.symbol.values.reshape(model.n_fits, -1)], dtype=np.float64)


OBJECTIVES: dict[str, Objective] = {
    "d_stsp": Objective("minimize", "D_stsp, mean over free runs from eight samples of the validation recording (nat)", _d_stsp),
    "d_hellinger": Objective("minimize", "D_H between power spectra, 0 to 1", _of("d_hellinger")),
    "prediction_error": Objective("minimize", "error some steps ahead, in variances", _of("prediction_error")),
    "valid_prediction_time": Objective("maximize", "time for which forecasts hold", _of("valid_prediction_time")),
    "n_parameters": Objective("minimize", "trained numbers of one fit", _n_parameters),
    "n_symbols": Objective("minimize", "linear regions that a free run of 20,000 samples visits", _n_symbols),
}
AGGREGATES: dict[str, Callable[[np.ndarray, str], float]] = {
    "median": lambda values, direction: float(np.median(values)),
    "mean": lambda values, direction: float(np.mean(values)),
    "worst": lambda values, direction: float(np.max(values) if direction == "minimize" else np.min(values)),
}


def check_objectives(names: str | Sequence[str], family: str, aggregate: str) -> tuple[str, ...]:
    """The objectives' names; UnknownNameError for others, ArgumentError for one that the family does not have."""
    wanted = names_in(names)
    if not wanted or len(set(wanted)) < len(wanted):
        raise ArgumentError(f"objective must name one or more of {', '.join(OBJECTIVES)}, each once, got {names!r}.")
    for name in wanted:
        if name not in OBJECTIVES:
            raise unknown_name("objective", name, OBJECTIVES)
    if "n_symbols" in wanted and (issubclass(model_class(family), Reservoir | LTC) or family in ("wave-rnn", "identity-rnn", "assembly")):
        raise ArgumentError(f"n_symbols counts linear regions, and {family} has none that are its own symbols. Take a model of the PLRNN family.")
    if aggregate not in AGGREGATES:
        raise unknown_name("aggregate", aggregate, AGGREGATES)
    return wanted


def names_in(objective: Any) -> tuple[str, ...]:
    """One name or several, as a tuple; empty for what is neither."""
    if isinstance(objective, str):
        return (objective,)
    return tuple(objective) if isinstance(objective, list | tuple) and all(isinstance(name, str) for name in objective) else ()


class Judged(NamedTuple):
    """Scores beside floors and nulls, (fit) values of each objective, and the one value of each that the study sees."""

    scores: xr.Dataset
    per_fit: dict[str, np.ndarray]
    values: list[float]
    orbit: xr.Dataset


def judge(model: Any, status: np.ndarray, data: Any, objectives: Sequence[str], aggregate: str, preset: str) -> Judged:
    """A trained ensemble against the validation recording. Fits that were stopped or ran off count as infinitely bad."""
    n_steps = int(data.validation.n_time.max())
    scores = evaluate(model, data.validation, data.reference, preset, training=data.training, n_null=N_NULL)
    orbit = generate(model, min(n_steps, KEPT), initial=data.validation, transient=0)
    lost = ~np.isin(status, ["finished", "stopped: by the callback"]) | scores.diverged.values
    per_fit, values = {}, []
    for name in objectives:
        way = OBJECTIVES[name].direction
        found = OBJECTIVES[name].per_fit(model, data.validation, scores)
        per_fit[name] = np.where(lost | ~np.isfinite(found), np.inf if way == "minimize" else -np.inf, found)
        values.append(AGGREGATES[aggregate](per_fit[name], way))
    return Judged(scores, per_fit, values, orbit)
