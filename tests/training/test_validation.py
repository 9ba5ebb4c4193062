"""Validation: the score of free runs from several starts, so that a model that holds from one start and not from another is found out."""

from __future__ import annotations

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.analysis.reconstruction import score_orbits
from dynrnn.training.parameters import read
from dynrnn.training.validation import VALIDATION_STARTS, Validator


def test_score_is_the_mean_over_starts():
    recording = dr.load_dataset("lorenz63", n_steps=1_500, noise=0.05, random_state=0)
    model = dr.ShallowPLRNN(3, 3, 10, clipped=True, n_fits=2, random_state=0)
    check = Validator(model, recording)
    check(1, read(model))
    x = recording.observed.values[0]
    scores = []
    for k in np.linspace(0, len(x) - 1, VALIDATION_STARTS + 1).astype(int)[:-1]:
        orbit = dr.generate(model, len(x), initial=x[k], transient=len(x) // 4).observed.values
        scores.append(score_orbits([x], orbit, "dynrnn-1", n_null=0).d_stsp.values)
    np.testing.assert_allclose(check.scores[1], np.mean(scores, 0), rtol=1e-12)


def test_the_product_of_two_means_chooses_the_best():
    recording = dr.load_dataset("lorenz63", n_steps=1_500, noise=0.05, random_state=0)
    model = dr.ShallowPLRNN(3, 3, 10, clipped=True, n_fits=2, random_state=0)
    run = dr.fit(model, recording, n_updates=60, validation=recording, validate_every=20, validate_by="both", keep="best", progress=False, random_state=0)
    assert "times D_H" in run.history.validation.long_name
    assert run.config["validate_by"] == "both"
    x = recording.observed.values[0]
    rows = []
    for k in np.linspace(0, len(x) - 1, VALIDATION_STARTS + 1).astype(int)[:-1]:
        rows.append(score_orbits([x], dr.generate(run, len(x), initial=x[k], transient=len(x) // 4).observed.values, "dynrnn-1", n_null=0))
    product = np.mean([r.d_stsp.values for r in rows], 0) * np.mean([r.d_hellinger.values for r in rows], 0)
    chosen = run.history.validation.sel(update=run.history.best_update)
    np.testing.assert_allclose(chosen.values, product, rtol=1e-9)


def test_a_model_that_was_lucky_is_found_out():
    """Two of 64 starts are let go, none of them among the eight: the next candidate, a little worse from eight, is kept."""
    recording = dr.load_dataset("lorenz63", n_steps=1_500, random_state=0)
    model = dr.ShallowPLRNN(3, 3, 10, clipped=True, random_state=0)
    check = Validator(model, recording)
    lucky, honest, bad = (np.full_like(read(model), v) for v in (1.0, 2.0, 3.0))
    few = {1.0: 0.5, 2.0: 0.6, 3.0: 5.0}
    all_of_them = {1.0: 1.4, 2.0: 0.6}                                               # the bad one is never asked

    def measure(model, starts):
        known = few if len(starts) == 1 else all_of_them
        score = np.array([known[float(theta[0])] for theta in read(model)])
        return score, score

    check.measure = measure
    for update, theta in enumerate((bad, lucky, honest), 1):
        check(update, theta)
    theta, score, update = check.confirmed()
    assert (theta.ravel()[0], score.item(), update.item()) == (2.0, 0.6, 3)


def test_of_models_that_all_let_a_run_go_the_best_is_kept(monkeypatch):
    """Every candidate lets one of 64 runs go to infinity, and one of them all: the score is inf, and the one with the best other runs is kept."""
    recording = dr.load_dataset("lorenz63", n_steps=1_500, random_state=0)
    x = recording.observed.values[0]
    model = dr.ShallowPLRNN(3, 3, 10, clipped=True, random_state=0)
    check = Validator(model, recording)
    noise = {1.0: 0.0, 2.0: 0.5, 3.0: 2.0, 4.0: 1.0}

    def orbits(model, n_steps, starts, transient):
        kind = float(read(model)[0, 0])
        out = np.stack([x + noise[kind] * np.random.default_rng(k).standard_normal(x.shape) for k in range(len(starts))])[None]
        if kind == 4.0:
            out[:] = np.inf
        elif np.array_equal(starts[0, 0], check.starts[3][0, 0]):
            out[0, 2, 100:] = np.inf
        return out

    monkeypatch.setattr("dynrnn.training.validation.observed_orbits", orbits)
    for update, kind in enumerate((3.0, 4.0, 2.0, 1.0), 1):
        check(update, np.full_like(read(model), kind))
    theta, score, update = check.confirmed()
    assert (theta.ravel()[0], update.item()) == (1.0, 4)
    assert score.item() == pytest.approx(check.away / 64)
    assert check.scores[2].item() == np.inf


def test_trials_too_short_for_a_spectrum_matter_only_where_they_are_run_beside():
    trials = [np.sin(0.3 * np.arange(n))[:, None] for n in (200, 3)]
    model = dr.ShallowPLRNN(1, 2, 5, random_state=0)
    common = {"n_updates": 2, "sequence_length": 20, "validate_by": "both", "progress": False}
    run = dr.fit(model, trials[0], validation=trials, **common)
    assert np.isfinite(run.history.validation.values[:, -1]).all()
    driven = dr.ShallowPLRNN(1, 2, 5, input_dim=1, random_state=0)
    with pytest.raises(dr.ArgumentError, match="a spectrum needs at least"):
        dr.fit(driven, dr.as_recording(trials[0], inputs=trials[0]), validation=dr.as_recording(trials, inputs=trials), **common)
