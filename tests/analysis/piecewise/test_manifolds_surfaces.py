"""Polygons and charts against plain iteration of points that have nothing to do with them, and basin boundaries against where orbits go."""

import numpy as np
import pytest
import xarray as xr

from dynrnn.analysis._manifolds import homoclinic_points, manifolds
from dynrnn.analysis.boundary import basin_boundary
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.polygon import contracted_polygon, difference
from dynrnn.errors import ArgumentError
from dynrnn.results import read_results, write_results
from tests.analysis.piecewise.test_manifolds import INSIDE, LOZI, check_closed_form, iterate


def random_saddle(multipliers, H, seed, weight=0.3):
    """A map with a saddle at 0 of these multipliers (a matrix block by block), whose H planes stand about one unit away from it."""
    rng = np.random.default_rng(seed)
    M = len(multipliers)
    W1, W2, h2 = weight * rng.standard_normal((M, H)), rng.standard_normal((H, M)), np.sign(rng.standard_normal(H)) * rng.uniform(0.5, 1.5, H)
    T = np.linalg.qr(rng.standard_normal((M, M)))[0] + 0.2 * rng.standard_normal((M, M))
    J = T @ np.asarray(multipliers, float) @ np.linalg.inv(T)
    on = h2 > 0
    return PiecewiseLinearMap(J - (W1 * on) @ W2, W1, W2, -(W1 * on) @ h2, h2)


def block(*parts):
    out = np.zeros((sum(np.size(p) if np.ndim(p) == 0 else len(p) for p in parts),) * 2)
    at = 0
    for p in parts:
        n = 1 if np.ndim(p) == 0 else len(p)
        out[at : at + n, at : at + n] = p
        at += n
    return out


def spiral(r, turn):
    c, s = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    return r * np.array([[c, -s], [s, c]])


def gap(z, found, first=0):
    """Distance from z to the nearest polygon of at least this iteration: to its plane, or to its rim from outside."""
    best = np.inf
    polygon = found.polygon.values
    for i in np.flatnonzero(found.iteration.values >= first):
        p = found.location.values[polygon == i]
        centre = p.mean(0)
        if np.linalg.norm(z - centre) > 1.5 * np.linalg.norm(p - centre, axis=1).max() + 1e-6:
            continue
        plane = np.linalg.svd(p - centre, full_matrices=False)[2][:2]
        q, x = (p - centre) @ plane.T, plane @ (z - centre)
        height = np.linalg.norm(z - centre - plane.T @ x)
        d = np.roll(q, -1, axis=0) - q
        side = d[:, 0] * (x - q)[:, 1] - d[:, 1] * (x - q)[:, 0]
        turn = np.sign(d[0, 0] * np.roll(d, -1, axis=0)[0, 1] - d[0, 1] * np.roll(d, -1, axis=0)[0, 0])
        outside = np.maximum(0, -turn * side / np.maximum(np.linalg.norm(d, axis=1), 1e-300)).max()
        best = min(best, height + outside)
    return best


KINDS = {"real": block(1.6, -1.4, 0.4), "spiral": block(spiral(1.4, 0.13), -0.5), "defective": block([[1.5, 1.0], [0.0, 1.5]], 0.3)}


@pytest.mark.parametrize("kind", KINDS)
def test_polygons_of_an_unstable_manifold(kind):
    map = random_saddle(KINDS[kind], 3, seed=1)
    n = 5
    found = manifolds(map, np.zeros(3), n_iterations=n)
    assert (found.attrs["kind"], found.attrs["complete"]) == ("polygons", True)
    check_closed_form(map, found, 1e-12, unstable=True)
    polygon = found.polygon.values
    assert len(np.unique(found.region.values, axis=0)) > 2            # several planes are crossed
    rng = np.random.default_rng(0)
    # vertices and inner points of each polygon are mapped into the next polygons
    for i in rng.permutation(np.flatnonzero(found.iteration.values < n))[:20]:
        p = found.location.values[polygon == i]
        inner = rng.dirichlet(np.ones(len(p))) @ p
        np.testing.assert_array_equal(map.words(inner), found.region.values[i])
        assert max(gap(map.step(z), found) for z in (*p, inner)) < 1e-9
    # a point of the straight part, iterated plainly, lies on a polygon
    core = found.parameter.values[polygon == 0]
    V = found.direction_basis.values[0]
    for _ in range(20):
        z = V @ (rng.dirichlet(np.ones(len(core))) @ core)
        assert gap(iterate(map, z, int(rng.integers(0, n + 1))), found) < 1e-9


@pytest.mark.parametrize("kind", ["real", "spiral"])
def test_polygons_of_a_stable_manifold(kind):
    J = block(1.8, 0.7, -0.5) if kind == "real" else block(1.8, spiral(0.7, 0.13))
    map = random_saddle(J, 3, seed=4, weight=0.15)
    found = manifolds(map, np.zeros(3), "stable", n_iterations=4)
    assert found.attrs["kind"] == "polygons"
    check_closed_form(map, found, 1e-9, unstable=False)
    rng = np.random.default_rng(0)
    polygon = found.polygon.values
    assert found.iteration.values.max() == 4
    for i in rng.permutation(np.flatnonzero(found.iteration.values > 0))[:20]:
        p = found.location.values[polygon == i]
        inner = rng.dirichlet(np.ones(len(p))) @ p
        np.testing.assert_array_equal(map.words(inner), found.region.values[i])
        n = int(found.iteration[i])
        late = iterate(map, inner, n)
        assert np.linalg.norm(iterate(map, late, 10)) < 0.5 * np.linalg.norm(late) + 1e-9
        assert gap(map.step(inner), found) < 1e-9                      # forward invariant


def test_rings_have_the_area_between_their_rims():
    def area(p):
        return 0.5 * abs(p[:, 0] @ np.roll(p[:, 1], -1) - p[:, 1] @ np.roll(p[:, 0], -1))

    for B in (np.diag([0.9, -0.4]), spiral(0.95, 0.21), np.array([[0.8, 5.0], [0.0, 0.8]])):
        outer = contracted_polygon(B)
        inner = outer @ B.T
        turn = outer[:, 0] * np.roll(outer[:, 1], -1) - outer[:, 1] * np.roll(outer[:, 0], -1)
        assert (turn > 0).all()
        edges = np.roll(outer, -1, axis=0) - outer
        side = edges[:, None, 0] * (inner[None, :, 1] - outer[:, None, 1]) - edges[:, None, 1] * (inner[None, :, 0] - outer[:, None, 0])
        assert (side > 0).all()                                       # B takes it strictly into itself
        pieces = difference(outer, inner if np.linalg.det(B) > 0 else inner[::-1])
        np.testing.assert_allclose(sum(area(p) for p in pieces), area(outer) * (1 - abs(np.linalg.det(B))), rtol=1e-12)


def in_a_piece(z, found, iteration):
    """Least misfit of z to a piece of this iteration: distance to its affine space, and by how much its half-spaces fail."""
    best = np.inf
    owner = found.constraint_piece.values
    for i in np.flatnonzero(found.iteration.values == iteration):
        base, chart = found.base.values[i], found.chart.values[i]
        q = np.linalg.lstsq(chart, z - base, rcond=None)[0]
        G, g = found.normal.values[owner == i], found.bound.values[owner == i]
        fails = ((G @ q - g) / np.linalg.norm(G, axis=1)).max()
        best = min(best, max(np.linalg.norm(base + chart @ q - z), fails))
    return best


def test_charts_of_ten_dimensions_are_invariant():
    map = random_saddle(np.diag([1.5, -1.4, 1.3, 0.6, 0.5, -0.5, 0.4, 0.3, 0.2, 0.1]), 5, seed=2, weight=0.2)
    n = 4
    found = manifolds(map, np.zeros(10), n_iterations=n)
    assert (found.attrs["kind"], found.attrs["complete"]) == ("charts", True)
    assert found.sizes["piece"] > n + 1
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(map.words(found.location.values), found.region.values)
    for i in rng.permutation(np.flatnonzero(found.iteration.values < n))[:25]:
        step = rng.standard_normal(3)
        step *= found.radius.values[i] * rng.random() / np.linalg.norm(step)
        z = found.location.values[i] + found.chart.values[i] @ step
        assert in_a_piece(map.step(z), found, int(found.iteration[i]) + 1) < 1e-9
    rho, V = found.radius.values[0], found.direction_basis.values[0]
    for _ in range(20):                                               # the images of the first box are covered
        k = int(rng.integers(1, n + 1))
        assert in_a_piece(iterate(map, V @ rng.uniform(-rho, rho, 3), k), found, k) < 1e-9


def test_charts_of_a_stable_manifold():
    map = random_saddle(np.diag([1.6, 0.8, -0.7, 0.6]), 3, seed=3, weight=0.2)
    found = manifolds(map, np.zeros(4), "stable", n_iterations=3)
    assert found.attrs["kind"] == "charts"
    basis = found.direction_basis.values[0]
    assert found.iteration.values.max() == 3
    for i in range(found.sizes["piece"]):
        np.testing.assert_array_equal(map.words(found.location.values[i]), found.region.values[i])
        late = iterate(map, found.location.values[i], int(found.iteration[i]))
        np.testing.assert_allclose(late, basis @ found.centre.values[i], atol=1e-10)
        assert np.linalg.norm(iterate(map, late, 15)) < 0.3 * np.linalg.norm(late) + 1e-9


def test_homoclinic_points_in_three_dimensions_are_those_of_the_plane():
    """Lozi's map with a third unit that follows the first: a skew product over the plane has its homoclinic orbits, one for one."""
    a, b = 1.7, 0.5
    map = PiecewiseLinearMap([[a, 1, 0], [b, 0, 0], [0.2, 0, 0.3]], [[-2 * a], [0], [0]], [[1, 0, 0]], [1, 0, 0], [0])
    point = np.r_[INSIDE, 0.2 * INSIDE[0] / 0.7]
    solid, flat = homoclinic_points(map, point, n_iterations=10), homoclinic_points(LOZI, INSIDE, n_iterations=(10, 0))
    assert solid.attrs["n_orbits"] == flat.attrs["n_orbits"] > 3
    order = [np.lexsort(found.location.values[:, :2].round(9).T) for found in (solid, flat)]
    np.testing.assert_allclose(solid.location.values[order[0], :2], flat.location.values[order[1]], atol=1e-10)
    assert float(solid.residual_stable.max()) < 1e-12
    for row in range(solid.sizes["crossing"]):
        ahead = iterate(map, solid.location.values[row], 8)
        assert np.linalg.norm(ahead - point) < 1e-2


# x' has slopes 1/2, 2, 1/2: sinks left and right, the saddle between; y' = y / 2 pushes x by 0.3 relu(y)
BENT = PiecewiseLinearMap([[0.5, 0], [0, 0.5]], [[1.5, -1.5, 0.3], [0, 0, 0]], [[1, 0], [1, 0], [0, 1]], [-1, 0.01], [0.5, -0.5, 0])


def test_bent_boundary_in_closed_form():
    """On the middle slope W^s is x = x0 - s relu(y) with -2 s + 0.3 = -s / 2: s = 0.2, and it ends where the preimages leave that slope."""
    found = basin_boundary(BENT, n_iterations=4, max_length=30.0)
    assert found.separates.values.tolist() == [True]
    x0, y0 = found.location.values[0]
    line = found["saddle_0"].to_dataset()
    x, y = line.location.values.T
    middle = np.abs(x) < 0.5
    assert middle.sum() >= 3
    # y0 > 0: above y = 0 the slope holds about the saddle, below it the push ends
    above = middle & (y > 0)
    np.testing.assert_allclose(x[above], x0 - 0.2 * (y[above] - y0), atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_states_beside_a_boundary_go_to_different_attractors(seed):
    """A sheared and rotated bistable map, whose boundary bends: a step of 1e-6 to either side decides."""
    T = np.linalg.qr(np.random.default_rng(seed).standard_normal((2, 2)))[0] + 0.2
    inv = np.linalg.inv(T)
    map = PiecewiseLinearMap(T @ BENT.A @ inv, T @ BENT.W1, BENT.W2 @ inv, T @ BENT.h1, BENT.h2)
    found = basin_boundary(map, n_iterations=6, max_length=20.0)
    assert found.separates.values.tolist() == [True]
    states = found.attractor_state.values
    line = found["saddle_0"].to_dataset()
    at = np.flatnonzero(line.segment_start.values)
    p, q = line.location.values[at], line.location.values[at + 1]
    assert len(at) >= 4
    for share in (0.25, 0.6):
        z, d = p + share * (q - p), (q - p) / np.linalg.norm(q - p, axis=1)[:, None]
        normal = np.stack([-d[:, 1], d[:, 0]], 1)
        ends = [np.linalg.norm(iterate(map, z + s * normal, 200)[:, None] - states, axis=2).argmin(1) for s in (1e-6, -1e-6)]
        assert (ends[0] != ends[1]).all()


def test_a_saddle_within_one_basin_is_no_boundary():
    found = basin_boundary(LOZI, n_iterations=3)
    by_point = dict(zip(found.location.values[:, 0].round(4).tolist(), found.separates.values.tolist()))
    assert by_point == {0.4545: False, -0.8333: True}                 # the outer saddle parts the attractor's basin from infinity
    outer = int(found.location.values[:, 0].argmin())
    assert -1 in found.attractor.values[outer]
    assert f"saddle_{outer}" in found.children


def test_trees_go_to_zarr_and_come_back(tmp_path):
    map = random_saddle(KINDS["real"], 3, seed=1)
    charts = manifolds(random_saddle(np.diag([1.5, -1.4, 1.3, 0.6]), 2, seed=2), np.zeros(4), n_iterations=1)
    tree = {"polygons": manifolds(map, np.zeros(3), n_iterations=2), "charts": charts, "boundary": basin_boundary(BENT, n_iterations=1).to_dataset()}
    write_results(tmp_path / "results.zarr", tree)
    back = read_results(tmp_path / "results.zarr")
    for name, data in tree.items():
        xr.testing.assert_identical(back[name].to_dataset().load(), data)
    write_results(tmp_path / "tree.zarr", basin_boundary(BENT, n_iterations=1))
    assert "saddle_0" in read_results(tmp_path / "tree.zarr").children


def test_bad_boundaries_and_crossings_are_refused():
    twice = random_saddle(KINDS["real"], 3, seed=1)
    with pytest.raises(ArgumentError, match="2 unstable directions"):
        basin_boundary(twice, [np.zeros(3)])
    with pytest.raises(ArgumentError, match="2 unstable directions"):
        homoclinic_points(twice, np.zeros(3))
    with pytest.raises(ArgumentError, match="name the saddles"):
        basin_boundary(random_saddle(KINDS["real"], 13, seed=1))
    with pytest.raises(ArgumentError, match="tolerance must be positive"):
        basin_boundary(BENT, tolerance=0.0)
