"""How few relu units does an AL-RNN need on Lorenz-63 and on Roessler? Every P from 0 to 4, every outcome shown.

    python studies/minimal_codes.py                              # both systems, 10 seeds of each P
    python studies/minimal_codes.py --systems roessler --n-relu 0 1 2 --seeds 3

Expected core-hours first, then the rows of a system as soon as they are there; a study that was broken off goes on with the next system. Medians over seeds
with their range, the checkpoint best on a held-out fifth, nothing left out. The interval of forcing decides whether a fit collapses: for Lorenz-63 it is the
one that trains best (docs/results.md), for Roessler the one that its recording says.
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

COLUMNS = ("system, relu units", "D_stsp", "D_H", "regions in use", "lost", "published D_stsp")
SYSTEMS = {"lorenz63": (40_000, 10), "roessler": (15_000, None)}                        # updates, interval
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
    """Default 40,000 for Lorenz-63 and 15,000 for Roessler."""
    preset: str = "gtf-2023"
    random_state: int = 0
    out: Path = Path(__file__).parent / "tables" / "minimal_codes.md"


def main(settings: Settings) -> None:
    kept = {k: v for k, v in asdict(settings).items() if k not in ("systems", "out")}
    table = Table(settings.out, f"Minimal codes: AL-RNNs of {settings.latent_dim} units, {settings.seeds} seeds, preset {settings.preset}", COLUMNS, kept)
    for system in settings.systems:
        names = {P: f"{system}, P = {P}" for P in settings.n_relu}
        if not table.missing([f"{system}, floor", *names.values()]):
            continue
        training = dr.load_dataset(system, n_steps=100_000, random_state=settings.random_state)
        tests = dr.load_dataset(system, n_steps=100_000, n_trials=2, random_state=1_000)
        default, interval = SYSTEMS[system]
        updates = settings.updates or default
        options: dict[str, Any] = {"forcing": dr.SparseTeacherForcing(interval), "learning_rate": (1e-3, 1e-5), "noise": 0.05}
        rows = [Row(name, lambda P=P, **o: dr.ALRNN(3, settings.latent_dim, P, **o), options) for P, name in names.items()]
        tell_cost(rows, training, settings.seeds, updates, settings.random_state)
        found = minimal_code(
            training, tests, settings.n_relu, settings.latent_dim, n_fits=settings.seeds, preset=settings.preset, random_state=settings.random_state,
            n_updates=updates, validate_every=max(1, updates // 160), progress=False, **options,
        )
        for P, name in names.items():
            row = found.sel(n_relu=P)
            symbols = row.n_symbols.values
            table.add(name, {key: row[key].values.tolist() for key in ("d_stsp", "d_hellinger", "n_symbols", "status")}, {
                "D_stsp": spread(row.d_stsp.values), "D_H": spread(row.d_hellinger.values, 3), "lost": lost(row.d_stsp.values, FAR),
                "regions in use": ", ".join(f"{n} ({int((symbols == n).sum())} seeds)" for n in np.unique(symbols)),
                "published D_stsp": PUBLISHED.get((system, P), "-"),
            })
        floor = score_orbits([tests.observed.values[0]], tests.observed.values[1][None, None], settings.preset, n_null=5)
        table.add(f"{system}, floor", {"minimal": int(found.minimal)}, {"D_stsp": spread(floor.d_stsp.values), "D_H": spread(floor.d_hellinger.values, 3)})
        table.add(f"{system}, phase-randomised surrogate", {}, {"D_stsp": spread(floor.d_stsp_surrogate.values)})
        said = f"{system}, {updates:,} updates: fewest relu units within a standard error of the best {int(found.minimal)} ({found.minimal_status.item()})."
        table.close([line for line in table.footer if not line.startswith(("`", "Lost", f"{system},"))] + [
            said,
            f"Lost: D_stsp beyond {FAR:g} or not finite. Clean data, windows with noise .05, interval 10 on Lorenz-63, checkpoint best on a held-out fifth.",
            f"`python studies/minimal_codes.py --seeds {settings.seeds}`",
        ])


if __name__ == "__main__":
    main(tyro.cli(Settings))
