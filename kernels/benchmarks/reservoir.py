"""How long do reservoirs take to fit and to run freely, beside reservoirpy with the same weights? Prints one table.

The same sparse W (density 0.1), W_in and bias, leak and penalty, in float64; reservoirpy has W as a scipy.sparse array, which is its fast way. Ours is
``dr.fit`` and ``dr.generate`` with everything around them; theirs is ``fit`` (on standardised data) and ``step`` in a loop, the way to a free run since
``generate`` is gone. Both take the samples of Lorenz-63. The last column says that both did the same: the largest difference of one-step predictions.

    python kernels/benchmarks/reservoir.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse
import tyro
from timing import header, number, ratio, row, title

import dynrnn as dr

SIZES = (100, 500, 2_000)
RIDGE, LEAK, WASHOUT = 1e-5, 0.3, 100


def seconds(ours: Callable[[], object], peer: Callable[[], object], turns: int) -> tuple[float, float]:
    """Medians, one after the other in turns."""
    times: list[tuple[float, float]] = []
    for _ in range(turns):
        began = time.perf_counter()
        ours()
        between = time.perf_counter()
        peer()
        times.append((between - began, time.perf_counter() - between))
    first, second = zip(*times, strict=True)
    return statistics.median(first), statistics.median(second)


def theirs(W: scipy.sparse.csr_array, W_in: np.ndarray, b: np.ndarray):
    from reservoirpy.nodes import Reservoir, Ridge

    return Reservoir(units=W.shape[0], lr=LEAK, W=W, Win=W_in, bias=b) >> Ridge(ridge=RIDGE)


def main(steps: int = 10_000, free: int = 2_000, turns: int = 3) -> None:
    import reservoirpy

    print(f"{header()}; reservoirpy {reservoirpy.__version__}; {steps:,} samples to fit, {free:,} to run freely\n")
    print(title("units", "fit, us a sample", "reservoirpy", "theirs / ours", "free run, us a step", "reservoirpy", "theirs / ours", "predictions differ by"))
    recording = dr.load_dataset("lorenz63", n_steps=steps, dt=0.02, random_state=0)
    x = recording.observed.values[0]
    scaled = (x - x.mean(0)) / x.std(0)
    for n in SIZES:
        model = dr.ESN(3, n, leak=LEAK, spectral_radius=0.9, input_scaling=0.5, bias_scaling=0.5, random_state=0)
        fit = lambda model=model: dr.fit(model, recording, ridge=RIDGE, washout=WASHOUT, progress=False)  # noqa: E731
        W, W_in, b = scipy.sparse.csr_array(model.W[0].numpy()), model.W_in[0].numpy(), model.b[0].numpy()

        def peer(W=W, W_in=W_in, b=b):
            return theirs(W, W_in, b).fit(scaled[:-1], scaled[1:], warmup=WASHOUT)

        fit()
        ours_fit, peer_fit = seconds(fit, peer, turns)
        state, esn = dr.warmup(model, recording), peer()
        esn.reset()                                                             # it is in its last state after the fit
        one = esn.run(scaled[:-1])
        mine = dr.forecast(model, recording, np.stack([np.zeros(200, int), np.arange(1_000, 1_200)], 1), 1).values[0, :, 0]
        apart = float(np.abs((mine - x.mean(0)) / x.std(0) - one[1_000:1_200]).max())

        def run(esn=esn):
            y = esn.step(scaled[-1])
            for _ in range(free - 1):
                y = esn.step(y)

        dr.generate(model, 10, initial=state)
        ours_run, peer_run = seconds(lambda model=model, state=state: dr.generate(model, free + 1, initial=state), run, turns)
        each = [1e6 * ours_fit / steps, 1e6 * peer_fit / steps, 1e6 * ours_run / free, 1e6 * peer_run / free]
        print(row(n, number(each[0]), number(each[1]), ratio(each[1], each[0]), number(each[2]), number(each[3]), ratio(each[3], each[2]), number(apart)),
              flush=True)


if __name__ == "__main__":
    tyro.cli(main)
