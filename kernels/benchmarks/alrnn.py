"""How long does training an AL-RNN take by ``dr.fit``, beside the loop that one would write in torch, and is it the same training?

M = 20, P = 2 relu units, three channels of a noisy Lorenz-63, windows of 200, batches of 16, observed units set to the data every 16 steps,
the other units started from L x, RAdam from 1e-3 down to 1e-5. The torch loop is the plain one of tutorials: a Python loop over
time, autograd, torch.optim.RAdam. Both start from the same parameters and see the same windows. Times are of whole calls, the
set-up of ``dr.fit`` included, in turns, medians; both may use all cores.

    python kernels/benchmarks/alrnn.py                                # times, and the first 100 losses of both: half a minute
    python kernels/benchmarks/alrnn.py --fits 5 --updates 100000      # also both trained on, by seed: an hour
    python kernels/benchmarks/alrnn.py --quick
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from timing import header, in_turns, number, ratio, row, title

import dynrnn as dr
from dynrnn.training.draws import Sampler

M, P, N, INTERVAL, B, RATES = 20, 2, 3, 16, 16, (1e-3, 1e-5)


@dataclass
class Settings:
    fits: int = 0
    """Seeds to train both for --updates and to print the last losses of; 0 for none."""
    updates: int = 2000
    length: int = 200
    """Samples of a window."""
    check: int = 100
    """Losses to compare."""
    quick: bool = False
    """Short windows and few repeats, to see that it runs."""
    turns: int = 7


def by_fit(model: dr.ALRNN, recording, n: int, T: int) -> dr.Run:
    forcing = dr.SparseTeacherForcing(interval=INTERVAL)
    return dr.fit(
        model, recording, forcing, n_updates=n, sequence_length=T, batch_size=B, learning_rate=RATES, standardise=False, progress=False, random_state=0
    )


def by_torch(model: dr.ALRNN, recording, n: int, T: int, fits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Losses of every update [n, fits] of the first ``fits`` fits, trained as ``by_fit`` does from the same start, and their parameters at the end [fits, all].

    One fit is the loop of tutorials; with more, its tensors get an axis in front, which costs a loop of this kind next to nothing.
    """
    start = {name: getattr(model, name)[:fits].detach().clone() for name in "AWhL"}
    start = {name: p[0] if fits == 1 else p[:, None] if name in "Ah" else p for name, p in start.items()}
    parameters = A, W, h, L = [torch.nn.Parameter(p) for p in start.values()]
    data = torch.tensor(recording.observed.values[0], dtype=torch.float32)
    sampler = Sampler(recording, np.arange(fits), B, T, False, 0)
    optimiser = torch.optim.RAdam(parameters, lr=RATES[0])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, (RATES[1] / RATES[0]) ** (1 / n))
    losses = np.empty((n, fits))
    for i in range(n):
        first = torch.as_tensor(sampler.windows(i, i + 1)[0, :, :, 1])
        x = data[first[..., None] + torch.arange(T + 1)].movedim(-2, 0)         # [T + 1, fits, B, N]
        if fits == 1:
            x = x[:, 0]
        z = torch.cat([x[0], x[0] @ L.mT], -1)
        predictions = []
        for t in range(T):
            if t % INTERVAL == 0:
                z = torch.cat([x[t], z[..., N:]], -1)
            z = A * z + torch.cat([z[..., : M - P], torch.relu(z[..., M - P :])], -1) @ W.mT + h
            predictions.append(z[..., :N])
        each = (torch.stack(predictions) - x[1:]).square().mean((0, -2, -1))    # a mean a fit: the fits' gradients do not mix
        optimiser.zero_grad()
        each.sum().backward()
        optimiser.step()
        schedule.step()
        losses[i] = each.detach()
    return losses, np.stack([flat([p.reshape(fits, -1)[k] for p in parameters]) for k in range(fits)])


def flat(parameters: list) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in parameters])


def new_model(n_fits: int = 1) -> dr.ALRNN:
    return dr.ALRNN(N, M, P, n_fits=n_fits, random_state=0)


def times(recording, T: int, settings: Settings) -> None:
    def run_fit(n: int) -> tuple[float, float]:
        model = new_model()
        began = time.perf_counter()
        run = by_fit(model, recording, n, T)
        return (time.perf_counter() - began) / n, float(run.history.loss[0, 0])

    def run_torch(n: int) -> tuple[float, float]:
        model = new_model()
        began = time.perf_counter()
        losses, _ = by_torch(model, recording, n, T)
        return (time.perf_counter() - began) / n, float(losses[0, 0])

    found = in_turns({"fit": run_fit, "torch": run_torch}, seconds=0.1 if settings.quick else 1.5, turns=2 if settings.quick else settings.turns)
    a, b = found["fit"], found["torch"]
    print(title("M", "P", "batch", "T", "dr.fit, update [ms]", "torch loop, update [ms]", "ratio", "quartiles apart"))
    print(row(M, P, B, T, number(a.ms), number(b.ms), ratio(b.ms, a.ms), f"{100 * a.spread:.0f} %, {100 * b.spread:.0f} %"), flush=True)


def check(recording, T: int, n: int) -> None:
    """The history keeps every update's loss up to a thousand updates."""
    run, (b, end) = by_fit(new_model(), recording, n, T), by_torch(new_model(), recording, n, T)
    before, after = (flat([getattr(model, name)[0] for name in "AWhL"]) for model in (new_model(), run.last))
    a, b, end = run.history.loss.values[0], b[:, 0], end[0]
    worst, gap = float(np.abs(a / b - 1).max()), np.linalg.norm(after - end) / np.linalg.norm(end - before)
    said = "agree" if worst < 1e-4 else "DIFFER"
    print(f"\nfirst {n} losses {said}: largest relative difference {worst:.1e} (1e-4 allowed); from {b[0]:.4f} to {b[-1]:.4f}")
    print(f"parameters after them differ by {gap:.1e} of how far they moved\n")


def train_on(recording, T: int, fits: int, n: int) -> None:
    began = time.perf_counter()
    run = by_fit(new_model(fits), recording, n, T)
    ours = time.perf_counter() - began
    history, updates = run.history.loss.values, run.history["update"].values
    rows = int((updates > n - 100).sum())                                       # those that lie in the last hundred updates, at least one
    last = n - (int(updates[-rows - 1]) if rows < len(updates) else 0)
    weight = np.diff(updates, prepend=0)[-rows:]                                # a row is a mean over so many updates
    last_ours = np.average(history[:, -rows:], axis=1, weights=weight)
    began = time.perf_counter()
    losses, _ = by_torch(new_model(fits), recording, n, T, fits)
    took = time.perf_counter() - began
    last_torch = losses[-last:].mean(0)
    print(title("seed", f"dr.fit, mean loss of the last {last} of {n:,} updates", "torch loop", "dr.fit, all seeds at once [s]", "torch loop, all at once [s]"))
    for k in range(fits):
        print(row(k, f"{last_ours[k]:.5f}", f"{last_torch[k]:.5f}", number(ours) if k == 0 else "", number(took) if k == 0 else ""))
    medians = np.median(last_ours), np.median(last_torch)
    print(row("median", *(f"{m:.5f}" for m in medians), "", ratio(took, ours)))


def main(settings: Settings) -> None:
    print(header() + "\n")
    T = 40 if settings.quick else settings.length
    recording = dr.load_dataset("lorenz63", n_steps=10_000 if settings.quick else 100_000, noise=0.05, random_state=0)
    times(recording, T, settings)
    check(recording, T, min(settings.check, 10) if settings.quick else settings.check)
    if settings.fits:
        train_on(recording, T, settings.fits, settings.updates)


if __name__ == "__main__":
    main(tyro.cli(Settings))
