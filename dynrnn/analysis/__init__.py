"""Learned dynamics taken apart; every function gives an xr.Dataset with the dim ``fit`` first, or a networkx graph."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Every public name and its module in this package; modules load on first use. No module bears a public name: loading it would hide the function.
_PUBLIC = {
    "PiecewiseLinearMap": "piecewise.map",
    "admissible_graph": "symbols",
    "basin_boundary": "boundary",
    "bifurcations": "_bifurcations",
    "canonical": "piecewise.canonical",
    "code_entropies": "symbols",
    "code_of_partition": "symbols",
    "code_of_symbols": "symbols",
    "coarse_grain": "symbols",
    "compare_codes": "symbols",
    "compare_groups": "symbols",
    "correlation_dimension": "dimension",
    "count_regions": "piecewise.arrangement",
    "covariant_vectors": "lyapunov",
    "cycles": "_cycles",
    "dwell_times": "symbols",
    "fixed_points": "_fixed_points",
    "forbidden_words": "symbols",
    "growth_rate": "_cycles",
    "homoclinic_points": "_manifolds",
    "largest_exponent_from_data": "lyapunov",
    "lyapunov_spectrum": "lyapunov",
    "manifolds": "_manifolds",
    "markov_order": "symbols",
    "n_fixed": "_cycles",
    "read_graphml": "symbols",
    "smooth_cycles": "smooth",
    "smooth_fixed_points": "smooth",
    "summary": "_summary",
    "symbolic_code": "symbols",
    "transition_graph": "symbols",
    "unobserved_edges": "symbols",
    "word_counts": "symbols",
    "write_graphml": "symbols",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dynrnn.analysis' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dynrnn.analysis.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from dynrnn.analysis._bifurcations import bifurcations
    from dynrnn.analysis._cycles import cycles, growth_rate, n_fixed
    from dynrnn.analysis._fixed_points import fixed_points
    from dynrnn.analysis._manifolds import homoclinic_points, manifolds
    from dynrnn.analysis._summary import summary
    from dynrnn.analysis.boundary import basin_boundary
    from dynrnn.analysis.dimension import correlation_dimension
    from dynrnn.analysis.lyapunov import covariant_vectors, largest_exponent_from_data, lyapunov_spectrum
    from dynrnn.analysis.piecewise.arrangement import count_regions
    from dynrnn.analysis.piecewise.canonical import canonical
    from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
    from dynrnn.analysis.smooth import smooth_cycles, smooth_fixed_points
    from dynrnn.analysis.symbols import (
        admissible_graph,
        coarse_grain,
        code_entropies,
        code_of_partition,
        code_of_symbols,
        compare_codes,
        compare_groups,
        dwell_times,
        forbidden_words,
        markov_order,
        read_graphml,
        symbolic_code,
        transition_graph,
        unobserved_edges,
        word_counts,
        write_graphml,
    )
