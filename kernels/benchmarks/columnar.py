"""What does a sample of a columnar network cost as columns are added, and beside the same network as a loop in torch? Two tables, and the memory of streams.

The torch loop is the plain one: all columns at once in tensors of float64, traces by the equations, TD(lambda) and the same steps. Both learn the same stream
(12 inputs) from the same weights; the last column says that they did the same. The exponent is the slope of log time over log columns, by least squares.

    python kernels/benchmarks/columnar.py              # two minutes
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import torch
import tyro
from timing import header, in_turns, number, ratio, row, title

import dynrnn as dr

INPUTS, GAMMA, LAMBDA, BETA, DECAY, FLOOR, RATE = 12, 0.9, 0.99, 0.9999, 0.999, 0.01, 0.003


class TorchColumns:
    """One stage of columns, a TD head."""

    def __init__(self, W: torch.Tensor):
        self.W, K, N = W, len(W), W.shape[2]
        zeros = lambda *shape: torch.zeros(*shape, dtype=torch.float64)  # noqa: E731
        self.h, self.c, self.C, self.H, self.E, self.e = zeros(K), zeros(K), zeros(K, 4, N), zeros(K, 4, N), zeros(K, 4, N), zeros(K + 1)
        self.V, self.v, self.w, self.last = torch.ones_like(self.E), torch.ones_like(self.e), zeros(K + 1), None
        self.mean, self.var = zeros(INPUTS + K), torch.ones(INPUTS + K, dtype=torch.float64)
        self.own = torch.eye(4, dtype=torch.float64)[:, None, :, None]                              # [gate, 1, gate of the weight, 1]

    def normal(self, x: torch.Tensor, at: slice) -> torch.Tensor:
        self.mean[at] = DECAY * self.mean[at] + (1 - DECAY) * x
        self.var[at] = DECAY * self.var[at] + (1 - DECAY) * (x - self.mean[at]) ** 2
        return (x - self.mean[at]) / self.var[at].clamp(min=FLOOR).sqrt()

    def step(self, x: torch.Tensor, cumulant: float) -> float:
        K = len(self.h)
        seen = self.normal(x, slice(0, INPUTS))
        v = torch.cat([self.h[:, None], torch.ones(K, 1, dtype=torch.float64), seen.expand(K, -1)], 1)
        pre = (self.W @ v[:, :, None])[..., 0].T
        i, f, g, o = torch.sigmoid(pre[0]), torch.sigmoid(pre[1]), torch.tanh(pre[2]), torch.sigmoid(pre[3])
        slope = torch.stack([i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)])
        d = slope[:, :, None, None] * (self.W[:, :, 0].T[:, :, None, None] * self.H + self.own * v[:, None])    # [gate, K, 4, N]
        wide = lambda a: a[:, None, None]  # noqa: E731
        self.C = wide(f) * self.C + wide(self.c) * d[1] + wide(i) * d[2] + wide(g) * d[0]
        self.c = f * self.c + i * g
        s = torch.tanh(self.c)
        self.H, self.h = wide(o * (1 - s * s)) * self.C + wide(s) * d[3], o * s
        phi = torch.cat([self.normal(self.h, slice(INPUTS, INPUTS + K)), torch.ones(1, dtype=torch.float64)])
        y = self.w @ phi
        credit = self.w[:K] / self.var[INPUTS:].clamp(min=FLOOR).sqrt()
        if self.last is not None:
            delta = cumulant + GAMMA * y - self.last
            for weights, squares, change, rate in ((self.W, self.V, delta * self.E, RATE), (self.w, self.v, delta * self.e, RATE / K)):
                squares.mul_(BETA).add_((1 - BETA) * change * change)
                weights.add_(rate * change / (squares.sqrt() + 1e-8))
        self.E, self.e, self.last = GAMMA * LAMBDA * self.E + wide(credit) * self.H, GAMMA * LAMBDA * self.e + phi, y
        return float(y)


def ours(K: int) -> dr.ColumnarLearner:
    return dr.ColumnarLearner(
        INPUTS, K, gamma=GAMMA, td_lambda=LAMBDA, learning_rate=RATE, square_decay=BETA, statistics_decay=DECAY, floor=FLOOR, random_state=0
    )


def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    x = (np.random.default_rng(0).random((n, INPUTS)) < 0.2).astype(float)
    return x, x[:, -1].copy()


def slope(sizes: list[int], times: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def columns(sizes: list[int], seconds: float, turns: int) -> None:
    x, us = samples(20_000)

    def timed(K: int):
        learner = ours(K)

        def run(n: int) -> tuple[float, float]:
            began = time.perf_counter()
            learner.learn(x[:n], us[:n])
            return (time.perf_counter() - began) / n, 0.0

        return run

    def timed_torch(K: int):
        net, data = TorchColumns(torch.tensor(ours(K).weights(0)[0])), torch.tensor(x)

        def run(n: int) -> tuple[float, float]:
            began = time.perf_counter()
            for t in range(n):
                net.step(data[t % len(data)], us[t % len(us)])
            return (time.perf_counter() - began) / n, 0.0

        return run

    def capped(run, most: int):
        return lambda n: run(min(n, most))

    print(title("columns", "ours [us a sample]", "ours [ns a weight]", "torch loop [us]", "torch / ours", "predictions differ by"))
    mine, theirs = [], []
    for K in sizes:
        found = in_turns({"ours": capped(timed(K), len(x)), "torch": timed_torch(K)}, seconds, turns)
        net, learner = TorchColumns(torch.tensor(ours(K).weights(0)[0])), ours(K)
        told = np.array([net.step(torch.tensor(x[t]), us[t]) for t in range(300)])
        apart = np.abs(told - learner.learn(x[:300], us[:300]).prediction.values[0, :, 0]).max() / np.abs(told).max()
        mine.append(found["ours"].ms * 1e3)
        theirs.append(found["torch"].ms * 1e3)
        weight = 1e3 * mine[-1] / (4 * K * (INPUTS + 2))
        print(row(K, number(mine[-1]), number(weight), number(theirs[-1]), ratio(theirs[-1], mine[-1]), f"{apart:.0e}"), flush=True)
    print(f"\nexponent of the step time in columns: ours {slope(sizes, mine):.3f}, torch {slope(sizes, theirs):.3f} (its calls cost more than its arithmetic)")


def stream(learner, width: int, steps: int = 20_000) -> None:
    """Samples a second one by one, and in one block."""
    x, us = samples(steps)
    learner.step(x[0, :width], us[0])
    began = time.perf_counter()
    for t in range(2_000):
        learner.step(x[t, :width], us[t])
    single = 2_000 / (time.perf_counter() - began)
    began = time.perf_counter()
    learner.learn(x[:, :width], us)
    print(row(type(learner).__name__, f"{single:,.0f}", f"{steps / (time.perf_counter() - began):,.0f}"), flush=True)


def memory(steps: int) -> float:
    """Peak of this process [MB] after a stream of so many samples in blocks of 1000."""
    learner, (x, us) = ours(100), samples(1_000)
    for _ in range(steps // 1_000):
        learner.learn(x, us)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(sizes: list[int] = [8, 16, 32, 64, 128, 256, 512, 1024], seconds: float = 0.5, turns: int = 5, peak_of: int | None = None) -> None:  # noqa: B006
    if peak_of is not None:
        print(memory(peak_of))
        return
    torch.set_num_threads(1)                                # ours uses one, and two cost the loop more than they give
    print(header() + "\n")
    columns(sizes, seconds, turns)
    print("\nsamples a second, 12 inputs: 8 columns; 64 units with an update every sample\n")
    print(title("learner", "one by one from Python", "in one block"))
    stream(ours(8), INPUTS)
    stream(dr.ElementwiseLSTMLearner(INPUTS, 64, 1, random_state=0), INPUTS)
    short, long = (float(subprocess.run([sys.executable, __file__, "--peak-of", str(n)], capture_output=True, text=True, check=True).stdout)
                   for n in (1_000, 1_000_000))
    print(f"\npeak memory of 100 columns after 10^3 samples {short:.1f} MB, after 10^6 {long:.1f} MB: {100 * (long / short - 1):+.1f} %")


if __name__ == "__main__":
    tyro.cli(main)
