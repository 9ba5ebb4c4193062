"""The areas of an assembly: each kind of weights that contracts by construction, with its metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import ArgumentError, CertificateError
from dynrnn.models.assemblies.bounds import Area, positive_part
from dynrnn.models.assemblies.coupling import Metric, block_diagonal, orthogonal
from dynrnn.models.assemblies.metrics import sparse_metric, symmetric_metric
from dynrnn.models.initialisation import logit

MAX_DRAWS = 10_000
SPREAD = float(np.log(10.0))        # the metric of SVD blocks keeps within 10 and 1/10 of the states' own units


@dataclass(frozen=True)
class Design:
    """What holds for the blocks whatever their parameters become: growth(h) bounds |x + h g W D x|^2 / |x|^2, kappa the norm of g W D."""

    growth: Callable[[float], float]
    kappa: float


class SVDBlocks:
    """g W = P^(-1/2) U S V' P^(1/2), U and V orthogonal, 0 < S < bound, P diagonal: |g W D x| <= bound |x|, all of it trained."""

    takes: ClassVar[tuple[str, ...]] = ("left", "right", "singular", "log_metric")

    def __init__(self, areas: tuple[int, ...], bound: float):
        self.areas, self.bound = areas, bound

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M, pairs = sum(self.areas), sum(n * (n - 1) // 2 for n in self.areas)
        return {"left": rng.standard_normal(pairs), "right": rng.standard_normal(pairs), "singular": rng.standard_normal(M) + 1, "log_metric": np.zeros(M)}

    def __call__(self, p: dict[str, Tensor]) -> tuple[Metric, Tensor]:
        t = torch.exp(SPREAD * torch.tanh(p["log_metric"] / SPREAD))
        U, V = orthogonal(p["left"], self.areas), orthogonal(p["right"], self.areas)
        metric = Metric(t)
        return metric, metric.similar((U * (self.bound * torch.sigmoid(p["singular"]))[:, None]) @ V.mT, -1)

    def design(self) -> Design:
        return Design(lambda h: (1 + h * self.bound) ** 2, self.bound)


class SymmetricBlocks:
    """g W = U diag(b^2 - r^2) U', 0 < r < r_most, b^2 = bound: symmetric, with eigenvalues between ``lowest`` and ``bound``; all of it trained.

    P = U diag(b + r)^-2 U', see ``metrics.symmetric_metric``.
    """

    takes: ClassVar[tuple[str, ...]] = ("rotation", "eigenvalue")

    def __init__(self, areas: tuple[int, ...], bound: float, lowest: float):
        self.areas, self.bound, self.lowest = areas, bound, lowest
        self.b, self.r_most = float(np.sqrt(bound)), float(np.sqrt(bound - lowest))

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M, pairs = sum(self.areas), sum(n * (n - 1) // 2 for n in self.areas)
        values = rng.uniform(max(self.lowest, -self.bound), self.bound, M)
        return {"rotation": rng.standard_normal(pairs), "eigenvalue": logit(np.sqrt(self.bound - values) / self.r_most)}

    def __call__(self, p: dict[str, Tensor]) -> tuple[Metric, Tensor]:
        U = orthogonal(p["rotation"], self.areas)
        r = self.r_most * torch.sigmoid(p["eigenvalue"])
        W = (U * (self.bound - r**2)[:, None]) @ U.mT
        return Metric(1 / (self.b + r), U), (W + W.mT) / 2

    def design(self) -> Design:
        """By multipliers of 1, and of mu for the norm, in each eigenvector: with P's eigenvalue m, m w^2 = (b - r)^2, whose largest is at an end of r.

        growth: 1 + 2 h b^2 / (1 - h d / 2), d = max (b - r)^2. kappa^2 = min over mu > d / 2 of max over r of mu^2 (b + r)^2 / (2 mu - (b - r)^2), where the
        sign of the slope in r is that of mu - b^2 + b r, so that this, too, is largest at an end.
        """
        b, r = self.b, self.r_most
        d = max(b * b, (r - b) ** 2)
        mu = d * np.geomspace(0.505, 4, 400)
        square = (mu**2 * np.maximum(b * b / (2 * mu - b * b), (b + r) ** 2 / (2 * mu - (r - b) ** 2))).min()
        return Design(lambda h: 1 + 2 * h * b * b / (1 - h * d / 2) if h * d < 2 else np.inf, float(np.sqrt(square)))


class FixedBlocks:
    """Weights that stay as they were drawn or given, one metric for each area and fit; both are buffers of the model."""

    def __init__(self, diagonal: bool):
        self.takes = ("W", "scale") if diagonal else ("W", "scale", "axes")

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {}

    def __call__(self, p: dict[str, Tensor]) -> tuple[Metric, Tensor]:
        return Metric(p["scale"], p.get("axes")), p["W"]


def drawn_sparse(rng: np.random.Generator, n: int, density: float, weight_range: float) -> tuple[np.ndarray, np.ndarray]:
    """W (n, n) and its diagonal P (n,): a share ``density`` of entries uniform within +-weight_range, none on the diagonal, until |W| - I is Hurwitz."""
    for _ in range(MAX_DRAWS):
        W = rng.uniform(-weight_range, weight_range, (n, n)) * ((rng.random((n, n)) < density) & ~np.eye(n, dtype=bool))
        P = sparse_metric(W)
        if P is not None:
            return W, P
    raise CertificateError(
        f"none of {MAX_DRAWS} draws of an area of {n} units with density={density:g} and g weight_range={weight_range:g} contracts: the moduli of its weights, "
        f"|g W|_+, need a rightmost eigenvalue below 1, and random ones have about density * units * range / 2 = {density * n * weight_range / 2:.3g}. "
        "Lower density or weight_range."
    )


def proven_metric(W: np.ndarray, area: int) -> tuple[np.ndarray, np.ndarray]:
    """Scales t (n,) and axes U (n, n) of a metric P = U t^2 U' in which the given area contracts; CertificateError where none of three kinds shows it."""
    n, eye = len(W), np.eye(len(W))
    diagonal = sparse_metric(W)
    if diagonal is not None and Area(np.diag(diagonal), W).log_norm < 1:
        return np.sqrt(diagonal), eye
    if (W == W.T).all():
        values, U = np.linalg.eigh(W)
        bound = max(float(values[-1]) * (1 + 1e-9), 0.01)
        if symmetric_metric(W, bound) is not None:
            return 1 / (np.sqrt(bound) + np.sqrt(bound - values)), U
    if Area(eye, W).log_norm < 1:
        return np.ones(n), eye
    symmetric = f", the largest eigenvalue of the symmetric W is {np.linalg.eigvalsh(W)[-1]:.4g}" if (W == W.T).all() else ""
    raise CertificateError(
        f"area {area} is not certified: the rightmost eigenvalue of |g W|_+ is {np.linalg.eigvals(positive_part(W)).real.max():.4g}{symmetric}, and the "
        f"bound on the log-norm of g W D is {Area(eye, W).log_norm:.4g}. One of them must be below 1: make the weights smaller."
    )


def given_blocks(W: Any, areas: tuple[int, ...]) -> list[np.ndarray]:
    """One finite array (n, n) for each area."""
    blocks = [np.asarray(block, dtype=np.float64) for block in W] if isinstance(W, (list, tuple)) else []
    if len(blocks) != len(areas) or any(block.shape != (n, n) or not np.isfinite(block).all() for block, n in zip(blocks, areas)):
        shapes = [block.shape for block in blocks] or type(W).__name__
        raise ArgumentError(f"W must be a list of one finite array (units, units) for each of the areas {areas}, got {shapes}.")
    return blocks


def stacked(blocks: list[np.ndarray]) -> np.ndarray:
    """One block-diagonal array."""
    return block_diagonal([torch.from_numpy(block)[None] for block in blocks])[0].numpy()
