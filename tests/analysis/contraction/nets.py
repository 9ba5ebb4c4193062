"""Random maps, and models made to contract."""

import numpy as np
import torch

from dynrnn.analysis import canonical
from dynrnn.analysis.contraction.programs import have_solver

TIERS = ["norm", "weighted", *(["lmi"] if have_solver() else []), "visited"]
GLOBAL = TIERS[:-1]


def random_net(seed, M=3, H=5, scale=0.4):
    rng = np.random.default_rng(seed)
    W1, W2 = scale * rng.standard_normal((M, H)) / np.sqrt(H), rng.standard_normal((H, M)) / np.sqrt(M)
    return 0.5 * rng.uniform(-1, 1, M), W1, W2, rng.standard_normal(M), rng.standard_normal(H)


def scattered(system, n=4000, seed=0):
    """States far and wide: all regions of a small net."""
    M = canonical(system).latent_dim
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, M)) * 10 ** rng.uniform(-1, 2, (n, 1))


def shrunk(model, factor):
    """The model with its nonlinear part made smaller, whatever its weights are called."""
    name = next(name for name in ("W1", "W", "U", "kernel") if hasattr(model, name))
    with torch.no_grad():
        getattr(model, name).mul_(factor)
    return model


def length(row, z):
    """Of z (..., M) in a certificate's norm."""
    if row.tier.item() == "weighted":
        return np.abs(z / row.weights.values).max(-1)
    return np.sqrt(np.einsum("...i,ij,...j->...", z, row.metric.values, z))
