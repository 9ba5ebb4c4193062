"""Take fits out of an ensemble and put ensembles together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.base import Model, blank

AnyModel = TypeVar("AnyModel", bound=Model)


def model_with(like: AnyModel, config: dict[str, Any], state: dict[str, torch.Tensor]) -> AnyModel:
    """A model of the class of ``like`` with these constructor arguments and this state."""
    with blank():
        out = type(like)(**config)
    for name, value in state.items():
        owner = dict(out.named_parameters()).get(name)
        if owner is None:
            setattr(out, name, value.clone())
        else:
            owner.data = value.clone()
    out.recording_info = dict(like.recording_info)
    return out


def select_model(model: AnyModel, fit: int | Sequence[int]) -> AnyModel:
    """The model of one fit (or of several), a copy; the fits keep their numbers, so they train as they would in the ensemble."""
    wanted = [fit] if isinstance(fit, int) else list(fit)
    for k in wanted:
        check_int("fit", k, low=0, high=model.n_fits - 1)
    index = torch.tensor(wanted)
    return model_with(model, model.config() | {"n_fits": len(wanted)}, {name: value[index] for name, value in model.state_dict().items()})


def concat_models(models: Sequence[AnyModel]) -> AnyModel:
    """One ensemble of all fits of models that agree in family and shape. The fits keep their numbers."""
    if not models:
        raise ArgumentError("concat needs at least one model.")
    first = models[0]
    shape = {k: v for k, v in first.config().items() if k not in ("n_fits", "random_state")}
    for i, other in enumerate(models[1:], 1):
        if type(other) is not type(first):
            raise ArgumentError(f"models must be of one family: model 0 is {first.family!r}, model {i} is {other.family!r}.")
        wrong = [k for k, v in shape.items() if other.config()[k] != v]
        if wrong:
            raise ArgumentError(f"model {i} differs from model 0 in {', '.join(wrong)}; only models of one shape make an ensemble.")
    states = [m.state_dict() for m in models]
    config = first.config() | {"n_fits": sum(m.n_fits for m in models)}
    return model_with(first, config, {name: torch.cat([s[name] for s in states]) for name in states[0]})


