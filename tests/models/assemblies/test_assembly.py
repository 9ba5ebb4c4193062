"""The model: its step against the equation, who is coupled to whom, what training may do to it, and what is refused."""

import networkx as nx
import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.models import Assembly, select_model
from dynrnn.models.assemblies import certify
from dynrnn.models.assemblies.coupling import coupling
from dynrnn.models.assemblies.topology import edges_of
from tests.models.assemblies.nets import KINDS, STEPS, assembly


def numbers(model):
    """P, W and L of fit 0."""
    found = model.certificate()
    return found.metric[0], found.weights[0] / model.gain, found.coupling[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_solves_the_equation(kind):
    """Euler as it stands; implicit-explicit: z' = z + dt (-z' + W phi(g z) + L z' + C u + h), whose remainder is zero at the map's z'."""
    z, u = torch.randn(1, 1, 11, dtype=torch.float64), torch.randn(1, 1, 3, dtype=torch.float64)
    for integrator in STEPS:
        model = assembly(kind, integrator=integrator, input_dim=3, gain=1.5, activation="tanh", dt=0.07)
        _, W, L = numbers(model)
        with torch.no_grad():
            new = model.step(z, u)[0, 0].numpy()
        old, h, C = z[0, 0].numpy(), model.h.detach().double().numpy()[0], model.C.detach().double().numpy()[0]
        implicit = old if integrator == "euler" else new
        drift = -implicit + L @ implicit + W @ np.tanh(1.5 * old) + C @ u[0, 0].numpy() + h
        np.testing.assert_allclose(new, old + 0.07 * drift, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_coupling_is_skew_in_the_metric_and_follows_the_topology(kind):
    model = assembly(kind, areas=(4, 3, 4, 2), topology=[(0, 1), (1, 3)])
    P, W, L = numbers(model)
    assert np.abs(P @ L + L.T @ P).max() <= 1e-10 * np.linalg.norm(P @ L)
    ends = np.cumsum([0, 4, 3, 4, 2])
    block = lambda X, i, j: X[ends[i] : ends[i + 1], ends[j] : ends[j + 1]]  # noqa: E731
    for i in range(4):
        for j in range(4):
            assert block(L, i, j).any() == ((min(i, j), max(i, j)) in {(0, 1), (1, 3)})
            if i != j:
                assert not block(W, i, j).any()
                assert not block(P, i, j).any()
    assert model.coupling.shape == (1, 4 * 3 + 3 * 2)


def test_graphs_of_every_kind_are_topologies():
    """Directed or not, with edges more than once, nodes named by numpy or by names, which stand for the areas in their order."""
    pairs = [(0, 1), (1, 3)]
    for kind in (nx.Graph, nx.DiGraph, nx.MultiDiGraph):
        graph = kind([*pairs, (3, 1)])
        graph.add_node(2)
        assert edges_of(graph, 4) == ((1, 0), (3, 1))
    names = nx.DiGraph()
    names.add_nodes_from(["V1", "V2", "V4", "hub"])
    names.add_edges_from([("V1", "V2"), ("V2", "hub")])
    assert edges_of(names, 4) == edges_of(np.array(pairs), 4) == ((1, 0), (3, 1))
    assert edges_of(nx.relabel_nodes(nx.path_graph(4), {k: np.int64(k) for k in range(4)}), 4) == edges_of("hierarchical", 4)


def test_coupling_as_written():
    """L = B - P^-1 B' P by numpy, of a full B: P L + L' P = 0 is for any B; with the published B - P B' P^-1 it is not."""
    model = assembly("symmetric")
    metric = model.parts()[0]
    P = metric.power(2).detach().numpy()[0]
    B = np.random.default_rng(0).standard_normal((11, 11))
    L = coupling(torch.tensor(B)[None], metric).detach().numpy()[0]
    np.testing.assert_allclose(L, B - np.linalg.inv(P) @ B.T @ P, rtol=1e-9, atol=1e-10)
    published = B - P @ B.T @ np.linalg.inv(P)
    assert np.abs(P @ published + published.T @ P).max() > 1e-2 * np.linalg.norm(P @ published)


def test_topologies():
    assert edges_of("all", 4) == ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
    assert edges_of("hierarchical", 4) == ((1, 0), (2, 1), (3, 2))
    assert edges_of("hub", 4) == ((3, 0), (3, 1), (3, 2))
    assert edges_of(nx.Graph([("V1", "V2"), ("V2", "PFC")]), 3) == ((1, 0), (2, 1))
    both_ways = nx.DiGraph([(2, 0), (0, 2)])
    both_ways.add_node(1)
    assert edges_of(both_ways, 3) == ((2, 0),)
    assert edges_of([[0, 2]], 3) == ((2, 0),)


@pytest.mark.parametrize("integrator", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_certified_after_each_of_many_arbitrary_updates(kind, integrator):
    """Adam at a rate of 0.1 on noise, on noise of 1e6, and uphill on the map's largest entries: 12 updates, each checked; the study does 100."""
    model = assembly(kind, areas=(3, 2, 3), density=0.5, integrator=integrator, dt=0.2)
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    g = torch.Generator().manual_seed(0)
    start = model.coupling.detach().clone()
    for update in range(12):
        optimiser.zero_grad()
        if update % 2:
            map = model.additive_map()
            (-(map.A.abs().amax() + map.W1.abs().amax())).backward()
        else:
            for p in model.parameters():
                p.grad = torch.randn(p.shape, generator=g) * 10.0 ** (6 * (update % 4 == 0))
        optimiser.step()
        found = model.certificate()
        assert found.check().all(), (update, found.faults())
    P, L = found.metric[0], found.coupling[0]
    assert np.abs(P @ L + L.T @ P).max() <= 1e-10 * np.linalg.norm(P @ L)
    assert (model.coupling - start).abs().max() > 0.2                                 # it did move
    if integrator == "implicit-explicit":
        model.coupling.data *= 1e4
        assert model.certificate().check().all()


def driven(n=1500, seed=0):
    """A damped oscillator pushed by steps of 20 samples: x'' = -x - x' / 2 + u, by Euler's semi-implicit steps of 0.1."""
    rng = np.random.default_rng(seed)
    u, x = np.repeat(rng.standard_normal(n // 20), 20), np.zeros((n, 2))
    for t in range(n - 1):
        v = x[t, 1] + 0.1 * (-x[t, 0] - 0.5 * x[t, 1] + u[t + 1])
        x[t + 1] = x[t, 0] + 0.1 * v, v
    return dr.as_recording(x[None], inputs=u[None, :, None], dt=0.1)


def test_fit_trains_it_certified_and_a_fit_alone_is_that_of_the_ensemble():
    rec = driven()
    settings = dict(forcing=dr.FreeRunning(), sequence_length=50, batch_size=8, learning_rate=5e-3, progress=False, random_state=0)
    ensemble = assembly("svd", areas=(6, 6), input_dim=1, n_fits=2)
    short, second = select_model(ensemble, [0, 1]), select_model(ensemble, 1)
    before = ensemble.log_metric.detach().clone()
    run = dr.fit(ensemble, rec, n_updates=120, **settings)
    assert ensemble.certificate().check().all()
    loss = run.history.loss.values
    assert (loss[:, -20:].mean(1) < 0.7 * loss[:, :10].mean(1)).all()
    assert not torch.equal(before, ensemble.log_metric)
    for model in (short, second):
        dr.fit(model, rec, n_updates=5, **settings)
    for name, value in second.state_dict().items():
        assert torch.equal(value[0], short.state_dict()[name][1]), name


def test_given_blocks(tmp_path):
    rng = np.random.default_rng(0)
    symmetric = rng.standard_normal((4, 4))
    symmetric = (symmetric + symmetric.T) / 2
    symmetric -= (np.linalg.eigvalsh(symmetric)[-1] - 0.7) * np.eye(4)
    rotation = 0.9 * np.linalg.qr(rng.standard_normal((3, 3)))[0]
    chain = np.diag([5.0, 5.0, 5.0], -1)                                                # no loop, but far from contracting in the identity
    model = Assembly(2, (4, 3, 4), W=[symmetric, rotation, chain], random_state=0, n_fits=2)
    found = model.certificate()
    assert found.check().all()
    np.testing.assert_array_equal(found.weights[1, 4:7, 4:7], rotation)
    again = dr.load(dr.save(model, tmp_path / "given.dynrnn"))
    np.testing.assert_array_equal(again.certificate().metric, found.metric)
    with pytest.raises(dr.ArgumentError, match="W and blocks, density were both given"):
        Assembly(2, (3,), W=[rotation], blocks="svd", density=0.2)
    with pytest.raises(dr.CertificateError, match=r"area 1 .* 1\.05"):
        Assembly(2, (4, 3), W=[symmetric, rotation * 1.05 / 0.9])
    with pytest.raises(dr.CertificateError, match=r"area 0 .*symmetric W is 1\.4"):
        Assembly(2, (4,), gain=2.0, W=[symmetric])
    with pytest.raises(dr.ArgumentError, match="one finite array"):
        Assembly(2, (4, 3), W=[symmetric, symmetric])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"areas": ()}, "areas"), ({"areas": (4, 0)}, r"areas\[1\]"), ({"dt": 0.0}, "dt"), ({"bound": 1.0}, "bound"), ({"lowest": 0.96}, "lowest"),
        ({"topology": "hib"}, "hub"), ({"topology": [(0, 3)]}, "pair"), ({"topology": nx.path_graph(3)}, "3 nodes, the assembly 2 areas"),
        ({"topology": nx.path_graph(1)}, r"areas \[1\] are no nodes"), ({"topology": nx.Graph([(0, 0), (0, 1)])}, "pair"), ({"topology": 3}, "networkx"),
        ({"latent_dim": 20}, "in place of latent_dim"), ({"blocks": "svd2"}, "svd"),
        ({"integrator": "eulr"}, "euler"), ({"activation": "sigmoid"}, "activation"), ({"gain": -1.0}, "gain"), ({"density": 1.5}, "density"),
        ({"density": 1.0, "weight_range": 50.0}, "none of 10000 draws"), ({"blocks": "given"}, "blocks"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(dr.ArgumentError, match=words):
        Assembly(2, **{"areas": (4, 3), "density": 0.2} | options)


@pytest.mark.parametrize(("kind", "integrator"), [("svd", "euler"), ("symmetric", "euler"), ("symmetric", "implicit-explicit")])
def test_a_step_beyond_the_certified_one_names_the_range(kind, integrator):
    with pytest.raises(dr.CertificateError, match="Choose 0 < dt <= ") as error:
        assembly(kind, integrator=integrator, dt=5.0)
    most = float(str(error.value).split("dt <= ")[1].split(",")[0].rstrip("."))
    assert assembly(kind, integrator=integrator, dt=0.99 * most).certificate().check()[0]
    if kind == "svd":
        assert assembly(kind, dt=5.0).certificate().check()[0]                          # the other integrator bears it


def test_a_certificate_is_required():
    found = assembly("svd").certificate()
    assert found.require() is found
    with pytest.raises(dr.CertificateError, match="fit 0: dt = 0.1 is beyond"):
        certify(
            found.metric, found.weights, 50 * found.coupling, found.areas, dt=0.1, integrator="euler"
        ).require()
    assert set(found.to_dataset().data_vars) >= {"rate", "dt_max", "metric"}
    assert "areas" in found.to_dataset().attrs
