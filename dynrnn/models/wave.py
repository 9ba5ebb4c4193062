"""The wave-RNN, whose recurrence is a convolution on a ring, and its baseline, the identity-RNN."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.initialisation import uniform_fan
from dynrnn_kernels.additive import AdditiveMap, Circulant, Scalar, Sparse, Structure

ACTIVATIONS = ("relu", "tanh", "identity")
SMALL = 1e-3                        # standard deviation of input weights that are to play no part at first


class _Units(AdditiveModel):
    """``z' = phi(R z + D u + h)``: A = 0, W1 = 1; families say what R is, and which input weights they start from."""

    activation: str
    D: Tensor
    h: Tensor

    def _set_activation(self, activation: str) -> None:
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        self.activation = activation

    def _draw_all(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        values = super()._draw_all(rng)
        if self.input_dim:
            del values["C"]                                                     # inputs act within phi
            values["D"] = self.draw_inputs(rng)
        return values

    def draw_inputs(self, rng: np.random.Generator) -> np.ndarray:
        """Initial D of one fit, [M, K]."""
        return SMALL * rng.standard_normal((self.latent_dim, self.input_dim))

    def recurrent(self) -> Tensor | Structure:
        """R."""
        raise NotImplementedError

    def additive_map(self) -> AdditiveMap:
        one = Scalar(torch.ones_like(self.h[:, :1]).detach(), self.latent_dim)
        return AdditiveMap(
            a=None, W1=one, h1=torch.zeros_like(self.h), phi=self.activation, W2=self.recurrent(), h2=self.h, D=self.D if self.input_dim else None,
        )


class WaveRNN(_Units):
    """Wave-RNN: channels of units on a ring, along which activity travels (Keller et al. 2024, ICLR, arXiv:2309.08045).

        z[t+1] = phi(kernel * z[t] + D u[t+1] + h),    (kernel * z)[o, p] = sum over i, s of kernel[o, i, s] z[i, (p - s) mod n],    |s| <= kernel_size // 2

    Units of a channel lie together: unit c n + p of the latent state is position p of channel c. A kernel with its weight on s = +1 moves a bump **to higher
    positions**, p to p + 1, and from n - 1 to 0. (torch's Conv1d is a correlation, and moves the other way with the same numbers.)

    Parameters
    ----------
    n_positions, n_channels : n and c; latent_dim = c n. kernel_size : odd, at most n. activation : phi, ``relu``, ``tanh`` or ``identity``.
    velocity : positions a step of the initial wave, between -kernel_size // 2 and kernel_size // 2. What is not whole is a mean of the two taps beside it,
        (0, 1 - v, v) for 0 <= v <= 1: activity is then spread, too, by a variance of v (1 - v) a step.
    tied : one kernel for all positions. ``False``: a locally connected layer, a kernel for each position.
    observation : ``affine`` by default, x = B z; states are inferred by pinv(B).
    init : ``wave`` is a wave and solo inputs; ``no-solo`` a wave and small inputs everywhere; ``no-shift`` a random kernel and solo inputs; ``random`` neither.
        A wave is the kernel of ``velocity`` within each channel, none between them. A random kernel is uniform within 1/sqrt(c kernel_size). Solo inputs drive
        position 0 of each channel alone; small ones are normal with sd 0.001. h = 0.

    Trained: kernel (fit, c, c, kernel_size), with ``tied=False`` (fit, c, c, kernel_size, n), [o, i, s + kernel_size // 2, p]; D (fit, M, K), h (fit, M), B.

    Solo inputs are the identity as far as it goes: channel k carries input k. Channels beyond the inputs carry a random non-negative mixture of all of them,
    and inputs beyond the channels have random non-negative weights of norm 1, so that no two symbols of a one-hot input drive alike, and a linear readout
    can tell them apart (points on a sphere are the corners of their hull). The authors' code sets all of these weights to 1, and every symbol looks the same.

    With phi = identity, one channel, one input and velocity 1 the state is a shift register: z_T[p] = u_{T-p}, up to T = n. Afterwards the wave has gone
    around and old and new add up; one that must remember more than n steps needs more positions, or a leak that training finds.

    Cost of a step O(c^2 n kernel_size), beside O((c n)^2) for dense weights.

    >>> model = WaveRNN(1, n_positions=5, activation="identity", input_dim=1, random_state=0)
    >>> z = torch.zeros(1, 1, 5)
    >>> for value in (3.0, 1.0, 2.0):
    ...     z = model.step(z, torch.full((1, 1, 1), value))
    >>> z.flatten().tolist()
    [2.0, 1.0, 3.0, 0.0, 0.0]
    """

    family = "wave-rnn"
    initialisations = ("wave", "no-solo", "no-shift", "random")
    pulled_to: ClassVar[dict[str, float]] = {"kernel": 0.0, "D": 0.0, "h": 0.0}
    unit_rows: ClassVar[tuple[str, ...]] = ()
    kernel: Tensor

    def __init__(
        self, observed_dim: int, n_positions: int, n_channels: int = 1, *, kernel_size: int = 3, activation: str = "relu", velocity: float | int = 1.0,
        tied: bool = True, observation: str = "affine", **options: Any,
    ):
        sizes = check_int("n_positions", n_positions, low=1), check_int("n_channels", n_channels, low=1)
        if check_int("kernel_size", kernel_size, low=1) % 2 == 0 or kernel_size > n_positions:
            raise ArgumentError(
                f"kernel_size must be odd, so that it has a middle, and at most n_positions = {n_positions}, so that it does not meet itself around the ring; "
                f"got {kernel_size}."
            )
        reach = kernel_size // 2
        if isinstance(velocity, bool) or not isinstance(velocity, (int, float, np.integer, np.floating)) or not abs(velocity) <= reach:
            raise ArgumentError(f"velocity must be a number from {-reach} to {reach}, as far as a kernel of {kernel_size} reaches in a step, got {velocity!r}.")
        super().__init__(observed_dim, n_positions * n_channels, observation=observation, **options)
        self._set_activation(activation)
        self.n_positions, self.n_channels = sizes
        self.kernel_size, self.velocity, self.tied = int(kernel_size), float(velocity), bool(tied)
        self._fill_parameters()

    def config(self) -> dict[str, Any]:
        return {name: value for name, value in super().config().items() if name != "latent_dim"}

    def _own_config(self) -> dict[str, Any]:
        names = ("n_positions", "n_channels", "kernel_size", "activation", "velocity", "tied")
        return {name: getattr(self, name) for name in names}

    @property
    def shifts(self) -> tuple[int, ...]:
        """Positions that each tap moves activity by."""
        return tuple(range(-(self.kernel_size // 2), self.kernel_size // 2 + 1))

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        c, f, n = self.n_channels, self.kernel_size, self.n_positions
        places = () if self.tied else (n,)
        if self.init in ("wave", "no-solo"):
            taps = np.maximum(0.0, 1.0 - np.abs(np.array(self.shifts) - self.velocity))            # between two taps, linear
            kernel = np.eye(c)[:, :, None] * taps
            kernel = kernel if self.tied else np.broadcast_to(kernel[..., None], (c, c, f, n))
        else:
            kernel = uniform_fan(rng, (c, c, f, *places), c * f)
        return {"kernel": kernel, "h": np.zeros(c * n)}

    def draw_inputs(self, rng: np.random.Generator) -> np.ndarray:
        if self.init in ("no-solo", "random"):
            return super().draw_inputs(rng)
        c, K = self.n_channels, self.input_dim
        both = min(c, K)
        drive = np.abs(rng.standard_normal((c, K)))
        drive[:both, :both] = np.eye(both)
        if c > K:
            drive[K:] /= np.linalg.norm(drive[K:], axis=1, keepdims=True)
        drive[:, c:] /= np.linalg.norm(drive[:, c:], axis=0)
        solo = np.zeros((c, self.n_positions, K))
        solo[:, 0] = drive
        return solo.reshape(self.latent_dim, K)

    def recurrent(self) -> Structure:
        c, n = self.n_channels, self.n_positions
        if self.tied:
            return Circulant(self.kernel, n, self.shifts)
        o, i, s, p = torch.meshgrid(torch.arange(c), torch.arange(c), torch.tensor(self.shifts), torch.arange(n), indexing="ij")
        return Sparse(self.kernel.flatten(1), (o * n + p).flatten(), (i * n + (p - s) % n).flatten(), c * n, c * n)


class IdentityRNN(_Units):
    """Identity-RNN: a dense relu network that starts from the identity, the baseline of the wave-RNN (Le et al. 2015, arXiv:1504.00941).

        z[t+1] = phi(W z[t] + D u[t+1] + h)

    Parameters: W (fit, M, M), D (fit, M, K) normal with sd 0.001, h (fit, M) = 0, B; observation ``affine`` by default.
    ``init``: ``identity``, or ``shift``: W moves unit i to i + 1 and the last to the first, as WaveRNN's wave of velocity 1 does, in a dense matrix.

    >>> IdentityRNN(observed_dim=1, latent_dim=100, input_dim=2, random_state=0).parameters_per_fit        # 100 x 100, 100 x 2, 100, 100
    10400
    """

    family = "identity-rnn"
    initialisations = ("identity", "shift")
    pulled_to: ClassVar[dict[str, float]] = {"W": 0.0, "D": 0.0, "h": 0.0}
    unit_rows: ClassVar[tuple[str, ...]] = ("W", "h")
    W: Tensor

    def __init__(self, observed_dim: int, latent_dim: int, *, activation: str = "relu", observation: str = "affine", **options: Any):
        super().__init__(observed_dim, latent_dim, observation=observation, **options)
        self._set_activation(activation)
        self._fill_parameters()

    def _own_config(self) -> dict[str, Any]:
        return {"activation": self.activation}

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M = self.latent_dim
        return {"W": np.roll(np.eye(M), 1 if self.init == "shift" else 0, axis=0), "h": np.zeros(M)}

    def recurrent(self) -> Tensor:
        return self.W
