"""The forced sequence as an operator: packed sequences, torch's transforms, and arguments that do not fit."""

from __future__ import annotations

import pytest
import torch

from dynrnn_kernels import backends
from dynrnn_kernels.additive import AdditiveMap, Config, forced_sequence, library
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.additive.pattern import pattern
from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.errors import KernelError
from tests.kernels.maps import problem
from tests.kernels.recurrences import ROWS, leaves, relative


def case(row=ROWS["additive"], K: int = 2):
    map, z0, target, weight, u = row.draw(3, *row.usual, K, True)
    return map, z0, torch.nan_to_num(target), weight, u


def packed(lengths, row=ROWS["additive"], F=2, M=4, K=2):
    """Sequences of unequal length, one after the other, some targets missing."""
    map, _, _, _, _ = row.draw(3, *row.usual, K, True, F=F, M=M)
    g = torch.Generator().manual_seed(0)
    N = sum(lengths)
    z0, target = (torch.randn(F, n, M, generator=g, dtype=torch.float64) for n in (len(lengths), N))
    weight = torch.rand(F, N, M, generator=g, dtype=torch.float64)
    weight[:, ::3] = 0
    target[:, ::3] = float("nan")
    return map, z0, target, weight, torch.randn(F, N, K, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("lengths", [[1], [3, 1, 7, 5, 2], [4] * 9 + [11, 1, 2]])
def test_packed_sequences_are_the_single_ones(lengths, row):
    """Values and gradients equal those of each sequence alone, padding or not."""
    whole, forced_sequence = packed(lengths, row), row.recurrence.forced_sequence
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


def test_func_transforms_equal_autograd(row):
    map, z0, target, weight, u = case(row)
    forced_sequence = row.recurrence.forced_sequence

    def loss(z0):
        return forced_sequence(map, z0, target, weight, u).square().sum()

    leaf = z0.clone().requires_grad_()
    (want,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.equal(torch.func.grad(loss)(z0), want)
    several = torch.stack([z0, 2 * z0, -z0])
    assert torch.equal(torch.func.vmap(torch.func.grad(loss))(several)[0], want)
    rows = torch.func.vmap(lambda z: forced_sequence(map, z, target, weight, u), in_dims=1, out_dims=1)(several.movedim(0, 1))
    assert torch.equal(rows[:, 2], forced_sequence(map, -z0, target, weight, u))


def test_vmap_over_maps(row):
    """Over the largest of the map's tensors."""
    map, z0, target, weight, u = case(row)
    forced_sequence, tensors = row.recurrence.forced_sequence, map.tensors()
    name = max(tensors, key=lambda name: tensors[name].numel())
    several = torch.stack([tensors[name], 0.5 * tensors[name]])
    together = torch.func.vmap(lambda x: forced_sequence(map.with_tensors(tensors | {name: x}), z0, target, weight, u))(several)
    for k in range(2):
        assert torch.equal(together[k], forced_sequence(map.with_tensors(tensors | {name: several[k]}), z0, target, weight, u))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")           # torch's own, from tracing
def test_compiles_as_one_graph(row):
    map, z0, target, weight, u = case(row)
    forced_sequence = row.recurrence.forced_sequence

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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")           # torch's own, from tracing
@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_packed_sequences_and_a_map_built_inside_compile(kind):
    """The map made of tensors that are arguments, whose gradients are eager ones bit for bit; other lengths use the same function."""
    map, z0, target, weight, u = packed([3, 1, 7, 5, 2])

    def run(lengths, z0, tensors):
        return forced_sequence(map.with_tensors(tensors), z0, target, weight, u, lengths=lengths)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for lengths in ([3, 1, 7, 5, 2], [1, 1, 2, 5, 9]):
        results = []
        for f in (run, compiled):
            leaves = {name: x.clone().requires_grad_() for name, x in map.tensors().items()}
            out = f(kind(lengths), z0, leaves)
            results.append({"z": out.detach()} | dict(zip(leaves, torch.autograd.grad(out.square().sum(), list(leaves.values())), strict=True)))
        for name, value in results[0].items():
            assert torch.equal(results[1][name], value), name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")           # torch's own, from tracing
def test_a_graph_refuses_lengths_that_do_not_fit_when_it_runs():
    """And is one without a gradient, too."""
    map, z0, target, weight, u = packed([3, 4])
    compiled = torch.compile(lambda n: forced_sequence(map, z0, target, weight, u, lengths=n), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(torch.tensor([3, 4])), forced_sequence(map, z0, target, weight, u, lengths=[3, 4]))
    for lengths in ([4, 4], [7, 0], [8, -1]):
        with pytest.raises(RuntimeError, match="their sum"):
            compiled(torch.tensor(lengths))


def test_registered_operators_pass_torchs_own_checks():
    map, z0, target, weight, u = case()
    F, B, T, _ = target.shape
    rows = torch.stack([torch.arange(B) * T, torch.full((B,), T)], 1)
    flat = [x.reshape(F, B * T, -1).contiguous() for x in (target, weight, u)]
    args = (pack(map), z0, *flat, rows, pattern(map))
    layout = list(layout_of(map)[:-1])
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.dynrnn.additive_forward, (*args, layout, "cpu", "ieee", []), test_utils=tests)
    out = torch.ops.dynrnn.additive_forward(*args, layout, "cpu", "ieee", [])
    torch.library.opcheck(torch.ops.dynrnn.additive_backward, (*args, out, torch.ones_like(out), True, layout, "cpu", "ieee", []), test_utils=tests)


def test_what_has_no_derivative_raises(row):
    map, z0, target, weight, u = case(row)
    forced_sequence = row.recurrence.forced_sequence

    def loss(z0):
        return forced_sequence(map, z0, target, weight, u).square().sum()

    leaf = z0.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    with pytest.raises(KernelError, match="differentiable once"):
        grad.sum().backward()
    with pytest.raises(KernelError, match="differentiable once"):
        torch.func.grad(lambda z: torch.func.grad(loss)(z).sum())(z0)


def test_a_derivative_by_weight_raises_and_the_reference_has_it(row):
    """A zero in its place would be believed."""
    map, z0, target, weight, u = case(row)
    forced_sequence = row.recurrence.forced_sequence

    def loss(weight, backend="cpu"):
        return forced_sequence(map, z0, target, weight, u, backend=backend).square().sum()

    leaf = weight.clone().requires_grad_()
    with pytest.raises(KernelError, match="no derivative by weight"):
        loss(leaf).backward()
    with pytest.raises(KernelError, match="no derivative by weight"):
        torch.func.grad(loss)(weight)
    narrow = torch.tensor(0.3, dtype=torch.float64)
    slope = torch.func.grad(loss)(narrow, "reference")
    step = 1e-6                                                     # of a smooth function of size 1e2: step**2 and 1e-16 / step, times some 1e2
    torch.testing.assert_close(slope, (loss(narrow + step) - loss(narrow - step)) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")           # torch's own
def test_forward_mode_raises(row):
    map, z0, target, weight, u = case(row)
    forced_sequence = row.recurrence.forced_sequence
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(lambda z: forced_sequence(map, z, target, weight, u), (z0,), (z0,))
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(lambda w: forced_sequence(map, z0, target, w, u), (weight,), (weight,))


def test_any_layout_of_memory_gives_the_same(row):
    map, z0, target, weight, u = case(row)
    forced_sequence = row.recurrence.forced_sequence
    want = forced_sequence(map, z0, target, weight, u)
    turned = forced_sequence(map, z0.transpose(1, 2).contiguous().transpose(1, 2), target.transpose(1, 3).contiguous().transpose(1, 3), weight, u[..., [0, 1]])
    assert torch.equal(turned, want)
    spaced = torch.stack([target, target], -1)[..., 0]
    assert torch.equal(forced_sequence(map, z0, spaced, weight, u), want)


def test_a_number_is_a_weight(row):
    map, z0, target, _, u = case(row)
    forced_sequence = row.recurrence.forced_sequence
    assert torch.equal(forced_sequence(map, z0, target, 0.3, u), forced_sequence(map, z0, target, torch.full_like(target, 0.3), u))
    assert torch.equal(forced_sequence(map, z0, target, 1, u), forced_sequence(map, z0, target, torch.ones_like(target), u))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("size", [(0, 7), (5, 0)])
def test_the_gradient_of_nothing_is_zero(backend, size, row):
    B, T = size
    map, z0, target, weight, u = case(row)
    named, map, z0, target, u = leaves(map, z0, target, u, torch.float64)
    out = row.recurrence.forced_sequence(map, z0[:, :B], target[:, :B, :T], weight[:, :B, :T], u[:, :B, :T], backend=backend)
    assert out.shape == (2, B, T, 4)
    for name, gradient in zip(named, torch.autograd.grad(out.sum(), list(named.values())), strict=True):
        assert torch.equal(gradient, torch.zeros_like(named[name])), name


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_empty_and_shortest(backend, row):
    map, z0, target, weight, u = case(row)
    forced_sequence = row.recurrence.forced_sequence
    assert forced_sequence(map, z0, target[:, :, :0], weight[:, :, :0], u[:, :, :0], backend=backend).shape == (2, 5, 0, 4)
    assert forced_sequence(map, z0[:, :0], target[:, :0], weight[:, :0], u[:, :0], backend=backend).shape == (2, 0, 7, 4)
    one = forced_sequence(map, z0, target[:, :, :1], weight[:, :, :1], u[:, :, :1], backend=backend)
    torch.testing.assert_close(one, forced_sequence(map, z0, target, weight, u)[:, :, :1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z0": lambda x: x.float()}, "is torch.float64, z0 is torch.float32"),
        ({"target": lambda x: x.float()}, "target is torch.float32"),
        ({"z0": lambda x: x[:, :, :3]}, "z0 must have shape"),
        ({"target": lambda x: x[:, :3]}, "target must have shape"),
        ({"weight": lambda x: x[:, :, :2]}, "does not broadcast"),
        ({"weight": lambda x: x.to(torch.complex128)}, "weight is torch.complex128; .* must be real"),
        ({"weight": lambda x: x.long()}, "weight is torch.int64; .* must be real"),
        ({"u": lambda x: None}, "u is missing"),
        ({"u": lambda x: x[..., :1]}, "u must have shape"),
        ({"z0": lambda x: x.to("meta")}, "on cpu, z0 on meta"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, message, row):
    names = ("z0", "target", "weight", "u")
    map, *tensors = case(row)
    given = {name: change[name](x) if name in change else x for name, x in zip(names, tensors, strict=True)}
    with pytest.raises(KernelError, match=message):
        row.recurrence.forced_sequence(map, **given)


def test_lengths_that_do_not_fit_are_named(row):
    map, z0, target, weight, u = packed([3, 4], row)
    for lengths, message in (
        ([3], "must hold 2"), ([7, 0], "at least 1"), ([3, 5], "sum of lengths"), ([3.9, 4.2], "whole numbers"), (torch.tensor([3.9, 4.2]), "whole numbers"),
    ):
        with pytest.raises(KernelError, match=message):
            row.recurrence.forced_sequence(map, z0, target, weight, u, lengths=lengths)


def test_an_unknown_backend_is_named(row):
    map, z0, target, weight, u = case(row)
    with pytest.raises(KernelError, match="backend must be one of"):
        row.recurrence.forced_sequence(map, z0, target, weight, u, backend="gpu")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "bf16"}, "precision must be one of"),
        ({"precision": "tf32"}, "'cpu' always computes in full precision"),
        ({"backend": "reference", "precision": "tf32x3"}, "'reference' always computes"),
        ({"config": Config("lane", 1, 8, 1)}, "nothing to configure"),
        ({"config": Config("row", 1, 8, 1)}, "config.kernel must be one of"),
        ({"config": Config("lane", 16, 8, 1)}, "config.rows must be 1 for kernel 'lane', got 16"),
        ({"config": Config("stream", 8, 16, 1)}, "config.rows must be 1 or 16"),
        ({"config": Config("lane", 1, 12, 1)}, "config.hidden must be a power of two"),
        ({"config": Config("lane", 1, 8, 0)}, "config.warps must be a power of two"),
        ({"config": Config("tile", 16, 8, 4)}, "config.hidden must be at least 16"),
    ],
)
def test_what_is_for_triton_alone_or_for_nothing_is_named(given, message):
    with pytest.raises(KernelError, match=message):
        forced_sequence(*case(), **given)


def test_a_backend_more_is_a_row_in_a_table(monkeypatch):
    """It is what computes, forward and back; a name that is in no table never runs another backend's kernel."""
    ran = []

    def recorded(name, compute):
        def run(*args):
            ran.append(name)
            return compute(*args)

        return run

    cpu = library.COMPUTE["cpu"]
    monkeypatch.setitem(library.COMPUTE, "mine", library.Backend(recorded("forward", cpu.forward), recorded("backward", cpu.backward)))
    map, z0, target, weight, u = case()
    leaf = z0.clone().requires_grad_()
    out = forced_sequence(map, leaf, target, weight, u, backend="mine")
    out.sum().backward()
    assert ran == ["forward", "backward"]
    monkeypatch.undo()
    with pytest.raises(KernelError, match="backend must be one of"):
        forced_sequence(map, z0, target, weight, u, backend="mine")
    with pytest.raises(KernelError, match="got 'mine'"):
        library.forward(pack(map), z0, *(x.flatten(1, 2) for x in (target, weight, u)), torch.tensor([[0, 7]]), pattern(map), [], "mine", "ieee", [])


def test_no_backend_is_the_reference_unasked(monkeypatch):
    """On a device without kernels an error says what to do; a slow result in their place would pass for theirs."""
    monkeypatch.delenv("DYNRNN_BACKEND", raising=False)
    monkeypatch.setattr(backends, "TRITON_INSTALLED", False)
    assert choose_backend(torch.device("cpu")) == "cpu"
    for name, message in (("cuda", "install triton, or name backend='reference'"), ("meta", "no kernels run on a device of type 'meta'")):
        with pytest.raises(KernelError, match=message):
            choose_backend(torch.device(name))
        assert choose_backend(torch.device(name), "reference") == "reference"


def test_triton_wants_a_device(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    map, z0, target, weight, u = case()
    with pytest.raises(KernelError, match="CUDA device"):
        forced_sequence(map, z0, target, weight, u, backend="triton")


@pytest.mark.slow
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
    out = library.forward(pack(single), z0.float(), *forcing, rows, pattern(single), list(layout_of(single)[:-1]), "cpu", "ieee", [])
    torch.testing.assert_close(out[0, first:].double(), want[0, 0], rtol=1e-5, atol=1e-5)
