"""All backends of every recurrence against its reference over random odd sizes, values and every gradient: what fixed sizes of other tests may miss."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.recurrences import ROWS, relative, value_and_gradients

LAUNCHED = [pytest.param(row, name, id=f"{key}-{name}") for key, row in ROWS.items() for name in row.configurations if key != "ltc"]
OF_LTC = [pytest.param(ROWS["ltc"], name, id=f"ltc-{name}", marks=pytest.mark.slow) for name in ROWS["ltc"].configurations]      # seconds an unfold


def cases(F: int, B: int, T: int, M: int, H: int):
    """Problems up to these sizes; the kind is a number that picks one."""
    sizes = {name: st.integers(1, most) for name, most in {"F": F, "B": B, "T": T, "M": M, "H": H}.items()}
    return st.fixed_dictionaries(
        {"seed": st.integers(0, 10_000), "kind": st.integers(0, 10_000), "K": st.integers(0, 3), "dense": st.booleans(), "sizes": st.fixed_dictionaries(sizes)}
    )


SMALL = cases(2, 3, 4, 9, 17)                     # the interpreter runs one program after the other
TILED = cases(1, 18, 2, 6, 17)                    # more sequences than a program has


@contextmanager
def poisoned():
    """Memory is NaN until it is written."""
    empty, empty_like = torch.empty, torch.empty_like

    def nan(x):
        return x.fill_(float("nan")) if x.is_floating_point() else x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "empty", lambda *args, **given: nan(empty(*args, **given)))
        patch.setattr(torch, "empty_like", lambda *args, **given: nan(empty_like(*args, **given)))
        yield


def check(row, case, backend, dtypes, configuration=None):
    kind = row.kinds[case["kind"] % len(row.kinds)]
    drawn = row.draw(case["seed"], *kind, case["K"], case["dense"], **case["sizes"])
    truth = value_and_gradients(drawn, torch.float64, "reference", row.recurrence)
    largest = max(float(x.norm()) for x in truth.values())
    options = {} if configuration is None else {"config": row.configure(configuration, drawn[0])}
    for dtype, tolerance in dtypes:
        with nullcontext() if configuration is None else poisoned():
            got = value_and_gradients(drawn, dtype, backend, row.recurrence, **options)
        for name, want in truth.items():
            assert torch.isfinite(got[name]).all(), (name, dtype)
            # a gradient that is nearly nothing beside the others is a cancelled sum: its error is a few roundings of its terms, not of itself
            roundings = 16 * torch.finfo(dtype).eps * largest
            assert relative(got[name], want) < tolerance or float((got[name].double() - want).norm()) < roundings, (name, dtype)


BOTH = ((torch.float64, 1e-10), (torch.float32, 1e-5))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(case=cases(2, 17, 7, 12, 17))
def test_cpu(row, case):
    check(row, case, "cpu", BOTH)


def check_launched(monkeypatch, row, name, data):
    row.interpret(monkeypatch)
    rows = getattr(row.configure(name, row.draw(0, *row.usual, 0, False)[0]), "rows", 1)
    check(row, data.draw(TILED if rows > 1 else SMALL), "triton", BOTH, name)


@pytest.mark.parametrize(("row", "name"), LAUNCHED + OF_LTC)
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_triton(monkeypatch, row, name, data):
    """Whichever way it is launched, not only as the rule would have it for sizes as small as these."""
    check_launched(monkeypatch, row, name, data)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "name"), LAUNCHED)
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_triton_at_many_sizes(monkeypatch, row, name, data):
    check_launched(monkeypatch, row, name, data)
