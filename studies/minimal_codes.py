"""How few relu units does an AL-RNN need on Lorenz-63 and on Roessler? Every P from 0 to 4, every outcome shown.

    python studies/minimal_codes.py                              # 5 seeds, 100,000 updates each: about half an hour on two cores
    python studies/minimal_codes.py --system roessler --n-relu 0 1 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import tyro

import dynrnn as dr
from dynrnn.analysis.reconstruction import score_orbits
from dynrnn.training import minimal_code


@dataclass
class Settings:
    """Arguments of the study."""

    system: Literal["both", "lorenz63", "roessler"] = "both"
    n_relu: tuple[int, ...] = (0, 1, 2, 3, 4)
    latent_dim: int = 20
    fits: int = 5
    updates: int = 100_000
    preset: str = "gtf-2023"
    random_state: int = 0


def main(settings: Settings) -> None:
    for system in ("lorenz63", "roessler") if settings.system == "both" else (settings.system,):
        training = dr.load_dataset(system, n_steps=100_000, random_state=settings.random_state)
        tests = dr.load_dataset(system, n_steps=100_000, n_trials=2, random_state=1_000)
        found = minimal_code(
            training, tests, settings.n_relu, settings.latent_dim, n_fits=settings.fits, preset=settings.preset, random_state=settings.random_state,
            n_updates=settings.updates, learning_rate=(1e-3, 1e-5), noise=0.05, validate_every=max(1, settings.updates // 100), progress=False,
        )
        floor = score_orbits([tests.observed.values[0]], tests.observed.values[1][None, None], settings.preset, n_null=5)
        print(f"\n{system}: floor D_stsp {float(floor.d_stsp[0]):.3f}, surrogate {float(np.median(floor.d_stsp_surrogate)):.2f}", end="; ")
        print(f"fewest relu units within a standard error of the best: {int(found.minimal)} ({found.minimal_status.item()})")
        print("| P | median D_stsp | D_stsp of each seed | D_H | regions in use |\n|---|---|---|---|---|")
        for P in found.n_relu.values:
            row = found.sel(n_relu=P)
            seeds = " ".join(f"{x:.2f}" for x in row.d_stsp.values)
            symbols = " ".join(str(x) for x in row.n_symbols.values)
            median, error, d_h = float(row["median"]), float(row.standard_error), float(np.median(row.d_hellinger))
            print(f"| {P} | {median:.2f} +- {error:.2f} | {seeds} | {d_h:.3f} | {symbols} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
