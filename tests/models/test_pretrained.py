"""The models that come with the package: they load, are as good as their cards say, small, and fit for analysis."""

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.analysis.reconstruction import d_stsp
from dynrnn.models import Reservoir
from dynrnn.models.pretrained import FOLDER

N_STARTS = 8


@pytest.mark.parametrize("name", sorted(dr.PRETRAINED))
def test_free_runs_score_what_the_card_says(name):
    card = dr.PRETRAINED[name]
    model = dr.load_pretrained(name)
    told = card.about["test"]
    test = dr.load_dataset(card.system, n_steps=told["n_steps"], random_state=told["random_state"])
    x = test.observed.values[0]
    parts = dr.as_recording(np.stack([x[at : at + 1_000] for at in np.linspace(500, len(x) - 1_000, N_STARTS).astype(int)]), dt=test.attrs["dt"])
    initial = dr.warmup(model, parts) if isinstance(model, Reservoir) else parts
    runs = dr.generate(model, told["n_steps"], initial=initial, transient=told["n_steps"] // 10).observed.values
    found = np.median(d_stsp([x], runs, "dynrnn-1"))
    # other starts than the card's, and other rounding: four standard errors of the difference of two medians, from the quartiles of single runs
    error = 1.2533 * card.about["d_stsp"]["sd_over_starts_from_quartiles"] * np.sqrt(1 / N_STARTS + 1 / card.about["d_stsp"]["n_starts"])
    assert abs(found - card.d_stsp) < 4 * error + 0.02


def test_the_shipped_one_is_among_all_that_were_trained_and_all_are_told():
    assert {card.family for card in dr.PRETRAINED.values()} >= {"shallow-plrnn", "alrnn", "esn"}
    assert {card.system for card in dr.PRETRAINED.values()} >= {"lorenz63", "roessler"}
    for card in dr.PRETRAINED.values():
        every = card.d_stsp_of_all
        assert every["min"] - 1e-9 <= card.d_stsp <= every["max"] + 1e-9
        assert len(every["each"]) == every["n"] > 1
        assert every["median"] == pytest.approx(np.median(every["each"]), abs=1e-4)
        assert card.d_stsp < card.about["d_stsp"]["surrogate"]
        assert "validation" in card.about["chosen"]


def test_all_together_are_below_a_megabyte_and_the_cards_know_each():
    total = 0
    for name, card in dr.PRETRAINED.items():
        size = sum(file.stat().st_size for file in (FOLDER / name / "model").iterdir())
        assert size == card.size_bytes
        total += size
    assert total < 1_000_000


@pytest.mark.parametrize("name", sorted(name for name, card in dr.PRETRAINED.items() if card.family in ("shallow-plrnn", "alrnn")))
def test_the_piecewise_linear_ones_have_the_fixed_points_that_their_maps_fix(name):
    model = dr.load_pretrained(name)
    found = dr.analysis.fixed_points(model)
    z = found.location.values[0][(found.valid & ~found.virtual).values[0]]
    assert len(z)
    stepped = dr.generate(model, 1, initial=found.location.isel(fixed_point=found.valid.values[0]).rename(fixed_point="trial"), transient=0)
    where = stepped.latent.values[0, :, -1]
    real = (~found.virtual).values[0][found.valid.values[0]]
    assert np.abs(where - found.location.values[0][found.valid.values[0]])[real].max() < 1e-6 * (1 + np.abs(z).max())


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(dr.UnknownNameError, match="Did you mean 'lorenz63-alrnn'"):
        dr.load_pretrained("lorenz63-alrn")
