"""Learned dynamics taken apart. What takes a whole ensemble gives an xr.Dataset with the dim ``fit`` first (counts, an xr.DataArray).

What cannot be one array over fits is of one fit, named with fit=: manifolds, homoclinic_points (a Dataset), basin_boundary (a DataTree), the graphs
(networkx), count_regions (a number). compare_codes and compare_groups are of two codes or groups, and forbidden_words of one code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Every public name and its module in this package; modules load on first use. No module bears a public name: loading it would hide the function.
_PUBLIC = {
    "PiecewiseLinearMap": "piecewise.map",
    "admissible_graph": "symbols",
    "attractors": "basins",
    "basin_boundary": "boundary",
    "basin_slice": "basins",
    "bifurcations": "_bifurcations",
    "canonical": "piecewise.canonical",
    "code_entropies": "symbols",
    "code_of_partition": "symbols",
    "code_of_symbols": "symbols",
    "coarse_grain": "symbols",
    "compare_codes": "symbols",
    "compare_groups": "symbols",
    "conditional_exponents": "lyapunov",
    "contraction_certificate": "contraction",
    "continuation": "branches",
    "correlation_dimension": "dimension",
    "correlation_entropy": "dimension",
    "count_regions": "piecewise.arrangement",
    "covariant_vectors": "lyapunov",
    "cycles": "_cycles",
    "dwell_times": "symbols",
    "echo_state_test": "contraction",
    "fixed_points": "_fixed_points",
    "forbidden_words": "symbols",
    "growth_rate": "_cycles",
    "homoclinic_points": "_manifolds",
    "largest_exponent_from_data": "lyapunov",
    "lyapunov_spectrum": "lyapunov",
    "manifolds": "_manifolds",
    "markov_order": "symbols",
    "memory_capacity": "memory",
    "n_fixed": "_cycles",
    "orbit_diagram": "branches",
    "read_graphml": "symbols",
    "smooth_cycles": "smooth",
    "smooth_fixed_points": "smooth",
    "summary": "_summary",
    "symbolic_code": "symbols",
    "transition_graph": "symbols",
    "unobserved_edges": "symbols",
    "verify_certificate": "contraction",
    "wave_velocity": "waves",
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
    from dynrnn.analysis.basins import attractors, basin_slice
    from dynrnn.analysis.boundary import basin_boundary
    from dynrnn.analysis.branches import continuation, orbit_diagram
    from dynrnn.analysis.contraction import contraction_certificate, echo_state_test, verify_certificate
    from dynrnn.analysis.dimension import correlation_dimension, correlation_entropy
    from dynrnn.analysis.lyapunov import conditional_exponents, covariant_vectors, largest_exponent_from_data, lyapunov_spectrum
    from dynrnn.analysis.memory import memory_capacity
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
    from dynrnn.analysis.waves import wave_velocity
