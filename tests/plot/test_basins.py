"""The picture of a slice shows its labels, and its words are all within the figure."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynrnn.errors import DynrnnError, FileFormatError
from dynrnn.plot import plot_basins


def slice_of(n_attractors: int = 3) -> xr.Dataset:
    rng = np.random.default_rng(0)
    label = rng.integers(-2, n_attractors, (2, 20, 30))
    at = ("fit", "attractor", "phase")
    x, y = np.linspace(-2, 2, 30), np.linspace(0, 1, 20)
    number = ("fit", "attractor")
    shape = (2, n_attractors)
    return xr.Dataset(
        {
            "label": (("fit", "y", "x"), label),
            "kind": (number, np.full(shape, "quasi-periodic")),
            "period": (number, np.tile(np.arange(n_attractors), (2, 1))),
            "n_points": (number, np.tile(np.maximum(1, np.arange(n_attractors)), (2, 1))),
            "valid": (number, np.ones(shape, bool)),
            "share": (number, np.stack([[(own == a).mean() for a in range(n_attractors)] for own in label])),
            "location_x": (at, rng.uniform(-2, 2, (*shape, n_attractors))),
            "location_y": (at, rng.uniform(0, 1, (*shape, n_attractors))),
            "off_plane": (at, np.zeros((*shape, n_attractors))),
        },
        coords={"fit": [4, 7], "x": x, "y": y},
    )


@pytest.mark.parametrize("n", [3, 14])
def test_every_label_has_its_colour_and_the_legend_its_share_within_the_figure(n):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = slice_of(n)
    figure = plot_basins(data, fit=7)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture, label = np.asarray(figure.axes[0].images[0].get_array()), data.label.values[1]
    for a in (-2, -1, 0, 1, 2):
        assert len(np.unique(picture[label == a], axis=0)) == 1
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == min(n, 10) + 2          # ten colours, then again from the first
    assert figure.axes[0].images[0].get_extent() == pytest.approx([-2 - 2 / 29, 2 + 2 / 29, -0.5 / 19, 1 + 0.5 / 19])
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words[0] == f"0: quasi-periodic, {100 * (label == 0).mean():.1f} %"
    assert (words[-3] == "and 5 more") == (n == 14)
    box, frame = legend.get_window_extent(canvas.get_renderer()), figure.bbox
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1
    assert frame.y0 <= box.y0 < box.y1 <= frame.y1
    axes = figure.axes[0].get_tightbbox(canvas.get_renderer())
    assert frame.x0 <= axes.x0 < axes.x1 <= box.x0 + 1


def test_what_is_not_there_is_named():
    with pytest.raises(DynrnnError, match="fit"):
        plot_basins(slice_of(), fit=5)
    with pytest.raises(FileFormatError, match="basin_slice"):
        plot_basins(slice_of().drop_vars("label"))
