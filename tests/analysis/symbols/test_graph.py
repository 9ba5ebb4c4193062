"""Graphs: probabilities with intervals that cover, exact admissible edges, and GraphML out and back."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.symbols import (
    admissible_graph,
    code_of_symbols,
    read_graphml,
    symbolic_code,
    transition_graph,
    unobserved_edges,
    write_graphml,
)
from tests.analysis.symbols.systems import GOLDEN, LOZI, TENT, chain, golden_mean, lozi

P3 = np.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4], [0.1, 0.1, 0.8]])


def test_probabilities_of_a_chain():
    graph = transition_graph(code := code_of_symbols(chain(P3, 200_000, 0)))
    label = code.label.values[0]
    assert {(label[i], label[j]) for i, j in graph.edges} == set(zip(*map(np.ndarray.tolist, np.nonzero(P3))))
    values, vectors = np.linalg.eig(P3.T)
    pi = np.real(vectors[:, np.argmax(values.real)])
    pi /= pi.sum()
    for i in graph:
        assert sum(d["probability"] for *_, d in graph.out_edges(i, data=True)) == pytest.approx(1, abs=1e-12)
        assert graph.nodes[i]["stationary"] == pytest.approx(graph.nodes[i]["occupancy"], abs=1e-4)   # both count the same path, up to its ends
        assert graph.nodes[i]["occupancy"] == pytest.approx(pi[label[i]], abs=0.01)
    h = -sum(pi[i] * P3[i, j] * np.log(P3[i, j]) for i, j in zip(*np.nonzero(P3)))
    assert graph.graph["h_markov"] == pytest.approx(h, abs=5e-3)
    assert graph.graph["h_mu"] == pytest.approx(h, abs=5e-3)
    adjacency = (P3 > 0).astype(float)
    assert graph.graph["h_top"] == pytest.approx(np.log(np.abs(np.linalg.eigvals(adjacency)).max()), abs=1e-12)
    assert graph.graph["n_steps"] == 199_999


@pytest.mark.parametrize(("stay", "lag"), [(0.2, 1), (0.2, 2), (0.95, 1)])
def test_intervals_cover(stay, lag):
    # 50 paths of 2,000 steps with 9 edges: at least 95 % nominal; its sd is 1 % if edges are independent, 1.8 % if the three of a row go together
    P = np.array([[stay, 0.6 * (1 - stay), 0.4 * (1 - stay)], [0.5 * (1 - stay), stay, 0.5 * (1 - stay)], [0.1 * (1 - stay), 0.9 * (1 - stay), stay]])
    power = np.linalg.matrix_power(P, lag)
    inside = total = 0
    for seed in range(50):
        code = code_of_symbols(chain(P, 2000, seed))
        graph, label = transition_graph(code, lag=lag), code.label.values[0]
        for i, j, d in graph.edges(data=True):
            assert d["low"] <= d["probability"] <= d["high"]
            inside += d["low"] <= power[label[i], label[j]] <= d["high"]
            total += 1
    assert total > 430
    assert inside / total > 0.95 - 2.5 * 0.018


def test_fixed_dwell_times_are_not_taken_for_waiting_times():
    # each symbol is held for exactly 10 samples, then a coin is tossed: exits have no spread, and targets as much as there are runs
    s = np.repeat(chain(np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]), 300, 1), 10)
    graph = transition_graph(code_of_symbols(s))
    for i, j, d in graph.edges(data=True):
        if i == j:
            assert d["high"] - d["low"] < 0.005
            assert d["probability"] == pytest.approx(0.9, abs=0.005)
        else:
            runs = 100
            assert 0.6 < (d["high"] - d["low"]) / (0.1 * 2 * 1.96 * np.sqrt(0.25 / runs)) < 1.4


def test_without_self_transitions_rows_are_of_the_jump_chain():
    code = code_of_symbols(chain(P3, 100_000, 2))
    full, jumps = transition_graph(code), transition_graph(code, self_transitions=False)
    assert all(i != j for i, j in jumps.edges)
    for i, j, d in jumps.edges(data=True):
        stay = full[i][i]["probability"] if full.has_edge(i, i) else 0
        assert d["probability"] == pytest.approx(full[i][j]["probability"] / (1 - stay), rel=1e-9)
    assert jumps.graph["units"] == "nat per transition"


def test_golden_mean_graph():
    graph = transition_graph(code_of_symbols(golden_mean(100_000)))
    assert (1, 1) not in graph.edges
    assert graph.graph["h_top"] == pytest.approx(np.log(GOLDEN), abs=1e-12)
    assert graph.graph["h_markov"] <= graph.graph["h_top"] + 1e-12


def test_nodes_know_their_fixed_points():
    graph = transition_graph(symbolic_code(LOZI, lozi(2000)), model=LOZI)
    nodes = {data["word"]: data for _, data in graph.nodes(data=True)}
    assert nodes["1"]["fixed_point"] == nodes["0"]["fixed_point"] == "real"
    assert nodes["1"]["fixed_point_margin"] == pytest.approx(1 / 2.2)                 # x* = 1 / (1 + a - b), its distance to the line x = 0
    assert nodes["1"]["multipliers"] == pytest.approx([-1.95567, 0.25567], abs=1e-5)
    assert nodes["0"]["fixed_point_margin"] == pytest.approx(1 / 1.2)
    away = PiecewiseLinearMap(A=[0.5], W1=[[1.0]], W2=[[1.0]], h1=[1.0], h2=[0.0])    # off: z* = 2 > 0, virtual; on: slope 1.5, z* = -2, virtual
    nodes = transition_graph(symbolic_code(away, np.array([[-1.0], [0.5], [1.75]])), model=away).nodes
    assert {nodes[i]["fixed_point"] for i in nodes} == {"virtual"}
    assert {nodes[i]["fixed_point_margin"] for i in nodes} == {-2.0}


def test_admissible_edges_of_maps_on_the_line():
    # a tent of slope 1.5 on [0, 1] has image [0, .75]; within [.3, 1] both regions are met
    slow = PiecewiseLinearMap(A=[1.5], W1=[[-3.0]], W2=[[1.0]], h1=[0.0], h2=[-0.5])
    assert set(admissible_graph(slow, box=(0, 1)).edges) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert set(admissible_graph(slow, box=(0.4, 0.76)).edges) == {(0, 1), (1, 0), (1, 1)}   # 1.5 * .4 > .5
    # a step of x + 1 through three cells of length 1: only to the next, touching the one after
    shift = PiecewiseLinearMap(A=[1.0], W1=np.zeros((1, 2)), W2=np.ones((2, 1)), h1=[1.0], h2=[-1.0, -2.0])
    graph = admissible_graph(shift, box=(0, 3))
    assert [graph.nodes[i]["word"] for i in graph] == ["00", "10", "11"]
    assert set(graph.edges) == {(0, 1), (1, 2)}


def test_admissible_edges_of_a_plane_are_those_that_a_fine_grid_finds():
    rng = np.random.default_rng(3)
    A, W1, W2, h1, h2 = rng.random(2) * 0.5, rng.standard_normal((2, 4)) * 0.6, rng.standard_normal((4, 2)), *rng.standard_normal((2, 4)) * 0.3
    map = PiecewiseLinearMap(A, W1, W2, h1[:2], h2)
    graph = admissible_graph(map, box=(-2, 2))
    z = np.stack(np.meshgrid(*[np.linspace(-2, 2, 1501)[1:-1]] * 2), -1).reshape(-1, 2)
    image = map.step(z)
    stays = (np.abs(image) < 2).all(1)
    text = lambda words: np.array([2**k for k in range(4)]) @ words.T  # noqa: E731
    seen = set(zip(text(map.words(z[stays])).tolist(), text(map.words(image[stays])).tolist()))
    number = {i: sum(2**k * (bit == "1") for k, bit in enumerate(graph.nodes[i]["word"])) for i in graph}
    edges = {(number[i], number[j]) for i, j in graph.edges}
    assert seen <= edges
    assert len(edges - seen) <= 1                                                    # a grid of 2.7e-3 may miss a sliver
    some = [i for i in graph if i % 2]
    part = admissible_graph(map, words=[[c == "1" for c in graph.nodes[i]["word"]] for i in some], box=(-2, 2))
    assert set(part.edges) == {(a, b) for a, b in itertools.product(range(len(some)), repeat=2) if graph.has_edge(some[a], some[b])}


def test_observed_edges_are_admissible():
    model = dr.ALRNN(2, 5, 3, random_state=1)
    with torch.no_grad():
        model.W += 0.5 * torch.randn(5, 5, generator=torch.Generator().manual_seed(2))
        model.A *= 0.3
    map = canonical(model).maps[0]
    rng = np.random.default_rng(0)
    z = np.stack([start := rng.uniform(-1, 1, (200, 5)), *itertools.accumulate(range(10), lambda s, _: map.step(s), initial=map.step(start))][:11], 1)
    code = symbolic_code(model, z)
    words = code.region.values[0][code.valid.values[0]]
    size = 1.01 * np.abs(z).max()
    admissible = admissible_graph(model, words=words, box=(-size, size))
    graph = transition_graph(code, admissible=admissible, model=model)
    assert all(data["admissible"] for *_, data in graph.edges(data=True))
    missing = unobserved_edges(graph, admissible)
    assert len(missing) + graph.number_of_edges() == admissible.number_of_edges()
    assert not any(graph.has_edge(*edge) for edge in missing)


def test_units_that_do_not_depend_on_the_state_take_their_bias_side():
    # the second unit reads a latent that the map sets to 0 always: it is on its plane and so off
    flat = PiecewiseLinearMap(A=[0.5, 0.0], W1=np.zeros((2, 2)), W2=np.eye(2), h1=[0.1, 0.0], h2=[0.0, 0.0])
    graph = admissible_graph(flat, box=(-1, 1))
    to = {graph.nodes[j]["word"] for _, j in graph.edges}
    assert to == {"00", "10"}


def test_graphml_there_and_back(tmp_path):
    graph = transition_graph(symbolic_code(LOZI, lozi(3000)), model=LOZI, admissible=admissible_graph(LOZI))
    path = write_graphml(graph, tmp_path / "lozi.graphml")
    plain = nx.read_graphml(path, node_type=int)
    assert set(plain.edges) == set(graph.edges)
    for i, j, data in graph.edges(data=True):
        assert plain[i][j] == data
    back = read_graphml(path)
    assert dict(back.nodes(data=True)) == dict(graph.nodes(data=True))
    assert back.graph == graph.graph
    (tmp_path / "broken.graphml").write_text("<graphml")
    with pytest.raises(dr.FileFormatError, match="could not be read as GraphML"):
        read_graphml(tmp_path / "broken.graphml")


def test_errors_of_graphs():
    code = symbolic_code(TENT, np.random.default_rng(0).random((50, 1)))
    with pytest.raises(dr.ArgumentError, match="switching planes"):
        transition_graph(code, model=PiecewiseLinearMap([0.5], np.ones((1, 2)), np.ones((2, 1)), [0.0], [0.0, 1.0]))
    with pytest.raises(dr.ArgumentError, match="use lag=1"):
        transition_graph(code, lag=2, admissible=admissible_graph(TENT))
    with pytest.raises(dr.ArgumentError, match="no regions"):
        transition_graph(code_of_symbols([0, 1, 0]), model=TENT)
    with pytest.raises(dr.ArgumentError, match=r"2\*\*20 regions.*words="):
        admissible_graph(PiecewiseLinearMap([0.5], np.ones((1, 20)), np.ones((20, 1)), [0.0], np.ones(20)))
    with pytest.raises(dr.ArgumentError, match="box must be"):
        admissible_graph(TENT, box=(1, 0))
