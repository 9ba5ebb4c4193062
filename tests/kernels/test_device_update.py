"""The update of Triton kernels against the reference on the same draws, in Triton's interpreter, and what must not change its bits.

The interpreter checks equations, masks and offsets. It knows nothing of layouts, registers or several programs at once: that none races
follows from each number being written by one program of one kernel. CUDA graphs are tested where there is a card (``-m gpu``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.update.problem import AFFINE, BAD_GRADIENT, BAD_STEP, IDENTITY
from tests.kernels.device_problem import both, copied, device_update, random_problem
from tests.kernels.interpreter import DEVICE, interpret_triton_itself, interpreted

SHARED_MEMORY = 232_448                                                          # bytes that a program may have, compute capability 9.0
kernels = interpreted(DEVICE)


@pytest.fixture(autouse=True)
def _interpret(monkeypatch, request):
    if "gpu" not in request.keywords:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        interpret_triton_itself(monkeypatch)


ALL = dict(noise=True, missing=True, decay=True, clip=True)
CASES = {
    "shallow": ("relu", "dense", dict(K=2, **ALL)),
    "clipped": ("clipped", "dense", dict(H=6, M=5, N=3, F=3, T=2, noise=True, clip=True)),
    "plain": ("relu", "identity", dict(M=4, N=4)),
    "almost linear": ("relu", "selection", dict(M=4, missing=True)),
    "bases": ("clipped_basis", "dense", dict(H=4, decay=True)),
    "affine": ("relu", "dense", dict(N=4, observation=AFFINE, bias=True, condition=True, **ALL)),
    "wide affine": ("clipped", "dense", dict(N=2, M=4, observation=AFFINE, missing=True, condition=True)),
    "one channel": ("tanh", "identity", dict(N=1, M=1, observation=AFFINE, bias=True)),
    "square affine": ("relu", "centring", dict(N=3, M=3, observation=AFFINE, noise=True)),
}
MORE = ("bases", "wide affine", "one channel", "square affine")                  # what these add is tested piece by piece elsewhere too


def settings(F, n):
    return np.linspace(0.2, 0.9, n * F).reshape(n, F), np.geomspace(1e-3, 1e-1, n * F).reshape(n, F)


def same(a, b, tolerance, what):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(np.abs(b).max(), 1e-30), err_msg=what)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in MORE else name for name in CASES])
def test_the_device_equals_the_reference(name):
    """Two updates, each on what the device itself drew."""
    phi, w2, options = CASES[name]
    case = random_problem(len(name), phi, w2, **options)
    F = len(case[2].theta)
    mine, truth = both(kernels, case, 2, 2, *settings(F, 2))
    for a, b, what in ((mine[1], truth[1], "loss"), (mine[2], truth[2], "norm")):
        same(a, b, 1e-10, what)                                                 # float64: 1e-16 * 50 terms * a Jacobian product of 1e2, twice, and a margin
    for field, a, b in zip(mine[0]._fields, mine[0], truth[0]):
        same(a, b, 1e-10, field)
    assert (mine[0].taken == case[2].taken + 2).all()


@pytest.mark.parametrize("name", [pytest.param("shallow", marks=pytest.mark.slow), "affine"])
def test_float32(name):
    phi, w2, options = CASES[name]
    case = random_problem(len(name), phi, w2, dtype=np.float32, **options)
    mine, truth = both(kernels, case, 2, 1, *settings(2, 1))
    for field, a, b in zip(mine[0]._fields, mine[0], truth[0]):
        same(a, b, 1e-5, field)                                                 # 6e-8 * the same numbers
    same(mine[1], truth[1], 1e-5, "loss")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")                           # of NumPy in the interpreter, where inf and NaN are meant
def test_refused_steps_leave_everything_as_it_was():
    """Fit 0 trains; fit 1 has a learning rate that leads to inf; fit 2 overflows within its windows. Two refusals in a row stop a fit."""
    case = random_problem(3, "relu", "dense", F=3, T=2)
    state = case[2]
    state.theta[2] = 1e200
    start = copied(state)
    alpha, rate = settings(3, 3)
    rate[:, 1] = np.inf
    rate[2, 1] = 1e-3                                                           # too late: it has been stopped
    mine, truth = both(kernels, case, 2, 3, alpha, rate)
    for k in (1, 2):
        for field in ("theta", "first", "second", "taken"):
            assert np.array_equal(getattr(mine[0], field)[k], getattr(start, field)[k])
    assert mine[0].reason.tolist() == truth[0].reason.tolist() == [0, BAD_STEP, BAD_GRADIENT]
    assert mine[0].refused.tolist() == truth[0].refused.tolist() == [0, 2, 2]
    assert mine[0].active.tolist() == truth[0].active.tolist() == [True, False, False]
    same(mine[0].theta[0], truth[0].theta[0], 1e-10, "the fit beside them")
    assert np.isnan(mine[1][2]).tolist() == [False, True, True]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_refusal_that_is_not_followed_by_another_does_not_count_towards_the_end():
    map, problem, state, ends = random_problem(3, "relu", "dense", F=1, T=2)
    update = device_update(kernels, map, problem, state, ends, 2)
    rate = np.array([[np.inf], [1e-3], [np.inf], [1e-3]])
    update.run(np.full((4, 1), 0.5), rate)                                      # in one block: the table of learning rates is walked through
    update.fetch(state)
    assert (state.refused[0], state.taken[0], state.refused_in_row[0], bool(state.active[0])) == (2, 2, 0, True)


@pytest.mark.parametrize("observation", [pytest.param(IDENTITY, marks=pytest.mark.slow), AFFINE])
def test_a_fit_is_what_it_is_alone_and_runs_repeat(observation, monkeypatch):
    """Bit for bit: in other company (the kernels' sizes are the same here), over again, in other blocks, with NaN where nothing was written."""
    case = random_problem(5, "clipped_basis", "dense", T=2, observation=observation, K=1, bias=observation == AFFINE, condition=True, **ALL)
    map, problem, state, ends = case
    alpha, rate = settings(2, 2)
    together, alone, again = copied(state), copied(state), copied(state)
    update = device_update(kernels, map, problem, together, ends, 2, np.array([7, 2]))
    update.run(alpha, rate)
    update.fetch(together)
    fit = {name: getattr(problem, name)[1:] for name in ("channel_mean", "noise_level", "gate", "decay", "condition", "clip")}
    single = type(state)(*(x[1:] for x in alone))
    update = device_update(kernels, map, problem._replace(**fit), single, ends, 2, np.array([2]))
    update.run(alpha[:, 1:], rate[:, 1:])
    update.fetch(single)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, **given: _poisoned(empty(*args, **given)))
    update = device_update(kernels, map, problem, again, ends, 2, np.array([7, 2]))
    for i in range(2):
        update.run(alpha[i : i + 1], rate[i : i + 1])
    update.fetch(again)
    for field in state._fields:
        assert np.array_equal(getattr(together, field)[1:], getattr(single, field)), field
        assert np.array_equal(getattr(together, field), getattr(again, field)), field


def _poisoned(x):
    return x.fill_(float("nan") if x.dtype.is_floating_point else -1)


def test_sizes_that_do_not_fit_are_refused_before_any_work():
    def case(**options):
        map, problem, state, ends = random_problem(1, "relu", "dense", **options)
        return lambda: device_update(kernels, map, problem, state, ends, 2)

    for make, words in (
        (case(M=66, N=65, observation=AFFINE, dtype=np.float32), "min\\(latent_dim, channels\\) = 65 .* 'cpu'"),
        (case(M=70, N=70), "M = 70 latent units"),
    ):
        with pytest.raises(KernelError, match=words):
            make()
    map, problem, state, ends = random_problem(1, "relu", "dense")
    lay = kernels.recurrence.Layout(**dict.fromkeys(kernels.recurrence.Layout._fields, -1) | {"M": 128, "H": 128, "K": 0, "n_bases": 0, "w2": 0})
    most = 65_535 * 8 - 1                                                       # blocks of 8 samples of 128 channels, along a grid's second axis
    kernels.check_device_update(lay, IDENTITY, 128, 1, most, 1, 9)
    with pytest.raises(KernelError, match=f"{most + 1:,} samples in a sequence .* takes {most:,}"):
        kernels.check_device_update(lay, IDENTITY, 128, 1, most + 1, 1, 9)
    with pytest.raises(KernelError, match="windows .* too many .* 'cpu'"):
        device_update(kernels, map, problem, state, ends + 2**32, 2)
    update = device_update(kernels, map, problem, state, ends, 2)
    with pytest.raises(KernelError, match=r"alpha and learning_rate are \[n, 2\]"):
        update.run(np.zeros((3, 1)), np.zeros((3, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["few", "all"])
def test_compiled_kernels_do_not_spill(which, tmp_path):
    """And are the same for other numbers of rows and samples."""
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "kernels")])
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("device_aot.py")), which], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["kernel"] for line in lines} >= {
        "fill_kernel", "draw_kernel", "identity_target_kernel", "affine_target_kernel", "partly_seen_kernel", "decoder_kernel", "identity_loss_kernel",
        "affine_loss_kernel", "gradient_kernel", "step_kernel",
    }
    bad = [line for line in lines if line["stack"] > 0 or line["shared"] > SHARED_MEMORY]
    assert not bad, "\n".join(map(str, bad))
    kernel_of: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        kernel_of.setdefault((line["case"], line["kernel"]), set()).add(line["hash"])
    assert all(len(hashes) == 1 for hashes in kernel_of.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("observation", [IDENTITY, AFFINE])
def test_a_replayed_graph_is_the_launches(observation):
    """Bit for bit; and both are the reference to rounding."""
    from dynrnn_kernels.update import device

    map, problem, state, ends = random_problem(5, "relu", "dense", observation=observation, K=1, **ALL)
    alpha, rate = settings(2, 7)
    states = []
    for capture in (False, True):
        mine = copied(state)
        update = device_update(device, map, problem, mine, ends, 3, cuda=True, capture=capture)
        results = update.run(alpha, rate)
        update.fetch(mine)
        states.append((*mine, *results))
    assert all(np.array_equal(a, b) for a, b in zip(*states))
    mine, truth = both(device, (map, problem, state, ends), 3, 2, *settings(2, 2), cuda=True)
    for field, a, b in zip(mine[0]._fields, mine[0], truth[0]):
        same(a, b, 1e-10, field)
