"""Manifolds against closed forms, the inverse map, plain iteration and an arithmetic of fifty digits."""

import itertools

import mpmath
import numpy as np
import pytest
import xarray as xr

from dynrnn.analysis._manifolds import homoclinic_points, manifolds
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.errors import ArgumentError
from dynrnn.results import read_results, write_results

A, B = 1.7, 0.5
LOZI = PiecewiseLinearMap([[A, 1], [B, 0]], [[-2 * A], [0]], [[1, 0]], [1, 0], [0])
INSIDE, OUTSIDE = np.array([1, B]) / (1 + A - B), np.array([1, B]) / (1 - A - B)


def two_cycle():
    """x[n+1] = 1 - a |x[n]| + b x[n-1] with x of both signs in turn."""
    p, q = np.linalg.solve([[1 - B, A], [-A, 1 - B]], [1, 1])         # p = 1 - a q + b p with q > 0; q = 1 + a p + b q with p < 0
    return np.array([[p, B * q], [q, B * p]])


def iterate(map, z, n):
    for _ in range(n):
        z = map.step(z)
    return z


def distance(z, found):
    """From points to the polylines, segment by segment."""
    at = np.flatnonzero(found.segment_start.values)
    p = found.location.values[at]
    d = found.location.values[at + 1] - p
    out = np.empty(len(z))
    for i, x in enumerate(z):
        share = np.clip(((x - p) * d).sum(1) / np.maximum((d * d).sum(1), 1e-300), 0, 1)
        out[i] = np.linalg.norm(x - p - share[:, None] * d, axis=1).min()
    return out


def check_closed_form(map, found, tolerance, unstable):
    """f^iteration joins every vertex and its place on the straight part; every segment keeps its own region."""
    basis = found.direction_basis.values
    q = found.parameter.values if found.parameter.ndim == 2 else found.parameter.values[:, None]
    of = slice(None) if "polygon" not in found else found.polygon.values
    phase, number = found.phase.values[of], found.iteration.values[of]
    straight = found.points.values[phase] + np.einsum("nmd,nd->nm", basis[phase], q)
    here = found.location.values
    for n in np.unique(number):
        rows = number == n
        start, end = (straight[rows], here[rows]) if unstable else (here[rows], straight[rows])
        np.testing.assert_allclose(iterate(map, start, n), end, rtol=0, atol=tolerance * (1 + np.abs(start).max() + np.abs(end).max()))


@pytest.mark.parametrize("point", [INSIDE, OUTSIDE, two_cycle()], ids=["fixed", "outer", "cycle"])
def test_lozi_unstable_manifold_is_invariant(point):
    found = manifolds(LOZI, point, n_iterations=8 if len(np.shape(point)) == 1 else 5)
    assert found.attrs["complete"]
    n = found.iteration.values
    inner = n < n.max()                                               # images of the last generation lie beyond
    images = LOZI.step(found.location.values[inner])
    assert inner.sum() > 20
    size = np.abs(found.location.values).max()
    assert distance(images, found).max() < 1e-9 * size
    # and points within segments, which are no vertices
    at = np.flatnonzero(found.segment_start.values & inner & np.r_[inner[1:], False])
    middle = 0.37 * found.location.values[at] + 0.63 * found.location.values[at + 1]
    assert distance(LOZI.step(middle), found).max() < 1e-9 * size
    np.testing.assert_array_equal(LOZI.words(middle), found.region.values[at])
    check_closed_form(LOZI, found, 1e-11, unstable=True)              # eps * 1.96^8 = 5e-14, and as much again at every step


def cycles_of_lozi(longest):
    """Every cycle of at most this period but the fixed points, from the linear system of each word."""
    J, c = LOZI.jacobians(np.array([[False], [True]])), LOZI.offsets(np.array([[False], [True]]))
    for k in range(2, longest + 1):
        for bits in itertools.product((0, 1), repeat=k):
            turns = [bits[i:] + bits[:i] for i in range(1, k)]
            if bits in turns or min(turns) < bits:
                continue
            P, d = np.eye(2), np.zeros(2)
            for bit in bits:
                P, d = J[bit] @ P, J[bit] @ d + c[bit]
            z = [np.linalg.solve(np.eye(2) - P, d)]
            for _ in range(k - 1):
                z.append(LOZI.step(z[-1]))
            if tuple((np.array(z)[:, 0] > 0).astype(int)) == bits:
                yield np.array(z), np.linalg.eigvals(P)


def test_both_manifolds_of_every_cycle_to_period_six():
    """Signs of both multipliers come in several ways; each branch must go on where the straight part ends."""
    found = list(cycles_of_lozi(6))
    assert [len(points) for points, _ in found] == [2, 4, 6, 6, 6, 6]  # the known counts of prime cycles: 1, 0, 1, 0, 4
    assert len({tuple(np.sign(np.sort(mu))) for _, mu in found}) > 1
    for points, mu in found:
        up = manifolds(LOZI, points, n_iterations=2)
        check_closed_form(LOZI, up, 1e-10, unstable=True)
        assert (up.sizes["branch_number"], up.attrs["complete"]) == (2 * len(points), True)
        inner = up.iteration.values < up.iteration.values.max()
        assert distance(LOZI.step(up.location.values[inner]), up).max() < 1e-9
        np.testing.assert_allclose(up.eigenvalue.values.real, mu[np.abs(mu).argmax()], rtol=1e-9)
        down = manifolds(LOZI, points, "stable", n_iterations=1)
        check_closed_form(LOZI, down, 1e-8, unstable=False)
        assert sorted(down.side.values.tolist()) == sorted([-1, 1] * len(points))  # an invertible map: no curves but the branches
        near = (np.abs(down.location.values).max(1) < 10) & (down.parameter.values != 0)
        assert distance(LOZI.step(down.location.values[near]), down).max() < 1e-9


def test_a_row_knows_its_fit():
    other = PiecewiseLinearMap([[1.6, 1], [B, 0]], [[-3.2], [0]], [[1, 0]], [1, 0], [0])
    z = np.array([1, B]) / (1 + 1.6 - B)
    row = xr.Dataset({"location": ("latent", z)}, coords={"fit": 1})
    found = manifolds([LOZI, other], row, n_iterations=2)
    assert found.attrs["fit"] == 1
    np.testing.assert_array_equal(found.location, manifolds(other, z, n_iterations=2).location)


def test_vertices_agree_with_fifty_digits():
    """Off the manifold vertices do not move; along it by eps times the growth: here mu^15 = 2e4, 1e-11 with a few operations each."""
    found = manifolds(LOZI, INSIDE, n_iterations=15)
    with mpmath.workdps(50):
        a, b = mpmath.mpf(A), mpmath.mpf(B)
        x0 = 1 / (1 + a - b)
        mu = (-a - mpmath.sqrt(a * a + 4 * b)) / 2
        v = np.array([mu, b]) / mpmath.sqrt(mu * mu + b * b)          # J (mu, b) = (-a mu + b, b mu) = mu (mu, b)
        sign = np.sign(found.direction_basis.values[0, 0, 0]) * np.sign(float(v[0]))
        worst = 0.0
        for i in range(0, found.sizes["vertex"], 7):
            t = sign * mpmath.mpf(float(found.parameter[i]))
            x, y = x0 + t * v[0], b * x0 + t * v[1]
            for _ in range(int(found.iteration[i])):
                x, y = 1 - a * abs(x) + y, b * x
            worst = max(worst, *(abs(float(e - float(w))) for e, w in zip((x, y), found.location.values[i])))
    assert worst < 1e-11


def test_number_of_vertices_is_that_of_dense_sampling():
    """Each sign change of x along an image of the fundamental segment makes one vertex, in that generation and in all later ones."""
    n = 9
    found = manifolds(LOZI, INSIDE, n_iterations=n)
    straight = found.parameter.values[found.iteration.values == 0]
    v = found.direction_basis.values[0, :, 0]
    z = INSIDE + np.linspace(straight[straight != 0].min(), straight.max(), 400_001)[1:-1, None] * v
    new = []
    for i in range(n + 1):
        new.append(int((np.diff(z[:, 0] > 0) != 0).sum()) if i >= 2 else 0)  # generations 0 and 1 only touch the plane, with an end
        z = LOZI.step(z)
    # an end of a generation is the start of the one two later, and is stored once: 2 saddles, 2 starts, then all but the first of each
    want = 4 + sum(1 + sum(new[: i + 1]) for i in range(n + 1))
    assert found.sizes["vertex"] == want


def test_linear_saddle_in_closed_form():
    map = PiecewiseLinearMap([[2.0, 0.0], [0.0, 0.25]], np.zeros((2, 0)), np.zeros((0, 2)), [0, 0], [])
    up = manifolds(map, [0, 0], n_iterations=5)
    np.testing.assert_allclose(up.location.values[:, 1], 0, atol=0)
    for side in (-1, 1):
        branch = up.isel(vertex=up.branch.values == up.side.values.tolist().index(side))
        np.testing.assert_allclose(branch.location.values[:, 0], side * np.r_[0, 2.0 ** np.arange(-1, 6)], rtol=1e-15)
        np.testing.assert_allclose(branch.arclength, np.abs(branch.location.values[:, 0]), rtol=1e-15)
    down = manifolds(map, [0, 0], "stable", n_iterations=5)
    np.testing.assert_allclose(np.sort(down.location.values[:, 1]), [-1024, 0, 0, 1024], rtol=1e-15)
    assert down.attrs["incomplete_because"] == "ray"
    assert down.attrs["invertible"]


def test_max_length_cuts_and_says_so():
    whole, cut = manifolds(LOZI, INSIDE, n_iterations=14), manifolds(LOZI, INSIDE, n_iterations=14, max_length=7.5)
    assert cut.attrs["incomplete_because"] == "max_length"
    np.testing.assert_allclose(cut.arclength.values[~cut.segment_start.values], 7.5, rtol=1e-13)
    assert distance(cut.location.values, whole).max() < 1e-12
    check_closed_form(LOZI, cut, 1e-11, unstable=True)
    few = manifolds(LOZI, INSIDE, n_iterations=30, max_vertices=500)
    assert few.sizes["vertex"] <= 500
    assert few.attrs["incomplete_because"] == "max_vertices"
    both = manifolds(LOZI, OUTSIDE, n_iterations=60, max_vertices=500)               # one side runs off straight, the other folds
    assert both.sizes["vertex"] <= 500
    assert sorted(both.side.values.tolist()) == [-1, 1]


@pytest.mark.parametrize("point", [INSIDE, OUTSIDE])
def test_lozi_stable_manifold_is_the_unstable_one_of_its_inverse(point):
    """x = y'/b, y = x' - 1 + a |x|, written down by hand; its polylines come from images, not from preimages."""
    inverse = PiecewiseLinearMap([[0, 1 / B], [1, -A / B]], [[0], [2 * A / B]], [[0, 1]], [0, -1], [0])
    n = 7
    found, other = manifolds(LOZI, point, "stable", n_iterations=n), manifolds(inverse, point, n_iterations=n + 4)
    assert found.attrs["invertible"]
    assert found.side.values.tolist() == [-1, 1]                      # one curve
    near = np.abs(found.location.values).max(1) < 50
    assert near.sum() > 5
    assert distance(found.location.values[near], other).max() < 1e-9
    # the other way round: all of the inverse's that was reached by as many steps from the straight part
    mine = (other.iteration.values <= n) & (np.abs(other.location.values).max(1) < 50)
    assert distance(other.location.values[mine], found).max() < 1e-9
    check_closed_form(LOZI, found, 1e-9, unstable=False)              # rounding grows by 1.96 a step, of numbers up to 1e5


def test_points_of_the_stable_manifold_converge_at_its_multiplier():
    found = manifolds(LOZI, INSIDE, "stable", n_iterations=6)
    mu = float(found.eigenvalue[0].real)
    np.testing.assert_allclose(mu, (-A + np.sqrt(A * A + 4 * B)) / 2, rtol=1e-14)
    rows = np.flatnonzero((found.iteration.values >= 2) & (found.parameter.values != 0) & (np.abs(found.location.values).max(1) < 10))
    assert len(rows) > 5
    for row in rows:
        n = int(found.iteration[row])
        far = [np.linalg.norm(iterate(LOZI, found.location.values[row], n + i) - INSIDE) for i in range(5)]
        # before rounding (1e-16 * 1.96^10) shows beside distances of 1e-2 and more
        np.testing.assert_allclose(np.array(far[1:]) / far[:-1], abs(mu), rtol=1e-7)


def core_orbits(length):
    """Homoclinic orbits of INSIDE with at most ``length`` words between leaving and returning: a linear equation each, and a check of the signs."""
    J, c = LOZI.jacobians(np.array([[False], [True]])), LOZI.offsets(np.array([[False], [True]]))
    mu, vectors = np.linalg.eig(J[1])
    v = vectors[:, np.abs(mu).argmax()]
    left = np.linalg.inv(vectors)[np.abs(mu).argmax()]
    count = 0
    for m in range(1, length + 1):
        for bits in itertools.product((0, 1), repeat=m):
            if bits[0] or bits[-1]:                                   # the home region is x > 0: the core begins and ends elsewhere
                continue
            P, d = np.eye(2), np.zeros(2)
            for bit in bits:
                P, d = J[bit] @ P, J[bit] @ d + c[bit]
            t = -left @ (P @ INSIDE + d - INSIDE) / (left @ P @ v)
            z, seen = INSIDE + t * v, []
            back = all((INSIDE + t * np.max(np.abs(mu)) ** -i * (-1) ** i * v)[0] > 0 for i in range(1, 4))
            for _ in range(m):
                seen.append(int(z[0] > 0))
                z = LOZI.step(z)
            ahead = (z - INSIDE) @ np.linalg.inv(vectors).T[:, np.abs(mu).argmin()] * vectors[:, np.abs(mu).argmin()][:, None].T
            count += back and tuple(seen) == bits and all((INSIDE + ahead[0] * np.min(np.abs(mu)) ** i)[0] > 0 for i in range(60))
    return count


def test_homoclinic_points_of_lozi_by_both_ways_and_by_their_words():
    found = homoclinic_points(LOZI, INSIDE, n_iterations=(9, 6))
    assert found.attrs["complete"]
    mu_s, mu_u = (-A + np.sqrt(A * A + 4 * B)) / 2, (-A - np.sqrt(A * A + 4 * B)) / 2
    assert float(found.angle.min()) > 0.5                             # transversal: cone fields of Lozi's map keep the directions apart
    assert float(found.residual_unstable.max()) < 1e-11
    assert float(found.residual_stable.max()) < 1e-10
    # the past by the closed form, the future by plain iteration
    v = manifolds(LOZI, INSIDE, n_iterations=1).direction_basis.values[0, :, 0]
    for row in range(0, found.sizes["crossing"], 29):
        n = int(found.iteration_unstable[row])
        for extra in (0, 4, 40):
            past = INSIDE + float(found.parameter_unstable[row]) * mu_u ** -float(extra) * v
            assert np.linalg.norm(past - INSIDE) <= 1.1 * abs(mu_u) ** -extra
            if extra < 5:
                np.testing.assert_allclose(iterate(LOZI, past, n + extra), found.location.values[row], atol=1e-10)
        m = int(found.iteration_stable[row])
        late = [np.linalg.norm(iterate(LOZI, found.location.values[row], m + i) - INSIDE) for i in range(4)]
        if late[0] > 1e-3:
            np.testing.assert_allclose(np.array(late[1:]) / late[:-1], abs(mu_s), rtol=1e-5)
    # the straight unstable part and the straight stable part are met by every orbit: cores of up to 7 words take no more than 9 + 6 steps
    longest = 6
    assert number_of_cores(found, longest) == core_orbits(longest) > 5


def number_of_cores(found, longest):
    """Orbits among the crossings whose core has at most ``longest`` words."""
    v = manifolds(LOZI, INSIDE, n_iterations=1).direction_basis.values[0, :, 0]
    cores = set()
    for row in range(found.sizes["crossing"]):
        z, words = INSIDE + float(found.parameter_unstable[row]) * v, []
        for i in range(int(found.iteration_unstable[row] + found.iteration_stable[row])):
            z = found.location.values[row] if i == int(found.iteration_unstable[row]) else z
            words.append("01"[int(z[0] > 0)])
            z = LOZI.step(z)
        core = "".join(words).strip("1")
        if len(core) <= longest:
            cores.add((core, int(found.orbit[row])))
    assert len({core for core, _ in cores}) == len({number for _, number in cores})  # one name an orbit
    return len({core for core, _ in cores})


def test_heteroclinic_points_join_both_saddles():
    found = homoclinic_points(LOZI, OUTSIDE, other=INSIDE, n_iterations=(6, 3))
    assert found.attrs["heteroclinic"]
    assert found.sizes["crossing"] > 3
    assert float(found.residual_unstable.max()) < 1e-9
    for row in range(0, found.sizes["crossing"], 7):
        ahead = iterate(LOZI, found.location.values[row], int(found.iteration_stable[row]) + 6)
        assert np.linalg.norm(ahead - INSIDE) < 1e-2 * (1 + abs(float(found.parameter_stable[row, 0])))


def test_a_folded_map_has_many_stable_curves():
    """x' = 1 - 2 |x|, y' = 0.4 y + 0.3 x: the stable set of x = 1/3 is every line whose x comes there."""
    map = PiecewiseLinearMap([[2, 0], [0.3, 0.4]], [[-4], [0]], [[1, 0]], [1, 0], [0])
    point = [1 / 3, 0.1 / 0.6]
    found = manifolds(map, point, "stable", n_iterations=3)
    assert found.attrs["invertible"] is False
    lines = np.unique(np.round(found.location.values[:, 0], 9))
    want = np.sort([1 / 3, -1 / 3, -2 / 3, 2 / 3, -1 / 6, 1 / 6, -5 / 6, 5 / 6])
    np.testing.assert_allclose(lines, want, atol=1e-9)
    assert found.side.values.tolist() == [-1, 1] + [0] * 7            # the saddle's line is two branches
    check_closed_form(map, found, 1e-12, unstable=False)


def test_a_fold_within_a_stable_curve_keeps_it_connected():
    """Sheared so that a stable curve crosses the fold: the preimages through both regions meet on the plane and make one curve."""
    map = PiecewiseLinearMap([[2, 0.3], [0.0, 0.4]], [[-4], [0.5]], [[1, 0]], [1, 0], [0])
    z = np.linalg.solve(np.eye(2) - map.jacobians(np.array([True])), map.offsets(np.array([True])))
    found = manifolds(map, z, "stable", n_iterations=4)
    assert found.attrs["invertible"] is False
    check_closed_form(map, found, 1e-10, unstable=False)
    start, loc = found.segment_start.values, found.location.values
    on_plane = np.flatnonzero((np.abs(loc[:, 0]) < 1e-12) & start & np.r_[False, start[:-1]])
    assert len(on_plane) > 0                                          # vertices within curves
    assert any((loc[i - 1, 0] > 0) != (loc[i + 1, 0] > 0) for i in on_plane)


def test_singular_regions_are_flagged():
    """f = 3 - 4 relu(x) + 6 relu(x - 1) is 3 on all of x < 0, and 3 is its saddle: half a plane is mapped onto the stable line."""
    map = PiecewiseLinearMap([[0, 0], [0, 0.5]], [[-4, 6], [0, 0]], [[1, 0], [1, 0]], [3, 0], [0, -1])
    found = manifolds(map, [3.0, 0.0], "stable", n_iterations=2)
    assert found.attrs["n_singular"] > 0
    assert "singular" in found.attrs["incomplete_because"]
    assert found.attrs["invertible"] is False
    moved = PiecewiseLinearMap([[0, 0], [0, 0.5]], [[-4, 6], [0, 0]], [[1, 0], [1, 0]], [2.5, 0], [0, -1])
    other = manifolds(moved, [3.5, 0.0], "stable", n_iterations=1)     # the plateau 2.5 is no longer the saddle
    assert other.attrs["n_singular"] == 0


def test_results_go_to_zarr_and_come_back(tmp_path):
    tree = {"unstable": manifolds(LOZI, INSIDE, n_iterations=4), "stable": manifolds(LOZI, two_cycle(), "stable", n_iterations=2),
            "homoclinic": homoclinic_points(LOZI, INSIDE, n_iterations=4)}  # fmt: skip
    write_results(tmp_path / "results.zarr", tree)
    back = read_results(tmp_path / "results.zarr")
    for name, data in tree.items():
        xr.testing.assert_identical(back[name].to_dataset().load(), data)


def test_rows_of_results_are_taken_as_points():
    row = xr.Dataset({"location": (("point", "latent"), np.vstack([two_cycle(), np.full((2, 2), np.nan)])), "period": 2})
    by_row, by_hand = manifolds(LOZI, row, n_iterations=3), manifolds(LOZI, two_cycle(), n_iterations=3)
    np.testing.assert_array_equal(by_row.location, by_hand.location)


SINK = PiecewiseLinearMap([[0.5, 0], [0, 0.2]], np.zeros((2, 1)), [[1, 0]], [1, 1], [0])
BAD = [
    (LOZI, INSIDE + 1e-3, {}, "is no fixed point"),
    (LOZI, two_cycle()[:1], {}, "is no fixed point"),
    (LOZI, np.zeros(3), {}, r"shape \(2,\)"),
    (LOZI, [np.nan, 0], {}, "not finite"),
    (SINK, [2, 1.25], {}, "sink"),
    (PiecewiseLinearMap([[1.5, 0], [0, 1.2]], np.zeros((2, 1)), [[1, 0]], [0, 0], [1]), [0, 0], {}, "source"),
    (PiecewiseLinearMap([[1.5, 0], [0, -1.0]], np.zeros((2, 1)), [[1, 0]], [0, 0], [1]), [0, 0], {}, "not hyperbolic"),
    (PiecewiseLinearMap([[1.5, 0], [0, 0.5]], np.zeros((2, 1)), [[1, 0]], [0, 0], [0]), [0, 0], {}, "switching plane"),
    (LOZI, INSIDE, {"which": "stabel"}, "Did you mean 'stable'"),
    (LOZI, INSIDE, {"max_length": 0.0}, "max_length"),
    (LOZI, INSIDE, {"which": "stable", "regions": np.zeros((1, 3), bool)}, r"bool array \(n, 1\)"),
    ([LOZI, LOZI], INSIDE, {}, "pass fit="),
]  # fmt: skip


@pytest.mark.parametrize(("map", "point", "arguments", "match"), BAD)
def test_bad_input_is_refused(map, point, arguments, match):
    with pytest.raises(ArgumentError, match=match):
        manifolds(map, point, **arguments)


def test_too_many_regions_say_what_to_do():
    rng = np.random.default_rng(0)
    map = PiecewiseLinearMap([1.5, 0.5], 0.01 * rng.standard_normal((2, 13)), rng.standard_normal((13, 2)), [0.3, 0.2], rng.standard_normal(13))
    z = np.zeros(2)
    for _ in range(100):
        z = np.linalg.solve(np.eye(2) - map.jacobians(map.words(z)), map.offsets(map.words(z)))
    with pytest.raises(ArgumentError, match=r"2\^13 = 8,192 words.*orbit="):
        manifolds(map, z, "stable")
    found = manifolds(map, z, "stable", orbit=3 * rng.standard_normal((500, 2)), n_iterations=3)
    assert "regions" in found.attrs["incomplete_because"]
    assert found.attrs["complete"] is False
    check_closed_form(map, found, 1e-10, unstable=False)
