"""Facts about the pictures of searches: the best so far is the running optimum, failures are seen, categories have places, nothing is cut off."""

import itertools

import numpy as np
import pandas as pd
import pytest

from dynrnn.errors import ArgumentError
from dynrnn.plot import plot_study_front, plot_study_history, plot_study_importances, plot_study_slices

STATES = ["complete", "complete", "pruned", "fail", "complete", "running", "complete"]
VALUES = [3.0, 1.0, 0.5, np.nan, 2.0, np.nan, 0.7]
TRIALS = pd.DataFrame({"state": STATES, "a": VALUES, "b": [-v for v in VALUES]})
PARAMETERS = pd.DataFrame({
    "alpha": [0.01, 0.02, 0.05, 0.03, 0.09, np.nan, 0.04], "kind": ["svd", "sparse", None, "svd", "svd", None, "sparse"], "$x_": [1, 2, 3, 4, 5, None, 6],
    "a parameter with a name that is far too long to be written in full": range(7),
}, dtype=object)


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def test_the_best_so_far_is_the_running_optimum_of_complete_trials():
    figure = plot_study_history(TRIALS, {"a": "minimize", "b": "maximize"})
    first, second = figure.axes
    assert line(first, "best so far").get_xydata().tolist() == [[0, 3.0], [1, 1.0], [4, 1.0], [6, 0.7]]
    assert line(second, "best so far").get_ydata().tolist() == [-3.0, -1.0, -1.0, -0.7]
    assert line(first, "pruned").get_xydata().tolist() == [[2, 0.5]]
    assert line(first, "failed").get_xdata().tolist() == [3]


def test_an_objective_over_decades_is_logarithmic_and_one_that_changes_sign_is_not():
    wide = pd.DataFrame({"state": ["complete"] * 3, "a": [0.01, 1.0, 50.0], "b": [-1.0, 0.0, 300.0]})
    first, second = plot_study_history(wide, {"a": "minimize", "b": "minimize"}).axes
    assert (first.get_yscale(), second.get_yscale()) == ("log", "linear")


def test_slices_put_categories_at_places_and_mark_the_best():
    figure = plot_study_slices(TRIALS, PARAMETERS, "a", logarithmic=["alpha"], best=6)
    alpha, kind = figure.axes[:2]
    assert alpha.get_xscale() == "log"
    assert line(alpha, "best").get_xydata().tolist() == [[0.04, 0.7]]
    assert line(alpha, "trials").get_xdata().tolist() == [0.01, 0.02, 0.09, 0.04]
    assert [tick.get_text() for tick in kind.get_xticklabels()] == ["None", "sparse", "svd"]
    assert line(kind, "trials").get_xdata().tolist() == [2, 1, 2, 1]


def test_a_front_goes_through_its_trials_in_order():
    figure = plot_study_front(TRIALS, ["a", "b"], [0, 1, 4, 6])
    assert line(figure.axes[0], "front").get_xdata().tolist() == [0.7, 1.0, 2.0, 3.0]
    assert len(plot_study_front(TRIALS.assign(c=1.0), ["a", "b", "c"], [0]).axes) == 3


def test_importances_are_bars_as_long_as_shares():
    axes = plot_study_importances({"a": {"x": 0.7, "y": 0.3}}).axes[0]
    assert sorted(bar.get_width() for bar in axes.patches) == [0.3, 0.7]


def test_nothing_is_cut_off_and_labels_do_not_overlap():
    one = TRIALS[:1]
    figures = [
        plot_study_history(TRIALS, {"a": "minimize", "b": "maximize"}), plot_study_history(one, {"a": "minimize"}),
        plot_study_history(TRIALS[3:4], {"a": "minimize"}),
        plot_study_slices(TRIALS, PARAMETERS, "a", logarithmic=["alpha"], best=6), plot_study_slices(one, PARAMETERS[:1], "a"),
        plot_study_front(TRIALS, ["a", "b"], [0, 1, 4, 6]),
        plot_study_importances({"a": dict.fromkeys(PARAMETERS, 0.25), "b": dict.fromkeys(PARAMETERS, 0.25)}),
    ]
    for figure in figures:
        figure.draw_without_rendering()
        outer = figure.bbox
        for axes in figure.axes:
            if not axes.axison:
                continue
            assert axes.lines or axes.patches
            box = axes.get_tightbbox()
            assert min(box.x0 - outer.x0, box.y0 - outer.y0, outer.x1 - box.x1, outer.y1 - box.y1) >= -1
            low, high = axes.get_xlim()
            shown = [tick.label1.get_window_extent() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high and tick.label1.get_text()]
            if shown and all(tick.label1.get_rotation() == 0 for tick in axes.xaxis.get_major_ticks()):
                shown.sort(key=lambda extent: extent.x0)
                assert all(a.x1 <= b.x0 + 1 for a, b in itertools.pairwise(shown))


def test_nothing_to_draw_is_said():
    with pytest.raises(ArgumentError, match="no trial yet"):
        plot_study_history(TRIALS[:0], {"a": "minimize"})
    with pytest.raises(ArgumentError, match="nothing to draw"):
        plot_study_slices(TRIALS[3:4], PARAMETERS[3:4], "a")
    with pytest.raises(ArgumentError, match="two objectives"):
        plot_study_front(TRIALS, ["a"], [0])
    with pytest.raises(ArgumentError, match="at least one"):
        plot_study_importances({})
