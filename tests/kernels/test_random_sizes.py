"""All backends against the reference over random odd sizes, values and every gradient: what fixed sizes of other tests may miss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynrnn_kernels.additive import library
from tests.kernels.maps import ALL_KINDS, problem
from tests.kernels.test_additive import relative, value_and_gradients


def cases(F: int, B: int, T: int, M: int, H: int):
    """Problems up to these sizes."""
    sizes = {name: st.integers(1, most) for name, most in {"F": F, "B": B, "T": T, "M": M, "H": H}.items()}
    return st.fixed_dictionaries(
        {"seed": st.integers(0, 10_000), "kind": st.sampled_from(ALL_KINDS), "K": st.integers(0, 3), "dense_A": st.booleans()} | sizes
    )


SMALL = cases(2, 3, 4, 9, 17)                     # the interpreter runs one program after the other


def check(case, backend, dtypes):
    phi, w2 = case["kind"]
    sizes = {name: case[name] for name in ("F", "B", "T", "M", "H")}
    if w2 == "centring":
        sizes["M"] = max(2, sizes["M"])           # one unit less its mean is always 0, at the kink
    drawn = problem(case["seed"], phi, w2, case["K"], case["dense_A"], **sizes)
    truth = value_and_gradients(drawn, torch.float64, "reference")
    largest = max(float(x.norm()) for x in truth.values())
    for dtype, tolerance in dtypes:
        got = value_and_gradients(drawn, dtype, backend)
        for name, want in truth.items():
            assert torch.isfinite(got[name]).all(), (name, dtype)
            # a gradient that is nearly nothing beside the others is a cancelled sum: its error is a few roundings of its terms, not of itself
            roundings = 16 * torch.finfo(dtype).eps * largest
            assert relative(got[name], want) < tolerance or float((got[name].double() - want).norm()) < roundings, (name, dtype)


BOTH = ((torch.float64, 1e-10), (torch.float32, 1e-5))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(case=cases(2, 17, 7, 12, 17))
def test_cpu(case):
    check(case, "cpu", BOTH)


def interpreted(monkeypatch):
    pytest.importorskip("triton")
    from tests.kernels import test_triton

    monkeypatch.setattr(library, "device_kernels", lambda: test_triton.kernels)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    test_triton.interpret_triton_itself(monkeypatch)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=SMALL)
def test_triton(monkeypatch, case):
    interpreted(monkeypatch)
    check(case, "triton", BOTH)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=SMALL)
def test_triton_at_many_sizes(monkeypatch, case):
    interpreted(monkeypatch)
    check(case, "triton", BOTH)
