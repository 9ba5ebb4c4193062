"""A piecewise-linear map in canonical form: regions, their affine pieces, distances to the next switching plane."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from dynrnn.errors import ArgumentError

if TYPE_CHECKING:
    Numbers = np.ndarray
else:
    Numbers = Any                                                                   # lists are taken too, and become arrays


@dataclass(frozen=True)
class PiecewiseLinearMap:
    """``z' = A z + W1 relu(W2 z + h2) + h1`` in float64.

    A (M, M) or its diagonal (M,), W1 (M, H), W2 (H, M), h1 (M,), h2 (H,). Every plane ``W2[i] z + h2[i] = 0`` is a switching plane; a region
    is the set of states with one *word*, the bits ``W2 z + h2 > 0``. A state on a plane counts to the side where the unit is off, as relu's
    derivative has it. On a region the map is affine: ``J z + c`` with ``J = A + W1 diag(word) W2`` and ``c = W1 diag(word) h2 + h1``.

    bounded : whether ``f(z) - A z`` is bounded, as for clipped models; the index sum of all fixed points is then known.

    >>> tent = PiecewiseLinearMap(A=[2.0], W1=[[-4.0]], W2=[[1.0]], h1=[0.0], h2=[-0.5])
    >>> tent.step(np.array([[0.25], [0.75]])).ravel().tolist(), tent.words(np.array([[0.25], [0.75]])).ravel().tolist()
    ([0.5, 0.5], [False, True])
    """

    A: Numbers
    W1: Numbers
    W2: Numbers
    h1: Numbers
    h2: Numbers
    bounded: bool = False

    def __post_init__(self) -> None:
        for field in fields(self)[:5]:
            try:
                value = np.array(getattr(self, field.name), dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ArgumentError(f"{field.name} must be an array of numbers: {error}.") from None
            object.__setattr__(self, field.name, value)
        if self.A.ndim == 1:
            object.__setattr__(self, "A", np.diag(self.A))
        M, H = len(self.h1) if self.h1.ndim == 1 else -1, len(self.h2) if self.h2.ndim == 1 else -1
        for name, shape in {"h1": (M,), "h2": (H,), "A": (M, M), "W1": (M, H), "W2": (H, M)}.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise ArgumentError(f"{name} must have shape {shape} with M = {M} latent units (h1) and H = {H} units (h2), got {value.shape}.")
            if not np.isfinite(value).all():
                where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
                raise ArgumentError(f"{name}{list(where)} is {value[where]}: a map with parameters that are not finite has no regions.")

    @property
    def latent_dim(self) -> int:
        return len(self.h1)

    @property
    def n_units(self) -> int:
        """Units H of the canonical form: switching planes."""
        return len(self.h2)

    def preactivations(self, z: Float[np.ndarray, "*batch M"]) -> tuple[Float[np.ndarray, "*batch H"], Float[np.ndarray, "*batch H"]]:
        """``W2 z + h2``, and the size of what each is the sum of, to which rounding is relative.

        A coordinate is as exact as the largest one it was computed from, so a state's whole size counts: x = 1e-17 beside y = 1 is on the plane x = 0.
        """
        size = np.abs(z).max(-1, keepdims=True, initial=0)
        return z @ self.W2.T + self.h2, size * np.abs(self.W2).sum(1) + np.abs(self.h2)

    def words(self, z: Float[np.ndarray, "*batch M"]) -> Bool[np.ndarray, "*batch H"]:
        """Which units are on."""
        return z @ self.W2.T + self.h2 > 0

    def step(self, z: Float[np.ndarray, "*batch M"]) -> Float[np.ndarray, "*batch M"]:
        """One step of every state."""
        return z @ self.A.T + np.maximum(z @ self.W2.T + self.h2, 0) @ self.W1.T + self.h1

    def jacobians(self, words: Bool[np.ndarray, "*batch H"]) -> Float[np.ndarray, "*batch M M"]:
        """J of every region. O(batch M^2 H), memory O(batch M (M + H))."""
        return self.A + (self.W1 * words[..., None, :]) @ self.W2

    def offsets(self, words: Bool[np.ndarray, "*batch H"]) -> Float[np.ndarray, "*batch M"]:
        """c of every region."""
        return (words * self.h2) @ self.W1.T + self.h1

    def margins(self, z: Float[np.ndarray, "*batch M"]) -> Float[np.ndarray, "*batch"]:
        """Distance to the next switching plane, inf where there is none."""
        length = np.linalg.norm(self.W2, axis=1)
        real = length > 0
        if not real.any():
            return np.full(z.shape[:-1], np.inf)
        return (np.abs(z @ self.W2.T + self.h2)[..., real] / length[real]).min(-1)
