"""What noise, few data and unseen channels cost: Lorenz-63, one thing changed at a time.

    python studies/data_budget.py                               # 10 seeds of 60,000 updates for each setting
    python studies/data_budget.py --only length --seeds 5
    python studies/data_budget.py --full                        # 250,000 updates a fit

Expected core-hours first, then a row as soon as it is there; a study that was broken off goes on where it was. Medians over seeds with their range, last
checkpoint. Judged on clean recordings in the channels that were seen, each row beside the floor of these channels; the largest exponent does not depend on
which channels are seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
import xarray as xr
from rows import FULL, Row, Table, judged, lost, spread, tell_cost, trained

import dynrnn as dr

COLUMNS = ("training data", "D_stsp", "floor", "surrogate", "D_H", "largest exponent", "lost")
FAR = 2.0


@dataclass
class Settings:
    """Arguments of the study."""

    only: tuple[Literal["noise", "length", "observed"], ...] = ("noise", "length", "observed")
    noises: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1, 0.2)
    """In standard deviations of a channel, 100,000 samples."""
    lengths: tuple[int, ...] = (1_000, 3_000, 10_000, 30_000)
    """Samples, with 5 % noise."""
    channels: tuple[str, ...] = ("xy", "xz", "x")
    """Seen of x, y, z: 100,000 samples with 5 % noise. The model keeps three units or more, of which those of the others are never forced."""
    seeds: int = 10
    updates: int = 60_000
    full: bool = False
    """250,000 updates a fit, as published."""
    steps: int = 100_000
    tests: int = 3
    random_state: int = 0
    out: Path = Path(__file__).parent / "tables" / "data_budget.md"


def rows_of(settings: Settings) -> list[Row]:
    seed = settings.random_state
    options = {"forcing": dr.GeneralizedTeacherForcing((0.2, 0.1)), "learning_rate": (2e-3, 1e-5), "standardise": False}

    def row(name: str, steps: int, noise: float, seen: str = "xyz", latent: int = 3) -> Row:
        data = dr.load_dataset("lorenz63", n_steps=steps, noise=noise, random_state=seed, observed=list(seen))
        return Row(name, lambda **o: dr.ShallowPLRNN(len(seen), latent, 50, clipped=True, **o), options, data, notes={"seen": seen})

    out = []
    if "noise" in settings.only:
        out += [row(f"noise {100 * noise:g} %", settings.steps, noise) for noise in settings.noises]
    if "length" in settings.only:
        out += [row(f"{steps:,} samples", steps, 0.05) for steps in settings.lengths]
    if "observed" in settings.only:
        out += [row(f"only {', '.join(seen)}; M = {M}", settings.steps, 0.05, seen, M) for seen in settings.channels for M in (3, 6)]
    return out


def floor(tests: xr.Dataset) -> str:
    """D_stsp of each test recording against the next."""
    n = tests.sizes["trial"]
    x = tests.observed.values
    return spread([dr.analysis.reconstruction.d_stsp([x[k]], x[None, None, (k + 1) % n], "gtf-2023").item() for k in range(n)])


def main(settings: Settings) -> None:
    tests = dr.load_dataset("lorenz63", n_steps=settings.steps, n_trials=settings.tests, random_state=1_000)
    updates = FULL if settings.full else settings.updates
    kept = {k: v for k, v in asdict(settings).items() if k not in ("only", "out", "noises", "lengths", "channels")} | {"updates": updates}
    table = Table(settings.out, f"Lorenz-63: {settings.seeds} seeds, {updates:,} updates, preset gtf-2023", COLUMNS, kept)
    rows = [row for row in rows_of(settings) if row.name in table.missing([row.name])]
    tell_cost(rows, None, settings.seeds, updates, settings.random_state)
    for row in rows:
        run = trained(row, None, settings.seeds, updates, settings.random_state)
        seen = tests.sel(feature=list(row.notes["seen"]))
        numbers: dict[str, Any] = judged(run, seen, "gtf-2023")
        exponents = dr.analysis.lyapunov_spectrum(run, 1, n_steps=1_000, n_segments=16)
        numbers["largest_exponent"] = exponents.value.values[:, 0].tolist()
        table.add(row.name, numbers, {
            "D_stsp": spread(numbers["d_stsp"]), "floor": floor(seen), "surrogate": spread(numbers["d_stsp_surrogate"]),
            "D_H": spread(numbers["d_hellinger"], 3),
            "largest exponent": spread(numbers["largest_exponent"]), "lost": lost(numbers["d_stsp"], FAR),
        })
    truth = dr.reference_spectrum("lorenz63").value.values[0]
    table.close([
        f"The flow's largest exponent is {truth:.3f}. Lost: D_stsp beyond {FAR:g} or not finite; fewer channels have fewer bins, so see the floor beside it.",
        "Shallow PLRNN, M=3 unless said, H=50, clipped; generalised forcing .2 to .1 on the channels seen; windows of 200; learning rate 2e-3 to 1e-5.",
        f"`python studies/data_budget.py --seeds {settings.seeds} --updates {updates}`",
    ])


if __name__ == "__main__":
    main(tyro.cli(Settings))
