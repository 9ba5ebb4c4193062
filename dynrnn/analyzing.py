"""A run taken apart in one call: exponents, fixed points, cycles, symbolic code, entropies and graphs, stored beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import xarray as xr
from tqdm.auto import tqdm

from dynrnn.analysis import bifurcations, code_entropies, cycles, fixed_points, lyapunov_spectrum, symbolic_code, transition_graph, write_graphml
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.analysis.smooth.system import needs_smooth_route
from dynrnn.errors import FileFormatError, check_int
from dynrnn.models import generate
from dynrnn.models.storage import load
from dynrnn.results import RunFolder, read_results
from dynrnn.results.store import write_group
from dynrnn.training import load_checkpoints

MOST_EXPONENTS = 64
FEW_EXPONENTS = 16              # of a large smooth model at first: more where their sum is not below zero yet
LARGE, FEW_STARTS = 100, 32     # units of a smooth model from which fixed points are sought from fewer starts, and cycles not at all


def analyze(
    run_folder: str | os.PathLike[str], *, max_period: int = 4, n_steps: int = 20_000, n_virtual: int = 8, random_state: int = 0, progress: bool = True
) -> dict[str, xr.Dataset]:
    """Lyapunov spectrum, fixed points, cycles and the symbolic code of every fit of a run, put into its folder and returned.

    Parameters
    ----------
    run_folder : what ``fit`` got as out=. Its model is that of the last update, or the best on validation if the fit kept that.
    max_period : cycles up to this period are looked for, from words of the free run too. n_steps : samples of the free run whose regions are
        coded, after as many tenths are dropped; a quarter of it is the length of the 32 stretches that exponents are measured over. n_virtual :
        virtual fixed points that are kept for each fit. random_state : of the searches.

    Returns the groups that go into results.zarr: ``lyapunov_spectrum`` (up to 64 exponents; of more than 100 smooth units 16, if their sum is below zero),
    ``fixed_points``, ``cycles``, ``symbolic_code``, ``code_entropies``, and ``bifurcations`` over the training if the fit kept checkpoints (of fixed
    points alone, whatever max_period: to look for cycles at every checkpoint costs too much unasked); and writes the transition graph of each fit to
    graphs/fit-<k>.graphml. What was stored before under these names is replaced, each group when it is done.
    The functions of the same names in ``dynrnn.analysis`` say what the variables are, what is complete, and what it costs.

    Models of smooth units (reservoirs) have no regions, hence no symbolic code, entropies or graphs; those of more than 100 units get fixed points from 32
    starts a fit (as many again, up to four times, while their indices do not add up), exponents over half as many steps, and no cycles:
    call ``analysis.smooth_fixed_points`` and ``smooth_cycles`` for more, which cost O(M^3) a start and iteration.

    A fit whose parameters are not finite has empty rows and no graph. One whose free run diverges has its fixed points and cycles, a code up to there
    whose status says so ("analysed until the orbit diverged", or "orbit not finite" where nothing is left of it), and no graph.
    FileFormatError if the folder holds no run with a model.
    """
    check_int("max_period", max_period, low=1)
    check_int("n_steps", n_steps, low=2)
    folder = RunFolder.open(run_folder)
    name = str(folder.config.get("keep", "last"))                               # the model that fit left in run.model
    if not (folder.checkpoints / name).is_dir():
        raise FileFormatError(f"{folder.checkpoints / name} is not there: the fit has not ended, or was made without a model. Wait for it, or fit again.")
    model = load(folder.checkpoints / name)
    smooth = needs_smooth_route(model)
    large = smooth and model.latent_dim > LARGE
    out: dict[str, xr.Dataset] = {}
    orbit = xr.Dataset()

    def free_run() -> None:
        nonlocal orbit
        orbit = generate(model, n_steps, transient=n_steps // 10)

    def keep(name: str, compute: Callable[[], xr.Dataset]) -> Callable[[], None]:
        def step() -> None:
            out[name] = compute()
            write_group(folder.results, name, out[name])

        return step

    def periodic() -> xr.Dataset:
        if smooth:
            return cycles(model, max_period, random_state=random_state)
        stretch = orbit.latent.isel(time=slice(1_000))
        return cycles(model, max_period, orbits=stretch, random_state=random_state)

    def over_training() -> xr.Dataset:
        history = read_results(folder.results)["training"].to_dataset()
        return bifurcations(load_checkpoints(folder.path), history=history)

    def graphs() -> None:
        (folder.path / "graphs").mkdir(exist_ok=True)
        for k, fit in enumerate(model.fit_number.tolist()):
            if str(out["symbolic_code"].status.values[k]) == ANALYSED:
                graph = transition_graph(out["symbolic_code"], fit=fit, model=model)
                write_graphml(graph, folder.path / "graphs" / f"fit-{fit}.graphml")

    def exponents() -> xr.Dataset:
        steps, most = max(10, n_steps // 4), min(model.latent_dim, MOST_EXPONENTS)
        if large:
            steps = max(10, steps // 2)
            found = lyapunov_spectrum(model, FEW_EXPONENTS, steps, random_state=random_state)
            if not (found.value.sum("exponent", skipna=False) > 0).any():        # a dimension wants exponents up to where the sum turns
                return found
        return lyapunov_spectrum(model, most, steps, random_state=random_state)

    def found_points() -> xr.Dataset:
        if smooth:
            return fixed_points(model, n_starts=FEW_STARTS if large else None, random_state=random_state)
        return fixed_points(model, n_virtual=n_virtual, random_state=random_state)

    steps: dict[str, Callable[[], Any]] = {
        "exponents": keep("lyapunov_spectrum", exponents),
        "fixed points": keep("fixed_points", found_points),
        "free run": free_run,
        "cycles": keep("cycles", periodic),
        "symbolic code": keep("symbolic_code", lambda: symbolic_code(model, orbit)),
        "entropies": keep("code_entropies", lambda: code_entropies(out["symbolic_code"])),
        "graphs": graphs,
    }
    for what in (*(["symbolic code", "entropies", "graphs"] if smooth else []), *(["cycles"] if large else [])):
        del steps[what]
    if folder.config.get("checkpoint_every"):
        steps["bifurcations"] = keep("bifurcations", over_training)
    with tqdm(total=len(steps), disable=not progress, unit="step") as bar:
        for what, compute in steps.items():
            bar.set_description(what)
            compute()
            bar.update()
    return out
