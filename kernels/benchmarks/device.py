"""How long does a whole training update take on a CUDA device, beside torch on the same device? And 8 fits at once, beside one?

Ours is DeviceUpdate: windows drawn, loss, gradient and RAdam step in one captured graph. Eager torch does the same update step by step; ``graph`` is
a CUDA graph of torch's own update (window, loss, gradient, fused step), without what Python costs between kernels. All in one process, in turns,
medians; the clock is read after the device has finished. Without a CUDA device it says so and stops.

    python kernels/benchmarks/device.py
    python kernels/benchmarks/device.py --compile      # with torch.compile of the step
    python kernels/benchmarks/device.py --quick        # small sizes alone
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from peers import ALPHA, RATE, draw, make_map, make_problem, series, start, torch_loss, torch_step
from timing import Run, header, in_turns, number, ratio, row, title

from dynrnn_kernels.additive.layout import layout_of

SMALL = [(3, 50, 16, 200), (20, 100, 1, 200)]
SIZES = [*SMALL, (20, 100, 16, 200), (30, 500, 256, 200), (64, 1000, 1024, 1000)]
FITS = 8
WARM_UPS = 3


@dataclass
class Settings:
    quick: bool = False
    """Small sizes and few repeats, to see that it runs."""
    compile: bool = False
    """Add torch.compile of the step."""
    precision: str = "ieee"
    """Of our products: ieee, tf32x3 or tf32. Torch keeps its own setting, full float32."""
    seconds: float = 0.5
    """Time that one turn of one contestant takes, about."""
    turns: int = 5
    longest: float = 5.0
    """Leave a contestant out where one of its updates takes more seconds."""


def finished() -> float:
    """The clock, once the device has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def ours(M: int, H: int, B: int, T: int, x: np.ndarray, precision: str, n_fits: int = 1) -> Run:
    """An update is one of all fits."""
    from dynrnn_kernels.update.device import MOST_BLOCK, DeviceUpdate, Source

    map = make_map(M, H, n_fits)
    problem, state = make_problem(map, x, T)
    source = Source(np.array([len(x) - T]), np.arange(n_fits), 1)
    update = DeviceUpdate(layout_of(map), problem, state, source, B, T, "cuda", precision=precision)

    def run(n: int) -> tuple[float, float]:
        began, first = finished(), float("nan")
        for done in range(0, n, MOST_BLOCK):
            k = min(MOST_BLOCK, n - done)
            loss, _ = update.run(np.full((k, n_fits), ALPHA), np.full((k, n_fits), RATE))
            first = first if done else float(loss[0, 0])
        took = finished() - began
        update.fetch(state, parameters=False)
        if state.refused.any():
            raise FloatingPointError("a step was refused, so these times mean nothing: training diverged")
        return took / n, first

    return run


def torch_update(M: int, H: int, T: int, x: np.ndarray, step: Callable, capturable: bool) -> tuple[Callable, torch.Tensor]:
    """(one update on first samples [B] on the device, the series there)."""
    p = {k: torch.nn.Parameter(torch.tensor(v, device="cuda")) for k, v in start(M, H).items()}
    optimiser = torch.optim.RAdam(p.values(), lr=RATE, capturable=capturable)
    data, span = torch.tensor(x, device="cuda"), torch.arange(T + 1, device="cuda")

    def update(first: torch.Tensor) -> torch.Tensor:
        optimiser.zero_grad(set_to_none=not capturable)
        loss = torch_loss(p, data[first[:, None] + span], step)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return update, data


def eager(M: int, H: int, B: int, T: int, x: np.ndarray, step: Callable = torch_step) -> Run:
    update, data = torch_update(M, H, T, x, step, capturable=False)
    g = np.random.default_rng(1)

    def run(n: int) -> tuple[float, float]:
        began, losses = finished(), []
        for _ in range(n):
            losses.append(update(torch.as_tensor(draw(g, x, T, B)).to(data.device)))
        return (finished() - began) / n, float(losses[0])

    return run


def graph(M: int, H: int, B: int, T: int, x: np.ndarray) -> Run:
    """Torch's update captured once, after a warm-up on a side stream, and replayed on windows that are copied into its input."""
    update, data = torch_update(M, H, T, x, torch_step, capturable=True)
    g = np.random.default_rng(1)
    first = torch.as_tensor(draw(g, x, T, B)).to(data.device)
    side, captured = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            update(first)
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(captured):
        loss = update(first)

    def run(n: int) -> tuple[float, float]:
        began, value = finished(), float("nan")
        for i in range(n):
            first.copy_(torch.as_tensor(draw(g, x, T, B)))
            captured.replay()
            value = float(loss) if i == 0 else value
        return (finished() - began) / n, value

    return run


def compiled(M: int, H: int, B: int, T: int, x: np.ndarray) -> Run:
    torch.compiler.reset()
    return eager(M, H, B, T, x, torch.compile(torch_step, dynamic=False))


def main(settings: Settings) -> None:
    if not torch.cuda.is_available():
        print("no CUDA device here: torch.cuda.is_available() is False, nothing measured")
        return
    print(f"{torch.cuda.get_device_name()}; {header()}; ours in {settings.precision}\n")
    peers: dict[str, Callable] = {"eager torch": eager, "graph of torch": graph} | ({"torch.compile": compiled} if settings.compile else {})
    columns = [column for name in peers for column in (f"{name} [ms]", "ratio")]
    print(title("M", "H", "batch", "T", "ours [ms]", *columns, f"{FITS} fits [ms]", "a fit alone over one of these"))
    spread = 0.0
    for M, H, B, T in SMALL if settings.quick else SIZES:
        x = series(M)
        runs: dict[str, Run | None] = {"ours": ours(M, H, B, T, x, settings.precision), "fits": ours(M, H, B, T, x, settings.precision, FITS)}
        runs |= {name: make(M, H, B, T, x) for name, make in peers.items()}
        few = {"seconds": 0.1, "turns": 2} if settings.quick else {"seconds": settings.seconds, "turns": settings.turns}
        times = in_turns(runs, longest=settings.longest, **few)
        mine, fits = times.pop("ours"), times.pop("fits")
        cells = [cell for time_ in times.values() for cell in (number(time_.ms), ratio(time_.ms, mine.ms))]
        print(row(M, H, B, T, number(mine.ms), *cells, number(fits.ms), ratio(FITS * mine.ms, fits.ms)), flush=True)
        spread = max([spread, mine.spread, fits.spread] + [t.spread for t in times.values() if t.ms == t.ms])
        torch.cuda.empty_cache()
    print(f"\nquartiles of a time lie at most {100 * spread:.0f} % of it apart; losses are not compared, since each draws its own windows")


if __name__ == "__main__":
    main(tyro.cli(Settings))
