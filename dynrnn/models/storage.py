"""A model on disk: tensors as safetensors, the rest as JSON, a manifest over both; no pickle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from dynrnn.errors import ArgumentError, FileFormatError
from dynrnn.models.base import Model, blank
from dynrnn.models.registry import MODELS
from dynrnn.models.unwrap import model_of
from dynrnn.results.bundle import MANIFEST, read_bundle, write_bundle
from dynrnn.results.run_folder import RunFolder

KIND = "dynrnn-model"


def save(model: Any, path: str | os.PathLike[str]) -> Path:
    """Write a model (or a run's model) as the folder ``path``; an older model there is replaced in one step. Returns the path.

    RunFolderError if something else is there or it cannot be written.
    """
    model = model_of(model)
    config = {"kind": KIND, "family": model.family, "config": model.config(), "recording": model.recording_info}
    return write_bundle(path, model.state_dict(), config)


def load(path: str | os.PathLike[str]) -> Model:
    """The model that ``save`` wrote, equal to the last bit; of a run's folder the model that its fit kept (``checkpoints/last``, or ``best`` or ``mean``).
    FileFormatError if anything is damaged, foreign or missing; nothing of the file is run.

    Parameters of some fits may be NaN while others are finite: a fit that has diverged does not take the ensemble with it, and has a status in every analysis.

    >>> import tempfile, torch
    >>> from dynrnn.models import ALRNN
    >>> model = ALRNN(observed_dim=3, latent_dim=5, n_relu=1, random_state=0)
    >>> again = load(save(model, tempfile.mkdtemp() + "/lorenz.dynrnn"))
    >>> torch.equal(model.W, again.W)
    True
    """
    tensors, config = read_bundle(_kept(Path(path)))
    family = config.get("family")
    if config.get("kind") != KIND or family not in MODELS:
        raise FileFormatError(f"{path} holds no model of this version of dynrnn (kind {config.get('kind')!r}, family {family!r}).")
    try:
        with blank():
            model = MODELS[family](**config["config"])
    except (ArgumentError, TypeError, KeyError) as error:
        raise FileFormatError(f"{path}: its configuration does not describe a {family} model: {error}") from error
    state = model.state_dict()
    wrong = sorted(set(state) ^ set(tensors)) or sorted(k for k in state if state[k].shape != tensors[k].shape)
    if wrong:
        raise FileFormatError(f"{path}: tensors {', '.join(wrong)} do not fit the configuration of a {family} model.")
    trained = {name for name, _ in model.named_parameters()}
    finite = {k: torch.isfinite(v).reshape(len(v), -1).all(1) for k, v in tensors.items() if v.is_floating_point()}
    bad = sorted(k for k, v in finite.items() if not bool(v.any() if k in trained else v.all()))
    if bad:
        raise FileFormatError(f"{path}: {', '.join(bad)} hold NaN or inf in every fit, or where no fit may. Take an earlier checkpoint, or fit again.")
    model.load_state_dict(tensors)
    model.recording_info = dict(config.get("recording") or {})
    return model


def _kept(path: Path) -> Path:
    """Where the model of a run's folder lies; any other path as it is."""
    if (path / MANIFEST).exists() or not (path / "config.json").is_file() or not (path / "checkpoints").is_dir():
        return path
    folder = RunFolder.open(path)
    kept = folder.checkpoints / str(folder.config.get("keep", "last"))
    if not kept.is_dir():
        raise FileFormatError(f"{path} is the folder of a run that has no model yet ({kept} is not there): the fit has not ended. Let it end, or resume it.")
    return kept
