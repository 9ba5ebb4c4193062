"""What a study is of, written with it and compared whenever it is opened again."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.study import StudyDirection

from dynrnn.errors import ArgumentError, StudyError
from dynrnn.study.storage import StudyStorage

FORMAT = 1
_FORMAT, _SPACE, _SEED = "dynrnn:format", "dynrnn:space", "dynrnn:random_state"


def enter_study(
    storage: StudyStorage, name: str, space: Mapping[str, BaseDistribution], directions: Sequence[str], random_state: int, attributes: Mapping[str, Any]
) -> int:
    """The id of the study of that name, made where there is none; StudyError where it is another study."""
    if not isinstance(name, str) or not name.strip() or len(name) > 256:
        raise ArgumentError(f"study_name must be text of 1 to 256 characters, got {str(name)[:40]!r}.")
    wanted = _identity(space, random_state, attributes)
    ways = [_direction(way) for way in directions]
    if not ways:
        raise ArgumentError("directions is empty: name 'minimize' or 'maximize' for each objective.")
    store, where = storage.optuna, f"the study {name!r} in {storage.describe()}"
    try:
        with unsaid():
            study_id = store.create_new_study(ways, name)
    except optuna.exceptions.DuplicatedStudyError:
        study_id = store.get_study_id_from_name(name)
    found = store.get_study_directions(study_id)
    if list(found) != ways:
        raise StudyError(f"{where} has the directions {_names(found)}, and {_names(ways)} are wanted. Choose another study name.")
    present = store.get_study_user_attrs(study_id)
    if _FORMAT not in present:
        if store.get_n_trials(study_id):
            raise StudyError(f"{where} has trials and was not made by dynrnn. Choose another study name.")
        # The mark comes last: who is killed before leaves a study that the next worker completes.
        for key, value in wanted.items():
            store.set_study_user_attr(study_id, key, value)
        present = store.get_study_user_attrs(study_id)
    _compare(where, wanted, present)
    return study_id


@contextlib.contextmanager
def unsaid() -> Iterator[None]:
    """Without Optuna's line for a study that is made, which would hide the user's own."""
    logger = logging.getLogger("optuna.storages")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _identity(space: Mapping[str, BaseDistribution], random_state: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
    if not space:
        raise ArgumentError("space is empty: name at least one parameter and its distribution.")
    for key, distribution in space.items():
        if not isinstance(key, str) or not isinstance(distribution, BaseDistribution):
            raise ArgumentError(f"space[{key!r}] must be a name and one of optuna's distributions, got {type(distribution).__name__}.")
    taken = [key for key in attributes if not isinstance(key, str) or key.startswith("dynrnn:")]
    if taken:
        raise ArgumentError(f"attributes: {taken[0]!r} cannot be a name; names are text and do not begin with 'dynrnn:'.")
    own = {_SPACE: {key: json.loads(distribution_to_json(distribution)) for key, distribution in space.items()}, _SEED: int(random_state)}
    try:
        plain = json.loads(json.dumps({**attributes, **own, _FORMAT: FORMAT}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"attributes must be what JSON holds (text, finite numbers, lists, dicts): {error}.") from None
    return plain


def _compare(where: str, wanted: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    if present.get(_FORMAT) != FORMAT:
        raise StudyError(f"{where} has format {present.get(_FORMAT)!r}, this dynrnn works with {FORMAT}. Install the version that made it.")
    for key in sorted(wanted):
        old, new = present.get(key), wanted[key]
        if old == new:
            continue
        if key == _SPACE and isinstance(old, dict):
            name = next(name for name in sorted({*old, *new}) if old.get(name) != new.get(name))
            key, old, new = f"space[{name!r}]", old.get(name), new.get(name)
        raise StudyError(
            f"{where} is of another search: {key.removeprefix('dynrnn:')} is {_short(old)} there and {_short(new)} here. "
            "Choose another study name, or go on with the settings it was made with."
        )


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."


def _direction(way: str) -> StudyDirection:
    try:
        return {"minimize": StudyDirection.MINIMIZE, "maximize": StudyDirection.MAXIMIZE}[way]
    except (KeyError, TypeError):
        raise ArgumentError(f"directions are 'minimize' or 'maximize', got {way!r}.") from None


def _names(ways: Sequence[StudyDirection]) -> str:
    return ", ".join(way.name.lower() for way in ways)
