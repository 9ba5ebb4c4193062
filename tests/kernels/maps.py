"""Random additive maps and forced problems for the kernel tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dynrnn_kernels.additive import PHI_KINDS, W2_KINDS, AdditiveMap, forced_sequence, pattern
from dynrnn_kernels.additive.reference import preactivation

KINK_MARGIN = 1e-4


def random_map(g: torch.Generator, phi: str, w2: str, F: int, M: int, H: int, K: int, dense_A: bool) -> AdditiveMap:
    """A contracting map with every term that its tags allow, float64."""
    if w2 in ("identity", "centring"):
        H = M
    elif w2 == "selection":
        H = max(1, M - 1)

    def draw(*shape: int) -> torch.Tensor:
        return 0.5 * torch.randn(*shape, generator=g, dtype=torch.float64) / max(shape[-1], 1) ** 0.5

    basis = "basis" in phi
    return AdditiveMap(
        a=draw(F, M), W1=draw(F, M, H), h1=draw(F, M), phi=phi, w2=w2, A=draw(F, M, M) if dense_A else None,
        W2=draw(F, H, M) if w2 == "dense" else None, h2=None if basis else draw(F, H), C=draw(F, M, K) if K else None,
        D=draw(F, H, K) if K else None, slope=draw(F, 3) if basis else None, threshold=2 * draw(F, H, 3) if basis else None,
    )


def kink_distance(map: AdditiveMap, states: torch.Tensor, u: torch.Tensor | None) -> float:
    """Smallest distance of a pre-activation to a kink over states [F, B, M] of a forced run."""
    v = preactivation(map, states, u)
    gaps = []
    if map.phi in ("relu", "clipped", "clipped_basis"):
        gaps.append(v)
    if map.phi == "clipped":
        assert map.h2 is not None
        gaps.append(v - map.h2[:, None])
    if map.threshold is not None:
        gaps.append(v[..., None] - map.threshold[:, None])
    return min((float(g.abs().min()) for g in gaps), default=float("inf"))


def problem(seed: int, phi: str, w2: str, K: int, dense_A: bool, *, F: int = 2, B: int = 5, T: int = 7, M: int = 4, H: int = 6):
    """``problem_of`` a random map. Where units are centred there are at least two: one less its mean is always 0, at the kink."""
    M = max(2, M) if w2 == "centring" else M
    return problem_of(lambda g: random_map(g, phi, w2, F, M, H, K, dense_A), seed, B, T)


def problem_of(draw_map: Callable[[torch.Generator], AdditiveMap], seed: int, B: int = 5, T: int = 7):
    """(map, z0, target, weight, u) in float64, redrawn until no pre-activation lies within KINK_MARGIN of a kink (masks would flip there).

    A third of the entries has weight zero, and there the target is NaN.
    """
    g = torch.Generator().manual_seed(seed)
    for _ in range(200):
        map = draw_map(g)
        F, M, K = map.n_fits, map.latent_dim, map.input_dim
        z0 = torch.randn(F, B, M, generator=g, dtype=torch.float64)
        target = torch.randn(F, B, T, M, generator=g, dtype=torch.float64)
        weight = torch.rand(F, B, T, M, generator=g, dtype=torch.float64)
        weight[torch.rand(F, B, T, M, generator=g) < 0.33] = 0.0
        target[weight == 0] = float("nan")
        u = torch.randn(F, B, T, K, generator=g, dtype=torch.float64) if K else None
        z = forced_sequence(map, z0, target, weight, u, backend="reference")
        before = torch.cat([z0[:, :, None], z[:, :, :-1]], 2)
        forced = before + torch.where(weight == 0, 0.0, weight * (target - before))
        flat_u = None if u is None else u.reshape(F, B * T, K)
        if kink_distance(map, forced.reshape(F, B * T, M), flat_u) > KINK_MARGIN:
            return map, z0, target, weight, u
    raise AssertionError("no draw away from the kinks")


ALL_KINDS = [(phi, w2) for phi in PHI_KINDS for w2 in W2_KINDS]


def stay_native(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """All structures reach compiled code as they are, or none does, whatever the rule says of their sizes."""
    monkeypatch.setattr(pattern, "LEAST_ENTRIES", 0)
    for kind in pattern.LARGEST_SHARE:
        monkeypatch.setitem(pattern.LARGEST_SHARE, kind, 1.0 if native else -1.0)
