"""How far two codes are apart, and whether two groups of codes differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.symbols.align import Member, member
from dynrnn.analysis.symbols.align import align as partners
from dynrnn.analysis.symbols.sequence import one_fit
from dynrnn.analysis.symbols.spectral import topological_entropy
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state

LN2 = math.log(2)
MOST_SWAPPED = 12                          # symbols up to which an alignment without centroids is improved by exchanges


def compare_codes(
    code_a: xr.Dataset, code_b: xr.Dataset, *, fit_a: int | None = None, fit_b: int | None = None, align: str = "auto",
    self_transitions: bool = True, lag: int = 1,
) -> xr.Dataset:
    """Distance between two codes: of fits, recordings or animals.

    Parameters
    ----------
    code_a, code_b : Datasets of :func:`symbolic_code` or its kin. fit_a, fit_b : which fit of each, where there are several.
    align : which symbol is which. "centroid": nearest centroids; "label", "region": the same number, or word, of a common partition, or map; "occupancy": by
        occupancy and what no renaming changes in rows and columns, then up to 12
        symbols by exchanging pairs: a heuristic, its distance an upper bound; "auto": centroids where both have them in observation space, else occupancy.
    self_transitions, lag : as in :func:`transition_graph`.

    Returns
    -------
    Dataset: ``distance`` in [0, ln 2] nat: the Jensen-Shannon divergence of the two rows of transition probabilities, averaged with weight (w_a + w_b) / 2,
    w the share of transitions that leave a symbol; a symbol without a partner counts ln 2. ``edge_jaccard``: 1 - edges in both / edges in either;
    ``h_top_difference`` |h_top_a - h_top_b|; ``unmatched``: half the summed occupancy of the symbols without a partner; ``partner`` (symbol of a): its
    symbol in b or -1.

    Method: the alignment maximises the sum over pairs of min(occupancies) (1 - d), with d the root-mean-square distance of centroids in standard
    deviations of the orbits, 1 at most (Kuhn 1955; scipy's linear_sum_assignment): a symbol without a partner loses its occupancy, and a pair with d >= 1
    is none. A code and itself with units or symbols renumbered are at 0 exactly. Lin 1991 for the divergence. O(n_a n_b (n_a + dim)), up to 4,096 symbols,
    O(time log time + edges) with labels or regions.

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> a, b = code_of_symbols([0, 1, 1, 0, 1, 1, 0, 1, 1]), code_of_symbols([5, 2, 2, 5, 2, 2, 5, 2, 2])
    >>> float(compare_codes(a, b).distance), compare_codes(a, b).partner.values.tolist()
    (0.0, [0, 1])
    """
    x = member(one_fit(code_a, fit_a, "code_a"), self_transitions, lag, topological_entropy)
    y = member(one_fit(code_b, fit_b, "code_b"), self_transitions, lag, topological_entropy)
    parts, partner, used = _distance(x, y, align)
    return xr.Dataset(
        {name: ((), value, {"long_name": text, "units": units}) for (name, text, units), value in zip(_PARTS, parts)}
        | {"partner": (("symbol",), partner, {"long_name": "symbol of code_b, -1 for none"})},
        attrs={"align": used, "self_transitions": int(self_transitions), "lag": lag},
    )


_PARTS = (
    ("distance", "Jensen-Shannon divergence of transitions", "nat"),
    ("edge_jaccard", "edges that only one has", "1"),
    ("h_top_difference", "difference of topological entropies", "nat"),
    ("unmatched", "occupancy without a partner", "1"),
)


def _distance(x: Member, y: Member, by: str) -> tuple[tuple[float, float, float, float], np.ndarray, str]:
    """(parts, partners, what aligned them)."""
    partner, used = partners(x, y, by)
    parts = _parts(x, y, partner)
    if used != "occupancy" or max(x.n, y.n) > MOST_SWAPPED:
        return parts, partner, used
    if y.n > x.n:                                                                    # one order for both, so that the distance is symmetric
        parts, other, used = _distance(y, x, by)
        return parts, _inverse(other, x.n), used
    # occupancies cannot tell a cycle from its reverse: exchange the pair that brings the codes nearest, while one does
    while parts[0] > 0:
        found = []
        for i, j in itertools.combinations(range(x.n), 2):
            other = partner.copy()
            other[[i, j]] = other[[j, i]]
            found.append((_parts(x, y, other), other))
        best = min(found, key=lambda one: one[0][0], default=(parts, partner))
        if best[0][0] >= parts[0] - 1e-12:
            break
        parts, partner = best
    return parts, partner, used


def _inverse(partner: np.ndarray, n: int) -> np.ndarray:
    out = np.full(n, -1)
    out[partner[partner >= 0]] = np.flatnonzero(partner >= 0)
    return out


def _parts(x: Member, y: Member, partner: np.ndarray) -> tuple[float, float, float, float]:
    # y's symbols under x's numbers, those without a partner after them
    name, matched = _inverse(partner, y.n), partner >= 0
    alone = name < 0
    name[alone] = x.n + np.arange(int(alone.sum()))
    n = x.n + int(alone.sum())
    weight = np.zeros((2, n))
    weight[0, : x.n], weight[1, name] = x.weight, y.weight
    keys = np.concatenate([x.a.astype(np.int64) * n + x.b, name[y.a].astype(np.int64) * n + name[y.b]])
    edge, where = np.unique(keys, return_inverse=True)
    where = where.ravel()
    P = np.zeros((2, len(edge)))
    P[0, where[: len(x.a)]], P[1, where[len(x.a) :]] = x.p, y.p
    middle = P.mean(0)
    # written so that equal rows give exactly 0
    terms = 0.5 * sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / middle), 0.0) for p in P)
    row = np.bincount(edge // n, terms, n)
    row[(weight == 0).any(0)] = LN2
    distance = float(np.clip((weight.mean(0) * row).sum() / max(float(weight.mean(0).sum()), 1e-300), 0.0, LN2))
    both = int((P > 0).all(0).sum())
    unmatched = 0.5 * (float(x.share[~matched].sum()) + float(y.share[alone].sum()))
    return distance, 1 - both / len(edge) if len(edge) else 0.0, abs(x.h_top - y.h_top), unmatched


def compare_groups(
    codes_a: Any, codes_b: Any, *, n_permutations: int = 10_000, align: str = "auto", self_transitions: bool = True, lag: int = 1,
    random_state: int | None = None,
) -> xr.Dataset:
    """Do two groups of codes differ? Distances between the groups against those within, by permutation of the members.

    codes_a, codes_b : lists of codes, or one Dataset whose fits are the members, fits without symbols left out; at least 2 each. A member should be what
        was sampled: an animal or a recording, not several fits to one.
    n_permutations : random relabellings, 10,000 by default. align, self_transitions, lag : as in :func:`compare_codes`.

    Returns
    -------
    Dataset: ``distance`` (member, other) and ``group`` (member) 0 or 1; ``between``, ``within`` mean distances, the mean over groups of each one's mean pair;
    ``statistic`` = between - within; ``p_value`` = (1 + relabellings with a statistic as large) / (1 + n_permutations), one-sided, never 0;
    ``n_relabellings`` that exist, whose inverse bounds p from below. attrs: random_state.

    Method: Phipson & Smyth 2010 for the + 1; Anderson 2001 for tests on distances. O(members^2) comparisons.

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> rng = np.random.default_rng(0)
    >>> noisy = [code_of_symbols(rng.integers(0, 2, 500)) for _ in range(5)]
    >>> sticky = [code_of_symbols(np.cumsum(rng.random(500) < 0.1) % 2) for _ in range(5)]
    >>> bool(compare_groups(noisy, sticky, random_state=0).p_value < 0.02)
    True
    """
    check_int("n_permutations", n_permutations, low=1)
    groups = [_members(codes, name, self_transitions, lag) for codes, name in ((codes_a, "codes_a"), (codes_b, "codes_b"))]
    members = groups[0] + groups[1]
    N, n_a = len(members), len(groups[0])
    D = np.zeros((N, N))
    for i in range(N):
        for j in range(i):
            D[i, j] = D[j, i] = _distance(members[i], members[j], align)[0][0]
    random_state = check_random_state(random_state)
    rng = np.random.default_rng(np.random.SeedSequence(random_state))
    own = np.arange(N) < n_a
    shuffled = rng.permuted(np.broadcast_to(own, (n_permutations, N)), axis=1)
    between, within = _between_within(D, own[None])
    b, w = _between_within(D, shuffled)
    statistic = float(between[0] - within[0])
    as_large = int((b - w >= statistic - 1e-12).sum())                              # rounding must not tell a relabelling from itself
    ways = math.comb(N, n_a) // (2 if 2 * n_a == N else 1)
    scalars = {
        "between": (float(between[0]), "mean distance between the groups", "nat"),
        "within": (float(within[0]), "mean distance within them", "nat"),
        "statistic": (statistic, "between - within", "nat"),
        "p_value": ((1 + as_large) / (1 + n_permutations), "chance of such a statistic if members are exchangeable", "1"),
        "n_relabellings": (float(ways), "distinct relabellings", "1"),
    }
    data: dict[str, Any] = {
        "distance": (("member", "other"), D, {"long_name": "distance of codes", "units": "nat"}),
        "group": (("member",), (~own).astype(np.int64), {"long_name": "0 for codes_a, 1 for codes_b"}),
    }
    data |= {name: ((), value, {"long_name": text, "units": units}) for name, (value, text, units) in scalars.items()}
    return xr.Dataset(
        data, attrs={"random_state": random_state, "n_permutations": n_permutations, "align": align, "self_transitions": int(self_transitions), "lag": lag}
    )


def _members(codes: Any, name: str, self_transitions: bool, lag: int) -> list[Member]:
    parts: list[xr.Dataset] = []
    for code in [codes] if isinstance(codes, xr.Dataset) else codes if isinstance(codes, Sequence) else []:
        if not isinstance(code, xr.Dataset) or "symbol" not in code.variables:
            raise ArgumentError(f"{name} must hold Datasets of symbolic_code(...), got {type(code).__name__}.")
        parts += [code.isel(fit=k) for k in range(code.sizes["fit"]) if int(code.n_symbols[k]) > 0] if "fit" in code.dims else [code]
    if len(parts) < 2:
        raise ArgumentError(f"{name} must be a list of codes, or one with several fits, of which at least 2 have symbols; got {len(parts)}.")
    return [member(one_fit(part, None, name), self_transitions, lag, topological_entropy) for part in parts]


def _between_within(D: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean distances of every labelling (labelling, member)."""
    x = labels.astype(np.float64)
    y = 1 - x
    n, m = x.sum(1), y.sum(1)
    xD, yD = x @ D, y @ D
    return (xD * y).sum(1) / (n * m), 0.5 * ((xD * x).sum(1) / (n * (n - 1)) + (yD * y).sum(1) / (m * (m - 1)))
