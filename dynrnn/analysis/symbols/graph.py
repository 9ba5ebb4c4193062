"""The graph of a code: symbols as nodes, transitions as edges."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.stability import sorted_multipliers
from dynrnn.analysis.symbols.dwell import moments_of
from dynrnn.analysis.symbols.entropy import entropies
from dynrnn.analysis.symbols.intervals import METHOD, intervals
from dynrnn.analysis.symbols.sequence import one_fit, runs_of, sequence, transitions
from dynrnn.analysis.symbols.spectral import growth_rates, stationary
from dynrnn.errors import ArgumentError

LONGEST_WORD = 8


def transition_graph(
    code: xr.Dataset, fit: int | None = None, lag: int = 1, self_transitions: bool = True, confidence: float = 0.95, *,
    model: Any = None, inputs: Any = None, admissible: nx.DiGraph | None = None,
) -> nx.DiGraph:
    """Symbols and transitions of one fit's code as a ``networkx.DiGraph``.

    Parameters
    ----------
    code : Dataset of :func:`symbolic_code`. fit : which fit, by its label; needed where there are several.
    lag : steps from a symbol to the one that it is joined to. self_transitions : False takes a run as one symbol first; the lag then counts transitions.
    confidence : of the intervals, each edge by itself, 0.95 by default.
    model, inputs : the code's model or map; nodes then say what its map does in their regions. admissible : of :func:`admissible_graph`, by the same words.

    Returns
    -------
    DiGraph. Nodes 0, 1, ...: ``word`` ("0110", where the code has regions) or ``label``, ``count``, ``occupancy``, ``stationary`` (left eigenvector on the most
    visited strongly connected component, else 0), ``component``, ``component_h_top``, ``dwell_mean`` and ``dwell_sd`` (steps; transitions are not dwelt in),
    ``centroid`` and ``centroid_observed`` (lists). With a model: ``multipliers`` of its Jacobian, ``fixed_point`` ("real", "virtual" or "none" where 1 is a
    multiplier) and ``fixed_point_margin``: signed distance to the region's nearest plane, negative outside; inf without planes.
    Edges, only those that occur: ``count``, ``probability`` (rows sum to 1), ``low``, ``high``; ``admissible`` where asked.
    Graph: ``h_top`` (ln of the largest spectral radius), ``h_markov`` (entropy rate of this chain, stationary weights, <= h_top), ``h_mu`` and
    ``h_mu_converged`` (as in :func:`code_entropies`, words up to 8), ``lag``, ``fit``, ``n_steps`` (transitions counted), ``self_transitions``,
    ``units``, ``confidence``, ``interval``.

    Intervals: Wilson over a row's counts, which holds for a chain of order 1; with a lag, counts overlap and are divided by it. Where self-transitions
    dominate a row, samples of one run are not independent: there the exit probability comes from the lengths of complete runs and the target from Wilson
    over runs, the interval from both bounds at once (conservative). Cost O(time log time + edges).

    ArgumentError: several fits and none named; a fit without symbols; a model or admissible graph that does not fit the code.

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> graph = transition_graph(code_of_symbols([0, 1, 0, 0, 1, 0, 0, 0, 1]))
    >>> graph[0][1]["probability"], graph[1][0]["count"], (1, 1) in graph.edges, round(graph.graph["h_top"], 6)
    (0.5, 2, False, 0.481212)
    """
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence must lie between 0 and 1, got {confidence!r}.")
    chosen = one_fit(code, fit)
    flat, n = sequence(chosen, self_transitions, lag), int(chosen.n_symbols)
    a, b, count = transitions(flat, n)
    total = np.bincount(a, count, n)
    low, high = intervals(a, b, count, moments_of(runs_of(flat), n), lag=lag, confidence=confidence)
    label, rate = growth_rates(a, b, n)
    pi, _ = stationary(a, b, count, n)
    graph = nx.DiGraph()
    nodes = _node_columns(chosen, n) | {"stationary": pi.tolist(), "component": label.tolist(), "component_h_top": np.maximum(rate, 0.0)[label].tolist()}
    if model is not None:
        nodes |= _map_columns(chosen, n, model, inputs)
    graph.add_nodes_from((i, {name: column[i] for name, column in nodes.items()}) for i in range(n))
    p = count / total[a]
    graph.add_edges_from(
        (i, j, {"count": c, "probability": q, "low": lo, "high": hi})
        for i, j, c, q, lo, hi in zip(a.tolist(), b.tolist(), count.tolist(), p.tolist(), low.tolist(), high.tolist())
    )
    if admissible is not None:
        _mark_admissible(graph, admissible, lag)
    metric = entropies(flat, n, LONGEST_WORD, "grassberger", lag)
    unit = "step" if self_transitions else "transition"
    graph.graph.update(
        h_top=max(0.0, float(rate.max(initial=-np.inf))), h_markov=_chain_entropy(a, b, p, pi), h_mu=metric.h_mu,
        h_mu_converged=metric.converged, lag=int(lag), fit=int(chosen.fit) if "fit" in chosen.coords else 0, n_steps=int(count.sum()),
        self_transitions=bool(self_transitions),
        units=f"nat per {unit}" if lag == 1 else f"nat per {lag} {unit}s", confidence=float(confidence), interval=METHOD, dt=float(code.attrs.get("dt", 1.0)),
    )
    return graph


def _chain_entropy(a: np.ndarray, b: np.ndarray, p: np.ndarray, pi: np.ndarray) -> float:
    """Entropy rate of the chain on the component that pi lives on, its rows renormalised there."""
    inside = (pi[a] > 0) & (pi[b] > 0)
    a, p = a[inside], p[inside]
    p = p / np.bincount(a, p, len(pi))[a]
    return max(0.0, -float((pi[a] * p * np.log(p)).sum()))


def word_strings(region: np.ndarray) -> list[str]:
    """Words as text, unit 0 first."""
    return ["".join("1" if bit else "0" for bit in row) for row in region]


def _node_columns(code: xr.Dataset, n: int) -> dict[str, list]:
    out: dict[str, list] = {}
    if "region" in code:
        out["word"] = word_strings(code.region.transpose("symbol", "unit").values[:n])
    if "label" in code:
        out["label"] = code.label.values[:n].tolist()
    for name in ("count", "occupancy", "dwell_mean", "dwell_sd"):
        out[name] = code[name].values[:n].tolist()
    for name in ("centroid", "centroid_observed"):
        if name in code:
            out[name] = code[name].transpose("symbol", ...).values[:n].tolist()
    return out


def _map_columns(code: xr.Dataset, n: int, model: Any, inputs: Any) -> dict[str, list]:
    if "region" not in code:
        raise ArgumentError("model was given, but the code has no regions: it was made from a partition or from symbols.")
    maps = canonical(model, inputs)
    label = int(code.fit) if "fit" in code.coords else 0
    fits = maps.fit.tolist()
    if label not in fits and len(fits) > 1:
        raise ArgumentError(f"the code is of fit {label}, the model holds the fits {fits}.")
    map = maps.maps[fits.index(label) if label in fits else 0]
    region = code.region.transpose("symbol", "unit").values[:n]
    if map is None or map.n_units != region.shape[1]:
        planes = 0 if map is None else map.n_units
        raise ArgumentError(f"the model has {planes} switching planes, the code's words {region.shape[1]} units: give the model that made the code.")
    J, c = map.jacobians(region), map.offsets(region)
    kinds, margins = [], []
    for k in range(n):
        kind, margin = _own_fixed_point(map, region[k], J[k], c[k])
        kinds.append(kind), margins.append(margin)
    return {"multipliers": [row.tolist() for row in sorted_multipliers(J)], "fixed_point": kinds, "fixed_point_margin": margins}


def _own_fixed_point(map: PiecewiseLinearMap, word: np.ndarray, J: np.ndarray, c: np.ndarray) -> tuple[str, float]:
    """("real" | "virtual" | "none", signed distance to the region's nearest plane)."""
    M = len(c)
    system = np.eye(M) - J
    if np.linalg.matrix_rank(system) < M:
        return "none", float("nan")
    z = np.linalg.solve(system, c)
    length = np.linalg.norm(map.W2, axis=1)
    v = map.W2 @ z + map.h2
    real = length > 0
    signed = np.where(word, v, -v)[real] / length[real]
    return ("real" if bool((map.words(z) == word).all()) else "virtual"), float(signed.min(initial=np.inf))


def _mark_admissible(graph: nx.DiGraph, admissible: nx.DiGraph, lag: int) -> None:
    if lag != 1 or not nx.get_node_attributes(graph, "word"):
        raise ArgumentError("admissible edges are of one step and between region words: use lag=1 and a code with regions.")
    of = {word: node for node, word in nx.get_node_attributes(admissible, "word").items()}
    word = nx.get_node_attributes(graph, "word")
    missing = [w for w in word.values() if w not in of]
    if missing:
        raise ArgumentError(
            f"{len(missing)} regions of the code are not in the admissible graph, e.g. {missing[0]}. Give admissible_graph(...) the code's words."
        )
    for i, j, data in graph.edges(data=True):
        data["admissible"] = admissible.has_edge(of[word[i]], of[word[j]])
