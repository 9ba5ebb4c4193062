"""Samplers that propose the same parameters for the same trial number, whoever asks and however often.

Optuna's samplers carry a generator of random numbers that is lost with the process. Here each question is put to a fresh sampler, seeded by (random_state,
trial number, parameter): a trial that was half asked when its worker was killed gets the parameters that it would have got, and a study on one worker goes
on after a kill as if nothing had happened. With several workers what a sampler knows depends on who finishes first, so only the seeds are the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from dynrnn.errors import ArgumentError, check_int, unknown_name

Make = Callable[[int], BaseSampler]


def _tpe(seed: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def _random(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _gp(seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed)


def _nsga2(seed: int) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed)


# None of these reads anything but numbers and JSON from a study.
SAMPLERS: dict[str, Make] = {"tpe": _tpe, "random": _random, "gp": _gp, "nsga2": _nsga2}
_REFUSED = {
    "cmaes": "it unpickles its state from the study, so that opening somebody's study could run their code",
    "qmc": "it counts its points in the study, so that a killed trial would shift all later ones",
}


def sampler_named(name: str) -> Make:
    """The maker of a sampler from a seed: "tpe" (the default of studies), "random", "gp" (needs torch) or "nsga2" (for several objectives).

    UnknownNameError for other names; ArgumentError, with the reason, for Optuna's "cmaes" and "qmc", which are not offered.

    >>> sampler_named("random")(0)
    <optuna.samplers._random.RandomSampler object at ...>
    """
    plain = str(name).lower().replace("-", "").replace("_", "").removesuffix("sampler")
    if plain in _REFUSED:
        raise ArgumentError(f"the sampler {name!r} is not offered: {_REFUSED[plain]}. Use one of {', '.join(SAMPLERS)}.")
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    return SAMPLERS[name]


class NumberedSampler(BaseSampler):
    """A sampler whose answers are a function of (random_state, trial number, parameter, finished trials).

    ``make`` builds Optuna's sampler from a seed; it must keep nothing but what the study holds. ArgumentError for CmaEsSampler, which unpickles from the study.
    """

    def __init__(self, make: Make, random_state: int) -> None:
        self._make = make
        self._random_state = check_int("random_state", random_state, low=0)
        example = make(0)
        if isinstance(example, optuna.samplers.CmaEsSampler):
            sampler_named("cmaes")
        if not isinstance(example, BaseSampler):
            raise ArgumentError(f"sampler must make one of optuna's samplers from a seed, got {type(example).__name__}. Use sampler_named('tpe').")

    def _for(self, trial: FrozenTrial, name: str) -> BaseSampler:
        key = (trial.number, zlib.crc32(name.encode()))
        return self._make(int(np.random.SeedSequence(self._random_state, spawn_key=key).generate_state(1)[0]))

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._for(trial, "").before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._for(trial, "").infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        sampler = self._for(trial, "")
        # Some samplers remember the space between the two questions.
        sampler.infer_relative_search_space(study, trial)
        return sampler.sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._for(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._for(trial, "").after_trial(study, trial, state, values)


def ask(
    study: optuna.Study, trial: FrozenTrial, space: dict[str, BaseDistribution], store: Callable[[str, float, BaseDistribution], object]
) -> dict[str, Any]:
    """The trial's parameters; what it does not have yet is what the study's sampler proposes, and goes into the storage one by one.

    ``store(name, internal value, distribution)`` writes; a process killed in between leaves a trial that is asked again for the rest.
    """
    params = dict(trial.params)
    if space.keys() <= params.keys():
        return params
    sampler = study.sampler
    sampler.before_trial(study, trial)
    relative = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
    for name, distribution in space.items():
        if name in params:
            continue
        if distribution.single():
            value = distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]
        elif name in relative:
            value = relative[name]
        else:
            value = sampler.sample_independent(study, trial, name, distribution)
        internal = distribution.to_internal_repr(value)
        store(name, internal, distribution)
        params[name] = distribution.to_external_repr(internal)
    return params
