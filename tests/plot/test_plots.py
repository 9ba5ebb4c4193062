"""Facts about the figures: what is drawn is the data, limits are shared, the basis is the truth's, nothing is empty or cut off."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr

from dynrnn.errors import DynrnnError, FileFormatError
from dynrnn.plot import plot_attractor, plot_bifurcations, plot_penalties, plot_spectra, plot_timeseries, plot_training
from dynrnn.plot._orbits import take_orbits
from dynrnn.plot.attractor import principal_basis
from dynrnn.plot.spectra import spectrum

PLOTS = (plot_attractor, plot_spectra, plot_timeseries)


def results(n_channels: int = 3, n: int = 2000, units: str = "s") -> dict[str, xr.Dataset]:
    """Three fits of a quasi-periodic truth: 0 wrong in amplitude, 1 right, 2 stands still; scores in another order."""
    t = 0.01 * np.arange(n)
    phase = np.arange(n_channels)
    truth = 5 * np.sin(2 * np.pi * 2.0 * t[:, None] + phase) + np.cos(2 * np.pi * 0.7 * np.sqrt(2) * t)[:, None] * (1 + phase)
    runs = np.stack([1.4 * truth, truth[::-1], np.tile(truth.mean(0), (n, 1))])[:, None]
    names = [f"ch{i}" for i in range(n_channels)]
    attrs = {"dt": 0.01, "units": units}
    coords = {"trial": [0], "time": t, "neuron": names}
    return {
        "observed_data": xr.Dataset(
            {"observed": (("trial", "time", "neuron"), truth[None]), "n_time": ("trial", [n])}, coords=coords, attrs=attrs
        ),
        "generated": xr.Dataset(
            {"observed": (("fit", "trial", "time", "neuron"), runs)}, coords={**coords, "fit": [10, 11, 12]}, attrs=attrs
        ),
        "metrics": xr.Dataset({"d_stsp": ("fit", [3.0, 0.1, 9.0])}, coords={"fit": [10, 11, 12]}),
    }


def history() -> xr.Dataset:
    n = 1000
    loss = np.stack([np.full(n, 1.0), np.full(n, 2.0), np.where(np.arange(n) < 600, 8.0, np.nan)])
    dims = ("fit", "update")
    return xr.Dataset(
        {
            "loss": (dims, loss),
            "alpha": (dims, np.full((3, n), 0.2)),
            "gradient_norm": (dims, loss),
            "status": ("fit", ["finished", "finished", "stopped: loss or gradient not finite"]),
            "refused": ("fit", [0, 1, 20]),
        },
        coords={"fit": [0, 1, 2], "update": np.arange(n)},
    )


def limits_of(axes):
    names = "xyz" if hasattr(axes, "get_zlim") else "xy"
    return [getattr(axes, f"get_{name}lim")() for name in names]


@pytest.mark.parametrize("n_channels", [1, 2, 3, 5])
def test_truth_and_run_share_limits_that_hold_all_of_the_truth(n_channels):
    data, model = plot_attractor(results(n_channels)).axes
    assert limits_of(data) == limits_of(model)
    assert len(limits_of(data)) == (3 if n_channels >= 3 else 2)
    drawn = np.array(data.lines[0].get_data_3d() if n_channels >= 3 else data.lines[0].get_data())
    assert np.isfinite(drawn).all()
    for row, (low, high) in zip(drawn, limits_of(data), strict=True):
        assert low < row.min() < row.max() < high


def test_three_channels_are_drawn_as_they_are():
    tree = results(3)
    data, model = plot_attractor(tree, fit=11).axes
    np.testing.assert_array_equal(np.array(data.lines[0].get_data_3d()).T, tree["observed_data"]["observed"][0])
    np.testing.assert_array_equal(np.array(model.lines[0].get_data_3d()).T, tree["generated"]["observed"][1, 0])
    assert [data.get_xlabel(), data.get_ylabel(), data.get_zlabel()] == ["ch0", "ch1", "ch2"]


def test_the_median_fit_is_shown_and_named():
    _, model = plot_attractor(results(3)).axes
    assert "fit 10" in model.get_title()
    assert "median" in model.get_title()
    without = {name: group for name, group in results(3).items() if name != "metrics"}
    assert "first of 3" in take_orbits(without).label
    assert take_orbits(results(3), fit=12).label == "fit 12"
    with pytest.raises(DynrnnError, match="fit 99"):
        plot_attractor(results(3), fit=99)


def test_the_basis_is_that_of_the_truth_whatever_the_run_does():
    tree = results(5)
    other = {**tree, "generated": tree["generated"] * 0.0 + np.random.default_rng(0).normal(size=(5,))}
    first = np.array(plot_attractor(tree, fit=11).axes[0].lines[0].get_data_3d())
    second = np.array(plot_attractor(other, fit=11).axes[0].lines[0].get_data_3d())
    np.testing.assert_array_equal(first, second)
    # a rank-2 truth: its two leading axes hold all of the variance, and the drawn coordinates are uncorrelated
    truth = tree["observed_data"]["observed"].values[0]
    basis, shares = principal_basis((truth - truth.mean(0)) / truth.std(0))
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cov(first[:2])[0, 1], 0.0, atol=1e-12 * len(truth))
    assert 0.99 < shares.sum() <= 1 + 1e-12


def test_a_run_far_away_does_not_squash_the_truth():
    tree = results(2)
    tree["generated"]["observed"][0, 0, 1000:] = 1e12
    data, model = plot_attractor(tree, fit=10).axes
    truth = tree["observed_data"]["observed"].values[0]
    for (low, high), x in zip(limits_of(data), truth.T, strict=True):
        # fit 10 reaches beyond the truth on both sides, by half the truth's range at most, and 5 % are added at each end
        assert high - low <= 1.1 * 2 * np.ptp(x)
    assert limits_of(data) == limits_of(model)


def test_spectra_have_their_peak_at_the_frequency_of_the_truth_in_its_unit():
    n, step, sigma = 4000, 0.01, 3.0
    x = np.sin(2 * np.pi * 7.0 * step * np.arange(n))
    frequency, power = spectrum(x, 0.0, float(x.std()), step, sigma)
    # the Gaussian moves no peak; bins are 1 / (n step) apart
    assert abs(frequency[power.argmax()] - 7.0) <= 1 / (n * step)
    # Parseval: the one-sided power sums to the mean square, and mirrored smoothing keeps the sum; rounding over n terms
    np.testing.assert_allclose(power.sum(), 1.0, rtol=1e-9)
    for units, label in [("s", "Hz"), ("", "cycles/step"), ("ms", "1/ms")]:
        assert label in plot_spectra(results(2, units=units)).axes[0].get_xlabel()
    strongest = plot_spectra(results(1), smoothing=2).axes[0].lines[0].get_data()
    assert abs(strongest[0][strongest[1].argmax()] - 2.0) <= 1 / (2000 * 0.01)


def test_a_fit_that_stands_still_or_diverged_is_said_not_drawn():
    tree = results(1)
    axes = plot_spectra(tree).axes[0]
    assert len(axes.lines) == 3
    assert [text.get_text() for text in axes.texts] == ["fit 12 stands still"]
    tree["generated"]["observed"][2, 0, 10:] = np.nan
    assert [text.get_text() for text in plot_spectra(tree).axes[0].texts] == ["fit 12 diverged"]
    assert "diverged" in plot_timeseries(tree, fit=12).axes[1].texts[0].get_text()


def test_more_than_six_channels_are_announced():
    figure = plot_spectra(results(9))
    assert len(figure.axes) == 6
    assert "first 6 of 9 channels" in figure._supxlabel.get_text()
    assert "20 frequency bins" in figure._supxlabel.get_text()
    assert "first 6 of 9 channels" in plot_timeseries(results(9))._supxlabel.get_text()


def test_time_series_start_at_zero_in_the_recordings_unit_and_share_limits():
    figure = plot_timeseries(results(2), n_steps=150, fit=11)
    left, right = figure.axes[:2]
    assert left.get_ylim() == right.get_ylim()
    np.testing.assert_allclose(left.lines[0].get_xdata(), 0.01 * np.arange(150))
    assert figure.axes[2].get_xlabel() == "time (s)"
    assert left.get_xlim() == pytest.approx((0.0, 0.01 * 149))
    assert plot_timeseries(results(2), n_steps=5_000, fit=11).axes[0].get_xlim() == pytest.approx((0.0, 0.01 * 1_999))      # there are no more


def test_uneven_samples_stand_at_their_own_times():
    tree = results(1)
    gaps = np.random.default_rng(0).uniform(0.001, 0.05, 2000)
    gaps[0] = np.nan                                                                # of the first sample there is none
    tree["observed_data"] = tree["observed_data"].assign(elapsed=(("trial", "time"), gaps[None]))
    tree["generated"] = tree["generated"].assign(elapsed=(("trial", "time"), gaps[None, ::-1]))
    data, model = plot_timeseries(tree, n_steps=150, fit=11).axes
    np.testing.assert_allclose(data.lines[0].get_xdata(), np.append(0.0, np.cumsum(gaps[1:150])))
    np.testing.assert_allclose(model.lines[0].get_xdata(), np.append(0.0, np.cumsum(gaps[::-1][1:150])))
    assert "cycles/step" in plot_spectra(tree).axes[0].get_xlabel()
    assert "steps" in plot_attractor(tree).axes[0].get_ylabel()


def test_training_shows_every_fit_their_median_and_where_one_stopped():
    loss, alpha, gradient = plot_training(history()).axes
    assert loss.get_yscale() == "log"
    assert alpha.get_yscale() == "linear"
    lines = {line.get_label(): line for line in loss.lines}
    # medians by hand: of 1, 2, 8 it is 2; of 1 and 2, after fit 2 was stopped, it is 1.5
    np.testing.assert_allclose(np.unique(lines["median"].get_ydata()), [1.5, 2.0])
    (x,), (y,) = lines["stopped"].get_data()
    assert y == 8.0
    assert 595 <= x <= 600
    assert "21 refused" in loss.get_title()
    assert "means over 3" in gradient.get_xlabel()


def penalties(n_fits: int, n_ridges: int, validated: bool) -> xr.Dataset:
    errors = np.linspace(1e-3, 1.0, n_fits * n_ridges).reshape(n_fits, n_ridges)
    of_ridge = ("fit", "penalty")
    return xr.Dataset(
        {
            "ridge": (of_ridge, np.tile(10.0 ** -np.arange(2, 2 + n_ridges), (n_fits, 1))), "training_error": (of_ridge, errors),
            "validation_error": (of_ridge, errors if validated else np.full_like(errors, np.nan)), "chosen": ("fit", np.arange(n_fits) % n_ridges),
        },
        coords={"fit": np.arange(n_fits)},
    )


def test_penalties_mark_what_each_fit_took():
    (alone,) = plot_penalties(penalties(1, 1, validated=False)).axes
    training, validation = plot_penalties(penalties(3, 2, validated=True)).axes
    for axes, n in ((alone, 1), (training, 3), (validation, 3)):
        (taken,) = (line for line in axes.lines if line.get_label() == "taken")
        assert len(taken.get_ydata()) == n
        low, high = axes.get_ylim()
        assert all(((low < y) & (y < high)).all() for y in (line.get_ydata() for line in axes.lines))
    np.testing.assert_allclose(taken.get_ydata(), np.linspace(1e-3, 1, 6)[[0, 3, 4]])              # penalties 0, 1, 0 of fits 0, 1, 2
    with pytest.raises(FileFormatError, match="no penalties"):
        plot_penalties(history())


def test_nothing_is_cut_off_and_no_panel_is_empty():
    figures = [plot(results(n)) for plot in PLOTS for n in (1, 3, 8)] + [plot_training(history())]
    figures += [plot_penalties(penalties(*sizes, validated=True)) for sizes in ((1, 1), (4, 2))]
    for figure in figures:
        figure.draw_without_rendering()
        outer = figure.bbox
        for axes in figure.axes:
            assert axes.lines
            box = axes.get_tightbbox()
            # one pixel for rounding; 3-D boxes hold margins that draw nothing
            if not hasattr(axes, "get_zlim"):
                assert min(box.x0 - outer.x0, box.y0 - outer.y0, outer.x1 - box.x1, outer.y1 - box.y1) >= -1


def test_missing_groups_are_named_and_pyplot_is_not_touched():
    with pytest.raises(FileFormatError, match="/generated"):
        plot_attractor({"observed_data": results()["observed_data"]})
    with pytest.raises(FileFormatError, match="no history"):
        plot_training(xr.Dataset({"x": ("fit", [1.0])}))
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def table() -> xr.Dataset:
    """Fit 0: one object from the start that loses stability at update 300, and one born at 400 that dies at 700. Fit 1: none."""
    event, thing = ("fit", "event"), ("fit", "object")
    return xr.Dataset(
        {
            "kind": (event, [["stability change", "birth", "death"], ["", "", ""]]),
            "update": (event, [[300.0, 400.0, 700.0], [np.nan] * 3]),
            "number": (event, [[0, 1, 1], [-1] * 3]),
            "unstable_after": (event, [[2, 1, -1], [-1] * 3]),
            "period": (thing, [[1, 2], [0, 0]]),
            "unstable": (thing, [[0, 1], [-1, -1]]),
            "born": (thing, [[np.nan, 400.0], [np.nan] * 2]),
            "died": (thing, [[np.nan, 700.0], [np.nan] * 2]),
            "n_events": ("fit", [3, 0]),
            "n_objects": ("fit", [2, 0]),
        },
        coords={"fit": [0, 1]},
    )


def test_a_line_for_every_object_from_birth_to_death():
    above, axes = plot_bifurcations({"bifurcations": table(), "training": history()}).axes
    lines = [tuple(line.get_xdata()) for line in axes.lines if line.get_linestyle() in "--" and len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    assert sorted(lines) == [(0.0, 300.0), (300.0, 999.0), (400.0, 700.0)]
    assert above.get_ylabel() == "loss"
    (alone,) = plot_bifurcations(table()).axes
    assert alone.get_ylabel() == "fixed points and cycles"
    with pytest.raises(FileFormatError, match="no object"):
        plot_bifurcations(table(), fit=1)
    with pytest.raises(DynrnnError, match="fit"):
        plot_bifurcations(table(), fit=7)
    with pytest.raises(FileFormatError, match="no n_events: store what dr.analysis.bifurcations gives"):
        plot_bifurcations(table().drop_vars("n_events"))


def test_fixed_points_are_marked_where_they_are():
    tree = results(3)
    place = np.array([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1e6, 0.0, 0.0], [2.0, 0.0, 0.0]]])
    dims = ("fit", "fixed_point")
    tree["fixed_points"] = xr.Dataset(
        {
            "observed": ((*dims, "neuron"), place), "valid": (dims, [[True, True, True, True]]), "virtual": (dims, [[False, False, False, True]]),
            "stability": (dims, [["sink", "saddle", "saddle", "saddle"]]),
        },
        coords={"fit": [11]},
    )
    _, model = plot_attractor(tree, fit=11).axes
    marks = {line.get_label(): np.array(line.get_data_3d()).T for line in model.lines if line.get_marker() == "o"}
    np.testing.assert_array_equal(marks["attracting fixed point"], [[0, 0, 0]])
    np.testing.assert_array_equal(marks["unstable fixed point"], [[1, 1, 1]])
    assert not [line for line in plot_attractor(tree, fit=12).axes[1].lines if "fixed" in str(line.get_label())]
