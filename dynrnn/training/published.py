"""Settings that papers and their repositories publish, as models and arguments of ``fit``: a row of the table each."""

from __future__ import annotations

from typing import Any, NamedTuple

from dynrnn.errors import ArgumentError, unknown_name
from dynrnn.models.base import Model
from dynrnn.models.registry import model_class
from dynrnn.training.forcing import AdaptiveTeacherForcing, GeneralizedTeacherForcing, SparseTeacherForcing
from dynrnn.training.regularisation import Regularisation


class Setting(NamedTuple):
    """What was set, for what, and where it is written. ``arguments`` are the model's, ``training`` those of ``fit``."""

    family: str
    arguments: dict[str, Any]
    training: dict[str, Any]
    purpose: str
    source: str


GTF, ALRNN, RESERVOIRPY = "Hess et al. 2023, arXiv:2306.04406, scripts", "Brenner et al. 2024, arXiv:2410.14240, settings", "reservoirpy, README and notebooks"
RESIDUAL, WAVE = "arXiv:2508.21172, scripts", "Keller et al. 2024, arXiv:2309.08045"


def _shallow(T: int, forcing: Any, latent: float, observation: float) -> dict[str, Any]:
    return {
        "forcing": forcing, "n_updates": 250_000, "sequence_length": T, "learning_rate": (1e-3, 1e-6),
        "regularisation": Regularisation(latent=latent, observation=observation),
    }


def _alrnn(tau: int, T: int, rate: float, epochs: int, noise: float) -> dict[str, Any]:
    return {"forcing": SparseTeacherForcing(tau), "n_updates": 50 * epochs, "sequence_length": T, "learning_rate": (rate, 1e-5), "noise": noise}


def _shape(M: int, H: int) -> dict[str, Any]:
    return {"latent_dim": M, "hidden_dim": H, "clipped": True, "observation": "affine"}


PUBLISHED: dict[str, Setting] = {
    "gtf-default": Setting(
        "shallow-plrnn", {"observed_dim": 3, "latent_dim": 3, "hidden_dim": 100, "clipped": True},
        _shallow(200, AdaptiveTeacherForcing(norm="product_upper_bound"), 1e-5, 0.0), "three-dimensional flows", GTF,
    ),
    "gtf-ecg": Setting("shallow-plrnn", {"observed_dim": 5} | _shape(5, 250), _shallow(200, GeneralizedTeacherForcing(0.3), 0.0, 1e-7), "ECG", GTF),
    "gtf-eeg": Setting("shallow-plrnn", {"observed_dim": 64} | _shape(16, 512), _shallow(50, GeneralizedTeacherForcing(0.1), 1e-4, 1e-6), "EEG", GTF),
    "alrnn-lorenz63": Setting("alrnn", {"observed_dim": 3, "latent_dim": 20, "n_relu": 2}, _alrnn(16, 200, 1e-3, 2_000, 0.05), "Lorenz-63", ALRNN),
    "alrnn-roessler": Setting("alrnn", {"observed_dim": 3, "latent_dim": 20, "n_relu": 1}, _alrnn(8, 300, 5e-3, 3_000, 0.05), "Roessler", ALRNN),
    "alrnn-lorenz96": Setting("alrnn", {"observed_dim": 20, "latent_dim": 100, "n_relu": 50}, _alrnn(20, 50, 1e-3, 3_000, 0.05), "Lorenz-96", ALRNN),
    "alrnn-ecg": Setting("alrnn", {"observed_dim": 5, "latent_dim": 100, "n_relu": 2}, _alrnn(10, 50, 2e-3, 4_000, 0.01), "ECG", ALRNN),
    "esn-mackey-glass": Setting(
        "esn", {"observed_dim": 1, "reservoir_dim": 100, "spectral_radius": 1.25, "leak": 0.3, "density": 0.1}, {"ridge": 1e-5, "washout": 100},
        "Mackey-Glass, one step ahead", RESERVOIRPY,
    ),
    "es2n-memory": Setting(
        "residual-esn", {"observed_dim": 1, "reservoir_dim": 100, "beta": 0.05, "spectral_radius": 0.9, "input_scaling": 0.1}, {"ridge": 1e-7},
        "memory capacity", RESERVOIRPY,
    ),
    "residual-esn-memory-random": Setting(
        "residual-esn", {"observed_dim": 1, "reservoir_dim": 100, "alpha": 0.95, "beta": 0.01, "spectral_radius": 0.9, "input_scaling": 0.25},
        {"ridge": 1e-7}, "memory capacity", RESIDUAL,
    ),
    "residual-esn-memory-cycle": Setting(
        "residual-esn",
        {"observed_dim": 1, "reservoir_dim": 100, "branch": "cycle", "alpha": 0.95, "beta": 1e-4, "spectral_radius": 0.9, "input_scaling": 0.25},
        {"ridge": 1e-7}, "memory capacity", RESIDUAL,
    ),
    "euler-default": Setting(
        "euler-state-network", {"observed_dim": 1, "reservoir_dim": 200, "epsilon": 0.01, "gamma": 0.001, "recurrent_scaling": 1.0}, {"ridge": 1e-6},
        "classification of time series; not stable at the origin", "Gallicchio 2022, arXiv:2203.09382, code's defaults",
    ),
}


def published(name: str, **changes: Any) -> tuple[Model, dict[str, Any]]:
    """A model with published settings, and the arguments that ``fit`` takes with it.

    name : a row of ``dr.PUBLISHED``, which says the family, the arguments, what they were for and where they are written.
    changes : arguments of the model that are other or further ones, such as ``n_fits``, ``random_state`` or ``observed_dim``.

    Published scores were reached with these and *other code*, and reservoirpy draws input weights sparse and binary, where ours are dense and uniform:
    nothing here says that scores come out again. UnknownNameError for another name.

    >>> model, settings = published("alrnn-lorenz63", n_fits=4, random_state=0)
    >>> model.latent_dim, model.n_relu, model.n_fits, settings["n_updates"], settings["forcing"].interval
    (20, 2, 4, 100000, 16)
    """
    if name not in PUBLISHED:
        raise unknown_name("published setting", name, PUBLISHED)
    row = PUBLISHED[name]
    try:
        model = model_class(row.family)(**row.arguments | changes)
    except TypeError as error:
        raise ArgumentError(f"{name} is a {row.family}: {error}.") from error
    return model, dict(row.training)
