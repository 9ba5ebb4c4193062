"""Which areas are coupled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import networkx as nx
import numpy as np

from dynrnn.errors import ArgumentError, unknown_name

TOPOLOGIES = ("all", "hierarchical", "hub")
Edges = tuple[tuple[int, int], ...]


def edges_of(topology: Any, n_areas: int) -> Edges:
    """Pairs (i, j), i > j, of coupled areas: ``all``; ``hierarchical``, each with the next; ``hub``, all with the last; a networkx graph; or pairs.

    Every coupling goes both ways, so that the direction of an edge is nothing. The nodes of a graph are the areas 0, 1, ... or, in its order, stand for them:
    one for each area.
    """
    if isinstance(topology, str):
        if topology not in TOPOLOGIES:
            raise unknown_name("topology", topology, TOPOLOGIES)
        graphs = {"all": nx.complete_graph, "hierarchical": nx.path_graph, "hub": lambda n: [(n - 1, k) for k in range(n - 1)]}
        made = graphs[topology](n_areas)
        pairs: Iterable[Any] = made.edges if isinstance(made, nx.Graph) else made
    elif isinstance(topology, nx.Graph):
        names, areas = list(topology.nodes), set(range(n_areas))
        if len(names) != n_areas:
            missing = f" The areas {sorted(areas - set(names))} are no nodes: graph.add_nodes_from(range({n_areas}))." if set(names) < areas else ""
            raise ArgumentError(f"topology has {len(names)} nodes, the assembly {n_areas} areas: a graph has a node for each.{missing}")
        number = {name: name if set(names) == areas else k for k, name in enumerate(names)}
        pairs = [(number[a], number[b]) for a, b in topology.edges()]
    else:
        pairs = topology if isinstance(topology, Iterable) else [topology]
    out = set()
    for pair in pairs:
        ends = tuple(pair) if isinstance(pair, (Sequence, np.ndarray)) else ()
        if len(ends) != 2 or not all(isinstance(k, (int, np.integer)) and 0 <= k < n_areas for k in ends) or ends[0] == ends[1]:
            raise ArgumentError(
                f"topology must be one of {', '.join(TOPOLOGIES)}, a networkx graph, or pairs of different areas from 0 to {n_areas - 1}; "
                f"{pair!r} is no such pair."
            )
        out.add((int(max(ends)), int(min(ends))))
    return tuple(sorted(out))


def coupled_entries(edges: Edges, areas: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of B that are parameters, edge by edge: the block (i, j), i > j, of every edge, row by row."""
    start = np.concatenate([[0], np.cumsum(areas)])
    blocks = [np.meshgrid(np.arange(start[i], start[i + 1]), np.arange(start[j], start[j + 1]), indexing="ij") for i, j in edges]
    empty = np.empty(0, dtype=np.int64)
    return (np.concatenate([rows.ravel() for rows, _ in blocks] or [empty]), np.concatenate([columns.ravel() for _, columns in blocks] or [empty]))
