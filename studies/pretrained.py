"""The fits that are shipped with the package: trains them with fixed seeds, judges every seed, and keeps the one that runs best on validation data.

    taskset -c 0 python studies/pretrained.py                           # all: about five minutes on one core
    taskset -c 0 python studies/pretrained.py --only lorenz63-esn       # one

Each becomes a folder ``dynrnn/pretrained/<name>/`` as ``dr.save`` writes it, with ``card.json`` beside the tensors' folder: how it was trained, the scores
of the fit on data that neither training nor choice saw, and median and range over *all* seeds, the lost ones included. Trained on simulated systems alone,
so that nobody's data are in them.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
import xarray as xr

import dynrnn as dr
from dynrnn.analysis.reconstruction import d_stsp, score_orbits
from dynrnn.models import Reservoir, select_model

N_STEPS = 10_000            # of validation, of each test trajectory and of each free run
N_STARTS = 64               # free runs, from as many places of the recording: their scores have long tails, and a few starts miss them
DRIVEN = 1_000              # samples that drive a reservoir before it runs freely
OTHERS = 4                  # further true trajectories, for the floor
LOST = 2.0                  # D_stsp above which a fit has missed the attractor
TRAINING, VALIDATION, TEST = 0, 2_000, 1_000                                        # random_state of each recording


class Recipe(NamedTuple):
    """``model(n)`` with n fits, arguments of ``fit``, fits whose maps are averaged into one model, and most regions that a chosen one may use."""

    system: str
    model: Callable[[int], Any]
    training: dict[str, Any]
    seeds: int
    average: int = 1
    held_out: bool = False
    most_symbols: int | None = None
    n_steps: int = 50_000


def alrnn(latent_dim: int, n_relu: int) -> Callable[[int], Any]:
    return lambda n: dr.ALRNN(3, latent_dim, n_relu, n_fits=n, random_state=0)


SPARSE = {"forcing": dr.SparseTeacherForcing(10), "learning_rate": (1e-3, 1e-5), "noise": 0.05, "keep": "best"}
RECIPES: dict[str, Recipe] = {
    "lorenz63-shallow-plrnn": Recipe(
        "lorenz63", lambda n: dr.ShallowPLRNN(3, 3, 100, clipped=True, n_fits=n, random_state=0),
        {"forcing": dr.GeneralizedTeacherForcing(0.15), "learning_rate": (3e-3, 1e-3), "n_updates": 30_000, "keep": "mean", "mean_over": 0.25}, 4,
    ),
    "lorenz63-alrnn": Recipe("lorenz63", alrnn(20, 2), SPARSE | {"n_updates": 40_000, "validate_every": 500}, 3, held_out=True, most_symbols=3),
    "roessler-alrnn": Recipe("roessler", alrnn(20, 1), SPARSE | {"n_updates": 20_000, "validate_every": 2_000}, 4, held_out=True, most_symbols=2),
    "lorenz63-esn": Recipe(
        "lorenz63", lambda n: dr.ESN(3, 150, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, n_fits=n, random_state=0), {"ridge": 1e-7}, 6,
        n_steps=20_000,
    ),
}


@dataclass
class Settings:
    """Arguments of the script."""

    only: tuple[str, ...] = ()
    """Names of those to train; all by default."""
    out: Path = Path(dr.__file__).parent / "pretrained"


@functools.cache
def recordings(system: str) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """To train on, to choose by, and to test on: noise-free, each from starts of its own."""
    training = dr.load_dataset(system, n_steps=50_000, random_state=TRAINING)
    return training, dr.load_dataset(system, n_steps=N_STEPS, random_state=VALIDATION), dr.load_dataset(
        system, n_steps=N_STEPS, n_trials=1 + OTHERS, random_state=TEST)


def free_runs(model: Any, recording: xr.Dataset, n_steps: int = N_STEPS) -> np.ndarray:
    """Free runs (fit, start, time, channel) from places spread over the recording's first trial."""
    x = recording.observed.values[0]
    places = np.linspace(0, len(x) - DRIVEN, N_STARTS + 1).astype(int)[:-1]
    parts = dr.as_recording(np.stack([x[at : at + DRIVEN] for at in places]), dt=float(recording.attrs["dt"]))
    initial = dr.warmup(model, parts) if isinstance(model, Reservoir) else parts
    return dr.generate(model, n_steps, initial=initial, transient=n_steps // 10).observed.values


def divergences(model: Any, recording: xr.Dataset, runs: np.ndarray) -> np.ndarray:
    """D_stsp (fit, start) against the recording's first trial."""
    return d_stsp([recording.observed.values[0]], runs, "dynrnn-1")


def symbols(model: Any, recording: xr.Dataset) -> np.ndarray:
    """Regions of the relu units that each fit's free run visits in more than a hundredth of its samples."""
    code = dr.analysis.symbolic_code(model, dr.generate(model, N_STEPS, initial=recording.isel(trial=[0]), transient=N_STEPS // 10))
    counts = [np.bincount(row[row >= 0]) for row in code.symbol.values.reshape(model.n_fits, -1)]
    return np.array([int((c >= 0.01 * max(c.sum(), 1)).sum()) for c in counts])


def spread(values: np.ndarray) -> dict[str, Any]:
    values = np.asarray(values, dtype=float)
    return {"median": float(np.median(values)), "min": float(values.min()), "max": float(values.max()), "n": int(values.size)}


def make(name: str, recipe: Recipe, out: Path) -> None:
    began = time.perf_counter()
    training, validation, tests = recordings(recipe.system)
    training = training.isel(time=slice(0, recipe.n_steps)).assign(n_time=("trial", [recipe.n_steps]))
    arguments, options = dict(recipe.training), {}
    if recipe.held_out:
        training, options["validation"] = dr.split(training, train=0.8)
    if "n_updates" in arguments:
        options["random_state"] = 0
    run = dr.fit(recipe.model(recipe.seeds * recipe.average), training, progress=False, **arguments, **options)
    model = dr.average(run.model, recipe.average) if recipe.average > 1 else run.model
    trained = time.perf_counter() - began

    chosen_by = np.median(divergences(model, validation, free_runs(model, validation)), 1)
    runs = free_runs(model, tests)
    scores = divergences(model, tests, runs)                                        # (fit, start)
    x = tests.observed.values
    floor = d_stsp([x[0]], x[None, 1:], "dynrnn-1")[0]
    judged = score_orbits([x[0]], runs[:, :1], "dynrnn-1", n_null=3)
    allowed = np.ones(model.n_fits, bool)
    used = None
    if recipe.most_symbols is not None:
        used = symbols(model, validation)
        allowed = used <= recipe.most_symbols
    best = int(np.argmin(np.where(allowed, chosen_by, np.inf)))
    shipped = select_model(model, best)
    exponents = dr.analysis.lyapunov_spectrum(shipped, 3, n_steps=5_000, initial=None if isinstance(shipped, Reservoir) else tests.isel(trial=[0]))
    true = dr.reference_spectrum(recipe.system)
    dr.save(shipped, out / name / "model")
    size = sum(file.stat().st_size for file in (out / name / "model").iterdir())
    every = np.median(scores, 1)
    surrogate = float(np.median(judged.d_stsp_surrogate))
    low, high = np.quantile(scores[best], [0.25, 0.75])
    chosen = f"the best of {model.n_fits} by median D_stsp on validation data"
    chosen += "" if used is None else f", among those that use at most {recipe.most_symbols} symbols"
    chosen += f"; each is the mean of {recipe.average} fits' maps" if recipe.average > 1 else ""
    told = {key: value if isinstance(value, int | float | str | tuple) else repr(value) for key, value in arguments.items()}
    card = {
        "name": name, "system": recipe.system, "family": shipped.family, "model": shipped.config(), "licence": "MIT", "size_bytes": size,
        "command": f"python studies/pretrained.py --only {name}", "dynrnn": dr.__version__,
        "training": {"n_samples": int(training.n_time[0]), "noise": 0.0, "random_state": 0, "fits": recipe.seeds * recipe.average} | told,
        "chosen": chosen + ". How typical it is: see d_stsp_of_all.",
        "d_stsp": {
            "value": float(every[best]), "sd_over_starts_from_quartiles": float((high - low) / 1.349), "n_starts": N_STARTS, "n_steps": N_STEPS,
            "preset": "dynrnn-1", "starts_lost": int((~(scores[best] < surrogate)).sum()), "floor": spread(floor), "surrogate": surrogate,
        },
        "d_stsp_of_all": spread(every) | {"each": every.round(4).tolist(), "missed": int((~(every <= LOST)).sum())},
        "d_hellinger": {"value": float(judged.d_hellinger[best]), "of_all": spread(judged.d_hellinger.values)},
        "exponents": {
            "value": exponents.value.values[0].round(4).tolist(), "standard_error": exponents.standard_error.values[0].round(4).tolist(),
            "of_the_system": true.value.values[:3].round(4).tolist(),
        },
        "n_symbols": None if used is None else {"value": int(used[best]), "of_all": used.tolist()},
        "test": {"n_steps": N_STEPS, "n_trials": 1 + OTHERS, "random_state": TEST},
    }
    (out / name / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(
        f"{name}: D_stsp {every[best]:.3f} (all {spread(every)}), floor {np.median(floor):.3f}, exponents {card['exponents']}, symbols {used}, {size:,} bytes, "
        f"trained {trained:.0f} s, all {time.perf_counter() - began:.0f} s", flush=True,
    )


def main(settings: Settings) -> None:
    for name in settings.only or RECIPES:
        if name not in RECIPES:
            raise dr.UnknownNameError(f"unknown recipe {name!r}. Known: {', '.join(RECIPES)}.")
        make(name, RECIPES[name], settings.out)


if __name__ == "__main__":
    main(tyro.cli(Settings))
