"""How long does a sequence of a liquid time-constant network take, forward and back, beside ncps with the same parameters? Prints one table.

ncps 1.0.1 (PyPI) is the package of the method's authors, in eager torch: its cell steps through time in Python, as its own ``LTC`` layer does. Both get
the same parameters (fully connected, two inputs), inputs and loss, the mean square of all states, and give the gradients of all
parameters. float32, 6 unfolds. Each may use all cores. The last columns say that both did the same: the
largest differences of states, and of gradients relative to the largest of each parameter.

    python kernels/benchmarks/ltc.py                   # a minute; wants the package ncps
"""

from __future__ import annotations

import time

import torch
import tyro
from timing import Run, header, in_turns, number, ratio, row, title

from dynrnn_kernels.ltc import LTCMap, forced_sequence

SIZES = ((32, 16, 200), (64, 16, 200), (128, 16, 200))
INPUTS = 2
OURS = {                                        # theirs is [from, to]
    "w": "w", "sigma": "sigma", "mu": "mu", "erev": "E", "sensory_w": "w_in", "sensory_sigma": "sigma_in", "sensory_mu": "mu_in", "sensory_erev": "E_in",
    "cm": "cm", "gleak": "gleak", "vleak": "vleak", "input_w": "input_w", "input_b": "input_b",
}


def peer_cell(M: int):
    """Their cell, fully connected, its parameters drawn as they do."""
    from ncps.torch import LTCCell
    from ncps.wirings import FullyConnected

    torch.manual_seed(0)
    return LTCCell(FullyConnected(M), INPUTS)


def our_map(cell) -> LTCMap:
    tensors = {}
    for theirs, name in OURS.items():
        x = getattr(cell, theirs).detach()
        tensors[name] = (x.T if x.ndim == 2 else x)[None].contiguous().clone().requires_grad_()
    return LTCMap(**tensors)


def main(turns: int = 5, seconds: float = 1.0) -> None:
    print(header() + "\n")
    ours_columns = ("ours, forward [ms]", "ours, forward + backward [ms]")
    print(title("units", "batch", "steps", *ours_columns, "ncps [ms]", "theirs / ours", "states differ by", "gradients"))
    for M, B, T in SIZES:
        cell = peer_cell(M)
        map, u = our_map(cell), torch.randn(B, T, INPUTS, generator=torch.Generator().manual_seed(0))
        nothing = torch.zeros(1, B, T, M)

        def ours(map: LTCMap = map, u: torch.Tensor = u, nothing: torch.Tensor = nothing) -> torch.Tensor:
            return forced_sequence(map, nothing[:, :, 0], nothing, 0.0, u[None])[0]

        def theirs(cell=cell, u: torch.Tensor = u, M: int = M) -> torch.Tensor:
            state, states = torch.zeros(len(u), M), []
            for t in range(u.shape[1]):
                state = cell(u[:, t], state)[1]
                states.append(state)
            return torch.stack(states, 1)

        def timed(states, leaves) -> Run:
            def run(n: int) -> tuple[float, float]:
                began, value = time.perf_counter(), 0.0
                for _ in range(n):
                    loss = states().square().mean()
                    if leaves:
                        torch.autograd.grad(loss, leaves)
                    value = float(loss.detach())
                return (time.perf_counter() - began) / n, value

            return run

        mine = list(map.tensors().values())
        peers = [getattr(cell, theirs_name) for theirs_name in OURS]
        apart = float((ours() - theirs()).detach().abs().max())
        by_name = dict(zip(map.tensors(), torch.autograd.grad(ours().square().mean(), mine), strict=True))
        gradients = torch.autograd.grad(theirs().square().mean(), peers)
        worst = 0.0
        for name, g in zip(OURS.values(), gradients, strict=True):
            g = g.T if g.ndim == 2 else g
            worst = max(worst, float((by_name[name][0] - g).abs().max() / g.abs().max()))
        times = in_turns({"forward": timed(ours, []), "ours": timed(ours, mine), "ncps": timed(theirs, peers)}, seconds, turns)
        cells = (number(times["forward"].ms), number(times["ours"].ms), number(times["ncps"].ms), ratio(times["ncps"].ms, times["ours"].ms))
        print(row(M, B, T, *cells, f"{apart:.0e}", f"{worst:.0e}"), flush=True)


if __name__ == "__main__":
    tyro.cli(main)
