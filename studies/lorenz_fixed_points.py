"""The fixed points of models trained on Lorenz-63, beside the flow's three: which are there, their multipliers, and what averaging does to them.

    python studies/lorenz63.py --fits 5 --tests 2 --save runs/lorenz63
    python studies/lorenz_fixed_points.py runs/lorenz63
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
import xarray as xr

import dynrnn as dr

SIGMA, RHO, BETA, DT = 10.0, 28.0, 8.0 / 3.0, 0.01


@dataclass
class Settings:
    """Arguments of the study."""

    model: tyro.conf.Positional[Path]
    near: float = 0.5
    """A learned point within this distance (in standard deviations of the channels) of one of the flow's stands for it."""


def flow_points() -> tuple[np.ndarray, np.ndarray]:
    """O, C+ and C-, and their multipliers over one step."""
    c = np.sqrt(BETA * (RHO - 1))
    points = np.array([[0.0, 0.0, 0.0], [c, c, RHO - 1], [-c, -c, RHO - 1]])
    J = [[[-SIGMA, SIGMA, 0.0], [RHO - z, -1.0, -x], [y, x, -BETA]] for x, y, z in points]
    rates = np.linalg.eigvals(np.array(J))
    return points, np.exp(np.take_along_axis(rates, np.argsort(-rates.real, 1), 1) * DT)


def tell(found: xr.Dataset, truth: np.ndarray, near: float) -> None:
    for k in range(found.sizes["fit"]):
        row = found.isel(fit=k)
        real = (row.valid & ~row.virtual).values
        print(dr.analysis.summary({"fixed_points": found.isel(fit=[k])}))
        for i in np.flatnonzero(real):
            x = row.observed.values[i]
            gap = np.linalg.norm(truth - x, axis=1)
            name = ("O", "C+", "C-")[gap.argmin()] if gap.min() < near else "-"
            print(f"    {name:2}  at {x.round(2)}  |multipliers| {np.abs(row.eigenvalue.values[i]).round(4)}  {row.stability.values[i]}")


def table(found: xr.Dataset, truth: np.ndarray, multipliers: np.ndarray, near: float) -> None:
    """Over all fits: in how many each of the flow's points exists, how often it is stable, its largest multiplier, and what else there is."""
    F = found.sizes["fit"]
    real = (found.valid & ~found.virtual).values
    gaps = np.linalg.norm(found.observed.values[:, :, None] - truth, axis=-1)      # [fit, fixed point, flow's point]
    gaps[~real] = np.inf
    print(f"\n{F} fits\n| point | exists in | stable in | P(stable) | median largest multiplier | flow |\n|---|---|---|---|---|---|")
    taken = np.zeros_like(real)
    for j, name in enumerate(("O", "C+", "C-")):
        closest = gaps[:, :, j].argmin(1) if gaps.shape[1] else np.zeros(F, int)
        there = np.array([gaps.shape[1] > 0 and gaps[k, closest[k], j] < near for k in range(F)])
        rows = [(k, closest[k]) for k in np.flatnonzero(there)]
        sizes = [np.abs(found.eigenvalue.values[row]).max() for row in rows]
        stable = sum(found.stability.values[row] == "sink" for row in rows)
        for row in rows:
            taken[row] = True
        share, median = (f"{stable / len(rows):.2f}", f"{np.median(sizes):.4f}") if rows else ("-", "-")
        print(f"| {name} | {len(rows)} of {F} | {stable} | {share} | {median} | {np.abs(multipliers[j]).max():.4f} |")
    print("complete lists:", f"{int(found.complete.sum())} of {F}; further points:")
    for k, i in np.argwhere(real & ~taken):
        one = found.isel(fit=k, fixed_point=i)
        print(f"    fit {int(found.fit[k])}  at {one.observed.values.round(2)}  |multipliers| {np.abs(one.eigenvalue.values).round(4)}  {one.stability.item()}")


def main(settings: Settings) -> None:
    points, multipliers = flow_points()
    attrs = dr.load_dataset("lorenz63", n_steps=2, random_state=0).attrs             # the models were trained on standardised channels
    truth = (points - attrs["mean"]) / attrs["scale"]
    model = dr.load(settings.model)
    print("the flow:")
    for name, x, mu in zip(("O", "C+", "C-"), truth, multipliers, strict=True):
        print(f"    {name:2}  at {x.round(2)}  |multipliers| {np.abs(mu).round(4)}")
    began = time.process_time()
    found = dr.analysis.fixed_points(model, n_virtual=0)
    print(f"\neach fit ({time.process_time() - began:.1f} s)")
    tell(found, truth, settings.near)
    print("\ntheir average")
    tell(dr.analysis.fixed_points(dr.average(model), n_virtual=0), truth, settings.near)
    table(found, truth, multipliers, settings.near)


if __name__ == "__main__":
    main(tyro.cli(Settings))
