"""How few relu units does an AL-RNN need on Lorenz-63 and on Roessler? Every P from 0 to 4, every outcome shown.

    python studies/minimal_codes.py                              # both systems, 10 seeds of each P
    python studies/minimal_codes.py --systems roessler --n-relu 0 1 2 --seeds 3

Expected core-hours first, then a row as soon as it is there; a study that was broken off goes on with the next. Medians over seeds with their range, of each
fit the checkpoint of 150 that runs best beside the training data, nothing left out. The interval of forcing decides whether a fit collapses: for Lorenz-63 it
is the one that trains best (docs/results.md), for Roessler the one that its recording says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rows import Row, Table, lost, spread, tell_cost

import dynrnn as dr
from dynrnn.analysis.reconstruction import score_orbits
from dynrnn.training import minimal_code
from dynrnn.training.minimal import fewest, medians

COLUMNS = ("system, relu units", "D_stsp", "D_H", "regions in use", "lost", "published D_stsp")
SYSTEMS: dict[str, tuple[int, dict[str, Any]]] = {                                      # updates, options of fit
    "lorenz63": (30_000, {"forcing": dr.SparseTeacherForcing(10), "learning_rate": (1e-3, 1e-4), "noise": 0.04}),
    "roessler": (15_000, {"forcing": dr.SparseTeacherForcing(), "learning_rate": (1e-3, 1e-5), "noise": 0.05}),
}
PUBLISHED = {("lorenz63", 2): "3.52"}                                                   # the AL-RNN tutorial's shipped model
FAR = 4.0


@dataclass
class Settings:
    """Arguments of the study."""

    systems: tuple[Literal["lorenz63", "roessler"], ...] = ("lorenz63", "roessler")
    n_relu: tuple[int, ...] = (0, 1, 2, 3, 4)
    latent_dim: int = 20
    seeds: int = 10
    updates: int | None = None
    """Default 30,000 for Lorenz-63 and 15,000 for Roessler."""
    preset: str = "gtf-2023"
    random_state: int = 0
    out: Path = Path(__file__).parent / "tables" / "minimal_codes.md"


def main(settings: Settings) -> None:
    kept = {k: v for k, v in asdict(settings).items() if k not in ("systems", "n_relu", "out")}
    table = Table(settings.out, f"Minimal codes: AL-RNNs of {settings.latent_dim} units, {settings.seeds} seeds, preset {settings.preset}", COLUMNS, kept)
    for system in settings.systems:
        names = {P: f"{system}, P = {P}" for P in sorted(settings.n_relu)}
        missing = [P for P, name in names.items() if table.missing([name])]
        training = dr.load_dataset(system, n_steps=100_000, random_state=settings.random_state)
        tests = dr.load_dataset(system, n_steps=100_000, n_trials=2, random_state=1_000)
        default, options = SYSTEMS[system]
        updates = settings.updates or default
        rows = [Row(names[P], lambda P=P, **o: dr.ALRNN(3, settings.latent_dim, P, **o), options) for P in missing]
        tell_cost(rows, training, settings.seeds, updates, settings.random_state)
        if table.missing([f"{system}, floor"]):
            floor = score_orbits([tests.observed.values[0]], tests.observed.values[1][None, None], settings.preset, n_null=5)
            table.add(f"{system}, floor", {}, {"D_stsp": spread(floor.d_stsp.values), "D_H": spread(floor.d_hellinger.values, 3)})
            table.add(f"{system}, phase-randomised surrogate", {}, {"D_stsp": spread(floor.d_stsp_surrogate.values)})
        for P in missing:
            found = minimal_code(
                training, tests, [P], settings.latent_dim, n_fits=settings.seeds, preset=settings.preset, random_state=settings.random_state,
                n_updates=updates, validate_every=max(1, updates // 150), progress=False, **options,
            ).isel(n_relu=0)
            symbols = found.n_symbols.values
            table.add(names[P], {key: found[key].values.tolist() for key in ("d_stsp", "d_hellinger", "n_symbols", "status")}, {
                "D_stsp": spread(found.d_stsp.values), "D_H": spread(found.d_hellinger.values, 3), "lost": lost(found.d_stsp.values, FAR),
                "regions in use": ", ".join(f"{n} ({int((symbols == n).sum())} seeds)" for n in np.unique(symbols)),
                "published D_stsp": PUBLISHED.get((system, P), "-"),
            })
        known = {P: table.numbers[name]["d_stsp"] for P in range(settings.latent_dim + 1) if (name := f"{system}, P = {P}") in table.numbers}
        minimal, rests_on = fewest(list(known), *medians(np.array(list(known.values()))))
        said = f"{system}, {updates:,} updates, P = {', '.join(map(str, known))}: fewest within a standard error of the best {minimal} ({rests_on})."
        table.close([line for line in table.footer if line.startswith(tuple(SYSTEMS)) and not line.startswith(system)] + [
            said,
            f"Lost: D_stsp beyond {FAR:g} or not finite. Clean data; checkpoints by free runs beside it. Lorenz-63: interval 10, noise .04 on windows,",
            "rate 1e-3 to 1e-4; Roessler: the interval of the recording, noise .05, rate 1e-3 to 1e-5.",
            f"`python studies/minimal_codes.py --seeds {settings.seeds}`",
        ], [f"{name}, {row}" for name in SYSTEMS for row in ("floor", "phase-randomised surrogate", *(f"P = {P}" for P in range(settings.latent_dim + 1)))])


if __name__ == "__main__":
    main(tyro.cli(Settings))
