"""``fit`` with gradients that are accumulated forwards: equal to backpropagation where exact, refused where there is none, the same bits in any company."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn.training.loop import Options, build_problem
from dynrnn.training.parameters import read
from dynrnn.training.pullback import map_of_flat
from dynrnn_kernels.update import by_backpropagation, by_influence
from dynrnn_kernels.update.reference import window_loss
from tests.models.families import DESCENDED, PULLED_BACK


@functools.cache
def lorenz(n: int = 600):
    return dr.load_dataset("lorenz63", n_steps=n, random_state=0)


@pytest.mark.parametrize("family", [*DESCENDED, *PULLED_BACK])
def test_rtrl_is_backpropagation_for_every_family(family):
    """The whole loss of a window with missing samples, through decoder and first state, in float64."""
    model = (DESCENDED | PULLED_BACK)[family](random_state=0)
    x = np.random.default_rng(0).standard_normal((60, model.observed_dim))
    x[10:14, 0] = np.nan
    inputs = np.random.default_rng(1).standard_normal((60, model.input_dim)) if model.input_dim else None
    recording = dr.as_recording(x, inputs=inputs)
    options = Options(
        forcing=dr.GeneralizedTeacherForcing(0.3), n_updates=1, sequence_length=9, batch_size=2, learning_rate=(np.ones(1), np.ones(1)), noise=np.zeros(1),
        regularisation=dr.Regularisation(), gradient_clip=np.full(1, np.inf), max_refused=1, validate_every=1, progress=False, random_state=0, backend="cpu",
        precision="ieee", gradient="rtrl", n_threads=1,
    )
    _, problem = build_problem(model, recording, options)
    grads = []
    for sequence in (by_backpropagation, by_influence):
        theta = torch.tensor(read(model, np.float64)[0]).requires_grad_()
        loss = window_loss(map_of_flat(model), problem, 0, theta, np.array([[0, 5], [0, 30]]), None, 0.3, 9, sequence)
        grads.append(torch.autograd.grad(loss, theta)[0])
    assert float((grads[1] - grads[0]).norm() / grads[0].norm()) < 1e-10


@pytest.mark.parametrize("gradient", ["rtrl", "diagonal", "uoro"])
def test_a_fit_trains_alone_as_in_an_ensemble(gradient):
    options = dict(gradient=gradient, n_updates=3, sequence_length=8, batch_size=2, progress=False, random_state=0)
    whole = dr.fit(dr.ShallowPLRNN(3, 3, 8, n_fits=3, random_state=0), lorenz(), **options)
    alone = dr.fit(dr.select(dr.ShallowPLRNN(3, 3, 8, n_fits=3, random_state=0), fit=2), lorenz(), **options)
    assert torch.equal(alone.model.W1[0], whole.model.W1[2])
    assert whole.config["gradient"] == gradient


def test_training_with_rtrl_is_training_with_bptt():
    """In float32, over 20 updates of RAdam; the compiled path of backpropagation beside the compiled path of influence."""
    losses = []
    for gradient in ("bptt", "rtrl"):
        run = dr.fit(dr.ALRNN(3, 6, 2, random_state=0), lorenz(), gradient=gradient, n_updates=20, sequence_length=20, progress=False, random_state=0)
        losses.append(run.history.loss.values[0])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "gradient", "error", "said"),
    [
        (lambda: dr.ALRNN(3, 5, 2), "rtlr", UnknownNameError, "Did you mean 'rtrl'"),
        (lambda: dr.ALRNN(3, 5, 2), "snap-0", UnknownNameError, "unknown gradient 'snap-0'"),
        (lambda: dr.LTC(3, 5), "rflo", ArgumentError, "take gradient='diagonal'"),
        (lambda: dr.WaveRNN(3, 5, 2), "kronecker", ArgumentError, "take gradient='uoro'"),
        (lambda: dr.ESN(3, 20), "rtrl", ArgumentError, "gradient: a reservoir is solved"),
    ],
)
def test_what_is_refused(make, gradient, error, said):
    with pytest.raises(error, match=said):
        dr.fit(make(), lorenz(), gradient=gradient, n_updates=1)


@pytest.mark.parametrize(("make", "gradient"), [(lambda: dr.LTC(3, 5), "rtrl"), (lambda: dr.ALRNN(3, 5, 2), "uoro")])
def test_what_a_device_has_no_influence_for(make, gradient):
    with pytest.raises(ArgumentError, match="no kernel on a device"):
        dr.fit(make(), lorenz(), gradient=gradient, backend="triton", n_updates=1)
