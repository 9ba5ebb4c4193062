"""A run taken apart through its folder, from Python and from the command line."""

import networkx as nx
import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    x = np.stack([np.sin(0.3 * np.arange(400)), np.cos(0.3 * np.arange(400))], 1)
    dr.fit(dr.ALRNN(2, 4, 2, n_fits=2, random_state=0), x, n_updates=30, sequence_length=20, out=path, progress=False, random_state=0)
    return path


def test_what_is_stored_is_what_is_returned(run):
    found = dr.analyze(run, max_period=3, n_steps=500, progress=False)
    tree = dr.read_results(run / "results.zarr")
    for name in ("lyapunov_spectrum", "fixed_points", "cycles", "symbolic_code", "code_entropies"):
        xr.testing.assert_equal(tree[name].to_dataset().load(), found[name])
        assert found[name].sizes["fit"] == 2
    assert found["fixed_points"].complete.all()                                     # four regions
    graph = nx.read_graphml(run / "graphs" / "fit-1.graphml")
    assert graph.number_of_nodes() == int(found["symbolic_code"].n_symbols[1])
    told = dr.analysis.summary(found)
    assert told.count("these are all") == 2
    assert "regions visited" in told
    assert told.count("Kaplan-Yorke") == 2


def test_from_the_shell(run, capsys):
    main(["analyze", str(run), "--max-period", "2", "--steps", "200", "--no-progress"])
    assert "fit 1" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["analyze", str(run.parent / "nothing")])
    assert stopped.value.code == 2
    assert "not a folder" in capsys.readouterr().err


def test_a_fit_that_runs_away_says_so_and_the_others_do_not(run, tmp_path):
    model = dr.load(run / "checkpoints" / "last")
    with torch.no_grad():
        model.A[0] = 1e10
    copy = dr.results.RunFolder.create(tmp_path / "copy", {})
    dr.save(model, copy.checkpoints / "last")
    found = dr.analyze(copy.path, max_period=2, n_steps=500, progress=False)
    status = found["symbolic_code"].status.values
    assert status[0] == "orbit not finite"                                          # no sample of it is left after the transient
    assert status[1] == "analysed"
    assert found["fixed_points"].valid[0].any()                                     # its parameters are finite
    assert sorted(path.name for path in (copy.path / "graphs").iterdir()) == ["fit-1.graphml"]


def test_a_fit_that_is_not_finite_does_not_take_the_others_with_it(run, tmp_path):
    model = dr.load(run / "checkpoints" / "last")
    with torch.no_grad():
        model.W[0, 0, 0] = torch.nan
    copy = dr.results.RunFolder.create(tmp_path / "copy", {})
    dr.save(model, copy.checkpoints / "last")
    found = dr.analyze(copy.path, max_period=2, n_steps=200, progress=False)
    for name in ("fixed_points", "cycles", "symbolic_code"):
        assert found[name].status.values.tolist() == ["parameters not finite", "analysed"], name
    assert torch.equal(dr.select(dr.load(copy.checkpoints / "last"), fit=1).W, model.W[1:])
    with torch.no_grad():
        model.W[1] = torch.nan
    dr.save(model, tmp_path / "nothing")
    with pytest.raises(dr.FileFormatError, match="W hold NaN or inf in every fit"):
        dr.load(tmp_path / "nothing")


def test_a_folder_without_a_model(tmp_path):
    folder = dr.results.RunFolder.create(tmp_path / "empty", {})
    with pytest.raises(dr.FileFormatError, match="has not ended"):
        dr.analyze(folder.path)


def test_a_training_with_checkpoints_gets_a_table_of_bifurcations(tmp_path):
    x = np.stack([np.sin(0.3 * np.arange(400)), np.cos(0.3 * np.arange(400))], 1)
    options = {"n_updates": 60, "sequence_length": 20, "progress": False, "random_state": 0, "learning_rate": 2e-2}
    run = dr.fit(dr.ShallowPLRNN(2, 2, 6, n_fits=2, random_state=0), x, checkpoint_every=15, out=tmp_path / "run", **options)
    found = dr.analyze(tmp_path / "run", max_period=1, n_steps=200, progress=False)
    table = dr.analysis.bifurcations(run.checkpoints, history=run.history)
    xr.testing.assert_equal(found["bifurcations"], table)
    xr.testing.assert_equal(dr.read_results(tmp_path / "run" / "results.zarr")["bifurcations"].to_dataset().load(), table)
    assert "in training" in dr.analysis.summary(found)
    for k in range(2):                                                              # what is there at the end is what the fixed points of the model are
        alive = table.n_objects[k] - int(np.isfinite(table.died[k]).sum())
        assert alive == found["fixed_points"].n_fixed_points[k]


def test_a_reservoir_has_no_regions_but_the_rest(tmp_path):
    """Its free run follows the sine that it was solved on, so that its largest exponent is near zero; the report shows what there is."""
    x = np.stack([np.sin(0.3 * np.arange(600)), np.cos(0.3 * np.arange(600))], 1)
    dr.fit(dr.ESN(2, 6, density=0.8, bias_scaling=0.5, n_fits=2, random_state=0), x, out=tmp_path / "esn", progress=False)
    found = dr.analyze(tmp_path / "esn", max_period=1, n_steps=400, progress=False)
    assert set(found) == {"lyapunov_spectrum", "fixed_points", "cycles"}
    assert found["lyapunov_spectrum"].sizes["exponent"] == 8
    assert "Kaplan-Yorke" in dr.analysis.summary(found)
    assert dr.report(tmp_path / "esn").stat().st_size > 10_000
