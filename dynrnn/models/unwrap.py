"""A model, or something that holds one: functions over models take a run as well."""

from __future__ import annotations

from typing import Any

from dynrnn.errors import ArgumentError
from dynrnn.models.base import AdditiveModel


def model_of(thing: Any) -> AdditiveModel:
    """``thing`` itself if it is a model, else its ``model``."""
    model = thing if isinstance(thing, AdditiveModel) else getattr(thing, "model", None)
    if not isinstance(model, AdditiveModel):
        raise ArgumentError(f"a model of dynrnn or the run of a fit is wanted here, got {type(thing).__name__}.")
    return model
