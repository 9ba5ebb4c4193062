"""Fixed points where regions are too many to go through: restarts that follow virtual solutions.

From a random word the region's solution is computed. If it lies in its region it is a fixed point; else the region that it does lie in is next.
A walk that comes back to a region flips a random part of the units that disagree there, as a principal pivot of the complementarity
problem would. After Eisenmann, Monfared, Goering & Durstewitz 2023 (SCYFI, arXiv:2310.17561). Solutions are kept by region, so that no region is
solved twice. From the fixed point where a walk ends, or from a random state where it ends nowhere, a curve leads to others (curves.py).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from dynrnn.analysis.piecewise.candidates import Candidates
from dynrnn.analysis.piecewise.curves import MAX_STEPS as MAX_CROSSINGS
from dynrnn.analysis.piecewise.curves import follow
from dynrnn.analysis.piecewise.reduced import Reduced

MAX_STEPS = 100                           # regions of one walk
BATCH = 256                               # walks at a time
MAX_KEPT = 200_000                        # regions whose solution is remembered
LOOSE = 1e-8


class _Regions:
    """Solves regions in batches and remembers where each one's solution lies."""

    def __init__(self, reduced: Reduced, n_virtual: int):
        self.reduced, self.n_virtual = reduced, n_virtual
        self.next: dict[bytes, bytes | None] = {}                                   # itself for a fixed point, None for a singular region
        self.found = Candidates(degree=np.nan)
        self.nearest: list[tuple[float, bytes]] = []

    def system(self, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """B (n, r, r) and b (n, r, 1) of regions."""
        p = self.reduced
        return p.B0 - (p.G * bits[:, None, :]) @ p.U, (p.g + (bits * p.o) @ p.G.T)[..., None]

    def solve(self, words: list[bytes]) -> None:
        new = [word for word in dict.fromkeys(words) if word not in self.next]
        if not new:
            return
        if len(self.next) > MAX_KEPT:
            self.next.clear()
        p, H, n = self.reduced, self.reduced.n_units, len(self.reduced.g)
        bits = np.frombuffer(b"".join(new), dtype=bool).reshape(-1, H)
        B, b = self.system(bits)
        sound = np.linalg.cond(B) < 1e12 if n else np.ones(len(bits), bool)
        x = np.zeros((len(bits), n))
        x[sound] = np.linalg.solve(B[sound], b[sound])[..., 0]
        y = x @ p.U.T + p.o
        outside = np.where(bits, -y, y).max(-1, initial=0)
        near = LOOSE * (p.size + (1 + p.reach) * np.abs(x).max(-1, initial=0) + np.abs(p.o).max(initial=0))
        real = sound & (outside <= near)
        self.found.add(bits[real])
        self.found.add_singular(bits[~sound], np.ones(int((~sound).sum()), bool))
        self.found.n_candidates += len(new)
        for i, word in enumerate(new):
            self.next[word] = None if not sound[i] else word if real[i] else (y[i] > 0).tobytes()
        if self.n_virtual:
            own = [(float(outside[i]), new[i]) for i in np.flatnonzero(sound & ~real)]
            self.nearest = sorted({*self.nearest, *own})[: self.n_virtual]


def search_words(reduced: Reduced, n_starts: int, n_virtual: int, rng: np.random.Generator) -> tuple[Candidates, Counter]:
    """Words of the fixed points found, and how many walks, each with its curve, came by each.

    Cost O(n_starts steps (r^2 H + r^3)), memory O(BATCH r (r + H)) and the regions remembered.
    """
    regions, hits = _Regions(reduced, n_virtual), Counter()
    for start in range(0, n_starts, BATCH):
        words = [word.tobytes() for word in _starts(reduced, min(BATCH, n_starts - start), rng)]
        visited: list[set[bytes]] = [set() for _ in words]
        active, ended = list(range(len(words))), [None] * len(words)
        for _ in range(MAX_STEPS):
            if not active or regions.found.full:
                break
            regions.solve([words[i] for i in active])
            going = []
            for i in active:
                word = words[i]
                following = regions.next[word]
                if following == word:
                    ended[i] = word
                    continue
                visited[i].add(word)
                if following is None:
                    following = (rng.random(reduced.n_units) < 0.5).tobytes()
                elif following in visited[i]:
                    following = _flipped(word, following, rng)
                words[i] = following
                going.append(i)
            active = going
        for word in ended:
            hits.update(_along_curve(regions, word, rng))
    regions.found.virtual = [np.frombuffer(word, dtype=bool) for _, word in regions.nearest]
    return regions.found, hits


def _along_curve(regions: _Regions, word: bytes | None, rng: np.random.Generator) -> set[bytes]:
    """Fixed points on one curve, in both directions: through the one in ``word``, or through a random state if that is None."""
    p = regions.reduced
    n, H = len(p.g), p.n_units
    met = np.empty((MAX_CROSSINGS, H), dtype=bool)
    if word is not None:
        bits, mu, w = np.frombuffer(word, dtype=bool).copy(), 0.0, rng.standard_normal(n)
        x = np.linalg.solve(*regions.system(bits[None]))[0, :, 0]
    else:
        x, mu = 10 ** rng.uniform(-1, 1) * rng.standard_normal(n) * max(1.0, np.abs(p.g).max(initial=0)), 1.0
        bits = p.U @ x + p.o > 0
        B, b = regions.system(bits[None])
        w = B[0] @ x - b[0, :, 0]
    out = set() if word is None else {word}
    for direction in (1.0, -1.0):
        count = follow(p.B0, p.G, p.U, p.o, p.g, bits, x, w, mu, direction, MAX_CROSSINGS, met)
        out |= {one.tobytes() for one in met[:count]}
    regions.found.add(np.frombuffer(b"".join(out), dtype=bool).reshape(-1, H))
    return out


def _flipped(word: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """``word`` with some of the units turned in which ``other`` differs, at least one."""
    bits = np.frombuffer(word, dtype=bool)
    differ = np.flatnonzero(bits != np.frombuffer(other, dtype=bool))
    turn = differ[rng.random(len(differ)) < 0.5]
    out = bits.copy()
    out[turn if len(turn) else rng.choice(differ, 1)] ^= True
    return out.tobytes()


def _starts(reduced: Reduced, n: int, rng: np.random.Generator) -> np.ndarray:
    """Half the words at random, a quarter of random states of many sizes, a quarter met on orbits of the map from such states."""
    H, map = reduced.n_units, reduced.map
    words = rng.random((n, H)) < rng.random((n, 1))
    size = 10 ** rng.uniform(-1, 1, (n, 1)) * max(1.0, float(np.abs(map.h1).max(initial=0)), float(np.abs(map.h2).max(initial=0)))
    z = size * rng.standard_normal((n, map.latent_dim))
    steps = np.where(np.arange(n) % 4 == 3, rng.integers(1, 100, n), 0)
    for t in range(int(steps.max(initial=0))):
        with np.errstate(over="ignore", invalid="ignore"):
            moved = map.step(z)
        z = np.where(((t < steps) & (np.abs(moved).max(-1) < 1e100))[:, None], moved, z)
    from_states = map.words(z)[:, reduced.units] ^ reduced.base
    return np.where((np.arange(n) % 4 >= 2)[:, None], from_states, words)
