"""Presets: each one's score of a case counted by hand, names, and the published figures that go with them."""

import dataclasses
import math

import numpy as np
import pytest

from dynrnn.analysis.reconstruction import PRESETS, PUBLISHED, get_preset, published_scores, score_orbits
from dynrnn.analysis.reconstruction.published import headline
from dynrnn.errors import ArgumentError, UnknownNameError

A = 1e-5


def kl(counts_p, counts_q, n_cells):
    total_p, total_q = sum(counts_p) + A * n_cells, sum(counts_q) + A * n_cells
    listed = sum((p + A) / total_p * math.log((p + A) / total_p * total_q / (q + A)) for p, q in zip(counts_p, counts_q))
    return listed + (n_cells - len(counts_p)) * A / total_p * math.log(total_q / total_p)


@pytest.mark.parametrize(
    ("preset", "counts_p", "counts_q", "n_cells"),
    [
        # true: 25 at -1, 50 at 0, 25 at 1; generated: 50 at 0, 50 far outside the box
        ("gtf-2023", (25, 50, 25), (0, 50, 0), 30),  # the 50 outside are dropped, and the rest is normalised
        ("alrnn-2024", (25, 50, 25), (0, 50, 0), 30),
        ("dynrnn-1", (25, 50, 25, 0), (0, 50, 0, 50), 31),  # they fill the overflow cell
        ("cns-2023", (50,), (50,), 30),  # -1 is in bin 0, 1 is the maximum: both are dropped, and nothing is wrong
    ],
)
def test_every_preset_by_hand(preset, counts_p, counts_q, n_cells):
    true = np.repeat([-1.0, 0.0, 1.0], [25, 50, 25])[:, None]
    generated = np.repeat([0.0, 1e3], 50)[:, None]
    shuffled = np.random.default_rng(0).permutation(100)  # order does not matter to a histogram
    score = score_orbits([true[shuffled]], generated[None, None], preset, n_null=1)
    assert float(score.d_stsp[0]) == pytest.approx(kl(counts_p, counts_q, n_cells), rel=1e-9, abs=1e-15)
    assert float(score.outside[0]) == 0.5
    assert score.attrs["preset"] == score.d_stsp.attrs["preset"] == preset


def test_the_estimator_follows_the_number_of_channels():
    x = np.random.default_rng(1).normal(size=(300, 7))
    used = {name: score_orbits([x], x[None, None], name, n_null=0).attrs["d_stsp_estimator"] for name in PRESETS}
    assert used == {"dynrnn-1": "gaussian mixture", "gtf-2023": "gaussian mixture", "alrnn-2024": "binned", "cns-2023": "gaussian mixture"}


def test_names():
    with pytest.raises(UnknownNameError, match="Did you mean 'gtf-2023'"):
        get_preset("gtf2023")
    changed = PRESETS["gtf-2023"].derive(n_bins=8)
    assert (changed.n_bins, changed.name) == (8, "gtf-2023(n_bins=8)")
    assert get_preset(changed) is changed
    with pytest.raises(UnknownNameError, match="n_bins"):
        PRESETS["gtf-2023"].derive(bins=8)
    with pytest.raises(ArgumentError, match="not the preset that 'gtf-2023' names"):
        get_preset(dataclasses.replace(PRESETS["gtf-2023"], n_bins=8))
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["gtf-2023"].n_bins = 8


def test_published_figures_need_dataset_channels_and_preset():
    ours = (PRESETS["dynrnn-1"].name, *PRESETS["dynrnn-1"].comparable_to)
    found = headline({"dataset": "ECG"}, ours, 5)
    assert {name: row.value for name, row in found.items()} == {"d_stsp": 4.3, "d_hellinger": 0.34, "prediction_error": 2.4e-3}
    assert headline({"dataset": "ECG"}, ours, 3) == {}
    assert headline({"dataset": "my own"}, ours, 5) == {}
    assert headline({"system": "Lorenz-63"}, ("cns-2023",), 3)["d_stsp"].value == 0.233
    assert headline({"dataset": "ECG"}, ("gtf-2023(n_bins=8)",), 5) == {}


def test_every_published_row_says_where_and_second_hand_ones_say_so():
    assert all(row.where and row.preset in PRESETS for row in PUBLISHED)
    second_hand = {(row.dataset, row.value) for row in PUBLISHED if row.second_hand}
    assert second_hand == {("lorenz63", 0.26), ("lorenz96", 1.68)}
    assert all("second-hand" in row.where for row in PUBLISHED if row.second_hand)
    assert len(published_scores("eeg", "gtf-2023", n_channels=64)) == 24
