"""What the studies print as checks fails where it should."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

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
