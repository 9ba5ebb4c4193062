"""How far from the exact gradient are the approximations of real-time recurrent learning, over what horizon, and what does forcing do to that?

A shallow PLRNN and an AL-RNN, trained for a while on Lorenz-63 with 5 % noise; gradients of windows of T samples, without forcing and under generalised
forcing. Of each algorithm the angle to the exact gradient (median over windows, tenth and ninetieth percentile), its length over that of the exact one, and
for those that draw the spread over draws: the standard deviation of the gradient, over the exact one's length.

    python studies/approximations.py              # some minutes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro

import dynrnn as dr
from dynrnn_kernels.influence import forward_sequence
from dynrnn_kernels.recurrences import forced_sequence

ALGORITHMS = ("truncated-1", "truncated-10", "diagonal", "rflo", "snap-1", "uoro", "kronecker")
DRAWS = 32


@dataclass
class Settings:
    horizons: tuple[int, ...] = (5, 20, 50, 100)
    alphas: tuple[float, ...] = (0.0, 0.15, 0.5)
    windows: int = 12
    updates: int = 3_000
    only: tuple[str, ...] = ()
    """shallow, alrnn; both by default."""


MODELS: dict[str, Any] = {
    "shallow": lambda: dr.ShallowPLRNN(3, 3, 30, random_state=0),
    "alrnn": lambda: dr.ALRNN(3, 12, 3, random_state=0),
}


def gradients(model: Any, x: torch.Tensor, alpha: float, algorithm: str | None, copies: int = 1, seed: int = 0) -> torch.Tensor:
    """Of the mean squared one-step error under forcing over a window x [T + 1, N], by the map's numbers: [copies, Q]."""
    map = model.map()
    leaves = {name: value.detach().double().expand(copies, *value.shape[1:]).clone().requires_grad_() for name, value in map.tensors().items()}
    M, N = model.latent_dim, x.shape[1]
    z0 = model.encode(x[None, :1]).detach().double().expand(copies, 1, M)
    target = torch.cat([x[:-1], x.new_zeros(len(x) - 1, M - N)], 1).expand(copies, 1, -1, M)
    weight = alpha * (torch.arange(M) < N).double()
    given = map.to(torch.float64).with_tensors(leaves), z0, target, weight
    if algorithm is None:
        z = forced_sequence(*given)
    else:
        z = forward_sequence(*given, algorithm=algorithm, rng=torch.Generator().manual_seed(seed))
    loss = (z[..., :N] - x[1:]).square().mean((1, 2, 3)).sum()
    return torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, list(leaves.values()))], 1)


def main(settings: Settings) -> None:
    training = dr.load_dataset("lorenz63", n_steps=20_000, noise=0.05, random_state=0)
    for name, make in MODELS.items():
        if settings.only and name not in settings.only:
            continue
        run = dr.fit(make(), training, n_updates=settings.updates, sequence_length=100, random_state=0, progress=False)
        model = run.model
        scaled = torch.tensor((training.observed.values[0] - model.data_mean[0].numpy()) / model.data_scale[0].numpy())
        print(f"\n{model.family}, M = {model.latent_dim}, {model.parameters_per_fit} numbers, after {settings.updates:,} updates\n")
        print("| algorithm | alpha | " + " | ".join(f"angle, T = {T}" for T in settings.horizons) + " | length, longest T | spread over draws, longest T |")
        print("|" + "---|" * (4 + len(settings.horizons)))
        starts = np.linspace(100, len(scaled) - 500, settings.windows).astype(int)
        exact = {(a, T): [gradients(model, scaled[s : s + T + 1], a, None)[0] for s in starts] for a in settings.alphas for T in settings.horizons}
        for algorithm in ALGORITHMS:
            random = algorithm in ("uoro", "kronecker")
            for alpha in settings.alphas:
                cells, length, spread = [], float("nan"), float("nan")
                for T in settings.horizons:
                    angles, lengths, spreads = [], [], []
                    for s, truth in zip(starts, exact[alpha, T], strict=True):
                        found = gradients(model, scaled[s : s + T + 1], alpha, algorithm, DRAWS if random else 1, int(s))
                        size = truth.norm()
                        cosine = (found @ truth) / (found.norm(dim=1) * size)
                        angles.append(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).median())
                        lengths.append((found.norm(dim=1) / size).median())
                        spreads.append((found - found.mean(0)).square().sum(1).mean().sqrt() / size)
                    low, middle, high = np.quantile(np.array(angles), [0.1, 0.5, 0.9])
                    cells.append(f"{middle:.0f} ({low:.0f} to {high:.0f})")
                    length, spread = float(np.median(lengths)), float(np.median(spreads))
                print(f"| {algorithm} | {alpha:g} | {' | '.join(cells)} | {length:.2g} | {f'{spread:.2g}' if random else '-'} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
