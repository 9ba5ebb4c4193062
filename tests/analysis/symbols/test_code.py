"""Symbols are the regions of the states, whatever the number of units, the layout of the orbit or the block in which it is read."""

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.symbols import coarse_grain, code_of_partition, code_of_symbols, dwell_times, regions, symbolic_code, transition_graph
from dynrnn.results import read_results, write_results
from tests.analysis.symbols.systems import TENT, chain


@pytest.fixture(scope="module")
def ensemble():
    model = dr.ShallowPLRNN(2, 3, 6, n_fits=3, random_state=0)
    with torch.no_grad():
        model.W1 *= 3
        model.h2 += 0.5
        model.A[1] = 3.0                                                            # this one runs away, and overflows within 1000 steps
    return model, dr.generate(model, 1000, initial=torch.ones(3, 2, 3) * torch.tensor([1.0, -0.5])[None, :, None])


def test_words_of_symbols_are_those_of_the_states(ensemble):
    model, orbit = ensemble
    code = symbolic_code(model, orbit)
    for k, map in enumerate(canonical(model).maps):
        z = orbit.latent.values[k]
        good = np.isfinite(z).all(-1)
        symbol = code.symbol.values[k]
        assert ((symbol >= 0) == np.logical_and.accumulate(good, 1)).all()
        assert (code.region.values[k][symbol[symbol >= 0]] == map.words(z[symbol >= 0])).all()
        counts = code["count"].values[k]
        assert (np.diff(counts) <= 0).all()
        assert counts.sum() == code.n_coded[k] == (symbol >= 0).sum()
        assert (counts > 0).sum() == code.n_symbols[k] == code.valid.values[k].sum()
        if k != 1:
            np.testing.assert_allclose(code.centroid.values[k, 0], z[symbol == 0].mean(0), rtol=1e-9, atol=1e-12)   # sums of 2,000 doubles
    assert code.status.values.tolist() == ["analysed", "analysed until the orbit diverged", "analysed"]
    assert (code.symbol.values[1, :, -1] == -1).all()


def test_observed_centroids_are_the_readout_of_latent_ones(ensemble):
    model, orbit = ensemble
    code = symbolic_code(dr.select(model, fit=0), orbit.isel(fit=[0]))
    np.testing.assert_allclose(code.centroid_observed[0], code.centroid.values[0, :, :2], rtol=1e-12, atol=1e-12)   # identity observation, affine
    z = orbit.latent.values[0].reshape(-1, 3)
    np.testing.assert_allclose(code.spread[0], z.std(0), rtol=1e-10)


def test_blocks_and_layouts_give_the_same_code(ensemble, monkeypatch, tmp_path):
    model, orbit = ensemble
    whole = symbolic_code(model, orbit)
    disk = dr.generate(model, 1000, initial=torch.ones(3, 2, 3) * torch.tensor([1.0, -0.5])[None, :, None], out=tmp_path / "orbit")
    monkeypatch.setattr(regions, "BLOCK_NUMBERS", 1)                                 # 256 states a block
    blocks = symbolic_code(model, disk)
    assert (blocks.symbol.values == whole.symbol.values).all()
    assert (blocks.region.values == whole.region.values).all()
    np.testing.assert_allclose(blocks.centroid.values, whole.centroid.values, rtol=1e-9, atol=1e-12)
    turned = symbolic_code(model, orbit.transpose("time", "latent", "trial", "fit", "feature"))
    assert (turned.symbol.values == whole.symbol.values).all()
    alone = symbolic_code(dr.select(model, fit=2), orbit.isel(fit=[2]))
    assert (alone.symbol.values[0] == whole.symbol.values[2]).all()
    assert alone.fit.values.tolist() == [2]


@pytest.mark.parametrize("H", [0, 1, 63, 64, 65, 200])
def test_words_of_any_number_of_units(H):
    rng = np.random.default_rng(H)
    map = PiecewiseLinearMap(np.zeros(4), np.zeros((4, H)), rng.standard_normal((H, 4)), np.zeros(4), rng.standard_normal(H))
    z = rng.standard_normal((300, 4))[rng.integers(0, 300, 2000)]
    code = symbolic_code(map, z)
    words = map.words(z)
    assert (code.region.values[0][code.symbol.values[0, 0]] == words).all()
    assert int(code.n_symbols[0]) == len(np.unique(words, axis=0))


def test_a_fit_that_is_not_finite_is_an_empty_row(ensemble):
    model, orbit = ensemble
    broken = dr.concat([dr.select(model, fit=0), dr.select(model, fit=2)])
    with torch.no_grad():
        broken.A[1] = torch.nan
    code = symbolic_code(broken, orbit.isel(fit=[0, 2]))
    assert code.status.values.tolist() == ["analysed", "parameters not finite"]
    assert (code.symbol.values[1] == -1).all()
    assert not code.valid.values[1].any()
    with pytest.raises(dr.ArgumentError, match="holds no symbol: parameters not finite"):
        transition_graph(code, fit=2)
    everything = np.full((5, 1), np.nan)
    assert symbolic_code(TENT, everything).status.values.tolist() == ["orbit not finite"]


def test_errors_name_what_does_not_fit(ensemble):
    model, orbit = ensemble
    with pytest.raises(dr.ArgumentError, match="states of 2 numbers.*latent states have 3"):
        symbolic_code(model, orbit.observed.values)
    with pytest.raises(dr.ArgumentError, match=r"holds the fits \[0, 1\].*\[0, 1, 2\]"):
        symbolic_code(model, orbit.isel(fit=[0, 1]))
    with pytest.raises(dr.ArgumentError, match="holds 3 fits.*name it"):
        transition_graph(symbolic_code(model, orbit))
    with pytest.raises(dr.ArgumentError, match="fit=7"):
        transition_graph(symbolic_code(model, orbit), fit=7)
    with pytest.raises(dr.ArgumentError, match="whole numbers"):
        code_of_symbols([0.5, 1.0])
    with pytest.raises(dr.ArgumentError, match="no variable 'latent'"):
        symbolic_code(model, orbit[["observed"]])


def test_symbols_partitions_and_maps_agree():
    x = np.random.default_rng(0).random((3, 500, 1))
    by_map = symbolic_code(TENT, x)
    by_cell = symbolic_code(lambda z: (z[:, 0] > 0.5).astype(int), x)
    by_centre = code_of_partition(np.array([[0.25], [0.75]]), x)                     # Voronoi cells meet at 0.5
    by_number = symbolic_code(None, symbols=(x[..., 0] > 0.5).astype(int))
    for other in (by_cell, by_centre, by_number):
        assert (other.symbol.values == by_map.symbol.values).all()
    assert (by_cell.label.values == by_map.region.values[..., 0]).all()


def test_recordings_are_coded_around_their_gaps():
    x = np.array([0.1, 0.9, np.nan, 0.8, 0.2])[:, None]
    recording = xr.Dataset({"observed": (("time", "neuron"), x)})
    code = code_of_partition(np.array([[0.0], [1.0]]), recording, variable="observed")
    assert code.label.values[0][code.symbol.values[0, 0]][[0, 1, 3, 4]].tolist() == [0, 1, 1, 0]
    assert code.symbol.values[0, 0, 2] == -1
    assert "neuron" in code.centroid_observed.dims


def test_merged_symbols_have_merged_counts_and_centroids(ensemble):
    model, orbit = ensemble
    code = symbolic_code(model, orbit)
    merged = coarse_grain(code, units=[0, 4])
    map = canonical(model).maps[0]
    z = orbit.latent.values[0].reshape(-1, 3)
    words = map.words(z)[:, [0, 4]]
    symbol = merged.symbol.values[0].ravel()
    assert (merged.region.values[0][symbol] == words).all()
    np.testing.assert_allclose(merged.centroid.values[0, 0], z[symbol == 0].mean(0), rtol=1e-9)
    np.testing.assert_allclose(np.nansum(merged.occupancy.values, 1), 1.0)


def test_dwell_times_of_a_chain_are_geometric():
    stay = np.array([0.9, 0.6])
    code = code_of_symbols(chain(np.array([[0.9, 0.1], [0.4, 0.6]]), 200_000, seed=1))
    runs = code.n_runs.values[0]
    mean, sd = 1 / (1 - stay), np.sqrt(stay) / (1 - stay)
    assert (np.abs(code.dwell_mean.values[0] - mean) < 4 * sd / np.sqrt(runs)).all()
    assert (np.abs(code.dwell_sd.values[0] / sd - 1) < 4 * np.sqrt(8 / (4 * runs))).all()    # kurtosis of a geometric law is at most 9 or so
    table = dwell_times(code)
    held = table.held.values[0] == 0
    assert (table["count"].values[0] * table.length.values[0])[held].sum() / table["count"].values[0][held].sum() == pytest.approx(code.dwell_mean.values[0, 0])
    assert (table.length * (table["count"] + table.cut)).sum() == 200_000


def test_round_trip_through_zarr(ensemble, tmp_path):
    model, orbit = ensemble
    code = symbolic_code(model, orbit)
    groups = {"code": code, "merged": coarse_grain(code, units=[0, 1]), "dwell": dwell_times(code)}
    write_results(tmp_path / "results.zarr", groups)
    back = read_results(tmp_path / "results.zarr")
    for name, dataset in groups.items():
        xr.testing.assert_identical(back[name].to_dataset(), dataset)
        assert all(variable.dtype.kind != "O" for variable in dataset.variables.values())
