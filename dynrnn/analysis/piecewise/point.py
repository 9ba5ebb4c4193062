"""One region's fixed point, in full: solved, polished, its word read again; or the set of them where I - J is singular."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynrnn.analysis.piecewise.ball import largest_ball
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap

SINGULAR = 1e-12                          # of the largest singular value of I - J, or of 1
TOLERANCE = 1e-10
POINT, CONTINUUM = "point", "continuum"


@dataclass(frozen=True)
class FixedPoint:
    """z (M,), word (H,). border: units whose switching plane it lies on. margin: negative for a virtual one, how far outside its region it lies."""

    z: np.ndarray
    word: np.ndarray
    index: int
    margin: float
    residual: float
    border: np.ndarray
    kind: str = POINT
    dimension: int = 0
    virtual: bool = False

    @property
    def key(self) -> bytes:
        return self.word.tobytes()


def examine(map: PiecewiseLinearMap, word: np.ndarray, tolerance: float = TOLERANCE, virtual: bool = False) -> FixedPoint | None:
    """The fixed point or continuum of the region ``word``, None if there is none (``virtual``: if its solution lies in its region, or is no point).

    A unit whose value is within ``tolerance`` of zero, relative to the terms that it is the sum of, lies on its plane: off, and either word
    will do. Units that drive nothing take the state's side.
    """
    J, c = map.jacobians(word), map.offsets(word)
    left, size, right = np.linalg.svd(np.eye(len(c)) - J)
    flat = size <= SINGULAR * max(1.0, size[0])
    if flat.any():
        return None if virtual else _continuum(map, word, tolerance, left, size, right, flat, c)
    z = np.linalg.solve(np.eye(len(c)) - J, c)
    for _ in range(2):                                                              # residuals in extended precision: the state's last digits
        z = z - np.linalg.solve(np.eye(len(c)) - J, _residual(map, word, z).astype(np.float64))
    y, tight = _values(map, z, tolerance)
    word = np.where(map.W1.any(0), word, y > 0)
    wrong = (word != (y > 0)) & ~tight
    if wrong.any() != virtual:
        return None
    index = int(np.linalg.slogdet(np.eye(len(c)) - J)[0])
    if virtual:
        length = np.linalg.norm(map.W2, axis=1)
        outside = (np.abs(y) / np.where(length == 0, 1, length))[wrong].max()
        return FixedPoint(z, word, index, -float(outside), float(np.abs(_residual(map, word, z)).max()), np.zeros(len(y), bool), virtual=True)
    # units that no state moves across their plane, or that drive nothing, are no border; on one, the side is a convention
    word, border = word & ~tight, tight & map.W2.any(1) & map.W1.any(0)
    return FixedPoint(z, word, index, float(map.margins(z[None])[0]), float(np.abs(map.step(z) - z).max()), border)


def _residual(map: PiecewiseLinearMap, word: np.ndarray, z: np.ndarray) -> np.ndarray:
    """z - f(z), with this region's units on."""
    x = z.astype(np.longdouble)
    y = np.where(word, map.W2.astype(np.longdouble) @ x + map.h2, 0)
    return x - map.A.astype(np.longdouble) @ x - map.W1.astype(np.longdouble) @ y - map.h1


def _values(map: PiecewiseLinearMap, z: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Every unit's input, and whether it is zero as far as can be told."""
    y, size = map.preactivations(z)
    return y, np.abs(y) <= tolerance * size


def _continuum(map, word, tolerance, left, size, right, flat, c) -> FixedPoint | None:
    """All z0 + N t with I - J flat along N, as far as they lie in the region: the point deepest inside, by linear programming."""
    inverse = np.where(flat, 0, 1 / np.where(flat, 1, size))
    z0 = right.T @ (inverse * (left.T @ c))
    if np.abs(left.T[flat] @ c).max() > tolerance * max(1.0, np.abs(c).max()):
        return None
    N = right[flat].T
    along = map.W2 @ N
    y, tight = _values(map, z0, tolerance)
    length = np.linalg.norm(map.W2, axis=1)
    fixed = (np.abs(along).max(1) <= tolerance * length) | (length == 0)            # these keep one sign on the whole continuum
    driving = map.W1.any(0)
    if ((word != (y > 0)) & ~tight & fixed & driving).any():
        return None
    on_plane = fixed & tight & (length > 0)
    side = np.where(word, 1.0, -1.0)
    bound = ~fixed & driving
    found = largest_ball(-(side[:, None] * along)[bound], (side * y)[bound], length[bound])
    if found is None or found[1] <= tolerance * max(1.0, np.linalg.norm(z0)):
        return None
    z = z0 + N @ found[0]
    word = np.where(bound, word, map.words(z)) & ~on_plane
    return FixedPoint(z, word, 0, float(map.margins(z[None])[0]), float(np.abs(map.step(z) - z).max()), on_plane & driving, CONTINUUM, N.shape[1])


def region_exists(map: PiecewiseLinearMap, word: np.ndarray, idle: bool = False, least: float = 0.0) -> bool:
    """Whether any ball of states with a radius above ``least`` has this word, as far as units that drive something go; ``idle``: all units."""
    length = np.linalg.norm(map.W2, axis=1)
    counts = idle | map.W1.any(0)
    if idle and ((map.h2 > 0) != word)[length == 0].any():
        return False
    side, real = np.where(word, 1.0, -1.0), (length > 0) & counts
    found = largest_ball(-(side[:, None] * map.W2)[real], (side * map.h2)[real], length[real])
    return found is not None and found[1] > least
