"""The table's cells are the medians of the variables, and its notes say what the numbers do not."""

import numpy as np
import pytest
import xarray as xr

import dynrnn as dr
from dynrnn.analysis.reconstruction import score_table


def test_cells_and_notes():
    published = {"method": "m", "where": "somewhere", "spread": 0.5, "measured_by": "gtf-2023"}
    scores = xr.Dataset(
        {
            "d_stsp": ("fit", [3.0, 1.0, np.inf]),
            "diverged": ("fit", [False, False, True]),
            "d_stsp_floor": ("pair", [0.1, 0.3, 0.2]),
            "d_stsp_surrogate": ("draw", [2.0, 4.0]),
            "d_stsp_persistence": ((), 16.0),
            "d_stsp_published": ((), 4.3, published),
            "d_hellinger": ("fit", [0.1, 0.2, np.inf]),
            "d_hellinger_linear": ("nothing", np.empty(0)),
            "d_hellinger_published": ((), 0.34, published),
        },
        coords={"fit": [0, 1, 5]},
        attrs={"preset": "dynrnn-1", "floor_is_shorter": 1, "floor_source": "ten pairs", "var_stabilised": 1},
    )
    lines = score_table(scores).splitlines()
    assert lines[1].split() == ["D_stsp", "3", "[1,", "inf]", "0.2", "3", "-", "16", "4.3+-0.5*"]
    assert lines[2].split() == ["D_H", "0.2", "[0.1,", "inf]", "-", "-", "-", "-", "0.34+-0.5**"]
    columns = {line.index(cell) for line, cell in ((lines[0], "floor"), (lines[1], "0.2 "), (lines[2], "-"))}
    assert len(columns) == 1  # aligned
    notes = "\n".join(lines[3:])
    assert "*, ** m; somewhere; measured as gtf-2023" in notes
    assert "1 of 3 fits diverged (fit 5)" in notes
    assert "ten pairs" in notes
    assert "unstable" in notes


def test_what_holds_no_scores_is_refused():
    with pytest.raises(dr.ArgumentError, match=r"what dr.evaluate gives.* got Dataset"):
        score_table(xr.Dataset({"observed": ("time", [1.0])}))
