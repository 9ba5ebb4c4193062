"""What the study compares columns with does what it says: its gradient is that of autograd through the last k samples."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.mark.parametrize("k", [1, 3, 12])
def test_the_gradient_is_autograds_through_k_samples(k, monkeypatch):
    """k of 12 samples, as a ring in which the last one lies somewhere in the middle; all 12 is the whole of time."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "studies"))      # by its own name, by which Numba's cache finds it again
    truncated_lstm = importlib.import_module("truncated_lstm")
    rng, n, D, T = np.random.default_rng(k), 4, 3, 12
    W, w, scale, x = rng.standard_normal((4, n, n + 1 + D)), rng.standard_normal(n), rng.uniform(0.5, 2, n), torch.tensor(rng.standard_normal((T, D)))
    weights = torch.tensor(W, requires_grad=True)
    h, c = torch.zeros(2, n, dtype=torch.float64)
    v, gates, cells = np.zeros((k, n + 1 + D)), np.zeros((k, 4, n)), np.zeros((k, 2, n))
    for t in range(T):
        if t == T - k:
            h, c = h.detach(), c.detach()
        seen = torch.cat([h, torch.ones(1, dtype=torch.float64), x[t]])
        pre = weights @ seen
        i, f, g, o = torch.sigmoid(pre[0]), torch.sigmoid(pre[1]), torch.tanh(pre[2]), torch.sigmoid(pre[3])
        v[t % k], gates[t % k], cells[t % k, 0] = (a.detach().numpy() for a in (seen, torch.stack([i, f, g, o]), c))
        c = f * c + i * g
        h = o * torch.tanh(c)
        cells[t % k, 1] = c.detach().numpy()
    wanted = torch.autograd.grad((torch.tensor(w * scale) * h).sum(), weights)[0].numpy()
    grad = np.empty_like(W)
    truncated_lstm.backward(W, w, scale, v, gates, cells, T - 1, k, grad, np.empty(n), np.empty(n), np.empty((4, n)))
    assert np.abs(grad - wanted).max() < 1e-12 * np.abs(wanted).max()
