"""Validation: the score of free runs from several starts, so that a model that holds from one start and not from another is found out."""

from __future__ import annotations

import numpy as np

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
