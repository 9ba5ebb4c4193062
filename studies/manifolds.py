"""The saddle of Lozi's map taken apart: its manifolds, how exactly they are invariant, and its homoclinic points; a figure of them.

    python studies/manifolds.py --out manifolds.png
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure

from dynrnn.analysis._manifolds import homoclinic_points, manifolds
from dynrnn.analysis.boundary import basin_boundary
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap


@dataclass
class Settings:
    """Arguments of the study."""

    a: float = 1.7
    b: float = 0.5
    iterations: int = 14
    back: int = 6
    out: Path = Path("manifolds.png")


def distance(z, found):
    """Largest distance of points from the polylines, of which a segment may have no length."""
    at = np.flatnonzero(found.segment_start.values)
    p = found.location.values[at]
    d = found.location.values[at + 1] - p
    worst = 0.0
    for x in z:
        share = np.clip(((x - p) * d).sum(1) / np.maximum((d * d).sum(1), 1e-300), 0, 1)
        gap = np.linalg.norm(x - p - share[:, None] * d, axis=1).min()
        if not np.isfinite(gap):                                                    # max() would pass over it
            raise ValueError(f"the distance of {x} from the manifold is {gap}")
        worst = max(worst, float(gap))
    return worst


def draw(axes, found, **style):
    """Every branch as one line."""
    breaks = np.flatnonzero(~found.segment_start.values) + 1
    axes.plot(*np.insert(found.location.values, breaks, np.nan, axis=0).T, **style)


def main(settings: Settings) -> None:
    a, b = settings.a, settings.b
    lozi = PiecewiseLinearMap([[a, 1], [b, 0]], [[-2 * a], [0]], [[1, 0]], [1, 0], [0])
    inside, outer = np.array([1, b]) / (1 + a - b), np.array([1, b]) / (1 - a - b)
    began = time.process_time()
    up = manifolds(lozi, inside, n_iterations=settings.iterations)
    down = manifolds(lozi, inside, "stable", n_iterations=settings.back)
    grown = time.process_time() - began
    number = up.iteration.values
    images = lozi.step(up.location.values[number < number.max()])
    print(f"Lozi a = {a}, b = {b}: saddle {inside.round(6)}, multipliers {up.eigenvalue.values.real.round(6)} and {down.eigenvalue.values.real.round(6)}")
    for name, found in (("unstable", up), ("stable", down)):
        told = "complete" if found.attrs["complete"] else f"not complete: {found.attrs['incomplete_because']}"
        print(f"{name:9s} {found.sizes['vertex']:6d} vertices, length {found.attrs['length']:.6g}, {told}")
    print(f"distance of the images of {len(images)} vertices from the unstable manifold: at most {distance(images, up):.2g}")
    began = time.process_time()
    found = homoclinic_points(lozi, inside, n_iterations=(settings.iterations, settings.back))
    print(f"{found.sizes['crossing']} homoclinic points on {found.attrs['n_orbits']} orbits, angles from {float(found.angle.min()):.4f} rad")
    print(f"plain iteration from the closed form: {float(found.residual_unstable.max()):.2g} (past), {float(found.residual_stable.max()):.2g} (future)")
    print(f"user time {grown:.3f} s for both manifolds, {time.process_time() - began:.2f} s for the homoclinic points (the first call compiles)")
    edge = basin_boundary(lozi, n_iterations=8)
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw(left, up, color="#b03030", lw=0.5, label="unstable manifold")
    draw(left, down, color="#3050a0", lw=0.5, label="stable manifold")
    left.plot(*found.location.values.T, ".", ms=2, color="k", label=f"{found.sizes['crossing']} homoclinic points")
    left.plot(*inside, "o", color="k", ms=5)
    left.set(xlim=(-1.4, 1.4), ylim=(-0.75, 0.75), xlabel="x", ylabel="y", title=f"Lozi's map, saddle at ({inside[0]:.3f}, {inside[1]:.3f})")
    left.legend(loc="upper right", fontsize=8)
    shown = manifolds(lozi, inside, n_iterations=11)
    draw(right, shown, color="#b03030", lw=0.4, label="attractor (unstable manifold of the inner saddle)")
    for child in edge.children.values():
        draw(right, child.to_dataset(), color="#207040", lw=1.2, label="basin boundary (stable manifold of the outer saddle)")
    right.plot(*outer, "o", color="k", ms=5)
    right.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="x", ylabel="y", title="and what goes to infinity")
    right.legend(loc="upper right", fontsize=8)
    figure.savefig(settings.out, dpi=130)
    print(f"figure in {settings.out}")


if __name__ == "__main__":
    main(tyro.cli(Settings))
