"""Free runs through the Triton kernels, in their interpreter: weight zero is no forcing, whatever the target."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

import dynrnn as dr
from dynrnn_kernels.additive import forced_sequence, library
from tests.kernels.interpreter import RECURRENCE, interpret_triton_itself, interpreted
from tests.kernels.maps import random_map
from tests.training.test_update import recording

kernels = interpreted(RECURRENCE)


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(library, "device_kernels", lambda: kernels)
    interpret_triton_itself(monkeypatch)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_free_run_is_the_reference(dtype):
    map = random_map(torch.Generator().manual_seed(0), "clipped", "dense", 2, 3, 5, 2, True).to(dtype)
    z0, u = torch.randn(2, 2, 3, dtype=dtype), torch.randn(2, 2, 6, 2, dtype=dtype)
    target, weight = torch.full((2, 2, 6, 3), float("nan"), dtype=dtype), torch.zeros(2, 2, 6, 3, dtype=dtype)
    mine, truth = (forced_sequence(map, z0, target, weight, u, backend=backend) for backend in ("triton", "reference"))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5                       # eps * 6 contracting steps of sums of 5 terms, and a margin
    torch.testing.assert_close(mine, truth, rtol=tolerance, atol=tolerance)


def test_generate_and_forecast_follow_the_environment(monkeypatch):
    model, data = dr.ALRNN(3, 5, 2, n_fits=2, random_state=0), recording(n=40)
    starts = np.array([[0, 3], [0, 7]])
    want = dr.generate(model, 8, initial=data).latent, dr.forecast(model, data, starts, 4)
    launched, forward = [], kernels.forward
    monkeypatch.setattr(kernels, "forward", lambda *args, **options: launched.append(args[2].dtype) or forward(*args, **options))
    monkeypatch.setenv("DYNRNN_BACKEND", "triton")
    mine = dr.generate(model, 8, initial=data).latent, dr.forecast(model, data, starts, 4)
    assert launched == [torch.float64, torch.float64]
    for a, b in zip(mine, want):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)                # eps times 8 steps of a map that may expand tenfold


def test_without_a_device_it_is_said(monkeypatch):
    monkeypatch.setenv("DYNRNN_BACKEND", "triton")
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'triton' needs tensors on a CUDA device"):
        dr.generate(dr.ALRNN(3, 5, 2, random_state=0), 8)
