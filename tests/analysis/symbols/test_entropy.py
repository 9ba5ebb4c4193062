"""Entropies, orders and forbidden words of sequences for which they are known."""

import numpy as np
import pytest
import xarray as xr

import dynrnn as dr
from dynrnn.analysis.symbols import code_entropies, code_of_symbols, forbidden_words, markov_order, symbolic_code, word_counts
from dynrnn.analysis.symbols.estimators import CORRECTIONS, entropy_of_counts
from dynrnn.analysis.symbols.sequence import words_up_to
from dynrnn.analysis.symbols.spectral import growth_rates, stationary, topological_entropy
from dynrnn.results import read_results, write_results
from tests.analysis.symbols.systems import GOLDEN, LOZI, TENT, chain, golden_mean, logistic, lozi

N = 1_000_000


def test_doubling_map():
    # binary digits of a random number, since the map itself dies in floating point; each h_n has its error near 2^n / 2N < 1e-3 for n <= 10
    result = code_entropies(code_of_symbols(np.random.default_rng(0).integers(0, 2, N)), max_length=10)
    np.testing.assert_allclose(result.entropy_rate[0], np.log(2), atol=1e-3)
    np.testing.assert_allclose(result.topological[0], np.log(2), atol=1e-9)
    assert result.h_mu_standard_error[0] < 1e-4


def test_golden_mean_shift():
    result = code_entropies(code_of_symbols(golden_mean(N)), max_length=12)
    h = np.log(GOLDEN)
    assert abs(float(result.h_mu[0]) - h) < 1e-3
    assert int(result.chosen_length[0]) == 2
    assert bool(result.converged[0])
    np.testing.assert_allclose(result.topological[0, 1:], h, atol=1e-9)             # eigenvalues of small matrices, to rounding
    # metric <= topological at every length; windows at the ends make a stretch of words not quite stationary, by ln N / N at most
    assert (result.entropy_rate_uncorrected.values <= result.topological.values + np.log(N) / N * 12).all()
    fibonacci = [2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377]
    assert result.n_words.values[0].tolist() == fibonacci


def test_logistic_map_by_its_tent():
    x = np.arcsin(np.sqrt(logistic(N)))[:, None] * 2 / np.pi                         # conjugate to the tent map, with the same partition at 1/2
    result = code_entropies(symbolic_code(TENT, x), max_length=10)
    np.testing.assert_allclose(result.entropy_rate[0], np.log(2), atol=1e-3)
    assert float(result.h_mu[0]) <= float(result.h_top[0]) + 1e-5


def test_lozi_map_by_its_regions():
    # h_mu <= sum of positive exponents = .4702 for the partition of the kink, which generates; topological ln(1124)/14 = .5017 from its cycles
    result = code_entropies(symbolic_code(LOZI, lozi(N)), max_length=20)
    top, rate = result.topological.values[0], result.entropy_rate.values[0]
    assert abs(float(result.h_mu[0]) - 0.4702) < 2e-3                                # words of length n still fall by 1e-4 a symbol at n = 18
    assert abs(float(result.h_top[0]) - 0.5017) < 5e-3
    assert float(result.h_mu[0]) < float(result.h_top[0])
    assert (np.diff(top) < 1e-12).all()                                              # never rises with n
    assert (result.entropy_rate_uncorrected.values[0] < top).all()
    assert (np.diff(rate[:15]) < 0).all()


def test_standard_errors_cover():
    # a chain whose local information varies: 100 replicas of 4,000 symbols; 95 % intervals must cover between 86 and 100 (three binomial sds of 2.2)
    P = np.array([[0.95, 0.05, 0.0], [0.1, 0.4, 0.5], [0.3, 0.3, 0.4]])
    pi, _ = stationary(*_edges(P), 3)
    h = -sum(pi[i] * P[i, j] * np.log(P[i, j]) for i in range(3) for j in range(3) if P[i, j])
    z = []
    for seed in range(100):
        result = code_entropies(code_of_symbols(chain(P, 4000, seed)), max_length=2)
        z.append((float(result.entropy_rate[0, 1]) - h) / float(result.standard_error[0, 1]))
    assert 86 <= (np.abs(z) < 1.96).sum() <= 100
    assert 0.7 < np.std(z) < 1.4                                                     # 100 replicas: sd known to 7 %, sqrt(n)-blocks to some 20 %


def _edges(P):
    a, b = np.nonzero(P)
    return a, b, P[a, b]


@pytest.mark.parametrize("name", CORRECTIONS)
def test_corrections_mend_the_bias(name):
    # 200 samples of 50 equally likely outcomes, 400 times: the bias of relative frequencies is 49/400 = .12, each correction must take most of it
    rng = np.random.default_rng(0)
    found = [entropy_of_counts(c[c > 0], name) for c in rng.multinomial(200, np.full(50, 0.02), size=400)]
    bias = np.mean(found) - np.log(50)
    assert (abs(bias + 49 / 400) < 0.02) if name == "none" else (abs(bias) < 0.025)
    assert entropy_of_counts(np.array([10**9]), name) == pytest.approx(0, abs=1e-8)
    with pytest.raises(dr.ArgumentError, match="Did you mean 'grassberger'"):
        entropy_of_counts(np.array([1]), "grasberger")


def test_too_few_windows_are_no_estimate():
    code = code_of_symbols(np.arange(1000) % 500)
    result = code_entropies(code, 3)
    assert np.isnan(result.h_mu[0])
    assert int(result.chosen_length[0]) == 0
    assert not bool(result.converged[0])
    assert float(result.h_top[0]) == 0                                               # the graph of pairs is one cycle


def test_runs_taken_as_one_symbol():
    # a slow cycle 0 -> 1 -> 2 with random dwell: with self-transitions its entropy is that of leaving, without it nothing is left to guess
    code = code_of_symbols(chain(np.array([[0.9, 0.1, 0], [0, 0.9, 0.1], [0.1, 0, 0.9]]), 100_000, 3))
    with_runs, without = code_entropies(code, 4), code_entropies(code, 4, self_transitions=False)
    leave = -0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    assert abs(float(with_runs.h_mu[0]) - leave) < 5 * float(with_runs.h_mu_standard_error[0])
    assert float(without.h_mu[0]) == pytest.approx(0, abs=1e-6)
    assert float(without.h_top[0]) == 0
    assert without.h_mu.attrs["units"] == "nat per transition"
    assert without.attrs["self_transitions"] == 0


def test_a_lag_is_a_power_of_the_chain():
    P = np.array([[0.7, 0.3], [0.2, 0.8]])
    s = chain(P, 200_000, 4)
    table = word_counts(code_of_symbols(s), 2, lag=3)
    pairs = {tuple(w): c for w, c in zip(table.word.values[0].tolist(), table["count"].values[0].tolist())}
    label = code_of_symbols(s).label.values[0]
    cube = np.linalg.matrix_power(P, 3)[np.ix_(label, label)]
    row = pairs[0, 0] + pairs[0, 1]
    assert abs(pairs[0, 0] / row - cube[0, 0]) < 4 * np.sqrt(3 * 0.25 / row)          # counts of three interleaved paths
    assert sum(pairs.values()) == 200_000 - 3


def test_words_are_counted_exactly_beyond_63_bits():
    rng = np.random.default_rng(5)
    s = rng.integers(0, 1000, 3000)
    s[1500:] = s[:1500]                                                              # words of 8 symbols need 80 bits, and repeat
    *_, words = words_up_to(s, 1000, 8)
    table = {}
    for t in range(len(s) - 7):
        table[tuple(s[t : t + 8])] = table.get(tuple(s[t : t + 8]), 0) + 1
    assert {tuple(w): c for w, c in zip(words.spelled(s), words.count)} == table


def test_nothing_is_counted_across_trials_and_breaks():
    table = word_counts(code_of_symbols([[0, 1, -1, 0], [1, 1, 0, -1]]), 2)
    # 0 and 1 occur three times each and 0 comes first, so they keep their numbers
    assert sorted(map(tuple, table.word.values[0].tolist())) == [(0, 1), (1, 0), (1, 1)]


def test_forbidden_words():
    # sequences without 11 and 0000, as a chain on the three last bits: exactly these two are minimal
    words = [0b000, 0b001, 0b010, 0b100, 0b101]
    to = np.array([[((i << 1) & 7 == j & 6) and not (i == j == 0) for j in words] for i in words], float)
    bits = np.array(words)[chain(to / to.sum(1, keepdims=True), 50_000, 6)] & 1
    code = code_of_symbols(bits)
    found = forbidden_words(code, 8)
    label = code.label.values[0]
    spelled = {tuple(label[w[w >= 0]].tolist()) for w in found.word.values}
    assert spelled == {(1, 1), (0, 0, 0, 0)}
    assert (found.p_value < 1e-6).all()
    coin = forbidden_words(code_of_symbols(np.random.default_rng(0).integers(0, 2, 100)), 8)
    assert coin.p_value.max() > 0.1                                                  # absent by chance, and it says so


@pytest.mark.parametrize(("order", "seed"), [(0, 0), (1, 1), (2, 2)])
def test_markov_order(order, seed):
    rng = np.random.default_rng(seed)
    n = 100_000
    u = rng.random(n)
    s = np.zeros(n, np.int64)
    p = {0: lambda t: 0.4, 1: lambda t: 0.3 + 0.4 * s[t - 1], 2: lambda t: 0.35 + 0.3 * (s[t - 1] ^ s[t - 2])}[order]   # order 2 hides from pairs
    for t in range(2, n):
        s[t] = u[t] < p(t)
    result = markov_order(code_of_symbols(s))
    assert int(result.order[0]) == int(result.order_bic[0]) == order
    assert not bool(result.at_least[0])


def test_markov_order_rejects_as_rarely_as_it_says():
    # 200 coins of 2,000 flips: the family's level is .05, so 10 expected and 22 is four sds away
    wrong = [int(markov_order(code_of_symbols(np.random.default_rng(k).integers(0, 3, 2000)), 3, level=0.05).order[0]) > 0 for k in range(200)]
    assert sum(wrong) <= 22


def test_growth_of_sparse_graphs():
    # one cycle of 1000 nodes with a chord: 1 = x^-1000 + x^-400, solved by bisection; beside it a component of entropy ln 2 and a dead end
    n = 1000
    a = np.concatenate([np.arange(n), [0], [n, n, n + 1, n + 1], [n + 1]])
    b = np.concatenate([(np.arange(n) + 1) % n, [601], [n, n + 1, n, n + 1], [n + 2]])
    low, high = 1.0, 2.0
    for _ in range(80):
        x = (low + high) / 2
        low, high = (x, high) if x**-1000.0 + x**-400.0 > 1 else (low, x)
    label, rate = growth_rates(a, b, n + 3)
    assert rate[label[0]] == pytest.approx(np.log(low), abs=1e-9)
    assert rate[label[n]] == pytest.approx(np.log(2))
    assert rate[label[n + 2]] == -np.inf
    assert topological_entropy(np.arange(5), (np.arange(5) + 1) % 5, 5) == 0


def test_several_fits_and_zarr(tmp_path):
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 2, (3, 2, 4000))
    symbols[1] = -1
    code = code_of_symbols(symbols)
    groups = {"entropies": code_entropies(code, 5), "order": markov_order(code, 2), "words": word_counts(code, 3), "forbidden": forbidden_words(code, 4, fit=0)}
    assert np.isnan(groups["entropies"].h_mu[1])
    assert groups["entropies"].status.values.tolist() == ["analysed", "no symbols", "analysed"]
    alone = code_entropies(code_of_symbols(symbols[2]), 5)
    assert alone.h_mu.values[0] == groups["entropies"].h_mu.values[2]
    write_results(tmp_path / "results.zarr", groups)
    back = read_results(tmp_path / "results.zarr")
    for name, dataset in groups.items():
        xr.testing.assert_identical(back[name].to_dataset(), dataset)
