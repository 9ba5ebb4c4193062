"""Which regions of a piecewise-linear map lead to which, exactly: every edge is a linear program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np

from dynrnn.analysis.piecewise.ball import largest_ball
from dynrnn.analysis.piecewise.canonical import one_map
from dynrnn.analysis.symbols.graph import word_strings
from dynrnn.errors import ArgumentError

SLACK = 1e-9                               # radius of a ball that must fit, of a scale of 1; below, two closures touch at most
MOST_UNITS = 12


class _Cell:
    """An open polyhedron {z : G z < g} within a box, rows of length 1, with a point well inside."""

    def __init__(self, G: np.ndarray, g: np.ndarray, box: list[tuple[float | None, float | None]], inside: np.ndarray | None = None):
        self.G, self.g, self.box, self.inside = G, g, box, inside

    def cut(self, row: np.ndarray, offset: float) -> _Cell | None:
        """The part where row z < offset, None where it has no interior."""
        G, g = np.vstack([self.G, row]), np.append(self.g, offset)
        if self.inside is not None and (G @ self.inside < g - SLACK).all():
            return _Cell(G, g, self.box, self.inside)
        ball = largest_ball(G, g, box=self.box)
        if ball is None or ball[1] <= SLACK * max(1.0, float(np.abs(ball[0]).max(initial=0))):
            return None
        return _Cell(G, g, self.box, ball[0])


def _cells(cell: _Cell, W: np.ndarray, h: np.ndarray, allowed: np.ndarray | None) -> Iterator[tuple[tuple[bool, ...], _Cell]]:
    """All words of the planes ``W z + h = 0`` that the cell meets, each with its part, unit by unit; only beginnings of ``allowed`` words are followed."""
    length = np.linalg.norm(W, axis=1)
    scale = np.maximum(np.abs(h), 1.0)
    todo: list[tuple[tuple[bool, ...], _Cell, np.ndarray | None]] = [((), cell, allowed)]
    while todo:
        word, part, left = todo.pop()
        k = len(word)
        if k == len(h):
            yield word, part
            continue
        for bit in (False, True):
            now = None if left is None else left[left[:, k] == bit]
            if now is not None and not len(now):
                continue
            if length[k] <= 1e-14 * scale[k]:                                       # the unit does not depend on z here
                piece = part if (h[k] > 0) == bit else None
            else:
                sign = -1.0 if bit else 1.0
                piece = part.cut(sign * W[k] / length[k], -sign * h[k] / length[k])
            if piece is not None:
                todo.append(((*word, bit), piece, now))


def admissible_graph(model: Any, words: Any = None, *, box: Any = None, inputs: Any = None, fit: int | None = None) -> nx.DiGraph:
    """Which regions can follow which: an edge i -> j where the image of region i meets region j in its interior.

    Parameters
    ----------
    model : a model or map (A, W1, W2, h1, h2); fit : which fit of several.
    words : (region, unit) bool, e.g. ``code.region`` of one fit (nodes keep that order); None takes every region, for at most 12 units.
    box : (low, high), numbers or (latent,) each: only states in it count whose image lies in it too. Leave the orbit some room: what only touches a face has no
        interior. Without a box all of space counts, most of which a bounded orbit never sees.
    inputs : constant input (K,), 0 by default.

    Returns
    -------
    DiGraph, nodes with ``word`` and ``empty`` (no state of the box bears the word; such nodes are left out when words is None); graph attrs ``n_units``,
    ``bounded``, ``complete`` (every region was taken).

    Method: for each region, the planes' preimages under its affine map cut it, unit by unit, and an edge is a part that holds a ball of radius 1e-9 (of 1, or
    of the state's size): linear programs (HiGHS) of 2 H rows, fewer than 2 H (edges + regions) with the branches that no wanted word begins with cut off.
    A region whose image lies within a switching plane counts to the side where the unit is off. Sparse; no table over pairs.
    Every edge of an orbit in the box is one of these, unless it passes through a piece thinner than that.

    >>> from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
    >>> tent = PiecewiseLinearMap(A=[2.0], W1=[[-4.0]], W2=[[1.0]], h1=[0.0], h2=[-0.5])
    >>> sorted(admissible_graph(tent, box=(0, 1)).edges), sorted(admissible_graph(tent, box=(0.6, 1)).edges)
    ([(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 0)])
    """
    map, _ = one_map(model, inputs, fit)
    bounds = _bounds(box, map.latent_dim)
    everything = _Cell(np.zeros((0, map.latent_dim)), np.zeros(0), bounds)
    if words is None:
        if map.n_units > MOST_UNITS:
            raise ArgumentError(
                f"{map.n_units} units make up to 2**{map.n_units} regions, more than 2**{MOST_UNITS}: give words=, e.g. those visited, code.region of one fit."
            )
        wanted, whole = None, True
    else:
        wanted, whole = np.asarray(words, dtype=bool), False
        if wanted.ndim != 2 or wanted.shape[1] != map.n_units or len(np.unique(wanted, axis=0)) != len(wanted):
            raise ArgumentError(
                f"words must be distinct, of shape (region, {map.n_units}), got {wanted.shape}. Take a code's with code.region[fit][code.valid[fit]]."
            )
    cells = dict(_cells(everything, map.W2, map.h2, wanted))
    order = sorted(cells) if wanted is None else [tuple(row) for row in wanted.tolist()]
    place = {word: i for i, word in enumerate(order)}
    regions = np.array(order, dtype=bool).reshape(len(order), map.n_units)
    graph = nx.DiGraph(n_units=map.n_units, bounded=box is not None, complete=whole)
    graph.add_nodes_from((i, {"word": text, "empty": word not in cells}) for i, (word, text) in enumerate(zip(order, word_strings(regions))))
    J, c = map.jacobians(regions), map.offsets(regions)
    for i, word in enumerate(order):
        cell = cells.get(word)
        if cell is not None and box is not None:
            cell = _stays(cell, J[i], c[i], bounds)
        if cell is not None:
            graph.add_edges_from((i, place[to]) for to, _ in _cells(cell, map.W2 @ J[i], map.W2 @ c[i] + map.h2, regions))
    return graph


def unobserved_edges(graph: nx.DiGraph, admissible: nx.DiGraph) -> list[tuple[int, int]]:
    """Edges between visited regions that one step of the map allows and the orbit never took: pairs of nodes of ``graph``, sorted. O(edges).

    Either the orbit was too short, or what comes before a state of the attractor keeps it from the part of its region that would take them.
    """
    word, of = nx.get_node_attributes(admissible, "word"), {w: node for node, w in nx.get_node_attributes(graph, "word").items()}
    named = ((of.get(word[a]), of.get(word[b])) for a, b in admissible.edges)
    return sorted((a, b) for a, b in named if a is not None and b is not None and not graph.has_edge(a, b))


def _stays(cell: _Cell, J: np.ndarray, c: np.ndarray, bounds: list[Any]) -> _Cell | None:
    """The part of a cell whose image lies in the box."""
    part: _Cell | None = cell
    for row, offset, (low, high) in zip(J, c, bounds):
        size = float(np.linalg.norm(row))
        if size <= 1e-14 * max(abs(offset), 1.0):                                   # this latent unit does not depend on z here
            part = part if low <= offset <= high else None
        for sign, edge in ((1.0, high - offset), (-1.0, offset - low)):
            if part is not None and size > 1e-14 * max(abs(offset), 1.0):
                part = part.cut(sign * row / size, edge / size)
    return part


def _bounds(box: Any, M: int) -> list[tuple[float | None, float | None]]:
    if box is None:
        return [(None, None)] * M
    try:
        low, high = (np.broadcast_to(np.asarray(side, dtype=np.float64), (M,)) for side in box)
    except (TypeError, ValueError):
        raise ArgumentError(f"box must be (low, high), each a number or of shape ({M},), got {box!r}.") from None
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ArgumentError("box must be finite with low below high everywhere.")
    return list(zip(low.tolist(), high.tolist()))
