"""Known chaotic flows: each class is its equation, its parameters, and what is known about its attractor.

A system is used by its methods: ``dim``, ``field(z)`` (time derivative, batched over leading axes, for numpy arrays and torch tensors).
Means and standard deviations are constants of the attractor, not of a sample, so that every recording of a system is scaled alike. They
were computed by ``python -m dynrnn_datasets.longrun`` and stand, with standard errors over independent copies, at the end of this file.
"""

from __future__ import annotations

import operator
import sys
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

import numpy as np

from .errors import DatasetError


def _namespace(z: Any) -> Any:
    """The array library of ``z``, without importing torch for those who do not use it."""
    if isinstance(z, np.ndarray):
        return np
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(z, torch.Tensor):
        return torch
    return z.__array_namespace__()


def _columns(z: Any) -> tuple[Any, Any, Any]:
    return z[..., 0], z[..., 1], z[..., 2]


class System:
    """What every flow here shares; a subclass gives ``field`` and its constants.

    ``dt`` is the default sampling interval and ``transient`` the default stretch that is dropped, both in the system's own time unit.
    ``mean``, ``scale`` (standard deviation) and ``lyapunov_max`` (per time unit) are None where the parameters are not the tabulated ones.
    """

    title: ClassVar[str]
    source: str
    dt: float
    transient: float
    method: str = "DOP853"
    spread: float = 0.1
    bound: float = 1e3

    @property
    def dim(self) -> int:
        return 3

    @property
    def channels(self) -> tuple[str, ...]:
        return ("x", "y", "z")

    @property
    def initial(self) -> tuple[float, ...]:
        raise NotImplementedError

    @property
    def mean(self) -> tuple[float, ...] | None:
        return None

    @property
    def scale(self) -> tuple[float, ...] | None:
        return None

    @property
    def lyapunov_max(self) -> float | None:
        return None

    def field(self, z: Any) -> Any:
        raise NotImplementedError

    def tangent(self, z: Any, q: Any) -> Any:
        """The field's derivative at z along q, arrays that broadcast."""
        raise NotImplementedError

    def rate(self, t: float, z: np.ndarray) -> np.ndarray:
        """``field`` as the solver calls it."""
        return self.field(z)

    def observe(self, path: np.ndarray) -> np.ndarray:
        """All variables are channels."""
        return path

    @property
    def parameters(self) -> dict[str, float | int]:
        return asdict(self)  # type: ignore[call-overload]  # every final class below is a dataclass

    def _is_default(self) -> bool:
        return self == type(self)()


@final
@dataclass(frozen=True)
class Lorenz63(System):
    """Lorenz' convection model (Lorenz 1963, J. Atmos. Sci. 20, 130).

        x' = sigma (y - x),    y' = x (rho - z) - y,    z' = x y - beta z

    Sampled every 0.01, as in the reconstruction benchmarks (Brenner et al. 2022; Hess et al. 2023): about 75 samples a turn.

    >>> import numpy as np
    >>> Lorenz63().field(np.array([1.0, 2.0, 3.0])).round(6).tolist()
    [10.0, 23.0, -6.0]
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8.0 / 3.0

    title = "Lorenz 1963 convection, 3 variables, chaotic"
    source = "Lorenz 1963, J. Atmos. Sci. 20, 130"
    dt = 0.01
    transient = 30.0  # 27 Lyapunov times, and e^(-13.67 t) across the attractor

    @property
    def initial(self) -> tuple[float, ...]:
        return (1.0, 1.0, 25.0)

    @property
    def mean(self) -> tuple[float, ...] | None:
        # x and y: zero by the symmetry (x, y, z) -> (-x, -y, z), under which the attractor is invariant
        return (0.0, 0.0, MEAN_Z_L63) if self._is_default() else None

    @property
    def scale(self) -> tuple[float, ...] | None:
        return SCALE_L63 if self._is_default() else None

    @property
    def lyapunov_max(self) -> float | None:
        # 0.9056: Sprott 2003, Chaos and Time-Series Analysis, and Viswanath 1998
        return 0.9056 if self._is_default() else None

    def field(self, z: Any) -> Any:
        return _namespace(z).stack(self._rates(z[..., 0], z[..., 1], z[..., 2]), axis=-1)

    def rate(self, t: float, z: np.ndarray) -> np.ndarray:
        """The same in plain numbers: stacking three of them takes thirty times as long as what they are made of."""
        return np.array(self._rates(*z.tolist()))

    def tangent(self, z: Any, q: Any) -> Any:
        (x, y, w), (dx, dy, dw) = _columns(z), _columns(q)
        return _namespace(q).stack([self.sigma * (dy - dx), dx * (self.rho - w) - x * dw - dy, dx * y + x * dy - self.beta * dw], axis=-1)

    def _rates(self, x: Any, y: Any, w: Any) -> list[Any]:
        return [self.sigma * (y - x), x * (self.rho - w) - y, x * y - self.beta * w]


@final
@dataclass(frozen=True)
class Roessler(System):
    """Roessler's band attractor (Roessler 1976, Phys. Lett. A 57, 397).

        x' = -y - z,    y' = x + a y,    z' = b + z (x - c)

    Sampled every 0.08: a turn takes 5.9, so about 73 samples a turn, as for Lorenz-63, and some 15 across the short spike of z.

    >>> import numpy as np
    >>> Roessler().field(np.array([1.0, 2.0, 3.0])).round(6).tolist()
    [-5.0, 1.4, -13.9]
    """

    a: float = 0.2
    b: float = 0.2
    c: float = 5.7

    title = "Roessler 1976, 3 variables, phase-coherent chaos"
    source = "Roessler 1976, Phys. Lett. A 57, 397"
    dt = 0.08
    transient = 300.0  # 21 Lyapunov times

    @property
    def initial(self) -> tuple[float, ...]:
        return (-4.0, -4.0, 0.02)

    @property
    def mean(self) -> tuple[float, ...] | None:
        # the averages of x' and y' vanish: <y> = -<z>, <x> = a <z>
        return (self.a * MEAN_Z_ROESSLER, -MEAN_Z_ROESSLER, MEAN_Z_ROESSLER) if self._is_default() else None

    @property
    def scale(self) -> tuple[float, ...] | None:
        return SCALE_ROESSLER if self._is_default() else None

    @property
    def lyapunov_max(self) -> float | None:
        return 0.0714 if self._is_default() else None  # Sprott 2003, Chaos and Time-Series Analysis

    def field(self, z: Any) -> Any:
        return _namespace(z).stack(self._rates(z[..., 0], z[..., 1], z[..., 2]), axis=-1)

    def rate(self, t: float, z: np.ndarray) -> np.ndarray:
        """The same in plain numbers, as in Lorenz-63."""
        return np.array(self._rates(*z.tolist()))

    def tangent(self, z: Any, q: Any) -> Any:
        (x, _, w), (dx, dy, dw) = _columns(z), _columns(q)
        return _namespace(q).stack([-dy - dw, dx + self.a * dy, dw * (x - self.c) + w * dx], axis=-1)

    def _rates(self, x: Any, y: Any, w: Any) -> list[Any]:
        return [-y - w, x + self.a * y, self.b + w * (x - self.c)]


@final
@dataclass(frozen=True)
class Lorenz96(System):
    """Lorenz' ring of ``n_dims`` sites (Lorenz 1996, ECMWF Seminar on Predictability, 1).

        x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing        (indices modulo n_dims)

    Sampled every 0.05, Lorenz' own step, which he likens to six hours of weather; 20 sites by default, as in the reconstruction benchmarks.
    At ``forcing=8`` chaotic for most sizes from about 5 on; small rings may settle on a wave.

    >>> import numpy as np
    >>> Lorenz96(n_dims=5).field(np.arange(5.0)).tolist()
    [0.0, 7.0, 9.0, 11.0, -2.0]
    """

    n_dims: int = 20
    forcing: float = 8.0

    title = "Lorenz 1996 ring of n_dims sites (20), chaotic"
    source = "Lorenz 1996, Predictability: a problem partly solved, Proc. ECMWF Seminar on Predictability 1, 1"
    dt = 0.05
    transient = 50.0

    def __post_init__(self) -> None:
        try:
            size = operator.index(self.n_dims)
        except TypeError:
            size = 0
        if size < 4:
            raise DatasetError(
                f"Lorenz-96 needs n_dims >= 4 (a whole number), got {self.n_dims!r}: a site is coupled to three different neighbours."
            )

    @property
    def dim(self) -> int:
        return self.n_dims

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(f"x{i}" for i in range(self.n_dims))

    @property
    def initial(self) -> tuple[float, ...]:
        # off the fixed point x_i = forcing, and off every invariant set of shift-symmetric states
        return tuple(self.forcing + (1.0 if i == 0 else 0.1 * (i % 3)) for i in range(self.n_dims))

    @property
    def mean(self) -> tuple[float, ...] | None:
        # every site alike: the ring is symmetric under rotation
        known = LORENZ96.get((self.n_dims, self.forcing))
        return known and (known[0],) * self.n_dims

    @property
    def scale(self) -> tuple[float, ...] | None:
        # energy balance: <x^2> = forcing <x>, so the mean fixes the standard deviation
        known = LORENZ96.get((self.n_dims, self.forcing))
        return known and ((known[0] * (self.forcing - known[0])) ** 0.5,) * self.n_dims

    @property
    def lyapunov_max(self) -> float | None:
        known = LORENZ96.get((self.n_dims, self.forcing))
        return known and known[1]

    def field(self, z: Any) -> Any:
        ring = _namespace(z).concat([z[..., -2:], z, z[..., :1]], axis=-1)  # sites -2 .. n_dims: faster than three rolls
        return (ring[..., 3:] - ring[..., :-3]) * ring[..., 1:-2] - z + self.forcing

    def tangent(self, z: Any, q: Any) -> Any:
        of_z, of_q = (_namespace(x).concat([x[..., -2:], x, x[..., :1]], axis=-1) for x in (z, q))
        along = (of_q[..., 3:] - of_q[..., :-3]) * of_z[..., 1:-2] + (of_z[..., 3:] - of_z[..., :-3]) * of_q[..., 1:-2]
        return along - q


# Long-run constants, printed again by 'python -m dynrnn_datasets.longrun'; standard errors in brackets, in units of the last digit.
MEAN_Z_L63 = 23.547  # (3); 500 copies of 10,000 samples at 0.01, joined with <x^2> = beta <z>
SCALE_L63 = (7.9242, 9.0127, 8.6267)  # (7, 12, 39)
MEAN_Z_ROESSLER = 0.8853  # (5); 500 copies of 10,000 samples at 0.08, joined with <y> = -<z>
SCALE_ROESSLER = (5.153, 4.842, 2.844)  # (2, 2, 2)
# (n_dims, forcing): mean (20), largest exponent per time unit (40); 150 copies of 10,000 samples at 0.05, 200 tangent vectors over 250
LORENZ96: dict[tuple[int, float], tuple[float, float]] = {(20, 8.0): (2.3400, 1.544), (40, 8.0): (2.3417, 1.694)}

SYSTEMS: dict[str, type[System]] = {"lorenz63": Lorenz63, "lorenz96": Lorenz96, "roessler": Roessler}
