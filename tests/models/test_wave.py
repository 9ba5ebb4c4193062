"""The wave-RNN: what its state is in closed form, where its waves go, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn.models import IdentityRNN, WaveRNN, generate
from dynrnn_kernels.additive import Circulant


def rolled(model: WaveRNN, z: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A step of fit 0 by numpy.roll alone, z [c, n]."""
    kernel, out = model.kernel.detach().double().numpy()[0], model.h.detach().double().numpy()[0].reshape(z.shape).copy()
    for o in range(len(z)):
        for i in range(len(z)):
            for tap, s in enumerate(model.shifts):
                out[o] += kernel[o, i, tap] * np.roll(z[i], s)              # kernel [] or, position by position, [n]
    if model.input_dim:
        out += (model.D.detach().double().numpy()[0] @ u).reshape(z.shape)
    return {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh, "identity": lambda v: v}[model.activation](out)


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("n", "c", "size"), [(7, 2, 3), (7, 2, 5), (30, 1, 3), (5, 3, 5), (4, 2, 1)])
def test_a_step_is_a_sum_of_rolled_channels(activation, tied, n, c, size):
    """Also where the kernel is as wide as the ring, and where compiled code takes the convolution as it is (30 positions)."""
    velocity = 0.0 if size == 1 else 1.0
    model = WaveRNN(2, n, c, kernel_size=size, velocity=velocity, activation=activation, tied=tied, input_dim=3, init="random", random_state=1)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        model.h += torch.tensor(rng.standard_normal(c * n), dtype=torch.float32)
    u, z = rng.standard_normal((1, 4, 3)), rng.standard_normal(c * n)
    orbit = generate(model, 4, initial=torch.tensor(z)[None, None], inputs=u).latent.values[0, 0]
    for t in range(1, 4):
        z = rolled(model, z.reshape(c, n), u[0, t]).ravel()
        np.testing.assert_allclose(orbit[t], z, rtol=1e-12, atol=1e-12)     # float64, sums of some tens of terms


@pytest.mark.parametrize("n", [6, 100])
def test_the_state_is_an_exact_shift_register(n):
    """One channel, phi = identity, velocity 1: after T <= n inputs, position p holds the input of p steps ago; then the wave meets itself and adds up."""
    model = WaveRNN(1, n, activation="identity", input_dim=1, random_state=0)
    u = np.random.default_rng(0).standard_normal((1, 2 * n + 1, 1))
    z = generate(model, 2 * n + 1, initial=torch.zeros(1, 1, n), inputs=u).latent.values[0, 0]
    fed = u[0, 1:, 0]                                                       # u[t] acts in the step to t, u[0] in none
    for T in (1, 2, n // 2, n):
        np.testing.assert_array_equal(z[T], np.concatenate([fed[T - 1 :: -1] if T > 0 else [], np.zeros(n - T)]))
    np.testing.assert_array_equal(z[2 * n], fed[2 * n - 1 : n - 1 : -1] + fed[n - 1 :: -1])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("velocity", "size"), [(0.25, 3), (1.0, 3), (-0.6, 3), (0.0, 3), (1.5, 5), (-2.0, 5)])
def test_a_bump_moves_at_the_velocity_and_spreads_as_said(velocity, size, tied):
    """After 10 steps a unit pulse has mean 10 v and variance 10 w (1 - w), w the part of v that is not whole: a sum of independent displacements."""
    model = WaveRNN(1, 101, activation="relu", velocity=velocity, kernel_size=size, tied=tied, random_state=0)
    z = torch.zeros(1, 1, 101)
    z[0, 0, 50] = 1.0
    end = generate(model, 11, initial=z.double()).latent.values[0, 0, 10]
    away, w = np.arange(101) - 50, velocity - np.floor(velocity)
    assert end.sum() == pytest.approx(1, abs=1e-6)                          # weights are float32
    assert end @ away == pytest.approx(10 * velocity, abs=1e-5)
    assert end @ (away - 10 * velocity) ** 2 == pytest.approx(10 * w * (1 - w), abs=1e-5)


@pytest.mark.parametrize(("velocity", "n"), [(1.0, 30), (0.3, 30), (0.5, 7)])
def test_exponents_of_a_linear_wave_are_those_of_its_circulant(velocity, n):
    """Its eigenvalues are 1 - v + v exp(-2 pi i k / n); 30 positions stay a convolution in the compiled tangent map, 7 are written out.

    Directions of a pair turn into each other, and where in their turn a mean over n_steps ends is worth some 1 / n_steps."""
    model = WaveRNN(1, n, activation="identity", velocity=velocity, random_state=0)
    found = dr.analysis.lyapunov_spectrum(model, n_steps=400, n_segments=4, random_state=0)
    want = np.log(np.maximum(np.abs(1 - velocity + velocity * np.exp(-2j * np.pi * np.arange(n) / n)), 1e-300))
    np.testing.assert_allclose(np.sort(found.value.values[0])[::-1], np.sort(want)[::-1], atol=2 / 400)


@pytest.mark.parametrize(("channels", "inputs"), [(6, 10), (1, 4), (27, 2), (3, 3), (5, 1)])
def test_solo_inputs_tell_every_symbol_apart(channels, inputs):
    """Only positions 0 are driven; columns differ, and where they have norm 1 every symbol is the argmax of the readout by its own column."""
    D = WaveRNN(1, 8, channels, input_dim=inputs, n_fits=2, random_state=0).D.detach().reshape(2, channels, 8, inputs)
    assert (D[:, :, 1:] == 0).all()
    here = D[:, :, 0]                                                       # [fit, channel, input]
    both = min(channels, inputs)
    assert torch.equal(here[:, :both, :both], torch.eye(both).expand(2, both, both))
    assert (here >= 0).all()
    if channels > 1:
        if inputs > channels:
            torch.testing.assert_close(here.norm(dim=1), torch.ones(2, inputs))
            assert torch.equal((here.mT @ here).argmax(1), torch.arange(inputs).expand(2, inputs))
        assert (torch.linalg.matrix_rank(here) == both).all()


def test_initialisations_differ_in_what_they_say():
    def of(init):
        return WaveRNN(1, 12, 2, input_dim=2, init=init, random_state=0)

    wave = torch.zeros(1, 2, 2, 3)
    wave[0, [0, 1], [0, 1], 2] = 1.0
    assert torch.equal(of("wave").kernel, wave)
    assert torch.equal(of("no-solo").kernel, wave)
    assert (of("no-shift").kernel != 0).all()
    assert (of("no-shift").D.reshape(2, 12, 2)[:, 1:] == 0).all()
    for init in ("no-solo", "random"):
        assert 0 < of(init).D.abs().max() < 6e-3                            # six standard deviations


def test_the_dense_shift_is_the_wave():
    """IdentityRNN with its shift is WaveRNN of velocity 1, written out; without, its state stays."""
    wave = WaveRNN(1, 9, random_state=0).additive_map()
    assert isinstance(wave.W2, Circulant)
    assert torch.equal(wave.W2.dense(), IdentityRNN(1, 9, init="shift", random_state=0).W)
    z = torch.rand(1, 3, 9)
    assert torch.equal(IdentityRNN(1, 9, random_state=0).step(z), z)


def test_the_convolution_is_compiled_as_one():
    """30 positions: the kernel's 3 values are in the packed map once each, not 90 times."""
    from dynrnn.training.parameters import flat_parameters

    flat = flat_parameters(WaveRNN(3, 30, random_state=0))
    assert (np.bincount(flat.fill[flat.fill >= 0], minlength=flat.size)[flat.slice("kernel")] == 1).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel_size": 9}, ["n_positions = 7", "9"]), ({"kernel_size": 4}, ["odd", "4"]), ({"kernel_size": 0}, ["kernel_size", "at least 1"]),
        ({"n_positions": 0}, ["n_positions"]), ({"n_channels": 0}, ["n_channels"]), ({"velocity": 1.5}, ["from -1 to 1"]), ({"velocity": np.nan}, ["velocity"]),
        ({"observation": "identity", "observed_dim": 8}, ["latent_dim"]),
    ],
)
def test_shapes_and_velocities_that_cannot_be_are_named(arguments, words):
    with pytest.raises(ArgumentError) as error:
        WaveRNN(**{"observed_dim": 1, "n_positions": 7, "random_state": 0} | arguments)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("family", [lambda **o: WaveRNN(1, 7, **o), lambda **o: IdentityRNN(1, 7, **o)])
def test_an_unknown_activation_gets_the_nearest(family):
    with pytest.raises(UnknownNameError, match="'relu'"):
        family(activation="rellu")


def test_driven_to_memorise_it_learns_more_than_a_constant():
    """The copy task as a recording, through dr.fit without forcing: 150 updates bring the loss below half of what blanks and even guesses have."""
    from dynrnn_datasets import copy_task

    task = copy_task(200, delay=3, n_symbols=3, n_recalled=3, random_state=0)
    model = WaveRNN(5, 12, 3, input_dim=5, decoder_bias=True, random_state=0)
    run = dr.fit(
        model, task.drop_vars("answer"), forcing=dr.FreeRunning(), n_updates=150, sequence_length=8, batch_size=32, learning_rate=1e-2, standardise=False,
        progress=False, random_state=0,
    )
    y = task.observed.values
    assert run.history.loss.values[0, -1] < 0.5 * y.reshape(-1, 5).var(0).mean()
