"""A setting: one flat table of names and values that says which model is trained and how; what a search varies are entries of it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.models.base import Model
from dynrnn.models.registry import MODELS, model_class
from dynrnn.models.reservoirs import Reservoir
from dynrnn.training.fit import fit
from dynrnn.training.forcing import AdaptiveTeacherForcing, Forcing, FreeRunning, GeneralizedTeacherForcing, SparseTeacherForcing
from dynrnn.training.published import PUBLISHED
from dynrnn.training.regularisation import Regularisation

FORCINGS: dict[str, type[Forcing]] = {
    "gtf": GeneralizedTeacherForcing, "adaptive": AdaptiveTeacherForcing, "sparse": SparseTeacherForcing, "free": FreeRunning,
}
REGULARISERS = {"latent_regularisation": "latent", "manifold_regularisation": "manifold", "manifold_fraction": "manifold_fraction",
                "observation_regularisation": "observation"}
# Arguments that say where and with what a setting is tried, and not what it is.
NOT_OF_A_SETTING = {
    "self", "options", "observed_dim", "input_dim", "n_fits", "random_state", "W", "W_in", "V", "wiring", "model", "recording", "forcing", "validation", "out",
    "progress", "regularisation", "learning_rate", "validate_every", "validate_by", "checkpoint_every", "save_every", "resume", "callback", "n_threads",
}
OF_EVERY_DESCENDED = ("observation", "decoder_bias", "init")
# Sizes that a family asks for and a setting may leave out.
SIZES: dict[str, dict[str, int]] = {
    "shallow-plrnn": {"hidden_dim": 50}, "dendritic-plrnn": {"n_bases": 20}, "alrnn": {"latent_dim": 20, "n_relu": 2}, "ltc": {"latent_dim": 32},
    "identity-rnn": {"latent_dim": 40}, "wave-rnn": {"n_positions": 8, "n_channels": 8}, "esn": {"reservoir_dim": 300}, "residual-esn": {"reservoir_dim": 300},
    "deep-esn": {"reservoir_dim": 300}, "euler-state-network": {"reservoir_dim": 300}, "residual-memory-network": {"reservoir_dim": 300, "memory_dim": 100},
}
SCHEMES = {"alrnn": {"forcing": "sparse"}}      # what a family's name alone stands for beside its defaults
# Values that may differ between the fits of one ensemble: trials that differ in nothing else train side by side.
PER_FIT = {
    "alpha", "alpha_end", "gamma", "interval", "learning_rate", "learning_rate_end", "noise", "gradient_clip", "latent_regularisation",
    "manifold_regularisation", "observation_regularisation",
}


def arguments_of(family: str, forcing: str = "gtf") -> dict[str, str]:
    """Every name that a setting of the family may hold, and whose argument it is: model, forcing, training or regularisation.

    >>> known = arguments_of("alrnn", "sparse")
    >>> known["n_relu"], known["interval"], known["learning_rate"], known["latent_regularisation"]
    ('model', 'forcing', 'training', 'regularisation')
    """
    cls = model_class(family)
    known = dict.fromkeys(inspect.signature(cls.__init__).parameters, "model")
    if issubclass(cls, Reservoir):
        return {name: owner for name, owner in known.items() if name not in NOT_OF_A_SETTING} | dict.fromkeys(("ridge", "washout", "standardise"), "training")
    known |= dict.fromkeys(OF_EVERY_DESCENDED, "model")
    if forcing not in FORCINGS:
        raise unknown_name("forcing", forcing, FORCINGS)
    known |= {f.name: "forcing" for f in dataclasses.fields(FORCINGS[forcing])}
    if forcing == "gtf":
        known["alpha_end"] = "forcing"
    known |= {name: "training" for name in inspect.signature(fit).parameters if name not in ("ridge", "washout", "backend", "precision", "max_refused")}
    known |= dict.fromkeys(REGULARISERS, "regularisation")
    known = {name: owner for name, owner in known.items() if name not in NOT_OF_A_SETTING}
    return known | {"forcing": "forcing", "learning_rate": "training", "learning_rate_end": "training"}


def starting_point(setting: str | Mapping[str, Any]) -> dict[str, Any]:
    """The setting that a family's name, a published setting's name (``dr.PUBLISHED``) or a table with ``model`` stands for.

    >>> starting_point("alrnn-lorenz63")["interval"]
    16
    """
    if isinstance(setting, Mapping):
        if "model" not in setting:
            raise ArgumentError(f"a setting names its model, as in {{'model': 'shallow-plrnn'}}; got {sorted(setting)}. Known: {', '.join(MODELS)}.")
        model_class(setting["model"])
        return dict(setting)
    if not isinstance(setting, str):
        raise ArgumentError(f"a setting is a family's name, a published setting's or a table such as {{'model': 'shallow-plrnn'}}, got {setting!r}.")
    if setting in MODELS:
        return {"model": setting, **SCHEMES.get(setting, {})}
    if setting not in PUBLISHED:
        raise unknown_name("model or published setting", setting, [*MODELS, *PUBLISHED])
    row = PUBLISHED[setting]
    out: dict[str, Any] = {"model": row.family, **row.arguments}
    out.pop("observed_dim")
    training = dict(row.training)
    if (scheme := training.pop("forcing", None)) is not None:
        out["forcing"] = next(name for name, cls in FORCINGS.items() if type(scheme) is cls)
        out |= {name: value for name, value in dataclasses.asdict(scheme).items() if value is not None}
    if (pull := training.pop("regularisation", None)) is not None:
        out |= {name: getattr(pull, field) for name, field in REGULARISERS.items() if getattr(pull, field) != getattr(Regularisation(), field)}
    if "learning_rate" in training:
        out["learning_rate"], out["learning_rate_end"] = training.pop("learning_rate")
    return out | training


def check_names(setting: Mapping[str, Any], more: Sequence[str] = ()) -> dict[str, str]:
    """``arguments_of`` what the setting names; UnknownNameError, with the nearest right one, for a name in it or in ``more`` that is none of them."""
    known = arguments_of(setting["model"], str(setting.get("forcing", "gtf")))
    for name in (*setting, *more):
        if name != "model" and name not in known:
            raise unknown_name(f"parameter of {setting['model']}", name, known)
    return known


def build(setting: Mapping[str, Any], recording: xr.Dataset, n_fits: int, random_state: int) -> tuple[Model, dict[str, Any]]:
    """The model that a setting describes, for this recording, and the arguments of ``fit``. ArgumentError for what does not go together."""
    known = check_names(setting)
    family = setting["model"]
    of: dict[str, dict[str, Any]] = {"model": {}, "forcing": {}, "training": {}, "regularisation": {}}
    for name, value in setting.items():
        if name != "model":
            of[known[name]][name] = value
    sizes = dict(SIZES.get(family, {}))
    n_channels = recording.sizes[recording.observed.dims[-1]]
    if "latent_dim" in known:
        sizes.setdefault("latent_dim", n_channels)
        sizes["latent_dim"] = max(sizes["latent_dim"], n_channels)
    n_inputs = recording.sizes["input"] if "inputs" in recording else 0
    shape: dict[str, Any] = {**sizes, **of["model"]}
    try:
        model = model_class(family)(observed_dim=n_channels, input_dim=n_inputs, n_fits=n_fits, random_state=random_state, **shape)
    except TypeError as error:
        raise ArgumentError(f"a {family} cannot be made of {shape}: {error}.") from error
    training = of["training"]
    if isinstance(model, Reservoir):
        return model, training
    training["learning_rate"] = _rates(training)
    training["forcing"] = _forcing(of["forcing"])
    training["regularisation"] = Regularisation(**{REGULARISERS[name]: value for name, value in of["regularisation"].items()})
    return model, training


def _rates(training: dict[str, Any]) -> tuple[Any, Any]:
    """Start and end; the end is a hundredth of the start where nothing is said."""
    start = training.get("learning_rate", 1e-3)
    return start, training.pop("learning_rate_end", np.multiply(start, 1e-2))


def _forcing(arguments: dict[str, Any]) -> Forcing:
    given = dict(arguments)
    cls = FORCINGS[given.pop("forcing", "gtf")]
    if "alpha_end" in given:
        given["alpha"] = (given.get("alpha", 0.15), given.pop("alpha_end"))
    return cls(**given)


def shape_of(setting: Mapping[str, Any]) -> tuple:
    """Equal for settings that can train side by side in one ensemble, those of ``PER_FIT`` aside."""
    alone = issubclass(model_class(setting["model"]), Reservoir)                    # solved, one by one
    return tuple(sorted((name, "" if _per_fit(name, value) and not alone else repr(value)) for name, value in setting.items()))


def _per_fit(name: str, value: Any) -> bool:
    """Whether the value may be another one for each fit: a number is, and "estimated" (None) or a pair is not."""
    return name in PER_FIT and isinstance(value, Real) and not isinstance(value, bool)


def side_by_side(settings: Sequence[Mapping[str, Any]], n_fits: int) -> dict[str, Any]:
    """One setting with a value per fit, for an ensemble of ``n_fits`` of each of these settings, in their order.

    >>> both = side_by_side([{"model": "alrnn", "alpha": 0.1}, {"model": "alrnn", "alpha": 0.2}], 2)
    >>> both["alpha"].tolist()
    [0.1, 0.1, 0.2, 0.2]
    """
    check_int("n_fits", n_fits, low=1)
    first = dict(settings[0])
    if len(settings) > 1:
        first |= {name: np.repeat([setting[name] for setting in settings], n_fits) for name, value in first.items() if _per_fit(name, value)}
    return first
