"""The recurrences under test: every contract test runs on each row. What the tests measure on them is here, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

from dynrnn_kernels.additive import Config, library
from dynrnn_kernels.ltc import Config as LTCConfig
from dynrnn_kernels.ltc import layout as ltc_layout
from dynrnn_kernels.ltc import library as ltc_library
from dynrnn_kernels.recurrences import RECURRENCES, Recurrence
from tests.kernels import ltc_maps, maps


class Row(NamedTuple):
    """One recurrence as the tests take it.

    kinds : what its maps may be, as tuples; usual : the one that tests of other things take.
    draw : (seed, *kind, input_dim, with or without its optional dense part, *, F, B, T, M, H) -> (map, z0, target, weight, u), float64.
    interpret : makes backend ``triton`` run in the interpreter and returns its kernels. configurations : names of ways to launch these;
        configure : (name, map) -> ``config`` for forced_sequence. A recurrence without a Triton kernel has none of the three.
    """

    recurrence: Recurrence
    kinds: list[tuple]
    usual: tuple
    draw: Callable[..., tuple]
    interpret: Callable[[pytest.MonkeyPatch], Any] | None = None
    configurations: tuple[str, ...] = ()
    configure: Callable[[str, Any], Any] | None = None


CONFIGS = {
    "lane": Config("lane", 1, 64, 1), "tile": Config("tile", 16, 64, 4), "stream": Config("stream", 16, 16, 4), "stream of one": Config("stream", 1, 16, 4)
}


def interpret_additive(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("triton")
    from tests.kernels import test_triton

    monkeypatch.setattr(library, "device_kernels", lambda: test_triton.kernels)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    test_triton.interpret_triton_itself(monkeypatch)
    return test_triton.kernels


def configure_additive(name: str, map: Any) -> Config:
    """The configuration of this name, with the hidden axis as long as the map wants it."""
    from dynrnn_kernels.additive.layout import layout_of
    from tests.kernels.test_triton import kernels

    config = CONFIGS[name]
    if config.kernel == "stream" and map.w2 == "dense":
        return config
    least = 1 if config.rows == 1 else 16
    return config._replace(kernel="tile" if config.rows > 1 else "lane", hidden=kernels.padded(kernels.positions(layout_of(map.written_out())), least))


def interpret_ltc(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("triton")
    from tests.kernels import test_ltc_triton

    monkeypatch.setattr(ltc_library, "device_kernels", lambda: test_ltc_triton.kernels)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    test_ltc_triton.interpret_triton_itself(monkeypatch)
    return test_ltc_triton.kernels


def configure_ltc(name: str, map: Any) -> LTCConfig:
    """All synapses at once, or those from two units."""
    from tests.kernels.test_ltc_triton import kernels

    return LTCConfig("lane", kernels.padded(ltc_layout.layout_of(map).P), 1) if name == "lane" else LTCConfig("stream", 2, 1)


ROWS = {
    "additive": Row(RECURRENCES["additive"], maps.ALL_KINDS, ("clipped", "dense"), maps.problem, interpret_additive, tuple(CONFIGS), configure_additive),
    "ltc": Row(RECURRENCES["ltc"], [("one",), ("three",), ("six",)], ("three",), ltc_maps.ltc_problem, interpret_ltc, ("lane", "stream"), configure_ltc),
}
KINDS = [pytest.param(row, kind, id="-".join((name, *kind))) for name, row in ROWS.items() for kind in row.kinds]


def leaves(map, z0, target, u, dtype):
    """Everything that has a gradient, as fresh leaves of ``dtype``: (names, map, z0, target, u)."""
    tensors = {name: value.to(dtype).requires_grad_() for name, value in map.tensors().items()}
    z0, target = z0.to(dtype).requires_grad_(), target.to(dtype).requires_grad_()
    u = None if u is None else u.to(dtype).requires_grad_()
    named = dict(tensors) | {"z0": z0, "target": target} | ({} if u is None else {"u": u})
    return named, map.with_tensors(tensors), z0, target, u


def value_and_gradients(case, dtype, backend, recurrence=RECURRENCES["additive"], **options):
    """z and the gradients of everything, by name."""
    map, z0, target, weight, u = case
    named, map, z0, target, u = leaves(map, z0, target, u, dtype)
    z = recurrence.forced_sequence(map, z0, target, weight.to(dtype), u, backend=backend, **options)
    g = torch.Generator().manual_seed(1)
    seed = torch.randn(z.shape, generator=g, dtype=torch.float64).to(dtype)
    grads = torch.autograd.grad((z * seed).sum(), list(named.values()))
    return {"z": z.detach()} | dict(zip(named, grads, strict=True))


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """Error in the 2-norm, relative to the right one's."""
    return float((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-30))
