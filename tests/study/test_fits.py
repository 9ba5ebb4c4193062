"""Parts of an ensemble put together are the ensemble."""

import dataclasses

import numpy as np

import dynrnn as dr
from dynrnn.study.fits import _joined


def test_a_run_taken_apart_and_put_together_lacks_nothing():
    x = np.random.default_rng(0).standard_normal((300, 2))
    model = dr.ShallowPLRNN(2, 2, 4, n_fits=3, random_state=0)
    run = dr.fit(model, x, n_updates=8, sequence_length=10, keep="mean", validation=x, checkpoint_every=4, progress=False, random_state=0)
    again = _joined([dr.select(run, k) for k in range(3)])
    for field in dataclasses.fields(run):
        old, new = getattr(run, field.name), getattr(again, field.name)
        if isinstance(old, dr.ShallowPLRNN):
            assert all(value.equal(new.state_dict()[name]) for name, value in old.state_dict().items()), field.name
        else:
            assert (old is None) == (new is None), field.name
    assert list(again.checkpoints) == [0, 4, 8]
