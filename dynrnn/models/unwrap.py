"""A model, or something that holds one: functions over models take a run as well."""

from __future__ import annotations

from typing import Any

from dynrnn.errors import ArgumentError
from dynrnn.models.base import Model


def model_of(thing: Any) -> Model:
    """``thing`` itself if it is a model, else its ``model``."""
    model = thing if isinstance(thing, Model) else getattr(thing, "model", None)
    if not isinstance(model, Model):
        raise ArgumentError(f"a model of dynrnn or the run of a fit is wanted here, got {type(thing).__name__}.")
    return model
