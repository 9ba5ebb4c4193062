"""How long does a whole training update take, beside eager torch, torch.compile and a jitted JAX scan of the same map?

Ours and torch: windows, forcing, loss, gradient and RAdam step. JAX: value and gradient of the same loss alone, without windows or
optimiser. All in one process, one after the other in turns, medians; every one may use all cores. Also what ours achieves of the rate
at which this machine multiplies matrices, and whether all get the same first loss.

    python kernels/benchmarks/update.py                # about two minutes
    python kernels/benchmarks/update.py --compile      # with torch.compile of the step: needs a C++ compiler, minutes more
    python kernels/benchmarks/update.py --quick
"""

from __future__ import annotations

from dataclasses import dataclass

import tyro
from peers import compiled_step, eager, jax_scan, ours, series
from timing import header, in_turns, number, product_rate, ratio, row, title

SIZES = [(3, 50, 16, 200), (20, 100, 16, 200), (30, 500, 16, 200), (30, 500, 256, 200), (64, 1000, 64, 500)]
QUICK = [(3, 50, 16, 20), (20, 100, 16, 20)]
COUNTED = 16    # operations per M H B T and update; see the last line that is printed


@dataclass
class Settings:
    quick: bool = False
    """Small sizes and few repeats, to see that it runs."""
    compile: bool = False
    """Add torch.compile of the step."""
    seconds: float = 0.5
    """Time that one turn of one contestant takes, about."""
    turns: int = 7


def main(settings: Settings) -> None:
    print(header())
    rates = product_rate(repeats=3 if settings.quick else 15)
    peak = max(rates.values())
    print(f"float32 matrix product 1024^3, all threads: {', '.join(f'{name} {rate:.0f} GFLOP/s' for name, rate in rates.items())}\n")
    peers = {"eager torch": eager, "torch.compile": compiled_step, "JAX": jax_scan}
    if not settings.compile:
        del peers["torch.compile"]
    columns = [c for name in peers for c in (f"{name}, {'gradient alone' if name == 'JAX' else 'update'} [ms]", "ratio")]
    print(title("M", "H", "batch", "T", "ours, update [ms]", *columns, "ours [GFLOP/s]", "of matrix product"))
    worst, spread = 0.0, 0.0
    for M, H, B, T in QUICK if settings.quick else SIZES:
        x = series(M)
        runs = {"ours": ours(M, H, B, T, x)} | {name: make(M, H, B, T, x) for name, make in peers.items()}
        times = in_turns(runs, seconds=0.05 if settings.quick else settings.seconds, turns=2 if settings.quick else settings.turns)
        mine = times.pop("ours")
        cells = [c for t in times.values() for c in (number(t.ms), ratio(t.ms, mine.ms))]
        rate = COUNTED * M * H * B * T / mine.ms / 1e6
        print(row(M, H, B, T, number(mine.ms), *cells, number(rate), f"{100 * rate / peak:.0f} %"), flush=True)
        found = [t for t in times.values() if t.ms == t.ms]
        worst = max([worst] + [abs(t.first_loss / mine.first_loss - 1) for t in found])
        spread = max([spread, mine.spread] + [t.spread for t in found])
    said = "agree" if worst < 1e-4 else "DIFFER"
    print(f"\nfirst losses {said}: largest relative difference {worst:.1e}; quartiles of a time lie at most {100 * spread:.0f} % of it apart")
    print(f"GFLOP/s counts {COUNTED} M H B T operations an update. Our kernel's own products are 14 of them: 4 forward, 2 computed again, 4 for the")
    print("adjoint, 4 for the gradients of W1 and W2; its rate in these is 14/16 of what stands above.")


if __name__ == "__main__":
    main(tyro.cli(Settings))
