"""The forced sequence as an operator: packed sequences, torch's transforms, and arguments that do not fit."""

from __future__ import annotations

import pytest
import torch

from dynrnn_kernels.additive import AdditiveMap, forced_sequence, library
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.additive.pattern import pattern
from dynrnn_kernels.errors import KernelError
from tests.kernels.maps import problem
from tests.kernels.test_additive import leaves, relative


def case(K: int = 2):
    map, z0, target, weight, u = problem(3, "clipped", "dense", K, True)
    return map, z0, torch.nan_to_num(target), weight, u


def packed(lengths, F=2, M=4, K=2):
    """Sequences of unequal length, one after the other, some targets missing."""
    map, _, _, _, _ = problem(3, "clipped", "dense", K, True, F=F, M=M)
    g = torch.Generator().manual_seed(0)
    N = sum(lengths)
    z0, target = (torch.randn(F, n, M, generator=g, dtype=torch.float64) for n in (len(lengths), N))
    weight = torch.rand(F, N, M, generator=g, dtype=torch.float64)
    weight[:, ::3] = 0
    target[:, ::3] = float("nan")
    return map, z0, target, weight, torch.randn(F, N, K, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("lengths", [[1], [3, 1, 7, 5, 2], [4] * 9 + [11, 1, 2]])
def test_packed_sequences_are_the_single_ones(lengths):
    """Values and gradients equal those of each sequence alone, padding or not."""
    whole = packed(lengths)
    results = {}
    for backend in ("cpu", "reference"):
        named, map, z0, target, u = leaves(*whole[:3], whole[4], torch.float64)
        z = forced_sequence(map, z0, target, whole[3], u, lengths=lengths, backend=backend)
        seed = torch.randn(z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        grads = torch.autograd.grad((z * seed).sum(), list(named.values()))
        results[backend] = {"z": z.detach()} | dict(zip(named, grads, strict=True))
        first = 0
        for b, n in enumerate(lengths):
            part = slice(first, first + n)
            alone = forced_sequence(map, z0[:, b, None], target[:, None, part], whole[3][:, None, part], u[:, None, part], backend=backend)
            torch.testing.assert_close(z[:, part], alone[:, 0], rtol=1e-12, atol=1e-12)
            first += n
    for name, want in results["reference"].items():
        assert relative(results["cpu"][name], want) < 1e-10, name


def test_a_diverging_sequence_leaves_its_neighbours_alone():
    """A short sequence in a chunk with a long one is not run past its end, where it could overflow."""
    map = AdditiveMap(a=torch.full((1, 1), 1e30), W1=torch.zeros(1, 1, 1), h1=torch.zeros(1, 1), W2=torch.zeros(1, 1, 1), h2=torch.zeros(1, 1))
    target, weight = torch.zeros(1, 12, 1), torch.zeros(1, 12, 1)
    weight[:, 1:] = 1
    map.a.requires_grad_()
    z = forced_sequence(map, torch.tensor([[[1.0], [0.0]]]), target, weight, lengths=[1, 11])
    z.sum().backward()
    assert torch.equal(z[0, 0], torch.tensor([1e30]))
    assert torch.equal(map.a.grad, torch.tensor([[1.0]]))


def test_func_transforms_equal_autograd():
    map, z0, target, weight, u = case()

    def loss(z0):
        return forced_sequence(map, z0, target, weight, u).square().sum()

    leaf = z0.clone().requires_grad_()
    (want,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.equal(torch.func.grad(loss)(z0), want)
    several = torch.stack([z0, 2 * z0, -z0])
    assert torch.equal(torch.func.vmap(torch.func.grad(loss))(several)[0], want)
    rows = torch.func.vmap(lambda z: forced_sequence(map, z, target, weight, u), in_dims=1, out_dims=1)(several.movedim(0, 1))
    assert torch.equal(rows[:, 2], forced_sequence(map, -z0, target, weight, u))


def test_vmap_over_maps_and_over_targets():
    map, z0, target, weight, u = case()
    W1 = torch.stack([map.W1, 0.5 * map.W1])
    together = torch.func.vmap(lambda w: forced_sequence(map.with_tensors(map.tensors() | {"W1": w}), z0, target, weight, u))(W1)
    alone = forced_sequence(map.with_tensors(map.tensors() | {"W1": W1[1]}), z0, target, weight, u)
    assert torch.equal(together[1], alone)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")           # torch's own, from tracing
def test_compiles_as_one_graph():
    map, z0, target, weight, u = case()

    def run(z0, target):
        return forced_sequence(map, z0, target, weight, u)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    results = []
    for f in (run, compiled):
        leaf = z0.clone().requires_grad_()
        out = f(leaf, target)
        out.square().sum().backward()
        results.append((out.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_registered_operators_pass_torchs_own_checks():
    map, z0, target, weight, u = case()
    F, B, T, _ = target.shape
    rows = torch.stack([torch.arange(B) * T, torch.full((B,), T)], 1)
    flat = [x.reshape(F, B * T, -1).contiguous() for x in (target, weight, u)]
    args = (pack(map), z0, *flat, rows, pattern(map))
    layout = list(layout_of(map)[:-1])
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.dynrnn.additive_forward, (*args, layout, "cpu"), test_utils=tests)
    out = torch.ops.dynrnn.additive_forward(*args, layout, "cpu")
    torch.library.opcheck(torch.ops.dynrnn.additive_backward, (*args, out, torch.ones_like(out), True, layout, "cpu"), test_utils=tests)


def test_what_has_no_derivative_raises():
    map, z0, target, weight, u = case()

    def loss(z0):
        return forced_sequence(map, z0, target, weight, u).square().sum()

    leaf = z0.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    with pytest.raises(KernelError, match="differentiable once"):
        grad.sum().backward()
    with pytest.raises(KernelError, match="differentiable once"):
        torch.func.grad(lambda z: torch.func.grad(loss)(z).sum())(z0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")           # torch's own
def test_forward_mode_raises():
    map, z0, target, weight, u = case()
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(lambda z: forced_sequence(map, z, target, weight, u), (z0,), (z0,))


def test_any_layout_of_memory_gives_the_same():
    map, z0, target, weight, u = case()
    want = forced_sequence(map, z0, target, weight, u)
    turned = forced_sequence(map, z0.transpose(1, 2).contiguous().transpose(1, 2), target.transpose(1, 3).contiguous().transpose(1, 3), weight, u[..., [0, 1]])
    assert torch.equal(turned, want)
    spaced = torch.stack([target, target], -1)[..., 0]
    assert torch.equal(forced_sequence(map, z0, spaced, weight, u), want)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_empty_and_shortest(backend):
    map, z0, target, weight, u = case()
    assert forced_sequence(map, z0, target[:, :, :0], weight[:, :, :0], u[:, :, :0], backend=backend).shape == (2, 5, 0, 4)
    assert forced_sequence(map, z0[:, :0], target[:, :0], weight[:, :0], u[:, :0], backend=backend).shape == (2, 0, 7, 4)
    one = forced_sequence(map, z0, target[:, :, :1], weight[:, :, :1], u[:, :, :1], backend=backend)
    torch.testing.assert_close(one, forced_sequence(map, z0, target, weight, u)[:, :, :1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z0": lambda x: x.float()}, "W1 is torch.float64, z0 is torch.float32|a is torch.float64"),
        ({"target": lambda x: x.float()}, "target is torch.float32"),
        ({"z0": lambda x: x[:, :, :3]}, "z0 must have shape"),
        ({"target": lambda x: x[:, :3]}, "target must have shape"),
        ({"weight": lambda x: x[:, :, :2]}, "does not broadcast"),
        ({"u": lambda x: None}, "u is missing"),
        ({"u": lambda x: x[..., :1]}, "u must have shape"),
        ({"z0": lambda x: x.to("meta")}, "on cpu, z0 on meta"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, message):
    names = ("z0", "target", "weight", "u")
    map, *tensors = case()
    given = {name: change[name](x) if name in change else x for name, x in zip(names, tensors, strict=True)}
    with pytest.raises(KernelError, match=message):
        forced_sequence(map, **given)


def test_lengths_that_do_not_fit_are_named():
    map, z0, target, weight, u = packed([3, 4])
    for lengths, message in (([3], "must hold 2"), ([7, 0], "at least 1"), ([3, 5], "sum of lengths")):
        with pytest.raises(KernelError, match=message):
            forced_sequence(map, z0, target, weight, u, lengths=lengths)


def test_an_unknown_backend_is_named():
    map, z0, target, weight, u = case()
    with pytest.raises(KernelError, match="backend must be one of"):
        forced_sequence(map, z0, target, weight, u, backend="gpu")


def test_triton_wants_a_device(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    map, z0, target, weight, u = case()
    with pytest.raises(KernelError, match="CUDA device"):
        forced_sequence(map, z0, target, weight, u, backend="triton")


def test_offsets_past_two_to_the_31():
    """A packed array of 2**31 + 24 numbers, of which the last 24 are touched: the rest are pages that are never there."""
    T, past = 8, 2**31
    map, z0, target, _, _ = problem(0, "relu", "dense", 0, False, F=1, B=1, T=T, M=3, H=4)
    target = target.nan_to_num()
    weight = torch.tensor(0.3, dtype=torch.float64)
    want = forced_sequence(map, z0, target, weight)
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1])
    if memory * 1024 < 20 * 2**30:
        pytest.skip("reserves 2 x 8 GiB of addresses, which smaller machines may refuse")
    single = map.to(torch.float32)
    first = -(-past // 3)
    long = torch.zeros(1, first + T, 3)
    long[0, first:] = target[0, 0].float()
    rows = torch.tensor([[first, T]])
    forcing = long, weight.float().expand(1, 1, 1), torch.empty(1, first + T, 0)
    out = library.forward(pack(single), z0.float(), *forcing, rows, pattern(single), list(layout_of(single)[:-1]), "cpu")
    torch.testing.assert_close(out[0, first:].double(), want[0, 0], rtol=1e-5, atol=1e-5)
