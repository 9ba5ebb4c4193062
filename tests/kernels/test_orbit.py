"""Orbits followed one at a time, against the reference step by step."""

from __future__ import annotations

from dataclasses import replace

import numba
import pytest
import torch

from dynrnn_kernels.additive import Sparse, step
from dynrnn_kernels.additive.map import W2_KINDS
from dynrnn_kernels.additive.orbit import PLAIN, later, orbit, suits
from dynrnn_kernels.errors import KernelError
from tests.kernels.maps import random_map


@pytest.mark.parametrize("phi", PLAIN)
@pytest.mark.parametrize("w2", W2_KINDS)
@pytest.mark.parametrize("K", [0, 2])
def test_it_is_the_reference(phi, w2, K):
    """Random maps contract, so that roundings of 20 steps, 1e-16 each, do not grow."""
    g = torch.Generator().manual_seed(1)
    map = random_map(g, phi, w2, 2, 5, 19, K, K > 0)
    z, u = torch.randn(2, 3, 5, generator=g, dtype=torch.float64), torch.randn(K, generator=g, dtype=torch.float64)
    want = z
    for _ in range(20):
        want = step(map, want, u.expand(2, 3, K) if K else None)
    torch.testing.assert_close(later(map, z, 20, u if K else None), want, rtol=1e-13, atol=1e-13)
    assert torch.equal(later(map, z, 0), z)
    on_the_way = orbit(map, z, 20, u if K else None)
    assert torch.equal(on_the_way[:, :, 0], z)
    assert torch.equal(on_the_way[:, :, 13], later(map, z, 13, u if K else None))


def test_bits_do_not_depend_on_threads_or_neighbours():
    g = torch.Generator().manual_seed(2)
    map = random_map(g, "clipped", "dense", 3, 4, 33, 0, True)
    z, before = torch.randn(3, 5, 4, generator=g, dtype=torch.float64), numba.get_num_threads()
    whole = later(map, z, 50)
    numba.set_num_threads(1)
    alone = later(map.with_tensors({name: x[1:2] for name, x in map.tensors().items()}), z[1:2, 3:4], 50)
    numba.set_num_threads(before)
    assert torch.equal(whole[1:2, 3:4], alone)


@pytest.mark.parametrize("phi", PLAIN)
def test_what_is_not_finite_shows(phi):
    map = random_map(torch.Generator().manual_seed(3), phi, "dense", 1, 3, 9, 0, False)
    z = torch.zeros(1, 2, 3, dtype=torch.float64)
    z[0, 1, 0] = torch.nan
    finite = torch.isfinite(later(map, z, 3)).all(-1)
    assert finite.tolist() == [[True, False]]


def test_who_takes_which_map():
    g = torch.Generator().manual_seed(4)
    assert suits(random_map(g, "relu", "dense", 1, 3, 9, 0, False), 1)
    assert not suits(random_map(g, "relu", "dense", 1, 3, 9, 0, False), 8)
    tanh = random_map(g, "tanh", "dense", 1, 3, 9, 0, False)
    assert not suits(tanh, 1)
    with pytest.raises(KernelError, match="use forced_sequence"):
        later(tanh, torch.zeros(1, 1, 3, dtype=torch.float64), 5)
    wide = random_map(g, "relu", "dense", 1, 40, 40, 0, False)
    ring = Sparse(torch.ones(1, 40, dtype=torch.float64), torch.arange(40), (torch.arange(40) + 1) % 40, 40, 40)
    assert not suits(replace(wide, W2=ring), 1)
