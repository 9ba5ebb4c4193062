"""Points and multipliers of words against exact arithmetic, plain eigenvalues, and each other."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from dynrnn.analysis._cycles import cycles
from dynrnn.analysis.piecewise.admissible import admissible_words
from dynrnn.analysis.piecewise.cycle_list import holds_continuum
from dynrnn.analysis.piecewise.cycle_solver import solve_words
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.multipliers import as_complex, product_eigenvalues
from dynrnn.analysis.piecewise.words import bits_of, lyndon_words, minimal_period, n_lyndon, smallest_rotation
from dynrnn_kernels.cycles.solve import solve_blocks, solve_product
from tests.analysis.piecewise.published import LOZI, PLRNN_2D, PLRNN_10D, SHALLOW, TENT


def exact_points(map, word):
    """The cycle of a word of a map of one or two units of z, in rational arithmetic."""
    M, k = map.latent_dim, len(word)
    J = [[[Fraction(x) for x in row] for row in one] for one in map.jacobians(word).tolist()]
    c = [[Fraction(x) for x in one] for one in map.offsets(word).tolist()]
    P, d = [[Fraction(int(i == j)) for j in range(M)] for i in range(M)], [Fraction(0)] * M
    for t in range(k):
        P = [[sum(J[t][i][m] * P[m][j] for m in range(M)) for j in range(M)] for i in range(M)]
        d = [sum(J[t][i][m] * d[m] for m in range(M)) + c[t][i] for i in range(M)]
    K = [[int(i == j) - P[i][j] for j in range(M)] for i in range(M)]
    if M == 1:
        z = [d[0] / K[0][0]]
    else:
        det = K[0][0] * K[1][1] - K[0][1] * K[1][0]
        z = [(K[1][1] * d[0] - K[0][1] * d[1]) / det, (K[0][0] * d[1] - K[1][0] * d[0]) / det]
    out = []
    for t in range(k):
        out.append([float(x) for x in z])
        z = [sum(J[t][i][m] * z[m] for m in range(M)) + c[t][i] for i in range(M)]
    return np.array(out), P


@pytest.mark.parametrize(("map", "k"), [(TENT, 150), (LOZI, 100), (SHALLOW, 60), (PLRNN_2D[53], 53)])
def test_long_words_are_solved_as_exact_arithmetic_does(map, k):
    """Products of Jacobians here reach 1e45, where the product's own equation has no digit left."""
    rng = np.random.default_rng(0)
    words = map.words(rng.standard_normal((6, k, map.latent_dim)) * 2)
    z, ratio = solve_words(map, words, refine=True)
    for b in range(6):
        want, P = exact_points(map, words[b])
        # blocks are perturbed by some eps each; pivots say how much of that reaches the solution
        tolerance = 1e-14 * (1 + np.abs(want).max()) / ratio[b]
        assert np.abs(z[b] - want).max() <= tolerance
        log, angle = product_eigenvalues(map.jacobians(words[b]))
        if map.latent_dim == 2:
            trace, det = float(P[0][0] + P[1][1]), float(P[0][0] * P[1][1] - P[0][1] * P[1][0])
            mu = as_complex(log, angle)
            assert mu.sum().real == pytest.approx(trace, rel=1e-10, abs=1e-10 * abs(mu[0]))
            assert log.sum() == pytest.approx(np.log(abs(det)), rel=1e-10)


def test_a_hundred_cycle_of_the_tent_map_is_found_though_its_orbit_is_lost_to_rounding():
    word = np.random.default_rng(1).random((100, 1)) < 0.5
    word[0] = ~word[50]                                                                         # no shorter period
    found = cycles(TENT, periods=[100], words=word, route="search", n_starts=0)
    assert found.period[0].values.tolist() == [100]
    assert found.log_modulus.item() == pytest.approx(100 * np.log(2), rel=1e-14)
    z, _ = exact_points(TENT, found.region[0, 0].values)
    np.testing.assert_allclose(found.location[0, 0], z, atol=4e-16)                             # 2 ulp of 1
    lost = z[0]
    for _ in range(100):
        lost = TENT.step(lost)
    assert abs(lost - z[0]) > 0.01                                                              # so iteration could not have shown it


def test_product_and_blocks_agree_where_both_can_be_used():
    rng = np.random.default_rng(2)
    for k, M in product([1, 2, 3, 7], [1, 2, 5]):
        J, c = rng.standard_normal((k, M, M)) / np.sqrt(M), rng.standard_normal((k, M))
        one, two = np.zeros((k, M)), np.zeros((k, M))
        assert solve_product(J, c, one) > 0
        assert solve_blocks(J, c, two) > 0
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)                              # conditions of random I - P reach 1e4
        np.testing.assert_allclose(np.einsum("tij,tj->ti", J, two) + c, np.roll(two, -1, axis=0), atol=1e-12 * np.abs(two).max())


def test_multipliers_are_the_eigenvalues_of_the_product():
    rng = np.random.default_rng(3)
    for k, M in product([1, 2, 6], [1, 2, 3, 8]):
        J = rng.standard_normal((k, M, M)) / np.sqrt(M)
        P = np.linalg.multi_dot([*J[::-1], np.eye(M)]) if k > 1 else J[0]
        mu = as_complex(*product_eigenvalues(J))
        want = np.linalg.eigvals(P)
        for value in mu:
            assert np.abs(want - value).min() < 1e-9 * np.abs(want).max()
        assert np.abs(mu[0]) == pytest.approx(np.abs(want).max(), rel=1e-9)


def test_multipliers_beyond_doubles_keep_their_logarithms():
    """A fixed similarity of diagonal factors: the logarithms add up however large or small they get."""
    rng = np.random.default_rng(4)
    V = rng.standard_normal((4, 4))
    J = np.stack([V @ np.diag([1e4, -3.0, 1e-2, 0.0]) @ np.linalg.inv(V)] * 101)
    log, angle = product_eigenvalues(J)
    np.testing.assert_allclose(log[:3], 101 * np.log([1e4, 3, 1e-2]), rtol=1e-7)                # 1e6 between them and cond(V) cost 9 of 16 digits
    assert log[3] < -101 * 25 or log[3] == -np.inf
    np.testing.assert_allclose(angle[:3], [0, np.pi, 0], atol=1e-9)
    assert np.isfinite(as_complex(log, angle)).all()


def test_pairs_turn_by_the_sum_of_their_angles():
    c, s = np.cos(0.3), np.sin(0.3)
    log, angle = product_eigenvalues(np.stack([0.9 * np.array([[c, -s], [s, c]])] * 50))
    np.testing.assert_allclose(log, 50 * np.log(0.9), rtol=1e-12)
    turn = (15.0 + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(angle, [abs(turn), -abs(turn)], rtol=1e-10)


@pytest.mark.parametrize("map", [SHALLOW, PLRNN_2D[16]])
def test_polygons_keep_every_word_that_states_follow(map):
    rng = np.random.default_rng(5)
    z = rng.standard_normal((2000, 2)) * 10.0 ** rng.uniform(-2, 3, (2000, 1))
    longest, orbit = 4, []
    for _ in range(longest):
        orbit.append(map.words(z))
        z = map.step(z)
    seen = np.stack(orbit, axis=1)
    for k, words in enumerate(admissible_words(map, longest, 10**6), 1):
        kept, followed = {smallest(word) for word in words}, {word.tobytes() for word in seen[:, :k]}
        for word in np.unique(seen[:, :k], axis=0):
            symbols = [row.tobytes() for row in word]
            if minimal_period(symbols) == k:
                # only the smallest rotation in the order of first sight is followed up, so words all of whose rotations states follow must be there
                turns = [np.roll(word, -t, axis=0) for t in range(k)]
                if all(turn.tobytes() in followed for turn in turns):
                    assert smallest(word) in kept


def smallest(word):
    return min(np.roll(word, -t, axis=0).tobytes() for t in range(len(word)))


def test_words_without_a_solution_are_told_from_continua():
    identity_left = PiecewiseLinearMap([1.0], [[-2.0]], [[1.0]], [0.0], [0.0])
    assert holds_continuum(identity_left, np.array([[False]]))
    shifted = PiecewiseLinearMap([1.0], [[-2.0]], [[1.0]], [0.5], [0.0])
    assert not holds_continuum(shifted, np.array([[False]]))


def test_rotations_and_necklaces():
    rng = np.random.default_rng(6)
    for _ in range(200):
        word = rng.integers(0, 3, rng.integers(1, 9)).tolist()
        turns = [word[t:] + word[:t] for t in range(len(word))]
        assert turns[smallest_rotation(word)] == min(turns)
        assert minimal_period(word) == next(t for t in range(1, len(word) + 1) if (turns + turns)[t] == word)
    for n, k in [(2, 1), (2, 6), (3, 4), (4, 3)]:
        words = {tuple(word) for word in lyndon_words(n, k).tolist()}
        smallest_ones = {min(w[t:] + w[:t] for t in range(k)) for w in product(range(n), repeat=k) if minimal_period(w) == k}
        assert words == smallest_ones
        assert len(words) == n_lyndon(n, k)
    assert bits_of(np.array([5]), 3).tolist() == [[True, False, True]]


def test_ten_dimensions_keep_their_digits():
    word = PLRNN_10D.words(np.random.default_rng(7).standard_normal((5, 40, 10)))
    z, ratio = solve_words(PLRNN_10D, word, refine=True)
    onward = np.einsum("btij,btj->bti", PLRNN_10D.jacobians(word), z) + PLRNN_10D.offsets(word)
    scale = np.abs(z).max((1, 2), keepdims=True)
    assert (ratio > 0).all()
    assert (np.abs(onward - np.roll(z, -1, axis=1)) <= 1e-13 * scale).all()                     # eps times some ten terms of size 10
