"""The analysis of a run in a few lines a fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr


def summary(groups: Mapping[str, xr.Dataset]) -> str:
    """What ``dr.analyze`` found, as text: exponents, fixed points and whether they are all, cycles, symbols, entropies. Groups that are missing are left out.

    >>> print(summary({}))
    <BLANKLINE>
    """
    lines: list[str] = []
    fits = next((dataset["fit"].values for dataset in groups.values() if "fit" in dataset.dims), np.empty(0))
    for k, fit in enumerate(fits):
        rows = {name: dataset.isel(fit=k) for name, dataset in groups.items()}
        status = {str(row.status.item()) for row in rows.values() if "status" in row}
        lines.append(f"fit {fit}: " + ", ".join(sorted(status)))
        if "lyapunov_spectrum" in rows:
            lines.append("  exponents     " + _exponents(rows["lyapunov_spectrum"]))
        if "fixed_points" in rows:
            lines.append("  fixed points  " + _fixed_points(rows["fixed_points"]))
        if "cycles" in rows:
            lines.append("  cycles        " + _cycles(rows["cycles"]))
        if "symbolic_code" in rows:
            lines.append("  symbols       " + _code(rows["symbolic_code"], rows.get("code_entropies")))
        if "bifurcations" in rows:
            lines.append("  in training   " + _events(rows["bifurcations"]))
    return "\n".join(lines)


def _events(row: xr.Dataset) -> str:
    kinds = row.kind.values[: int(row.n_events)]
    text = f"{_counted(kinds)}" if len(kinds) else "no object is born, dies, or changes stability"
    return text + ("" if bool(row.complete) else "; of what was found, which may not be all")


def _counted(kinds: np.ndarray) -> str:
    names, counts = np.unique(kinds, return_counts=True)
    return ", ".join(f"{n} {name}{'s' if n > 1 and name[-1] != 'c' else ''}" for name, n in zip(names, counts, strict=True))


def _exponents(row: xr.Dataset) -> str:
    value, error = row.value.values, row.standard_error.values
    if np.isnan(value).any():
        return "none: " + str(row.status.item())
    shown = [f"{v:.4g} +- {e:.1g}" if np.isfinite(v) else "-inf" for v, e in zip(value[:3], error[:3], strict=True)]
    text = ", ".join(shown) + (f", ... {value[-1]:.4g}" if len(value) > 3 else "") + " nat / time"
    if bool(row.kaplan_yorke_reached):
        text += f"; Kaplan-Yorke dimension {float(row.kaplan_yorke):.3f} [{float(row.kaplan_yorke_lower):.3f}, {float(row.kaplan_yorke_upper):.3f}]"
    else:
        text += f"; Kaplan-Yorke dimension above {float(row.kaplan_yorke):.0f}"
    return f"{text}; {row.verdict.item()}"


def _fixed_points(row: xr.Dataset) -> str:
    real = (row.valid & ~row.virtual).values
    other = real & (row.kind.values != "fixed point") & (str(row.method.item()) == "smooth")      # slow points, and states of continua
    real &= ~other
    text = f"{int(row.n_fixed_points)}" + (f" ({_counted(row.stability.values[real])})" if real.any() else "")
    text += f" and {_counted(row.kind.values[other])}" if other.any() else ""
    estimate = f": about {float(row.n_unseen):.3g} unseen" if np.isfinite(row.n_unseen) else ""
    text += "; these are all" if bool(row.complete) else "; perhaps not all" + estimate
    if np.isfinite(row.degree):
        text += f"; indices add up to {int(row.index_sum)}, as they must" if row.index_sum == row.degree else (
            f"; indices add up to {int(row.index_sum)}, but must to {int(row.degree)}"
        )
    return text


def _cycles(row: xr.Dataset) -> str:
    parts = []
    for at, period in enumerate(row.cycle_period.values):
        if period == 1:
            continue
        mine = (row.valid & ~row.virtual & (row.period == period)).values
        known = "all" if bool(row.complete[at]) else "found"
        parts.append(f"period {period}: {int(mine.sum())} {known}" + (f" ({_counted(row.stability.values[mine])})" if mine.any() else ""))
    return "; ".join(parts)


def _code(row: xr.Dataset, entropies: xr.Dataset | None) -> str:
    text = f"{int(row.n_symbols)} regions visited"
    if entropies is not None and np.isfinite(entropies.h_mu):
        text += f"; metric entropy {float(entropies.h_mu):.4f} +- {float(entropies.h_mu_standard_error):.4f}"
        text += "" if bool(entropies.converged) else " (still falling with the words' length)"
        text += f", topological {float(entropies.h_top):.4f} nat a step"
    return text
