"""The Triton kernels against the reference in Triton's interpreter, and what the compiler makes of them for a card that is not here.

The interpreter runs the kernels' arithmetic in NumPy, a program after the other: it checks equations, masks and offsets. It knows nothing of
layouts, registers or tensor cores, and runs tf32 and tf32x3 as plain float32.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from dynrnn_kernels.additive import Config, forced_sequence, jacobian, library, reference
from dynrnn_kernels.additive.layout import layout_of, pack, unpack
from dynrnn_kernels.errors import KernelError
from tests.kernels.interpreter import RECURRENCE, interpret_triton_itself, interpreted
from tests.kernels.maps import ALL_KINDS, problem, random_map
from tests.kernels.recurrences import CONFIGS, configure_additive

SHARED_MEMORY = 232_448                                                          # bytes that a program may have, compute capability 9.0

kernels = interpreted(RECURRENCE)


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    interpret_triton_itself(monkeypatch)


def packed(case, lengths):
    """(map, z0, target, weight, u, rows) of the first steps of each sequence, one after the other."""
    map, z0, target, weight, u = case
    u = z0.new_zeros(*target.shape[:3], 0) if u is None else u
    length = torch.tensor(lengths)
    parts = [torch.cat([x[:, b, :n] for b, n in enumerate(lengths)], 1) for x in (target, weight, u)]
    return map, z0, *parts, torch.stack([torch.cumsum(length, 0) - length, length], 1)


def seed_like(x):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def truth(problem):
    """Values and gradients of the reference in float64, by name."""
    map, z0, target, weight, u, rows = problem
    named = {name: value.clone().requires_grad_() for name, value in map.tensors().items()} | {
        "z0": z0.clone().requires_grad_(), "target": target.clone().requires_grad_(), "u": u.clone().requires_grad_()
    }
    map = map.with_tensors({name: named[name] for name in map.tensors()})
    z = reference.forced_sequence(map, named["z0"], named["target"], weight, named["u"], rows)
    grads = torch.autograd.grad((z * seed_like(z)).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
    return {"z": z.detach()} | dict(zip(named, grads, strict=True))


def run(problem, dtype, config, precision="ieee"):
    map, *tensors, rows = problem
    map, (z0, target, weight, u) = map.to(dtype), (x.to(dtype) for x in tensors)
    lay, flat = layout_of(map), pack(map)
    out = torch.full_like(target, float("nan"))
    kernels.forward(flat, lay, z0, target, weight, u, rows, out, precision=precision, config=config)
    grad, gz0, gtarget, gu = kernels.backward(flat, lay, z0, target, weight, u, rows, out, seed_like(out).to(dtype), precision=precision, config=config)
    return {"z": out, "z0": gz0, "target": gtarget, "u": gu} | unpack(grad, map).tensors()


def compare(problem, name, dtypes=(torch.float64,), precision="ieee"):
    want = truth(problem)
    for dtype in dtypes:
        tolerance = 1e-10 if dtype == torch.float64 else 1e-5                    # eps times sqrt of the longest sum, with a margin of 10
        got = run(problem, dtype, configure_additive(name, problem[0]), precision)
        assert got.keys() == want.keys()
        for key in want:
            assert torch.isfinite(got[key]).all(), (key, dtype)
            error = float((got[key].double() - want[key]).norm() / want[key].norm().clamp_min(1e-30))
            assert error < tolerance, (key, dtype, error)


@pytest.mark.parametrize("name", ["lane", "tile"])
@pytest.mark.parametrize(("phi", "w2"), ALL_KINDS)
def test_kinds(phi, w2, name):
    compare(packed(problem(len(phi), phi, w2, 2, True, F=1, B=2, T=2, M=4, H=5), [1, 2]), name)


@pytest.mark.parametrize("name", CONFIGS)
def test_kernels_of_both_precisions(name):
    """Several fits, blocks of sequences that are not full, lengths that differ, chunks of the hidden axis that do not divide it."""
    lengths = [3, 1, 2] + 14 * [1] if name in ("tile", "stream") else [3, 1, 4]
    compare(packed(problem(5, "clipped", "dense", 2, False, F=2, B=len(lengths), T=max(lengths), M=3, H=33), lengths), name, (torch.float64, torch.float32))


@pytest.mark.parametrize("name", ["lane", "stream"])
@pytest.mark.parametrize("M", [1, 3, 20])
@pytest.mark.parametrize("H", [1, 5, 33])
def test_sizes(M, H, name):
    compare(packed(problem(M + H, "relu", "dense", 0, False, F=1, B=2, T=2, M=M, H=H), [2, 1]), name, (torch.float32,))


@pytest.mark.parametrize("name", ["lane", "tile", "stream of one"])
def test_equal_sizes_are_not_confused(name):
    compare(packed(problem(3, "tanh", "dense", 3, True, F=3, B=3, T=1, M=3, H=3), [1, 1, 1]), name)


def test_a_map_without_hidden_units_is_linear():
    map, z0, target, weight, u = problem(4, "relu", "dense", 2, True, F=2, B=2, T=3, M=3, H=1)
    none = {"W1": map.W1[..., :0], "W2": map.W2[:, :0], "h2": map.h2[:, :0], "D": map.D[:, :0]}
    compare(packed((map.with_tensors(none), z0, target, weight, u), [3, 2]), "lane")


@pytest.mark.parametrize("precision", ["tf32x3", "tf32"])
def test_other_precisions_launch(precision):
    compare(packed(problem(6, "relu", "dense", 0, False, F=1, B=2, T=2), [2, 1]), "tile", (torch.float32,), precision)


@pytest.mark.parametrize("name", ["lane", "tile", "stream"])
def test_nothing_uninitialised_is_read_and_runs_repeat(name, monkeypatch):
    case = packed(problem(8, "clipped_basis", "dense", 1, True, F=2, B=2, T=3, M=3, H=5), [3, 2])
    before = run(case, torch.float32, configure_additive(name, case[0]))
    empty, empty_like = torch.empty, torch.empty_like
    monkeypatch.setattr(kernels.torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(float("nan")))
    monkeypatch.setattr(kernels.torch, "empty_like", lambda *args, **kwargs: empty_like(*args, **kwargs).fill_(float("nan")))
    after = run(case, torch.float32, configure_additive(name, case[0]))
    for key, value in before.items():
        assert torch.equal(value, after[key]), key


@pytest.mark.parametrize("name", ["lane", "tile"])
def test_rows_of_no_sequence_stay_out(name):
    """Packed rows between sequences hold NaN: gradients are those without them, theirs are zero, and nothing is written there."""
    map, z0, target, weight, u, rows = packed(problem(9, "tanh", "dense", 2, False, F=2, B=2, T=3), [3, 2])
    want = truth((map, z0, target, weight, u, rows))
    at = torch.tensor([1, 2, 3, 5, 6])

    def spread(x):
        wide = torch.full((x.shape[0], 8, x.shape[2]), float("nan"), dtype=x.dtype)
        wide[:, at] = x
        return wide

    rows = torch.tensor([[1, 3], [5, 2]])
    lay, flat, wide = layout_of(map), pack(map), [spread(x) for x in (target, weight, u)]
    out, config = torch.full_like(wide[0], 7.0), configure_additive(name, map)
    kernels.forward(flat, lay, z0, *wide, rows, out, config=config)
    assert (out[:, [0, 4, 7]] == 7).all()
    grad, gz0, gtarget, gu = kernels.backward(flat, lay, z0, *wide, rows, out, spread(seed_like(target)), config=config)
    for got, key in ((gtarget, "target"), (gu, "u")):
        assert (got[:, [0, 4, 7]] == 0).all()
        torch.testing.assert_close(got[:, at], want[key], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gz0, want["z0"], rtol=1e-9, atol=1e-12)
    for key, value in unpack(grad, map).tensors().items():
        torch.testing.assert_close(value, want[key], rtol=1e-9, atol=1e-12)


def test_tanh_to_an_ulp():
    """Both branches and their seam, against torch's, through one step of z' = tanh(z)."""
    x = torch.cat([torch.linspace(-1, 1, 401, dtype=torch.float64), torch.tensor([1e-9, 20.0, -400.0], dtype=torch.float64)])[None]
    one, no = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    map = reference.AdditiveMap(a=no, W1=one[..., None], h1=no, phi="tanh", w2="identity")
    B = x.shape[1]
    out = x.new_empty(1, B, 1)
    rows = torch.stack([torch.arange(B), torch.ones(B, dtype=torch.int64)], 1)
    still = torch.zeros(1, B, 1, dtype=torch.float64)
    kernels.forward(pack(map), layout_of(map), x[..., None], still, still, still[..., :0], rows, out, config=Config("tile", 16, 16, 4))
    torch.testing.assert_close(out[..., 0], torch.tanh(x), rtol=4e-16, atol=0)


@pytest.mark.parametrize(("phi", "w2", "hidden"), [("clipped", "dense", 16), ("tanh", "dense", 8), ("relu", "selection", 4), ("basis", "centring", 4)])
def test_spectral_norms(phi, w2, hidden, monkeypatch):
    """The Rayleigh quotient of n iterations is below the largest singular value, and by no more than the theory of the power method allows."""
    g, n = torch.Generator().manual_seed(12), 4
    map = random_map(g, phi, w2, 2, 4, 11, 2, True)
    states, u = torch.randn(2, 3, 4, generator=g, dtype=torch.float64), torch.randn(2, 3, 2, generator=g, dtype=torch.float64)
    monkeypatch.setattr(kernels, "choose", lambda *args: Config("stream" if hidden < kernels.positions(args[0]) else "lane", 1, hidden, 1))
    got = kernels.spectral_norms(pack(map), layout_of(map), states, u, n_iterations=n)
    J = jacobian(map, states, u)
    want = torch.linalg.matrix_norm(J, 2)
    _, values, right = torch.linalg.svd(J)
    start = kernels.first_vector(4, torch.float64, J.device)
    along = (right[..., 0, :] @ start).square() / start.square().sum()
    short = 1 - got.square() / want.square()
    assert (short > -1e-12).all()
    assert (short <= (1 - along) / along * (values[..., 1] / values[..., 0]) ** (4 * (n - 1)) + 1e-12).all()


def test_the_operator_runs_them(monkeypatch):
    """Values, gradients and vmap by ``backend="triton"``, with sequences of unequal length."""
    monkeypatch.setattr(library, "device_kernels", lambda: kernels)
    lengths = [3, 1, 5]
    map, z0, target, weight, u, _ = packed(problem(4, "clipped", "dense", 2, False, F=2, B=3, T=5), lengths)
    target = torch.nan_to_num(target)

    def loss(z0, backend):
        return forced_sequence(map, z0, target, weight, u, lengths=lengths, backend=backend).square().sum()

    want = torch.func.grad(loss)(z0, "reference")
    torch.testing.assert_close(torch.func.grad(loss)(z0, "triton"), want, rtol=1e-10, atol=1e-12)
    both = torch.func.vmap(lambda z: torch.func.grad(loss)(z, "triton"))(torch.stack([-z0, z0]))
    torch.testing.assert_close(both[1], want, rtol=1e-10, atol=1e-12)


def test_more_fits_than_a_grid_has_are_refused():
    """Along its second axis, where CUDA would only say that the configuration is invalid."""
    map, z0, target, weight, u, rows = packed(problem(1, "relu", "dense", 0, False, F=1, B=1, T=1, M=1, H=1), [1])
    many = [x.expand(65_536, *x.shape[1:]) for x in (pack(map), z0, target, weight, u)]
    with pytest.raises(KernelError, match="65,536 fits .* takes 65,535"):
        kernels.forward(many[0], layout_of(map), *many[1:], rows, torch.empty(many[2].shape))
    with pytest.raises(KernelError, match="65,536 fits"):
        kernels.spectral_norms(many[0], layout_of(map), many[1], many[4])


def test_the_rule_refuses_what_does_not_fit():
    def lay(M, H, w2="dense"):
        return layout_of(random_map(torch.Generator(), "relu", w2, 1, M, H, 0, False))

    assert kernels.choose(lay(20, 100), 16, 1, torch.float32).kernel == "lane"
    assert kernels.choose(lay(64, 1000), 10_000, 1, torch.float32) == Config("stream", 16, 32, 8)
    assert kernels.choose(lay(64, 1000), 10_000, 1, torch.float64).rows == 1
    for size, dtype, most in ((lay(129, 5), torch.float32, 128), (lay(65, 5), torch.float64, 64), (lay(65, 65, "identity"), torch.float32, 64)):
        with pytest.raises(KernelError, match=rf"M = {size.M} .* at most {most}"):
            kernels.choose(size, 16, 1, dtype)
    assert kernels.choose(layout_of(random_map(torch.Generator(), "tanh", "identity", 1, 64, 64, 0, False)), 16, 1, torch.float64).hidden == 64
    with pytest.raises(KernelError, match="must cover all 33 hidden positions"):
        kernels.settle(Config("lane", 1, 32, 1), lay(3, 33), 16, 1, torch.float32, "ieee")
    with pytest.raises(KernelError, match=r"config\.rows must be 1 or 16"):
        kernels.settle(Config("stream", 4, 32, 1), lay(3, 33), 16, 1, torch.float32, "ieee")
    with pytest.raises(KernelError, match=r"config\.hidden must be a power of two"):
        kernels.settle(Config("lane", 1, 48, 1), lay(3, 33), 16, 1, torch.float32, "ieee")
    with pytest.raises(KernelError, match="precision must be one of"):
        kernels.choose(lay(3, 5), 16, 1, torch.float32, "bf16")


def compile_for_a_card(which, tmp_path, script="triton_aot.py"):
    """What ptxas made of the kernels, one dictionary each."""
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "kernels")])
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, str(Path(__file__).with_name(script)), which], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("which", ["few", pytest.param("all", marks=pytest.mark.slow)])
def test_compiled_kernels_do_not_spill(which, tmp_path):
    """And are the same for one sequence as for many, of any length: numbers of sequences and steps are no part of what is compiled."""
    lines = compile_for_a_card(which, tmp_path)
    assert {line["kernel"] for line in lines} >= {"forward_kernel", "adjoint_kernel", "latent_gradient_kernel", "hidden_gradient_kernel", "norm_kernel"}
    bad = [line for line in lines if line["stack"] > 0 or line["shared"] > SHARED_MEMORY]
    assert not bad, "\n".join(map(str, bad))
    kernel_of: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        kernel_of.setdefault((line["case"], line["kernel"]), set()).add(line["hash"])
    assert all(len(hashes) == 1 for hashes in kernel_of.values())
    if which == "few":
        assert {line["B"] for line in lines if "M=3 " in line["case"]} == {1, 16}


@pytest.mark.slow
def test_kernels_that_spill_are_those_that_the_readme_names(tmp_path):
    """M = 128 with 300 inputs; float64 with a dense A, inputs, M > 32 and bases. No more than the bytes that it says."""
    stack = {(line["case"].split()[0], line["kernel"]): line["stack"] for line in compile_for_a_card("spilling", tmp_path)}
    spilled = {key: n for key, n in stack.items() if n > 0}
    most = {("M=128", "latent_gradient_kernel"): 1024, ("M=128", "input_gradient_kernel"): 1024, ("M=40", "adjoint_kernel"): 200}
    assert spilled.keys() <= most.keys()
    assert all(n <= most[key] for key, n in spilled.items()), spilled
