"""The folder of a training that begins, or of one that was broken off and goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dynrnn.errors import ArgumentError
from dynrnn.results.run_folder import RunFolder
from dynrnn.training.state import TrainingState

TRAINING = "training"      # in checkpoints/, where the state of a training is kept


def open_folder(
    out: str | os.PathLike[str] | None, config: dict[str, Any], about: dict[str, Any], resume: bool | TrainingState
) -> tuple[RunFolder | None, TrainingState | None]:
    """The run's folder, new unless an old one is to be gone on with, and the state to start from where there is one."""
    given = resume if isinstance(resume, TrainingState) else None
    if out is None:
        return None, given
    if resume is not True or not RunFolder(out).config_path.exists():
        return RunFolder.create(out, config), given
    folder = RunFolder.open(out)
    check_same(folder.path, {"config": folder.config}, {"config": about["config"]})
    if not (folder.checkpoints / TRAINING).exists():                                # broken off before its first save
        return folder, None
    state = TrainingState.load(folder.checkpoints / TRAINING)
    check_same(folder.path, state.about, about)
    return folder, state


def begun_with(out: str | os.PathLike[str]) -> int | None:
    """The random_state of the training in this folder, None where there is none."""
    return RunFolder.open(out).config.get("random_state") if RunFolder(out).config_path.exists() else None


def check_same(where: object, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """ArgumentError naming each entry, however deep, in which what was begun and what is asked for differ."""
    if wrong := differences(old, new):
        raise ArgumentError(f"{where} holds a training of another kind, not to be gone on with: {'; '.join(wrong)}. Give another out=, or those.")


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(k for k in new if k not in old)]
        return [text for key in keys for text in differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))]
    return [] if old == new else [f"{name} was {old!r}, now {new!r}"]
