"""What do gradients cost that are accumulated forwards, and how fast is a stream learned? Prints four tables.

1. An update's gradient (M, H, batch, T): exact influence beside our backpropagation, and how far apart they are; with the count of multiplications of both.
2. A stream with an update at every sample, in blocks, one thread: ours, and a jitted JAX scan of the same map, whose J and E come from jacrev. Float64.
   One by one from Python beside it.
3. The leaky tanh network z' = z + (tanh(W [x, z, 1]) - z) / tau that jax_rtrl has as well (github.com/FranzKnut/jax_rtrl; give the folder that holds the
   package with --peer, it is on no index), driven by three inputs, a step of plain descent at every sample, float64. Gradients are compared with torch's
   backpropagation: theirs is off, since it sums the traces over a unit's row of weights in place of the state.
4. Peak memory of a stream of a thousand and of a million samples, each in a fresh process.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python kernels/benchmarks/influence.py [--peer FOLDER]
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import tyro
from timing import header, in_turns, number, ratio, row, title

import dynrnn as dr
from dynrnn_kernels.additive import AdditiveMap, forced_sequence
from dynrnn_kernels.influence import forward_sequence

UPDATES = ((3, 50, 16, 200), (20, 100, 16, 200))
SAMPLES = 20_000


def repeated(call: Callable[[], object]) -> Callable[[int], tuple[float, float]]:
    """As ``in_turns`` wants it."""

    def run(n: int) -> tuple[float, float]:
        began = time.perf_counter()
        for _ in range(n):
            call()
        return (time.perf_counter() - began) / n, 0.0

    return run


def updates(turns: int) -> None:
    print(title("M", "H", "batch", "T", "backpropagation [ms]", "influence [ms]", "ratio", "ratio of multiplications", "apart", "quartiles apart"))
    for M, H, B, T in UPDATES:
        model = dr.ShallowPLRNN(M, M, H, random_state=0).double()
        map = model.map()
        leaves = {name: x.detach().requires_grad_() for name, x in map.tensors().items()}
        target = torch.tensor(np.random.default_rng(0).standard_normal((1, B, T, M)))

        def gradient(run: Callable, leaves=leaves, target=target, map=map) -> torch.Tensor:
            z = run(map.with_tensors(leaves), target[:, :, 0], target, torch.tensor(0.15, dtype=torch.float64))
            return torch.cat([g.flatten() for g in torch.autograd.grad((z - target).square().mean(), list(leaves.values()))])

        ways = {"bptt": forced_sequence, "rtrl": forward_sequence}
        times = in_turns({name: repeated(lambda run=run, gradient=gradient: gradient(run)) for name, run in ways.items()}, turns=turns)
        a, b = (gradient(run) for run in ways.values())
        Q = sum(x[0].numel() for x in leaves.values())
        counted = (M * M * (Q + M) + M * M * H + M * H * (M + 2)) / (6 * M * H)            # forward, and backward at twice that
        spread = f"{100 * max(t.spread for t in times.values()):.0f} %"
        cells = number(times["bptt"].ms), number(times["rtrl"].ms), ratio(times["rtrl"].ms, times["bptt"].ms), f"{counted:.3g}x"
        print(row(M, H, B, T, *cells, f"{float((a - b).norm() / a.norm()):.0e}", spread), flush=True)
    print(flush=True)


def lorenz(n: int) -> np.ndarray:
    return dr.load_dataset("lorenz63", n_steps=n, random_state=0).observed.values[0]


def learner(every: int = 1) -> dr.OnlineLearner:
    model = dr.ShallowPLRNN(3, 3, 50, random_state=0)
    return dr.OnlineLearner(model, learning_rate=1e-4, optimiser="sgd", update_every=every, warmup=1_000, random_state=0)


def jax_stream(x: np.ndarray) -> Callable[[], object] | None:
    """The same: shallow map, forcing by .15, the loss of every sample, plain descent."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    g = np.random.default_rng(0)
    theta = {"A": jnp.full(3, 0.5), "W1": jnp.array(0.1 * g.standard_normal((3, 50))), "W2": jnp.array(0.1 * g.standard_normal((50, 3)))}
    theta |= {"h1": jnp.zeros(3), "h2": jnp.array(g.standard_normal(50))}

    def step(theta, z):
        return theta["A"] * z + theta["W1"] @ jax.nn.relu(theta["W2"] @ z + theta["h2"]) + theta["h1"]

    def sample(carry, x):
        theta, now, S = carry
        z, (E, J) = step(theta, now), jax.jacrev(step, argnums=(0, 1))(theta, now)
        S = jax.tree.map(lambda s, e: jnp.tensordot(0.85 * J, s, axes=1) + e, S, E)
        error = z - x
        theta = jax.tree.map(lambda p, s: p - 1e-4 * jnp.tensordot(2 / 3 * error, s, axes=1), theta, S)
        return (theta, z - 0.15 * error, S), jnp.mean(error**2)

    S = jax.tree.map(lambda p: jnp.zeros((3, *p.shape)), theta)
    run = jax.jit(lambda carry, x: jax.lax.scan(sample, carry, x))
    carry, samples = (theta, jnp.array(x[0]), S), jnp.array(x)
    return lambda: jax.block_until_ready(run(carry, samples))


def streams(turns: int) -> None:
    x = lorenz(SAMPLES + 1_100)
    scaled = (x[1_100:] - x[1_100:].mean(0)) / x[1_100:].std(0)
    ours = {"ours, plain descent": learner(), "ours, RAdam": dr.OnlineLearner(dr.ShallowPLRNN(3, 3, 50, random_state=0), random_state=0)}
    ours["ours, RAdam every 16 samples"] = dr.OnlineLearner(dr.ShallowPLRNN(3, 3, 50, random_state=0), update_every=16, random_state=0)
    single = learner()
    for one in (*ours.values(), single):
        one.learn(x[:1_100])
    runs = {name: repeated(lambda one=one: one.learn(x[1_100:])) for name, one in ours.items()}
    runs["ours, one by one from Python"] = repeated(lambda: [single.step(row) for row in x[1_100:1_600]])
    peer = jax_stream(scaled)
    if peer is not None:
        runs["JAX, jitted scan with jacrev"] = repeated(peer)
    times = in_turns(runs, turns=turns)
    print(title("stream of M = 3, H = 50", "us a sample", "samples a second", "theirs / ours", "quartiles apart"))
    base = times["ours, plain descent"].ms
    for name, time_ in times.items():
        n = 500 if "one by one" in name else SAMPLES
        per = 1e3 * time_.ms / n
        print(row(name, number(per), f"{1e6 / per:,.0f}", ratio(time_.ms / n, base / SAMPLES), f"{100 * time_.spread:.0f} %"), flush=True)
    print(flush=True)


def leaky_map(M: int, N: int) -> tuple[AdditiveMap, dict[str, np.ndarray]]:
    g = np.random.default_rng(0)
    W, tau = g.standard_normal((M, N + M + 1)) * 0.1, g.uniform(3, 8, M)
    tensor = lambda value: torch.tensor(value)[None].double()  # noqa: E731
    map = AdditiveMap(
        a=tensor(1 - 1 / tau), W1=torch.diag_embed(tensor(1 / tau)), h1=tensor(np.zeros(M)), W2=tensor(W[:, N : N + M]), h2=tensor(W[:, -1]),
        D=tensor(W[:, :N]), C=tensor(np.zeros((M, N))), phi="tanh",
    )
    return map, {"W": W, "tau": tau}


def peers(folder: Path | None, turns: int, sizes: tuple[int, ...] = (8, 32)) -> None:
    """Gradients by W of both beside backpropagation, at fixed parameters over 50 samples."""
    if folder is None:
        print("jax_rtrl: not given\n")
        return
    sys.path.insert(0, str(folder))
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from jax_rtrl.models.cells.ctrnn import OnlineCTRNNCell

    from dynrnn_kernels.additive.layout import layout_of, pack
    from dynrnn_kernels.influence.columns import columns_for
    from dynrnn_kernels.influence.cpu_step import turned
    from dynrnn_kernels.influence.cpu_stream import Stream, StreamState, run_stream

    print(title("units", "inputs", "ours [us a sample]", "jax_rtrl [us a sample]", "theirs / ours", "ours from backpropagation", "theirs", "quartiles apart"))
    N, T = 3, 2_000
    x = np.random.default_rng(1).standard_normal((T, N))
    goal = np.sin(0.1 * np.arange(T))[:, None] * np.ones(N)
    for M in sizes:
        map, values = leaky_map(M, N)
        lay, flat = layout_of(map), pack(map).numpy()
        order = turned(lay)
        zeros = lambda *shape: np.zeros((1, *shape))  # noqa: E731
        trained = np.zeros(lay.size)
        for start, n in ((lay.W2, M * M), (lay.D, M * N), (lay.h2, M)):
            trained[start : start + n] = 1
        cols, places = columns_for(lay, trained > 0, trained == 0, flat[0])
        fixed = Stream(order, np.zeros(lay.size), order[places], 0, 0, -1, trained, np.zeros(M), np.array([np.inf]), np.ones(1), 0, 0, 1, True)
        prediction, loss = np.empty((1, T, N)), np.empty((1, T))

        def fresh(flat=flat, zeros=zeros, lay=lay, M=M, size=cols.size) -> StreamState:
            state = StreamState(
                flat.copy(), zeros(lay.size), zeros(lay.size), zeros(M), np.ones((1, M)), zeros(M, size), zeros(lay.size), np.zeros((1, 6), np.int64)
            )
            state.counts[0, 0] = 1                                              # started, at zero
            return state

        def ours(rate: float = 1e-3, n: int = T, every: int = 1, fixed=fixed, fresh=fresh, lay=lay, cols=cols, prediction=prediction, loss=loss) -> StreamState:
            state = fresh()
            rates, nothing = np.full((1, n), rate), np.zeros(n, np.bool_)
            run_stream(lay, cols, fixed._replace(every=every), state, goal[:n], x[:n], 0 * rates, rates, nothing, prediction[:, :n], loss[:, :n])
            return state

        cell = OnlineCTRNNCell(M, ode_type="murray", plasticity="rtrl")
        carry = cell.initialize_carry(jax.random.PRNGKey(0), (N,))
        params = {"params": {name: jnp.array(value) for name, value in values.items()}}

        def objective(params, carry, x, y, cell=cell):
            carry, out = cell.apply(params, carry, x)                              # under a gradient the carry has the new traces
            return jnp.mean((out[:N] - y) ** 2), carry

        def sample(state, xy, objective=objective, rate=1e-3):
            params, carry, total = state
            (_, carry), grad = jax.value_and_grad(objective, has_aux=True)(params, carry, *xy)
            moved = {"params": {"W": params["params"]["W"] - rate * grad["params"]["W"], "tau": params["params"]["tau"]}}
            return (moved, carry, total + grad["params"]["W"]), 0.0

        series = jnp.array(x), jnp.array(goal)
        scan = jax.jit(lambda state, series, sample=sample: jax.lax.scan(sample, state, series))
        state = (params, carry, jnp.zeros_like(params["params"]["W"]))

        def theirs(scan=scan, state=state, series=series) -> object:
            return jax.block_until_ready(scan(state, series))

        def at_rest(state, xy, sample=sample):
            return sample(state, xy, rate=0.0)

        still = jax.jit(lambda state, series, at_rest=at_rest: jax.lax.scan(at_rest, state, series))
        total = np.asarray(still(state, tuple(part[:50] for part in series))[0][2])
        moved = (flat - ours(1.0, 50, 50).theta)[0] * 50
        mine = np.concatenate([moved[lay.D :][: M * N].reshape(M, N), moved[lay.W2 :][: M * M].reshape(M, M), moved[lay.h2 :][:M, None]], 1)
        leaves = {name: part.clone().requires_grad_() for name, part in map.tensors().items()}
        nothing = torch.zeros(1, 1, 50, M, dtype=torch.float64)
        z = forced_sequence(map.with_tensors(leaves), nothing[:, :, 0], nothing, 0.0, torch.tensor(x[:50])[None, None], backend="reference")
        by = torch.autograd.grad((z[0, 0, :, :N] - torch.tensor(goal[:50])).square().mean(-1).sum(), [leaves[name] for name in ("D", "W2", "h2")])
        truth = np.concatenate([by[0][0], by[1][0], by[2][0][:, None]], 1)
        apart = (f"{np.linalg.norm(found - truth) / np.linalg.norm(truth):.0e}" for found in (mine, total))
        times = in_turns({"ours": repeated(ours), "theirs": repeated(theirs)}, turns=turns)
        per = {name: 1e3 * t.ms / T for name, t in times.items()}
        spread = f"{100 * max(t.spread for t in times.values()):.0f} %"
        print(row(M, N, number(per["ours"]), number(per["theirs"]), ratio(per["theirs"], per["ours"]), *apart, spread), flush=True)
    print(flush=True)


def peak(n: int) -> float:
    """Megabytes at most, of a process that learns n samples in blocks of a thousand, which it makes as it goes."""
    one, phase = learner(), 0.0
    for first in range(0, n, 1_000):
        t = phase + 0.05 * np.arange(first, first + 1_000)[:, None]
        one.learn(np.sin(t * [1.0, 1.3, 0.7]))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory() -> None:
    print(title("samples", "peak of the process [MB]"))
    peaks = []
    for n in (2_000, 1_000_000):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            peaks.append(pool.submit(peak, n).result())
        print(row(f"{n:,}", number(peaks[-1], 4)), flush=True)
    print(f"\n{100 * (peaks[1] / peaks[0] - 1):.1f} % more\n")


def main(peer: Path | None = None, turns: int = 7, only: tuple[str, ...] = ()) -> None:
    """only: updates, streams, peers, memory; all by default."""
    print(header() + "\n")
    tables = {"updates": lambda: updates(turns), "streams": lambda: streams(turns), "peers": lambda: peers(peer, turns), "memory": memory}
    for name, table in tables.items():
        if not only or name in only:
            table()


if __name__ == "__main__":
    tyro.cli(main)
