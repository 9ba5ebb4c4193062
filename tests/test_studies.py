"""What the studies print as checks fails where it should."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import cycles
from tests.analysis.piecewise.published import LOZI, SHALLOW_FIXED_POINT

FOLDER = Path(__file__).parents[1] / "studies"


def study(name):
    spec = importlib.util.spec_from_file_location(f"study_{name}", FOLDER / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)             # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_distances_from_a_polyline_with_a_segment_of_no_length():
    """From (0, 0) to (1, 0), the last vertex twice: (0.5, 2) is 2 away, whatever 0 / 0 is, and what is not a number is no distance."""
    line = xr.Dataset({"location": (("vertex", "latent"), [[0.0, 0], [1, 0], [1, 0]]), "segment_start": ("vertex", [True, True, False])})
    distance = study("manifolds").distance
    assert distance(np.array([[0.5, 2.0]]), line) == 2
    with pytest.raises(ValueError, match="nan"):
        distance(np.array([[np.nan, 0.0]]), line)


@pytest.mark.filterwarnings("ignore:1 of 1 fits stopped early")
def test_the_cost_of_fits_that_have_all_stopped_is_found_in_the_end():
    """By a clock that stands still too, no number of updates takes 0.1 s more than another; the cost is then that of 0.1 s for those that were tried."""
    doomed = dr.PLRNN(3, 4, random_state=0)
    with torch.no_grad():
        doomed.A[:] = 1e30
    data = dr.as_recording(np.random.default_rng(0).standard_normal((300, 3)))
    options = {"sequence_length": 50, "max_refused": 3, "progress": False, "random_state": 0}
    rows = study("rows")
    cost = rows.seconds_per_update(doomed, data, options, 0.1, lambda: 0.0)
    assert 0.1 / (3 * rows.MOST_TRIED) < cost <= 0.1 / (rows.MOST_TRIED * 2 / 3)


TINY = {"seeds": 1, "steps": 1_500, "tests": 1}
BESIDE = ["floor (a true recording)", "phase-randomised surrogate", "linear model (VAR)"]
ROWS = {
    "forcing": ({"updates": 2, "only": ("interval",), "intervals": (16,)}, [*BESIDE, "sparse, AL-RNN, interval 16"]),
    "data_budget": (
        {"updates": 2, "only": ("length", "observed"), "lengths": (1_000,), "channels": ("x",), "tests": 2},
        ["1,000 samples", "only x; M = 3", "only x; M = 6"],
    ),
    "gtf_table": (
        {"updates": 2, "only": ("shallow PLRNN, GTF", "shallow PLRNN (H=100), GTF, high rate, best mean", "ES2N, 300 units")},
        [
            *BESIDE, "shallow PLRNN, GTF", "shallow PLRNN, GTF, best free run", "shallow PLRNN (H=100), GTF, high rate, mean",
            "shallow PLRNN (H=100), GTF, high rate, best mean", "ES2N, 300 units",
        ],
    ),
    "families": ({"only": ("shallow", "ES2N"), "seconds": 0.2}, [*BESIDE, "shallow", "ES2N"]),
}


@pytest.mark.parametrize("name", ["forcing", *(pytest.param(name, marks=pytest.mark.slow) for name in ("data_budget", "gtf_table", "families"))])
def test_a_table_goes_on_where_it_was(name, tmp_path, monkeypatch, capsys):
    """Every row once, cost first; rows that are there are not computed again; other settings never mix with them."""
    monkeypatch.syspath_prepend(FOLDER)
    module, (options, rows) = study(name), ROWS[name]
    out = tmp_path / "table.md"
    settings = module.Settings(**TINY | options, out=out)
    module.main(settings)
    lines = out.read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:] == rows
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "core-hours" in capsys.readouterr().out.splitlines()[0]
    kept = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert all(0 <= np.median(row["d_stsp"]) < 17 for row in kept.values() if "d_stsp" in row)                # the mass of one wrong bin is at 16.4
    before = out.read_bytes()
    monkeypatch.setattr(module, "trained", lambda *_: pytest.fail("a row was computed twice"))
    module.main(settings)
    assert out.read_bytes() == before
    with pytest.raises(SystemExit, match="other settings"):
        module.main(module.Settings(**TINY | options | {"random_state": 1}, out=out))


@pytest.mark.parametrize(("left", "right", "word"), [(0.5, 0.4, "FAIL"), (0.5, 0.49, "pass"), (0.3, 0.4, "pass"), (np.nan, 0.4, "FAIL")])
def test_inequalities_pass_or_fail(left, right, word, capsys):
    study("symbolic_codes").tell_inequality("a bound", left, 0.004, right, 0.003)   # three times 0.005
    assert word in capsys.readouterr().out


def test_a_false_cycle_is_counted():
    found = cycles(LOZI, 5).isel(fit=0)
    check = study("published_systems").n_false
    assert check(LOZI, found) == 0
    moved = found.copy(deep=True)
    moved["location"][2, 0, 0] += 1e-6
    assert check(LOZI, moved) == 1
    system = {name: getattr(SHALLOW_FIXED_POINT, name) for name in ("W1", "W2", "h1", "h2")} | {"A": np.diag(SHALLOW_FIXED_POINT.A)}
    assert (study("published_systems").map_of(system).A == SHALLOW_FIXED_POINT.A).all()


def test_the_table_of_lorenz_fits_counts_what_is_there(capsys):
    lorenz = study("lorenz_fixed_points")
    truth, multipliers = lorenz.flow_points()
    here = np.stack([truth, truth + 0.1])                                           # the second fit lacks C-, and has something else
    here[1, 2] = 40.0
    rows = ("fit", "fixed_point")
    size = np.array([[1.1, 1.001, 0.9], [1.2, 1.003, 2.0]])
    found = xr.Dataset({
        "observed": ((*rows, "feature"), here), "eigenvalue": ((*rows, "mode"), size[..., None] + 0j), "valid": (rows, np.ones((2, 3), bool)),
        "virtual": (rows, np.zeros((2, 3), bool)), "stability": (rows, np.where(size < 1, "sink", "saddle")), "complete": ("fit", [True, True]),
    }, coords={"fit": [0, 1]})
    lorenz.table(found, truth, multipliers, 0.5)
    told = capsys.readouterr().out
    assert "| O | 2 of 2 | 0 | 0.00 | 1.1500 | 1.1256 |" in told
    assert "| C- | 1 of 2 | 1 | 1.00 | 0.9000 | 1.0009 |" in told
    assert told.count("fit 1  at [40.") == 1
