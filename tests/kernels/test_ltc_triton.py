"""The Triton kernels of the liquid time-constant recurrence: against its reference in Triton's interpreter, and compiled for a card that is not here."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc import Config, forced_sequence, library, reference
from dynrnn_kernels.ltc.layout import layout_of, pack
from tests.kernels.interpreter import LTC, interpret_triton_itself, interpreted
from tests.kernels.ltc_maps import ltc_problem, random_ltc_map
from tests.kernels.test_triton import SHARED_MEMORY, compile_for_a_card, packed, seed_like

kernels = interpreted(LTC)
LANE, STREAM = Config("lane", 8, 1), Config("stream", 2, 1)                     # of at most 8 units


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(library, "device_kernels", lambda: kernels)
    interpret_triton_itself(monkeypatch)


def irregular(shape, seed=0):
    return 10 ** (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1.5)


def truth(case, dt):
    """Values and gradients of the reference, by name; case as ``packed`` gives it."""
    map, z0, target, weight, u, rows = case
    named = {name: value.clone().requires_grad_() for name, value in map.tensors().items()} | {
        "z0": z0.clone().requires_grad_(), "target": target.clone().requires_grad_(), "u": u.clone().requires_grad_()
    }
    map = map.with_tensors({name: named[name] for name in map.tensors()})
    z = reference.forced_sequence(map, named["z0"], named["target"], weight, named["u"], rows, dt)
    grads = torch.autograd.grad((z * seed_like(z)).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
    return {"z": z.detach()} | dict(zip(named, grads, strict=True))


def run(case, dt, config, dtype=torch.float64):
    """The kernels' own, past the operator: gradients of the map by autograd through ``pack``, of u through its affine map."""
    map, z0, target, weight, u, rows = case
    map, (z0, target, weight, u, dt) = map.to(dtype), (x.to(dtype) for x in (z0, target, weight, u, dt))
    leaves = {name: value.clone().requires_grad_() for name, value in map.tensors().items()}
    map, u = map.with_tensors(leaves), u.clone().requires_grad_()
    flat, inputs = pack(map), u * map.input_w[:, None] + map.input_b[:, None] if map.input_dim else u
    out = torch.full_like(target, float("nan"))
    given = layout_of(map), z0, target, weight, inputs.detach(), dt, rows, out
    kernels.forward(flat.detach(), *given, config=config)
    grad, gz0, gtarget, gu = kernels.backward(flat.detach(), *given, seed_like(out).to(dtype), config=config)
    ends, adjoints = ([flat, inputs], [grad, gu]) if map.input_dim else ([flat], [grad])
    grads = torch.autograd.grad(ends, [*leaves.values(), u], adjoints, allow_unused=True, materialize_grads=True)
    return {"z": out, "z0": gz0, "target": gtarget} | dict(zip((*leaves, "u"), grads, strict=True))


def compare(case, dt, config, dtype=torch.float64):
    want, got = truth(case, dt), run(case, dt, config, dtype)
    assert got.keys() == want.keys()
    for key, value in want.items():
        assert torch.isfinite(got[key]).all(), key
        error = float((got[key].double() - value).norm() / value.norm().clamp_min(1e-30))
        assert error < (1e-10 if dtype == torch.float64 else 1e-5), (key, error)     # eps times sqrt of the longest sum, with a margin of 10


@pytest.mark.parametrize(
    ("F", "M", "K", "unfolds", "config", "dtype"),
    [
        (1, 2, 2, "three", LANE, torch.float64), (2, 3, 1, "one", STREAM, torch.float64),
        (2, 7, 0, "one", LANE, torch.float32), (1, 5, 3, "one", STREAM, torch.float32),
    ],
)
def test_irregular_times_and_unequal_lengths(F, M, K, unfolds, config, dtype):
    """dt of every step its own, several fits, as many sequences as units or not; values and every gradient. Few, since the interpreter takes a second each."""
    lengths = [2, 1, 1] if M == 3 else [2, 1]
    compare(packed(ltc_problem(M, unfolds, K, M != 5, F=F, B=len(lengths), T=2, M=M), lengths), irregular((F, sum(lengths))), config, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("config", [LANE, STREAM, None], ids=["lane", "stream", "rule"])
@pytest.mark.parametrize("M", [1, 3, 8])
@pytest.mark.parametrize("K", [0, 5])
def test_sizes(K, M, config):
    """More fits, unfolds and steps; as many fits as sequences; one time a fit where there are no inputs."""
    lengths, T = [3, 1], 3
    compare(packed(ltc_problem(M, "six", K, True, F=2, B=2, T=T, M=M), lengths), irregular((2, sum(lengths) if K else 1)), config)


def test_more_units_than_a_block_and_more_rows_than_a_split(monkeypatch):
    """Blocks of sources and inputs that do not divide their number, several rows a split, the last of them not full."""
    monkeypatch.setattr(kernels, "SPLITS", 2)
    monkeypatch.setattr(kernels, "_block", lambda lay, n, dtype: 4)
    case = packed(ltc_problem(1, "one", 6, True, F=1, B=2, T=2, M=9), [2, 1])
    compare(case, irregular((1, 1)), Config("stream", 4, 1))


@pytest.mark.parametrize("config", [LANE, STREAM], ids=["lane", "stream"])
def test_nothing_uninitialised_is_read_and_runs_repeat(config, monkeypatch):
    case, dt = packed(ltc_problem(8, "one", 1, True, F=1, B=2, T=2, M=3), [2, 1]), irregular((1, 3))
    before = run(case, dt, config, torch.float32)
    empty, empty_like = torch.empty, torch.empty_like
    monkeypatch.setattr(kernels.torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(float("nan")))
    monkeypatch.setattr(kernels.torch, "empty_like", lambda *args, **kwargs: empty_like(*args, **kwargs).fill_(float("nan")))
    after = run(case, dt, config, torch.float32)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key


def test_rows_of_no_sequence_stay_out():
    """Packed rows between sequences hold NaN: gradients are those without them, theirs are zero, and nothing is written there."""
    case, dt = packed(ltc_problem(9, "one", 2, False, F=1, B=2, T=2, M=3), [2, 1]), irregular((1, 3))
    want, at, none, config = run(case, dt, LANE), torch.tensor([1, 2, 4]), [0, 3, 5], LANE
    map, z0, target, weight, u, _ = case

    def spread(x):
        wide = torch.full((x.shape[0], 6, *x.shape[2:]), float("nan"), dtype=x.dtype)
        wide[:, at] = x
        return wide

    u = u * map.input_w[:, None] + map.input_b[:, None]
    given = layout_of(map), z0, *(spread(x) for x in (target, weight, u, dt)), torch.tensor([[1, 2], [4, 1]])
    out, flat = torch.full((1, 6, 3), 7.0, dtype=torch.float64), pack(map)
    kernels.forward(flat, *given, out, config=config)
    assert (out[:, none] == 7).all()
    assert torch.equal(out[:, at], want["z"])
    grad, gz0, gtarget, gu = kernels.backward(flat, *given, out, spread(seed_like(target)), config=config)
    for got in (gtarget, gu):
        assert (got[:, none] == 0).all()
    assert torch.equal(gtarget[:, at], want["target"])
    assert torch.equal(gz0, want["z0"])
    torch.testing.assert_close(gu[:, at] * map.input_w[:, None], want["u"], rtol=1e-12, atol=0)
    lay = layout_of(map)
    synapses = grad[:, 3 * lay.P :][:, : 4 * lay.M * lay.P].reshape(1, 3, 4, lay.P)[..., :3]
    by_E = synapses[:, :, 3].transpose(1, 2) * map.w
    torch.testing.assert_close(by_E, want["E"], rtol=1e-12, atol=1e-15)         # other splits, other order of sums


def test_the_operator_runs_them():
    """Values, gradients and vmap by ``backend="triton"``, with sequences of unequal length and times of their own."""
    lengths, dt = [2, 1], irregular((1, 3))
    map, z0, target, weight, u, _ = packed(ltc_problem(4, "one", 2, False, F=1, B=2, T=2), lengths)
    target = torch.nan_to_num(target)

    def loss(z0, backend):
        return forced_sequence(map, z0, target, weight, u, dt=dt, lengths=lengths, backend=backend).square().sum()

    both = torch.stack([-z0, z0])
    want = torch.stack([torch.func.grad(loss)(z, "reference") for z in both])
    torch.testing.assert_close(torch.func.vmap(lambda z: torch.func.grad(loss)(z, "triton"))(both), want, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp2")               # NumPy's, of an infinity that closes a synapse
def test_a_saturated_synapse_and_a_diverged_state_show():
    """States far out open or close synapses wholly; a state that is not finite gives NaN, not a number."""
    map, z0, target, _, _ = ltc_problem(2, "three", 0, True, F=1, B=2, T=2, M=3)
    z0 = torch.tensor([[[1e30, -1e30, 1e4], [float("nan"), 0.0, 0.0]]], dtype=torch.float64)
    z, want = (forced_sequence(map, z0, target, 0.0, backend=backend) for backend in ("triton", "reference"))
    torch.testing.assert_close(z, want, rtol=1e-10, atol=0, equal_nan=True)
    assert torch.isfinite(z[:, 0]).all()
    assert torch.isnan(z[:, 1]).all()


def test_what_does_not_fit_is_named():
    def lay(M):
        return layout_of(random_ltc_map(torch.Generator(), 1, M, 0, True))

    assert kernels.choose(lay(32), torch.float32) == Config("lane", 32, 4)
    assert kernels.choose(lay(64), torch.float64).kernel == "stream"
    with pytest.raises(KernelError, match=r"M = 1,025 latent units are too many for backend 'triton', which takes 1,024"):
        kernels.choose(lay(1025), torch.float32)
    map, z0, target, weight, _ = ltc_problem(1, "one", 0, True, F=1, B=1, T=1)
    for config, backend, message in (
        (Config("lane", 4, 1), "triton", "must be all 8 for kernel 'lane'"), (Config("tile", 8, 1), "triton", "config.kernel must be one of"),
        (Config("stream", 3, 1), "triton", "config.sources must be a power of two"), (Config("stream", 2, 0), "triton", "config.warps"),
        (LANE, "cpu", "'cpu' has nothing to configure"),
    ):
        with pytest.raises(KernelError, match=message):
            forced_sequence(map, z0, target, weight, backend=backend, config=config)
    many = [x.expand(65_536, *x.shape[1:]) for x in (pack(map), z0, target[:, 0], weight[:, 0])]
    with pytest.raises(KernelError, match=r"65,536 fits .* takes 65,535"):
        kernels.forward(many[0], layout_of(map), *many[1:], many[2][..., :0], z0.new_ones(65_536, 1), torch.tensor([[0, 1]]), torch.empty(many[2].shape))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["few", "all"])
def test_compiled_kernels_do_not_spill(which, tmp_path):
    """And are the same for other numbers of sequences, steps and unfolds."""
    lines = compile_for_a_card(which, tmp_path, "ltc_aot.py")
    assert {line["kernel"] for line in lines} == {
        "fixed_kernel", "forward_kernel", "unfolds_kernel", "adjoint_kernel", "unit_gradient_kernel", "input_gradient_kernel"
    }
    bad = [line for line in lines if line["stack"] > 0 or line["shared"] > SHARED_MEMORY]
    assert not bad, "\n".join(map(str, bad))
    kernel_of: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        kernel_of.setdefault((line["case"], line["kernel"]), set()).add(line["hash"])
    assert all(len(hashes) == 1 for hashes in kernel_of.values())
    assert {(line["B"], line["unfolds"]) for line in lines} >= {(1, 1), (16, 6)}
