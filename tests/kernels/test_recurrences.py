"""The table of recurrences: what is in it is under the contract's tests, and has the files and the backends that it says."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

import dynrnn_kernels
from dynrnn_kernels.recurrences import RECURRENCES
from tests.kernels.recurrences import ROWS, relative, value_and_gradients

COMPILED = [name for name, recurrence in RECURRENCES.items() if len(recurrence.backends) > 1]      # others are torch: test_chain.py, test_polynomial.py


def test_every_recurrence_is_tested():
    assert ROWS.keys() == set(COMPILED)
    assert all(ROWS[name].recurrence is RECURRENCES[name] for name in ROWS)


@pytest.mark.parametrize("name", RECURRENCES)
def test_its_folder_is_complete(name):
    folder = Path(dynrnn_kernels.__file__).parent / name
    if name in COMPILED:
        assert {"reference", "cpu"} <= set(RECURRENCES[name].backends)
        assert ("triton" in RECURRENCES[name].backends) == (ROWS[name].interpret is not None)
    for file in (*(f"{backend}.py" for backend in RECURRENCES[name].backends), "README.md"):
        assert (folder / file).is_file(), file


BACKENDS = [(name, backend) for name in COMPILED for backend in RECURRENCES[name].backends]


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_every_backend_that_is_named_runs_its_own_file(name, backend, monkeypatch):
    """The functions of that file are called, forward and back, and what they give is what the others give."""
    row, ran = ROWS[name], []
    drawn = row.draw(1, *row.usual, 2, True, F=1, B=2, T=2, M=3, H=4)
    module = row.interpret(monkeypatch) if backend == "triton" else importlib.import_module(f"dynrnn_kernels.{name}.{backend}")

    def recorded(function):
        compute = getattr(module, function)
        monkeypatch.setattr(module, function, lambda *args, **given: (ran.append(function), compute(*args, **given))[1])

    wanted = ["forced_sequence"] if backend == "reference" else ["forward", "backward"]
    for function in wanted:
        recorded(function)
    got = value_and_gradients(drawn, torch.float64, backend, row.recurrence)
    assert ran == wanted
    for key, want in value_and_gradients(drawn, torch.float64, "reference", row.recurrence).items():
        assert relative(got[key], want) < 1e-10, key                            # eps times the terms of a sum of some 100, and a margin


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_sequence_of_one_unforced_step_is_a_step(row):
    map, z0, target, _, u = row.draw(2, *row.usual, 2, True, T=1)
    for backend in ("reference", "cpu"):
        z = row.recurrence.forced_sequence(map, z0, target, 0.0, u, backend=backend)
        torch.testing.assert_close(z[:, :, 0], row.recurrence.step(map, z0, u[:, :, 0]), rtol=1e-12, atol=1e-14)
