"""The picture of waves: what it draws is what was found."""

from __future__ import annotations

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.errors import DynrnnError, FileFormatError
from dynrnn.plot import plot_waves


def orbit() -> np.ndarray:
    """Fit 0 moves down by 1 position a step, fit 1 up, fit 2 is not finite [fit, trial, time, position]."""
    fed = np.random.default_rng(0).random(200)
    up = np.stack([fed[t + 30 : t : -1] for t in range(150)])
    return np.stack([up[:, ::-1], up, np.full_like(up, np.nan)])[:, None]


def test_the_line_has_the_velocity_and_lies_on_the_power():
    found = dr.analysis.wave_velocity(orbit())
    for fit, v in ((0, -1.0), (1, 1.0)):
        activity, plane, power = plot_waves(found, fit=fit).axes[:3]
        np.testing.assert_array_equal(activity.images[0].get_array(), found.activity.values[fit, 0].T)
        assert activity.images[0].origin == "lower"
        lines = [np.array(line.get_data()) for line in plane.lines]
        for k, w in lines:
            np.testing.assert_allclose(np.diff(w), -found.velocity.values[fit, 0] * np.diff(k), atol=1e-12)
        assert any(np.interp(0, *line) == pytest.approx(0) for line in lines)
        assert found.velocity.values[fit, 0] == pytest.approx(v, abs=0.05)
        shown = np.asarray(plane.images[0].get_array())
        k, w = found.wavenumber.values, found.frequency.values
        on = [shown[np.abs(w + v * q).argmin(), i] for i, q in enumerate(k) if 0.1 < abs(q) < 0.4]
        off = [shown[np.abs(w - v * q).argmin(), i] for i, q in enumerate(k) if 0.1 < abs(q) < 0.4]
        assert np.median(on) > np.median(off) + 1                           # ten times the power
        curve = np.array(power.lines[0].get_data())
        assert curve[0][curve[1].argmax()] == found.velocity.values[fit, 0]
        assert ("higher" if v > 0 else "lower") in power.get_title()


def test_everything_lies_within_the_figure():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = plot_waves(dr.analysis.wave_velocity(orbit()))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in figure.axes:
        box, frame = axes.get_tightbbox(canvas.get_renderer()), figure.bbox
        assert frame.x0 - 1 <= box.x0 < box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0 < box.y1 <= frame.y1 + 1


def test_what_is_not_there_is_named():
    found = dr.analysis.wave_velocity(orbit())
    with pytest.raises(DynrnnError, match="not finite"):
        plot_waves(found, fit=2)
    with pytest.raises(DynrnnError, match="fit 7"):
        plot_waves(found, fit=7)
    with pytest.raises(DynrnnError, match="trial"):
        plot_waves(found, trial=1)
    with pytest.raises(FileFormatError, match="wave_velocity"):
        plot_waves(found.drop_vars("spectrum"))
    with pytest.raises(FileFormatError, match="waves"):
        plot_waves({})
