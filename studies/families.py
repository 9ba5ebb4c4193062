"""Every family of the toolkit on the same data in the same time: Lorenz-63 with 5 % noise, and an electrocardiogram.

    python studies/families.py                              # Lorenz-63: a minute a family on two cores, three seeds each
    python studies/families.py --file ecg.npy               # a (time, channel) array; the last fifth judges
    python studies/families.py --only alrnn ltc --seconds 300

All seeds of a family train together for ``seconds`` of wall-clock time (compilation and the look at how fast it is do not count); reservoirs are solved,
in less. Sizes and forcing are the published ones where there are any, and nothing is tuned here. Last checkpoint, medians over seeds with their range.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

import dynrnn as dr
from dynrnn.models import Reservoir

FAR = {"lorenz63": 2.0, "file": 10.0}        # D_stsp beyond which a run counts as lost


@dataclass
class Settings:
    """Arguments of the study."""

    only: tuple[str, ...] = ()
    """Names of families as the table has them; all by default."""
    file: Path | None = None
    """A .npy of shape (time, channel), in place of Lorenz-63."""
    seconds: float = 60.0
    """Of training, all seeds of a family together."""
    seeds: int = 3
    steps: int = 100_000
    """Of each recording of Lorenz-63."""
    dt: float = 1.0
    """Sampling step of ``file``."""
    out: Path | None = None
    """Numbers of the table (JSON)."""
    random_state: int = 0


def families(N: int, affine: str) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Constructor and arguments of ``fit`` by name. ``affine``: the observation model of families that can have either."""
    gtf = {"forcing": dr.GeneralizedTeacherForcing((0.2, 0.1)), "learning_rate": (2e-3, 1e-5)}
    sparse = {"forcing": dr.SparseTeacherForcing(16), "learning_rate": (1e-3, 1e-5)}
    hidden = 50 if N == 3 else 250
    either = {"observation": affine}
    return {
        "PLRNN": (lambda **o: dr.PLRNN(N, 20, **o), sparse),
        "PLRNN, mean-centred": (lambda **o: dr.PLRNN(N, 20, mean_centred=True, **o), sparse),
        "dendritic, clipped": (lambda **o: dr.DendriticPLRNN(N, 20, 20, clipped=True, **o), sparse),
        "shallow": (lambda **o: dr.ShallowPLRNN(N, N, hidden, **either, **o), gtf),
        "shallow, clipped": (lambda **o: dr.ShallowPLRNN(N, N, hidden, clipped=True, **either, **o), gtf),
        "AL-RNN": (lambda **o: dr.ALRNN(N, 20, 2, **o), sparse),
        "wave-RNN": (lambda **o: dr.WaveRNN(N, 32, 4, **o), gtf),
        "identity-RNN": (lambda **o: dr.IdentityRNN(N, 40, **o), gtf),
        "LTC": (lambda **o: dr.LTC(N, 20, unfolds=2, **o), gtf | {"learning_rate": (1e-2, 1e-4), "sequence_length": 100}),
        "assembly": (lambda **o: dr.Assembly(N, areas=(10, 10, 10), **o), gtf),
        "ESN": (lambda **o: dr.ESN(N, 300, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, **o), {}),
        "deep ESN": (lambda **o: dr.DeepESN(N, 300, **o), {}),
        "ES2N": (lambda **o: dr.ResidualESN(N, 300, beta=0.5, input_scaling=0.5, bias_scaling=1.0, **o), {}),
        "residual memory network": (lambda **o: dr.ResidualMemoryNetwork(N, 200, 100, **o), {}),
        "Euler state network": (lambda **o: dr.EulerStateNetwork(N, 300, epsilon=0.1, gamma=0.1, recurrent_scaling=0.1, bias_scaling=1.0, **o), {}),
        "next-generation": (lambda **o: dr.NextGenerationReservoir(N, **o), {}),
    }


def trained(model: Any, training: Any, options: dict[str, Any], settings: Settings) -> tuple[Any, int, float]:
    """(run, updates, seconds)."""
    if isinstance(model, Reservoir):
        began = time.perf_counter()
        run = dr.fit(model, training, progress=False)
        return run, 0, time.perf_counter() - began
    common = {"progress": False, "random_state": settings.random_state, **options}
    fresh = dr.concat([model])
    dr.fit(fresh, training, n_updates=3, **common)                              # compiles
    began, n = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < min(3.0, settings.seconds / 10) or n == 0:
        dr.fit(fresh, training, n_updates=20, **common)
        n += 20
    updates = max(1, round(settings.seconds * n / took))
    began = time.perf_counter()
    return dr.fit(model, training, n_updates=updates, **common), updates, time.perf_counter() - began


def spread(values: np.ndarray, digits: int = 2) -> str:
    return f"{np.median(values):.{digits}f} ({np.min(values):.{digits}f} to {np.max(values):.{digits}f})"


def main(settings: Settings) -> None:
    if settings.file is None:
        training = dr.load_dataset("lorenz63", n_steps=settings.steps, noise=0.05, random_state=settings.random_state)
        test = dr.load_dataset("lorenz63", n_steps=settings.steps, random_state=1_000)
        reference: Any = dr.load_dataset("lorenz63", n_steps=settings.steps, n_trials=3, random_state=2_000)
        what, published = "lorenz63", "D_stsp .26 (GTF, second-hand), 3.52 / D_H .143 (AL-RNN tutorial)"
    else:
        whole = dr.as_recording(np.load(settings.file).astype(np.float64), dt=settings.dt)
        training, test = dr.split(whole, train=0.8)
        reference, what, published = None, "file", "electrocardiogram (test half): 4.3 / .34, shallow PLRNN under GTF; floors from stretches of the test part"
    N = training.sizes[training.observed.dims[-1]]
    print(f"{settings}\n")
    print("| family | trained or solved numbers | updates | seconds | D_stsp | D_H | valid time | largest exponent | lost |\n|" + "---|" * 9)
    numbers: dict[str, Any] = {}
    scores = None
    for name, (make, options) in families(N, "identity" if what == "lorenz63" else "affine").items():
        if settings.only and name not in settings.only:
            continue
        model = make(n_fits=settings.seeds, random_state=settings.random_state)
        run, updates, seconds = trained(model, training, options, settings)
        found = dr.evaluate(run, test, reference=reference, preset="gtf-2023", training=training, n_null=1 if scores is not None else 5)
        scores = found if scores is None else scores                            # floors and nulls are the same for all
        exponent = dr.analysis.lyapunov_spectrum(run, 1, n_steps=1_000, n_segments=16)
        d, h, v = (found[k].values for k in ("d_stsp", "d_hellinger", "valid_prediction_time"))
        largest = exponent.value.values[:, 0]
        lost = int((~(d <= FAR[what])).sum())
        print(
            f"| {name} | {model.parameters_per_fit:,} | {updates or '-'} | {seconds:.0f} | {spread(d)} | {spread(h, 3)} | {spread(v)} | "
            f"{spread(largest)} | {lost} of {len(d)} |", flush=True,
        )
        numbers[name] = {
            "parameters": model.parameters_per_fit, "updates": updates, "seconds": seconds, "d_stsp": d.tolist(), "d_hellinger": h.tolist(),
            "valid_prediction_time": v.tolist(), "largest_exponent": largest.tolist(), "status": exponent.status.values.tolist(),
        }
        if settings.out is not None:
            settings.out.write_text(json.dumps(numbers, indent=1))
    if scores is not None:
        floor, null, linear = (scores[f"d_stsp_{k}"].values for k in ("floor", "surrogate", "linear"))
        print(f"\nfloor D_stsp {np.median(floor):.3f}, D_H {np.median(scores.d_hellinger_floor.values):.3f}; phase-randomised surrogate {np.median(null):.2f}; "
              f"linear model {np.median(linear):.2f}; persistence forecasts valid for {float(scores.valid_prediction_time_persistence):.2f}")
    print(f"published: {published}; valid time in {test.attrs.get('units', '') or 'steps'}, or Lyapunov times where the exponent is known")


if __name__ == "__main__":
    main(tyro.cli(Settings))
