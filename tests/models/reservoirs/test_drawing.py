"""Reservoirs' weights: topologies, scaling, what is refused."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch

import dynrnn as dr
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn.models.reservoirs.drawing import TOPOLOGIES, draw_weights, random_orthogonal, spectral_radius


@pytest.mark.parametrize("topology", [t for t in TOPOLOGIES if t != "line"])
@pytest.mark.parametrize("n", [40, 250])
def test_the_spectral_radius_is_what_was_asked_for(topology, n):
    """By all eigenvalues here, by ARPACK there above 200 units, which leaves its tolerance of sqrt(eps) squared."""
    model = dr.ESN(2, n, spectral_radius=1.25, topology=topology, random_state=1)
    assert abs(np.abs(np.linalg.eigvals(model.W[0].numpy())).max() - 1.25) < 1e-9


def test_other_scales():
    norm = dr.ESN(2, 60, spectral_radius=0.7, topology="line", rescaling="norm", random_state=0)
    assert abs(np.linalg.norm(norm.W[0], 2) - 0.7) < 1e-12
    law = dr.ESN(2, 800, spectral_radius=0.9, topology="uniform", rescaling="circular-law", random_state=0)
    assert abs(spectral_radius(law.W[0].numpy()) - 0.9) < 0.05                        # O(1 / sqrt n)


def test_density_and_graphs():
    sparse = draw_weights(np.random.default_rng(0), 300, "sparse", 0.07)
    assert abs(np.count_nonzero(sparse) / 300**2 - 0.07) < 1e-3
    ring = nx.from_numpy_array(draw_weights(np.random.default_rng(0), 12, "ring", 1.0), create_using=nx.DiGraph)
    assert nx.is_strongly_connected(ring)
    assert ring.number_of_edges() == 12
    graph = nx.gnp_random_graph(30, 0.2, seed=1, directed=True)
    for given in (graph, nx.to_numpy_array(graph), scipy.sparse.csr_array(nx.to_numpy_array(graph))):
        assert torch.equal(dr.ESN(1, 30, W=given).W[0], torch.tensor(nx.to_numpy_array(graph)))


def test_orthogonal_branches():
    Q = random_orthogonal(np.random.default_rng(0), 100)
    assert np.abs(Q @ Q.T - np.eye(100)).max() < 1e-12
    for branch in ("random", "cycle", "identity"):
        model = dr.ResidualESN(1, 50, branch=branch, alpha=1.0, random_state=0)
        O = model.branch_matrix()[0]  # noqa: E741
        assert (O @ O.T - torch.eye(50)).abs().max() < 1e-12


def test_es2n_has_its_ring_of_eigenvalues():
    """Eigenvalues of alpha O + beta D W lie within beta |D W| <= beta |W| of the circle of radius alpha, since alpha O is normal (Bauer and Fike)."""
    model = dr.ResidualESN(1, 80, beta=0.2, random_state=0)
    h = torch.randn(1, 5, 81, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moduli = torch.linalg.eigvals(model.jacobian(h)[0, :, 1:, 1:]).abs()
    width = 0.2 * torch.linalg.matrix_norm(model.W[0], 2)
    assert (moduli - 0.8).abs().max() <= width + 1e-12


@pytest.mark.parametrize("gamma", [0.001, 0.5, 3.0])
def test_euler_networks_say_whether_they_are_stable(gamma):
    """The largest modulus is that of the Jacobian at the origin, and a run from small states without input agrees with it."""
    model = dr.EulerStateNetwork(1, 40, epsilon=0.05, gamma=gamma, recurrent_scaling=0.3, random_state=0)
    J = model.jacobian(torch.zeros(1, 1, 41, dtype=torch.float64))[0, 0, 1:, 1:]
    assert abs(float(model.largest_modulus()[0]) - float(torch.linalg.eigvals(J).abs().max())) < 1e-10
    model.W_in.zero_()
    start = 1e-9 * torch.randn(1, 1, 41, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    end = model.free_runner()(start, 5_000, None)[0, 0, -1, 1:]
    assert bool(end.norm() < start[0, 0, 1:].norm()) == bool(model.is_stable()[0])


def test_hyperparameters_by_fit():
    model = dr.ESN(2, 50, leak=[0.1, 1.0], spectral_radius=[0.5, 1.5], n_fits=2, random_state=0)
    for f, (leak, radius) in enumerate([(0.1, 0.5), (1.0, 1.5)]):
        assert abs(spectral_radius(model.W[f].numpy()) - radius) < 1e-12
        assert dr.select(model, fit=f).leak.tolist() == [leak]
    alone = dr.ESN(2, 50, leak=0.3, input_dim=2, random_state=4)
    assert torch.equal(alone.W_in, dr.ESN(2, 50, leak=0.3, input_dim=2, random_state=4, W=np.eye(50)).W_in)   # what is given changes no draw


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"W": np.eye(20), "spectral_radius": 0.9}, ArgumentError, "W and spectral_radius were both given"),
        ({"W_in": np.ones((20, 2)), "input_scaling": 0.1}, ArgumentError, "W_in and input_scaling"),
        ({"W": np.eye(19)}, ArgumentError, r"W must be finite and of shape \(20, 20\)"),
        ({"W": np.full((20, 20), np.nan)}, ArgumentError, "W must be finite"),
        ({"topology": "line"}, ArgumentError, "no loop"),
        ({"density": 1e-3}, ArgumentError, "no loop"),
        ({"topology": "rng"}, UnknownNameError, "ring"),
        ({"rescaling": "radios"}, UnknownNameError, "radius"),
        ({"leak": 0.0}, ArgumentError, "leak must be a number from"),
        ({"leak": [0.1, 0.2]}, ArgumentError, "one for each of 1 fits"),
        ({"spectral_radius": -1}, ArgumentError, "spectral_radius must be"),
        ({"density": 1.5}, ArgumentError, "density must be"),
    ],
)
def test_bad_arguments(options, error, said):
    with pytest.raises(error, match=said):
        dr.ESN(2, 20, random_state=0, **options)
