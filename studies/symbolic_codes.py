"""What the regions of trained AL-RNNs say about Lorenz-63 and Roessler, and whether codes tell two Lorenz systems apart.

Entropies of each fit stand beside what bounds them: h_mu of words <= sum of the positive Lyapunov exponents (Ruelle), and h_mu <= the topological entropy
of the words of every length. An estimate may pass its bound by three of its standard errors.

    python studies/symbolic_codes.py --folder runs/codes                  # 5 seeds of each system, 40,000 updates: some five minutes on two cores
    python studies/symbolic_codes.py --part compare --folder runs/codes   # 6 recordings at rho 28, 6 at rho 35, 6 more at rho 28, a fit of each

Models are kept in the folder, and taken from there where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

import dynrnn as dr
from dynrnn.analysis.reconstruction import score_orbits
from dynrnn.analysis.symbols import code_of_partition

N_STEPS = 100_000
IN_USE = 1e-3                                       # a region counts from this share of the samples


@dataclass
class Settings:
    """Arguments of the study."""

    folder: Path
    part: Literal["entropies", "compare"] = "entropies"
    fits: int = 5
    members: int = 6
    """Recordings of a group (compare)."""
    updates: int = 40_000
    latent_dim: int = 20
    preset: str = "gtf-2023"
    random_state: int = 0


def trained(settings: Settings, name: str, recording: Any, n_relu: int, n_fits: int, random_state: int) -> Any:
    """An ensemble of AL-RNNs, checkpoints best on the last fifth."""
    path = settings.folder / name
    if path.exists():
        return dr.load(path)
    model = dr.ALRNN(3, settings.latent_dim, n_relu, n_fits=n_fits, random_state=random_state)
    training, held_out = dr.split(recording, 0.8)
    dr.fit(
        model, training, dr.SparseTeacherForcing(), settings.updates, learning_rate=(1e-3, 1e-5), noise=0.05, validation=held_out, keep="best",
        validate_every=max(1, settings.updates // 40), random_state=random_state, progress=False,
    )
    dr.save(model, path)
    return model


def deviation_from_pieces(map: Any, states: np.ndarray) -> float:
    """Largest distance between a state of an orbit and what the affine map of the last state's region gives, in parts of the largest state."""
    words, which = np.unique(map.words(states[:-1]), axis=0, return_inverse=True)
    J, b = map.jacobians(words), map.offsets(words)
    gaps = [np.abs(states[:-1][which == i] @ J[i].T + b[i] - states[1:][which == i]).max() for i in range(len(words))]
    return float(max(gaps) / np.abs(states).max())


def tell_inequality(what: str, left: float, left_error: float, right: float, right_error: float) -> None:
    """Pass or fail, to three standard errors of the difference; what is not a number fails."""
    slack = 3 * float(np.hypot(left_error, right_error))
    print(f"  {'pass' if left <= right + slack else 'FAIL'}: {what}: {left:.5f} <= {right:.5f} (+ {slack:.5f})", flush=True)


def entropies(settings: Settings) -> None:
    for system, n_relu in (("lorenz63", 2), ("roessler", 1)):
        recording = dr.load_dataset(system, n_steps=N_STEPS, random_state=settings.random_state)
        tests = dr.load_dataset(system, n_steps=N_STEPS, n_trials=2, random_state=1_000)
        model = trained(settings, system, recording, n_relu, settings.fits, settings.random_state)
        orbit = dr.generate(model, N_STEPS, initial=tests.isel(trial=[0]), transient=N_STEPS // 10)
        scores = score_orbits([tests.observed.values[0]], orbit.observed.values, settings.preset, n_null=0)
        code = dr.analysis.symbolic_code(model, orbit)
        steps, jumps = dr.analysis.code_entropies(code, 12), dr.analysis.code_entropies(code, 12, self_transitions=False)
        print(f"\n{system}, AL-RNN M={settings.latent_dim} P={n_relu}, dt {float(recording.attrs['dt']):g}")
        for k in range(model.n_fits):
            row, jump = steps.isel(fit=k), jumps.isel(fit=k)
            shares = code.occupancy.values[k][code.valid.values[k]]
            map, states = dr.analysis.canonical(model).maps[k], orbit.latent.values[k, 0].astype(np.float64)
            print(f"seed {k}: D_stsp {float(scores.d_stsp[k]):.2f}, D_H {float(scores.d_hellinger[k]):.3f}; ", end="")
            print(f"regions in use {int((shares >= IN_USE).sum())} {np.round(shares, 4)}")
            print(f"  a step and its region's affine map differ by {deviation_from_pieces(map, states):.1e} of the largest state at most")
            print(f"  a step: h_mu {float(row.h_mu):.5f} +- {float(row.h_mu_standard_error):.5f}, h_top {float(row.h_top):.5f}")
            print("  transitions alone, n = 1 ... 12:")
            print("    h_n  ", np.round(jump.entropy_rate.values, 4))
            print("    top_n", np.round(jump.topological.values, 4), flush=True)
            for what, one in (("step", row), ("transition", jump)):
                lengths = np.flatnonzero(one.usable.values)
                if len(lengths):
                    n = int(lengths[np.argmin(one.topological.values[lengths])])
                    bound = float(one.topological[n])
                    tell_inequality(f"h_mu <= h_top of {n + 1}-blocks, a {what}", float(one.h_mu), float(one.h_mu_standard_error), bound, 0.0)
        end = torch.tensor(orbit.latent.values[:, :1, -1])                              # the attractor that the code was taken on
        spectrum = dr.analysis.lyapunov_spectrum(model, n_steps=N_STEPS // 4, initial=end, random_state=settings.random_state)
        for k in range(model.n_fits):
            value, error, jump = spectrum.value.values[k], spectrum.standard_error.values[k], jumps.isel(fit=k)
            changes = int((np.diff(code.symbol.values[k, 0]) != 0).sum())
            time = float(spectrum.attrs["dt"]) * (code.sizes["time"] - 1) / max(changes, 1)
            print(f"seed {k}: exponents {np.round(value[:4], 4)} +- {np.round(error[:4], 4)} nat a unit of time; a transition takes {time:.3f} of it")
            # without self-transitions the words lose the dwell times: what is left is at most the entropy of the motion between two transitions
            falling = "" if bool(jump.converged) else " (still falling with the words' length: an upper bound of h_mu)"
            bound, spread = time * float(spectrum.entropy[k]), time * float(spectrum.entropy_standard_error[k])
            tell_inequality(f"h_mu <= sum of positive exponents, a transition{falling}", float(jump.h_mu), float(jump.h_mu_standard_error), bound, spread)


def compare(settings: Settings) -> None:
    """Recordings by one fit's regions, cells around their centroids: a common ground. Then each recording's own fit by that fit's own regions."""
    scale = dr.load_dataset("lorenz63", n_steps=N_STEPS, random_state=300)
    judge = trained(settings, "rho28-300", scale, 2, 1, 300)
    code = dr.analysis.symbolic_code(judge, dr.generate(judge, N_STEPS, initial=scale, transient=N_STEPS // 10)).isel(fit=0)
    cells = code.centroid_observed.values[code.occupancy.values >= IN_USE]
    recordings: dict[str, list[Any]] = {}
    fits: dict[str, list[Any]] = {}
    for name, rho, first in (("rho 28", 28.0, 0), ("rho 35", 35.0, 100), ("rho 28 again", 28.0, 200)):
        recordings[name], fits[name] = [], []
        for seed in range(first, first + settings.members):
            recording = dr.load_dataset("lorenz63", n_steps=N_STEPS, rho=rho, random_state=seed)
            recordings[name].append(code_of_partition(cells, recording, variable="observed"))
            model = trained(settings, f"rho{rho:g}-{seed}", recording, 2, 1, seed)
            fits[name].append(dr.analysis.symbolic_code(model, dr.generate(model, N_STEPS, initial=recording, transient=N_STEPS // 10)))
    for what, groups in ((f"recordings by the {len(cells)} regions of one fit", recordings), ("fits by their own regions", fits)):
        for a, b in (("rho 28", "rho 35"), ("rho 28 again", "rho 35"), ("rho 28", "rho 28 again")):
            for self_transitions in (True, False):
                found = dr.analysis.compare_groups(groups[a], groups[b], self_transitions=self_transitions, random_state=0)
                print(
                    f"{what}: {a} against {b}, self-transitions {self_transitions}: between {float(found.between):.5f}, within {float(found.within):.5f}, "
                    f"p {float(found.p_value):.4f} of {int(found.n_relabellings)} relabellings", flush=True,
                )


def main(settings: Settings) -> None:
    entropies(settings) if settings.part == "entropies" else compare(settings)


if __name__ == "__main__":
    main(tyro.cli(Settings))
