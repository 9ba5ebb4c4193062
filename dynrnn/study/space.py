"""Search spaces: names of a setting and what each may be."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

import xarray as xr
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from dynrnn.errors import ArgumentError, DynrnnError, check_int
from dynrnn.models.reservoirs import Reservoir
from dynrnn.study.setting import build, check_names, starting_point
from dynrnn.training.fit import fit

# What is worth varying first, for each family: few names, wide ranges. Forcing strength and the start of the learning rate decide most.
SPACES: dict[str, dict[str, str]] = {
    "shallow-plrnn": {"alpha": "0.02..0.6:log", "hidden_dim": "20..200:log", "learning_rate": "3e-4..1e-2:log", "sequence_length": "50,100,200"},
    "dendritic-plrnn": {"alpha": "0.02..0.6:log", "n_bases": "5..50:log", "learning_rate": "3e-4..1e-2:log"},
    "plrnn": {"alpha": "0.02..0.6:log", "latent_dim": "10..50", "learning_rate": "3e-4..1e-2:log"},
    "alrnn": {"interval": "4..40:log", "latent_dim": "10..40", "n_relu": "1..5", "learning_rate": "3e-4..1e-2:log", "noise": "0..0.1"},
    "ltc": {"alpha": "0.02..0.6:log", "latent_dim": "10..40", "learning_rate": "1e-3..3e-2:log"},
    "wave-rnn": {"alpha": "0.05..0.8", "n_channels": "4..16:log", "learning_rate": "1e-4..3e-3:log"},
    "identity-rnn": {"alpha": "0.05..0.8", "latent_dim": "10..60", "learning_rate": "1e-4..3e-3:log"},
    "assembly": {"alpha": "0.05..0.8", "learning_rate": "1e-4..1e-2:log", "blocks": "sparse,symmetric,svd"},
    "esn": {"spectral_radius": "0.1..1.4", "leak": "0.1..1", "input_scaling": "0.05..2:log", "bias_scaling": "0.0..2", "ridge": "1e-9..1e-3:log"},
    "residual-esn": {"beta": "0.05..1:log", "spectral_radius": "0.1..1.4", "input_scaling": "0.05..2:log", "bias_scaling": "0.0..2", "ridge": "1e-9..1e-3:log"},
    "deep-esn": {"n_layers": "1..5", "spectral_radius": "0.75..1.4", "leak": "0.3..1", "input_scaling": "0.05..2:log", "ridge": "1e-9..1e-3:log"},
    "euler-state-network": {"epsilon": "1e-3..1:log", "gamma": "1e-4..1:log", "input_scaling": "0.05..2:log", "ridge": "1e-9..1e-3:log"},
    "residual-memory-network": {"beta": "0.01..1:log", "spectral_radius": "0.1..1.4", "input_scaling": "0.05..2:log", "ridge": "1e-9..1e-3:log"},
    "next-generation-reservoir": {"n_delays": "1..4", "stride": "1..5", "ridge": "1e-9..1e-1:log"},
}
_RANGE = re.compile(r"(?P<low>[^.:]*(?:\.\d+)?[^.:]*)\.\.(?P<high>[^:]+)(?::(?P<how>log|step=.+))?")
_FORMS = "low..high, low..high:log, low..high:step=5, or a,b,c"


def as_space(space: Mapping[str, Any] | str | None, setting: str | Mapping[str, Any], recording: xr.Dataset) -> dict[str, BaseDistribution]:
    """A search space as Optuna's distributions, by name.

    space : a table of names of the setting (see ``arguments_of``) and, for each, one of
        ``(low, high)``   between these, both included: whole numbers if both are; ``"low..high"`` in text
        ``"low..high:log"``, ``"low..high:step=5"``   evenly in the logarithm; in steps
        a list or ``"a,b,c"``   one of these
        a distribution of Optuna.
        None takes the family's own space (``SPACES``).
    setting : what is not varied: a family, a published setting, or a table with ``model``.

    ArgumentError, before any work, for an empty space, a range that is none, a name that is both fixed and varied, and for corners of the space that
    make no model; UnknownNameError, with the nearest, for a name that the family does not have.
    """
    fixed = starting_point(setting)
    if space is None:
        given = own_space(fixed, () if isinstance(setting, str) else fixed)
    elif isinstance(space, Mapping):
        given = dict(space)
    else:
        raise ArgumentError(f"space must be a table such as {{'alpha': (0.05, 0.5)}}, got {space!r}.")
    if not given:
        raise ArgumentError("the search space is empty: name at least one parameter and its range, such as {'alpha': (0.05, 0.5)}.")
    if "model" in given:
        raise ArgumentError("the model is not a parameter to vary: scores of families have other scales of cost. Run a study for each.")
    both = sorted(set(given) & set(fixed)) if not isinstance(setting, str) else []
    if both:
        raise ArgumentError(f"{', '.join(both)}: fixed and varied at once. Take it out of the setting or out of the space.")
    check_names(fixed, list(given))
    out = {name: distribution(name, value) for name, value in given.items()}
    _try_corners(out, fixed, recording)
    return out


def own_space(setting: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, str]:
    """The space of the setting's family, of those names that its forcing has, ``without`` some."""
    known = check_names(setting)
    return {name: value for name, value in SPACES[setting["model"]].items() if name in known and name not in without}


def distribution(name: str, value: Any) -> BaseDistribution:
    """One entry of a space; see ``as_space``.

    >>> distribution("hidden_dim", (20, 200)), distribution("alpha", "0.05..0.5:log")
    (IntDistribution(high=200, log=False, low=20, step=1), FloatDistribution(high=0.5, log=True, low=0.05, step=None))
    >>> distribution("blocks", "sparse,svd").choices
    ('sparse', 'svd')
    """
    if isinstance(value, BaseDistribution):
        return value
    log, step = False, cast(Any, None)
    if isinstance(value, str):
        match = _RANGE.fullmatch(value.strip())
        if match is None and ".." in value:
            raise ArgumentError(f"{name}: {value!r} is no range. Give {_FORMS}.")
        if match is None:
            value = [plain(item.strip()) for item in value.split(",")]
        else:
            how = match["how"] or ""
            log, step = how == "log", plain(how.removeprefix("step=")) if how.startswith("step=") else None
            value = (plain(match["low"]), plain(match["high"]))
    if isinstance(value, list):
        if not value or not all(item is None or isinstance(item, bool | int | float | str) for item in value):
            raise ArgumentError(f"{name}: a choice is among one or more numbers, words, or True and False, got {value!r}.")
        return CategoricalDistribution(value)
    if not (isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, Real) and not isinstance(end, bool) for end in value)):
        raise ArgumentError(f"{name}: {value!r} is no range. Give (low, high), a list of choices, or text: {_FORMS}.")
    if not all(math.isfinite(float(end)) for end in value):
        raise ArgumentError(f"{name}: a range ends at finite numbers, got {value!r}.")
    whole = all(isinstance(end, Integral) for end in value) and (step is None or isinstance(step, Integral))
    low, high = (int(end) if whole else float(end) for end in cast("tuple[float, float]", value))
    if not low <= high:
        raise ArgumentError(f"{name}: the range from {low:g} to {high:g} is empty. Give the lower end first.")
    if step is not None and not (isinstance(step, int | float) and not isinstance(step, bool) and 0 < step <= high - low):
        raise ArgumentError(f"{name}: a step is a number above 0 and no longer than the range from {low:g} to {high:g}, got {step!r}.")
    if log and low <= 0:
        raise ArgumentError(f"{name}: a range in the logarithm begins above 0, got {low:g}.")
    if whole:
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
    return FloatDistribution(low, high, log=log, step=None if step is None else float(step))


def plain(text: str) -> Any:
    """A number, True, False or None where the text is one, else the text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _try_corners(space: Mapping[str, BaseDistribution], fixed: Mapping[str, Any], recording: xr.Dataset) -> None:
    """The corners' models are made and trained by one update, so that a space that cannot work is told before the first trial."""
    ends: dict[str, Sequence[Any]] = {
        name: d.choices if isinstance(d, CategoricalDistribution) else (d.low, d.high) for name, d in space.items()  # pyright: ignore[reportAttributeAccessIssue]
    }
    corners = [{name: values[0] for name, values in ends.items()}, {name: values[-1] for name, values in ends.items()}]
    corners += [corners[0] | {name: value} for name, values in ends.items() for value in values[1:]]
    for corner in corners:
        try:
            model, training = build({**fixed, **corner}, recording, 1, 0)
            if not isinstance(model, Reservoir):
                for name in ("n_updates", "batch_size"):                            # which this one update does without
                    check_int(name, training.get(name, 1), low=1)
                fit(model, recording, progress=False, random_state=0, **training | {"n_updates": 1, "batch_size": 1, "keep": "last", "validate_mean": False})
        except DynrnnError as error:
            raise ArgumentError(f"the space holds a setting that cannot be made, {corner}: {error}") from None
