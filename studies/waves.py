"""Wave-RNN and identity-RNN beside what is published of them (Keller et al. 2024, ICLR, arXiv:2309.08045): memory, velocity of waves, tasks, ablations.

    python studies/waves.py                         # about an hour on two cores
    python studies/waves.py --only memory velocity  # seconds
    python studies/waves.py --only copy --seeds 1

Every seed is a fit of one ensemble; medians over seeds with their range; nothing is selected. Training: Adam on batches of 128, gradients clipped to norm 1,
each seed on sequences of its own; test: 500 fresh sequences. Published losses of the copy task are cross entropies divided by the batch of 50 once more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
import xarray as xr
from torch import Tensor

import dynrnn as dr
from dynrnn.analysis import wave_velocity
from dynrnn.models import AdditiveModel
from dynrnn_datasets import adding_task, copy_task
from dynrnn_kernels.additive import forced_sequence

BATCH, TEST, CHUNK, CLIP = 128, 500, 100, 1.0
Task = Callable[[int, tuple[int, ...]], xr.Dataset]


@dataclass
class Settings:
    """Arguments of the study."""

    only: tuple[str, ...] = ("memory", "velocity", "copy", "short", "ablations", "adding")
    seeds: int = 3
    copy_updates: int = 300
    """Of the wave-RNN on the copy task; the identity-RNN trains for the same time."""
    short_updates: int = 2_000
    adding_updates: int = 1_000


def spread(values: Any, digits: int = 2) -> str:
    return f"{np.median(values):.{digits}g} ({np.min(values):.{digits}g} to {np.max(values):.{digits}g})"


def sequences(task: Task, n: int, keys: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """inputs [F, n, T, K] and answers: classes [F, n, T], or values [F, n] at the last step."""
    drawn = [task(n, key) for key in keys]
    answers = [d.answer.values if "answer" in d else d.observed.values[:, -1, 0] for d in drawn]
    return torch.tensor(np.stack([d.inputs.values for d in drawn]), dtype=torch.float32), torch.tensor(np.stack(answers))


def losses(model: AdditiveModel, inputs: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Of each fit, from a state of zeros that nothing forces: mean cross entropy over all steps, and the share of the last ten symbols that is right; or the
    mean squared error at the last step, twice."""
    F, B, T, _ = inputs.shape
    z = forced_sequence(model.additive_map(), torch.zeros(F, B, model.latent_dim), torch.zeros(1, 1, 1, 1).expand(F, B, T, model.latent_dim), 0.0, inputs)
    if answers.ndim == 3:
        given = model.readout(z)
        entropy = torch.nn.functional.cross_entropy(given.flatten(0, 2), answers.flatten(), reduction="none")
        right = given[:, :, -10:].detach().argmax(-1) == answers[:, :, -10:]
        return entropy.reshape(F, -1).mean(1), right.double().mean((1, 2))
    error = (model.readout(z[:, :, -1])[..., 0] - answers.float()).square().mean(1)
    return error, error.detach()


def judge(model: AdditiveModel, inputs: Tensor, answers: Tensor) -> np.ndarray:
    """Loss and score [2, F] of all test sequences, some at a time."""
    with torch.no_grad():
        parts = [torch.stack(losses(model, inputs[:, i : i + CHUNK], answers[:, i : i + CHUNK])) for i in range(0, TEST, CHUNK)]
    return torch.stack(parts).mean(0).numpy()


def train(
    model: AdditiveModel, task: Task, rate: float, n_updates: int, *, seconds: float = np.inf, solved: float = 0.0, every: int = 50
) -> xr.Dataset:
    """``n_updates``, or as many as ``seconds`` hold, or until every fit's loss is below ``solved``: ``loss`` and ``score`` (fit, n_updates) on fresh test
    sequences, ``seconds`` (n_updates) of training alone."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    test = sequences(task, TEST, [(int(k), 0) for k in model.fit_number])
    done, spent, rows, took = 0, 0.0, [], []
    while True:
        over = done == n_updates or spent >= seconds
        if done % every == 0 or over:
            rows.append(judge(model, *test))
            took.append((done, spent))
            print(f"  {model.family}: {done} updates, {spent:.0f} s, loss {spread(rows[-1][0])}, score {spread(rows[-1][1])}", file=sys.stderr, flush=True)
            over = over or bool((rows[-1][0] < solved).all())
        if over:
            break
        tick = time.perf_counter()
        batch = sequences(task, BATCH, [(int(k), 1 + done) for k in model.fit_number])
        optimiser.zero_grad()
        losses(model, *batch)[0].sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()                  # of each fit
        for g in gradients:
            g *= (CLIP / norm.clamp_min(CLIP)).reshape(-1, *[1] * (g.ndim - 1))
        optimiser.step()
        done, spent = done + 1, spent + time.perf_counter() - tick
    loss, score = np.stack(rows, 2)
    updates, spent_at = zip(*took, strict=True)
    dims = ("fit", "n_updates")
    return xr.Dataset({"loss": (dims, loss), "score": (dims, score), "seconds": ("n_updates", np.array(spent_at))}, coords={"n_updates": np.array(updates)})


def solved_at(found: xr.Dataset, threshold: float, above: bool) -> str:
    """First number of updates at which each fit's score is past the threshold."""
    past = found.score.values >= threshold if above else found.score.values <= threshold
    first = [int(found.n_updates.values[row.argmax()]) if row.any() else None for row in past]
    return ", ".join("never" if n is None else str(n) for n in first)


def memory() -> None:
    """A shift register: one channel, phi = identity, velocity 1, the input at position 0; the state of zeros takes in n inputs, and n more."""
    n = 100
    model = dr.WaveRNN(1, n, activation="identity", input_dim=1, random_state=0)
    u = np.random.default_rng(0).standard_normal((1, 3 * n, 1))
    z = dr.generate(model, 3 * n, initial=torch.zeros(1, 1, n), inputs=u).latent.values[0, 0]
    drive = u[0, :, 0]                                                              # drive[t] acts in the step to t, and drive[0] in none
    error = np.abs(z[n] - drive[n:0:-1]).max()
    around = np.abs(z[2 * n] - (drive[2 * n : n : -1] + drive[n:0:-1])).max()
    print(f"shift register of {n}: error of {n} inputs read back {error:g}; after {2 * n} steps, of the sums of old and new {around:g}", flush=True)


def velocity(seeds: int) -> None:
    """Waves of untrained networks, one channel of 100, driven by white noise at position 0 for 600 steps; a dense network; a pattern that stands still."""
    print("\n| activity | velocity | contrast | excess (null) |\n|---|---|---|---|")
    u = np.random.default_rng(0).standard_normal((1, 600, 1))
    rows: dict[str, Any] = {}
    for nu in (0.25, 0.5, 1.0):
        model = dr.WaveRNN(1, 100, velocity=nu, input_dim=1, n_fits=seeds, random_state=0)
        rows[f"relu, kernel (0, {1 - nu:g}, {nu:g})"] = dr.generate(model, 600, initial=torch.zeros(seeds, 1, 100), inputs=u)
    model = dr.IdentityRNN(1, 100, input_dim=1, n_fits=seeds, random_state=0)
    rows["identity-RNN"] = dr.generate(model, 600, initial=torch.zeros(seeds, 1, 100), inputs=u)
    pattern = np.zeros((seeds, 1, 1, 100))
    noise = np.random.default_rng(1).standard_normal(pattern.shape)
    for p in range(1, 100):
        pattern[..., p] = 0.9 * pattern[..., p - 1] + noise[..., p]
    rows["AR(1) pattern that stands still"] = np.tile(pattern, (1, 1, 600, 1))
    for name, orbit in rows.items():
        found = wave_velocity(orbit)
        print(f"| {name} | {spread(found.velocity)} | {spread(found.contrast)} | {spread(found.excess)} ({spread(found.excess_null)}) |", flush=True)


def wave(seeds: int, **options: Any) -> dr.WaveRNN:
    return dr.WaveRNN(10, 100, 6, input_dim=10, decoder_bias=True, n_fits=seeds, random_state=0, **options)


def dense(seeds: int, init: str = "identity") -> dr.IdentityRNN:
    """As many parameters as the wave-RNN's 12,718, and 64 more."""
    return dr.IdentityRNN(10, 103, input_dim=10, decoder_bias=True, init=init, n_fits=seeds, random_state=0)


def copy(delay: int) -> Task:
    return lambda n, key: copy_task(n, delay, random_state=key)


def row(name: str, model: AdditiveModel, rate: float, found: xr.Dataset, published: str = "-") -> None:
    last = found.isel(n_updates=-1)
    cells = [name, f"{model.parameters_per_fit:,}", f"{rate:g}", f"{int(last.n_updates):,}", f"{float(last.seconds):.0f}"]
    print("| " + " | ".join([*cells, spread(last.loss), spread(last.score), solved_at(found, 0.99, above=True), published]) + " |", flush=True)


def head(title: str) -> None:
    columns = "network | parameters | rate | updates | seconds | cross entropy | recall | .99 at | published, times 50"
    print(f"\n{title}\n\n| {columns} |\n{'|---' * 9}|")


def copying(seeds: int, n_updates: int) -> None:
    """T = 30: the wave-RNN, and identity-RNNs of the same number of parameters for the same time at every published rate."""
    head("copy, T = 30, equal time")
    model = wave(seeds)
    found = train(model, copy(30), 1e-2, n_updates)
    row("wave-RNN", model, 1e-2, found, "4e-9")
    for rate in (1e-2, 1e-3, 1e-4):
        model = dense(seeds)
        row("identity-RNN", model, rate, train(model, copy(30), rate, 10**9, seconds=float(found.seconds[-1]), every=100), "1.5e-1")


def short(seeds: int, n_updates: int) -> None:
    head(f"copy, T = 10, {n_updates:,} updates")
    for name, make, published in (("wave-RNN", wave, "5e-9"), ("identity-RNN", dense, "1.5e-1")):
        for rate in (1e-2,) if name == "wave-RNN" else (1e-3, 1e-4):
            model = make(seeds)
            row(name, model, rate, train(model, copy(10), rate, n_updates, every=200), published)


def ablations(seeds: int, n_updates: int) -> None:
    for delay in (10, 30):
        head(f"copy, T = {delay}, without parts of the wave-RNN")
        networks: dict[str, Callable[[], AdditiveModel]] = {
            "wave-RNN": lambda: wave(seeds), "without solo inputs": lambda: wave(seeds, init="no-solo"),
            "without shift": lambda: wave(seeds, init="no-shift"), "without both": lambda: wave(seeds, init="random"),
            "locally connected": lambda: wave(seeds, tied=False), "identity-RNN with shift": lambda: dense(seeds, "shift"),
        }
        for name, make in networks.items():
            model = make()
            rate = 1e-3 if "identity" in name else 1e-2
            row(name, model, rate, train(model, copy(delay), rate, n_updates, every=100))


def adding(seeds: int, n_updates: int) -> None:
    """T = 100, Adam at 1e-3; the wave-RNN stops when all seeds are below .01."""
    task: Task = lambda n, key: adding_task(n, 100, random_state=key)  # noqa: E731
    print("\nadding, T = 100; always 1: .167\n\n| network | parameters | updates | seconds | error | .05 at | published: solved at |")
    print("|---|---|---|---|---|---|---|")
    options = {"input_dim": 2, "decoder_bias": True, "n_fits": seeds, "random_state": 0}
    networks = {"wave-RNN": (dr.WaveRNN(1, 100, 27, **options), "300"), "identity-RNN": (dr.IdentityRNN(1, 100, **options), "14,000")}
    seconds = np.inf
    for name, (model, published) in networks.items():
        found = train(model, task, 1e-3, n_updates, solved=0.01 if name == "wave-RNN" else 0.0, every=25)
        last = found.isel(n_updates=-1)
        seconds = min(seconds, float(last.seconds))
        print(
            f"| {name} | {model.parameters_per_fit:,} | {int(last.n_updates):,} | {float(last.seconds):.0f} | {spread(last.score)} | "
            f"{solved_at(found, 0.05, above=False)} | {published} |", flush=True,
        )


def main(settings: Settings) -> None:
    parts = {
        "memory": memory, "velocity": lambda: velocity(settings.seeds), "copy": lambda: copying(settings.seeds, settings.copy_updates),
        "short": lambda: short(settings.seeds, settings.short_updates), "ablations": lambda: ablations(settings.seeds, settings.copy_updates),
        "adding": lambda: adding(settings.seeds, settings.adding_updates),
    }
    for name, part in parts.items():
        if name in settings.only:
            part()


if __name__ == "__main__":
    main(tyro.cli(Settings))
