"""Distances between codes: zero for the same code under other names, ln 2 for nothing in common; and a test of groups that keeps its level."""

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis.symbols import code_of_partition, code_of_symbols, compare_codes, compare_groups, symbolic_code
from dynrnn.results import read_results, write_results
from tests.analysis.symbols.systems import chain

LN2 = np.log(2)


@pytest.fixture(scope="module")
def fit_and_permuted():
    model = dr.ShallowPLRNN(2, 2, 8, random_state=3)
    with torch.no_grad():
        model.W1 *= 4
        model.h2 += 0.3 * torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
        model.A *= 0.2
        model.h1 += 0.2
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    other = dr.ShallowPLRNN(2, 2, 8, random_state=3)
    with torch.no_grad():
        other.A.copy_(model.A), other.h1.copy_(model.h1)
        other.W1.copy_(model.W1[:, :, order]), other.W2.copy_(model.W2[:, order]), other.h2.copy_(model.h2[:, order])
    return model, other


def test_a_fit_with_its_units_permuted_is_at_zero(fit_and_permuted):
    model, other = fit_and_permuted
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1, 5, 400, 2)) * 2                                      # the same states, so that rounding enters no word
    orbit = dr.generate(model, 400, initial=torch.zeros(1, 5, 2)).copy()
    orbit["latent"], orbit["observed"] = (orbit.latent.dims, z), (orbit.observed.dims, z)
    a, b = symbolic_code(model, orbit), symbolic_code(other, orbit)
    assert int(a.n_symbols[0]) > 5
    assert not (a.region.values == b.region.values).all()
    for options in ({}, {"self_transitions": False}, {"lag": 3}):
        result = compare_codes(a, b, **options)
        assert [float(result[name]) for name in ("distance", "edge_jaccard", "h_top_difference", "unmatched")] == [0, 0, 0, 0]
        assert result.attrs["align"] == "centroid"


def test_a_fits_own_orbit_under_other_names_is_at_zero(fit_and_permuted):
    """On one orbit exactly; each on its own orbit as well, since the order of a sum moves a state by rounding, which contraction keeps small."""
    model, other = fit_and_permuted
    begin = torch.tensor(np.random.default_rng(1).standard_normal((1, 20, 2)) * 2, dtype=torch.float32)
    orbit, apart = (dr.generate(one, 300, initial=begin) for one in fit_and_permuted)
    code = symbolic_code(model, orbit)
    assert int(code.n_symbols[0]) > 3
    for second in (symbolic_code(other, orbit), symbolic_code(other, apart)):
        assert not (second.region.values == code.region.values).all()
        result = compare_codes(code, second)
        assert [float(result[name]) for name in ("distance", "edge_jaccard", "unmatched")] == [0, 0, 0]


def test_numbers_do_not_matter_and_transitions_do():
    P = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.3, 0.1, 0.6]])
    s = chain(P, 5000, 0)
    renamed = np.array([7, 3, 5])[s]
    assert float(compare_codes(code_of_symbols(s), code_of_symbols(renamed)).distance) == 0
    # two chains on one partition: the distance is the stationary-weighted divergence of their rows, to the error of counts 1/sqrt(N)
    Q = np.array([[0.6, 0.1, 0.3], [0.5, 0.2, 0.3], [0.3, 0.1, 0.6]])
    result = compare_codes(code_of_symbols(chain(P, 200_000, 1)), code_of_symbols(chain(Q, 200_000, 2)), align="label")
    kl = lambda p, m: (p * np.log(p / m)).sum(1)  # noqa: E731
    rows = 0.5 * kl(P, (P + Q) / 2) + 0.5 * kl(Q, (P + Q) / 2)
    pi = [np.linalg.matrix_power(X, 200)[0] for X in (P, Q)]
    assert float(result.distance) == pytest.approx((np.mean(pi, axis=0) * rows).sum(), abs=2e-3)
    assert float(result.edge_jaccard) == 0


def test_nothing_in_common_is_ln_2():
    a = code_of_symbols([0, 1, 0, 1, 0, 1, 0])
    b = code_of_symbols([2, 3, 2, 3, 2, 3, 2])
    result = compare_codes(a, b, align="label")
    assert float(result.distance) == LN2
    assert float(result.unmatched) == float(result.edge_jaccard) == 1
    cells = np.array([[0.0], [1.0], [100.0], [101.0]])
    x = np.array([0.0, 1.0] * 50)[:, None]
    far = compare_codes(code_of_partition(cells, xr.Dataset({"observed": (("time", "n"), x)}), variable="observed"),
                        code_of_partition(cells, xr.Dataset({"observed": (("time", "n"), x + 100)}), variable="observed"))
    assert float(far.distance) == LN2
    assert (far.partner == -1).all()


def test_a_symbol_without_a_partner_costs_its_share():
    # b leaves for a third symbol on one of 11 transitions: its row and what leads there differ, all else is equal
    a, b = code_of_symbols([0, 1] * 50 + [0]), code_of_symbols(([0, 1] * 5 + [0, 2]) * 10 + [0])
    result = compare_codes(a, b, align="label")
    w = 0.5 * (10 / 120)                                                             # of symbol 2, of both codes' transitions
    q = 5 / 6                                                                        # of 0 -> 1 in b, 1/6 leads to 2
    m = (1 + q) / 2
    row = 0.5 * -np.log(m) + 0.5 * (q * np.log(q / m) + (1 - q) * LN2)
    assert float(result.distance) == pytest.approx(w * LN2 + 0.5 * row, rel=1e-12)
    assert float(result.unmatched) == pytest.approx(0.5 * 10 / 121)


def test_distance_is_symmetric_and_bounded():
    rng = np.random.default_rng(0)
    for k in range(20):
        codes = [code_of_symbols(chain(rng.dirichlet(np.full(n, 0.3), size=n), 400, k)) for n in rng.integers(2, 9, 2)]
        d, e = (float(compare_codes(*pair).distance) for pair in (codes, codes[::-1]))
        assert d == pytest.approx(e, abs=1e-9)
        assert 0 <= d <= LN2


def _animals(stay, n, seed):
    rng = np.random.default_rng(seed)
    return [code_of_symbols(chain(np.array([[stay, 1 - stay, 0], [0, stay, 1 - stay], [1 - stay, 0, stay]]), 300, int(rng.integers(2**31)))) for _ in range(n)]


def test_groups_that_differ_and_groups_that_do_not(tmp_path):
    different = compare_groups(_animals(0.8, 10, 0), _animals(0.6, 10, 1), n_permutations=999, random_state=0)
    assert float(different.p_value) <= 2 / 1000                                      # a random relabelling is the own one, or its mirror, 1 time in 92
    assert float(different.between) > float(different.within)
    assert int(different.n_relabellings) == 92378                                    # 20 choose 10, halved
    again = compare_groups(_animals(0.8, 10, 0), _animals(0.6, 10, 1), n_permutations=999, random_state=0)
    xr.testing.assert_identical(different, again)
    write_results(tmp_path / "results.zarr", {"groups": different, "pair": compare_codes(*_animals(0.8, 2, 5))})
    xr.testing.assert_identical(read_results(tmp_path / "results.zarr")["groups"].to_dataset(), different)


def test_level_of_the_group_test():
    # 60 times four against four of one kind: p <= .1 should come 6 times, sd 2.3; and p is uniform, mean .5 with sd .29 / sqrt(60) = .037
    found = [compare_groups(_animals(0.7, 4, 2 * k), _animals(0.7, 4, 2 * k + 1), n_permutations=199, align="label", random_state=k) for k in range(60)]
    p = np.array([float(one.p_value) for one in found])
    assert (p <= 0.1).sum() <= 6 + 3 * 2.3
    assert abs(p.mean() - 0.5) < 3.5 * 0.037


def test_errors_of_comparisons():
    a, b = code_of_symbols([0, 1, 0]), code_of_symbols([[[0, 1, 0]], [[1, 1, 0]]])
    with pytest.raises(dr.ArgumentError, match="code_b holds 2 fits"):
        compare_codes(a, b)
    assert float(compare_codes(a, b, fit_b=0).distance) == 0
    with pytest.raises(dr.ArgumentError, match="centroids in one space"):
        compare_codes(a, a, align="centroid")
    with pytest.raises(dr.ArgumentError, match="Did you mean 'label'"):
        compare_codes(a, a, align="labels")
    with pytest.raises(dr.ArgumentError, match="at least 2"):
        compare_groups([a], b)
    wide = code_of_symbols(np.arange(5000))
    with pytest.raises(dr.ArgumentError, match="coarse_grain"):
        compare_codes(wide, wide)
    assert float(compare_codes(wide, wide, align="label").distance) == 0
