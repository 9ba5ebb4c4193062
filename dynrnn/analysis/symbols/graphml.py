"""Graphs of codes as GraphML, for Cytoscape, Gephi, igraph and networkx alike."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from dynrnn.errors import FileFormatError

JSON = "json:"


def write_graphml(graph: nx.DiGraph, path: str | os.PathLike[str]) -> Path:
    """Write a graph of :func:`transition_graph` or :func:`admissible_graph` as GraphML; returns the path.

    Numbers, bools and strings are written as such; lists (centroids, multipliers) as text ``json:[...]``, complex numbers as [real, imaginary].
    ``networkx.read_graphml(path, node_type=int)`` and other programs read it; :func:`read_graphml` gives the lists back too. Never pickle. O(nodes + edges).
    """
    flat = nx.DiGraph()
    flat.graph.update({name: _flat(value) for name, value in graph.graph.items()})
    flat.add_nodes_from((node, {name: _flat(value) for name, value in data.items()}) for node, data in graph.nodes(data=True))
    flat.add_edges_from((a, b, {name: _flat(value) for name, value in data.items()}) for a, b, data in graph.edges(data=True))
    nx.write_graphml_xml(flat, os.fspath(path))
    return Path(path)


def read_graphml(path: str | os.PathLike[str]) -> nx.DiGraph:
    """The graph that :func:`write_graphml` wrote, with its lists; FileFormatError where the file is missing or no GraphML."""
    try:
        graph = nx.read_graphml(os.fspath(path), node_type=int)
        for data in (graph.graph, *(d for _, d in graph.nodes(data=True)), *(d for *_, d in graph.edges(data=True))):
            for name, value in data.items():
                if isinstance(value, str) and value.startswith(JSON):
                    data[name] = _complex(name, json.loads(value[len(JSON) :]))
    except (OSError, ValueError, SyntaxError, nx.NetworkXError) as error:           # ElementTree's ParseError is a SyntaxError
        raise FileFormatError(f"{path} could not be read as GraphML: {error}.") from None
    for name in ("node_default", "edge_default"):
        graph.graph.pop(name, None)
    return graph


def _flat(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float, str)):
        return value
    return JSON + json.dumps(value, default=lambda x: [x.real, x.imag] if isinstance(x, complex) else x.tolist())


def _complex(name: str, value: Any) -> Any:
    return [complex(*pair) for pair in value] if name == "multipliers" else value
