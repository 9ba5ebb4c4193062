"""Solved reservoirs: no seam between warm-up and free run, batches and singles, published figures, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis.reconstruction.prediction import valid_prediction_time
from dynrnn.errors import ArgumentError, RecordingError
from dynrnn.results.store import write_group
from dynrnn_kernels.additive import forced_sequence
from dynrnn_kernels.reservoir import run as drive


@pytest.fixture(scope="module")
def lorenz():
    return dr.load_dataset("lorenz63", n_steps=5_300, dt=0.02, random_state=0), dr.load_dataset("lorenz63", n_steps=8_000, dt=0.02, random_state=1)


@pytest.fixture(scope="module")
def run(lorenz):
    model = dr.ESN(3, 300, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, n_fits=4, random_state=0)
    return dr.fit(model, lorenz[0], ridge=1e-8, progress=False)


def test_lorenz_for_more_than_four_lyapunov_times(run, lorenz):
    """Four reservoirs of 300 units, forecasts from ten states on another orbit each: the median valid time."""
    test = lorenz[1]
    starts = np.stack([np.zeros(10, int), np.linspace(200, 7_000, 10).astype(int)], 1)
    ahead = dr.forecast(run, test, starts, 900).values
    truth = np.stack([test.observed.values[0, t + 1 : t + 901] for _, t in starts])
    sd = test.observed.std(("trial", "time")).values
    times = [valid_prediction_time(truth, ahead[k], dt=0.02, max_lyapunov=0.9056, sd=sd) for k in range(4)]
    assert np.median(times) > 4


def test_random_starts_lead_to_the_attractor():
    """Fits to noisy data have two attractors, one of exponent 67 and more where no data lie, and that of the data, with .9, which starts must find. (With
    5,000 samples one loop of twelve leaves it.)"""
    recording = dr.load_dataset("lorenz63", n_steps=20_000, noise=0.05, random_state=0)
    model = dr.ESN(3, 300, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, n_fits=2, random_state=0)
    found = dr.analysis.lyapunov_spectrum(dr.fit(model, recording, progress=False), 1, n_steps=200, n_segments=8)
    assert (found.value.values[:, 0] < 10).all()


def test_no_seam(run, lorenz, tmp_path):
    """A state on the way is the warm-up's of the shorter recording, and a run that is stored and goes on is the uninterrupted one: all to the bit."""
    test = lorenz[1].isel(time=slice(0, 700)).assign(n_time=("trial", [700]))
    state = dr.warmup(run, test)
    along = dr.models.generation.states_along(run.model, test, np.array([[0, 399], [0, 699]]))
    np.testing.assert_array_equal(along[:, 1:], state.values)
    np.testing.assert_array_equal(along[:, 0], dr.warmup(run, test.observed[0, :400]).values[:, 0])
    whole = dr.generate(run, 300, initial=state)
    np.testing.assert_allclose(whole.observed[:, 0, 0], np.broadcast_to(test.observed[0, -1], (4, 3)), rtol=1e-14)     # the last sample itself
    write_group(tmp_path / "results.zarr", "middle", xr.Dataset({"state": whole.latent.isel(time=99)}))
    again = dr.load(dr.save(run, tmp_path / "esn.dynrnn"))
    middle = dr.read_results(tmp_path / "results.zarr")["middle"].state.load()
    np.testing.assert_array_equal(dr.generate(again, 201, initial=middle).latent, whole.latent[:, :, 99:])


def test_evaluation_starts_from_a_driven_state(run, lorenz):
    """It scores the run that goes on from the warm-up by each trial's first thousand samples, or by all of a shorter one."""
    one, x = dr.select(run.model, fit=0), lorenz[1].observed.values[0]
    test = dr.as_recording([x[:2_000], x[2_000:2_900]], dt=0.02).assign_coords(feature=lorenz[1].feature.values)
    got = dr.evaluate(one, test)
    start = dr.warmup(one, [test.observed.values[0, :1_001], test.observed.values[1, :900]])
    want = dr.evaluate(one, test, generated=dr.generate(one, 2_000, initial=start, transient=got.attrs["transient"]))
    for name in ("d_stsp", "d_hellinger"):
        np.testing.assert_array_equal(got[name].values, want[name].values)


def test_a_batch_is_its_singles(run, lorenz):
    x = lorenz[1].observed.values[0]
    trials = [x[:500], x[1_000:1_300], x[2_000:2_900]]
    together = dr.warmup(run, trials)
    for k, trial in enumerate(trials):
        np.testing.assert_array_equal(together[:, k], dr.warmup(run, trial)[:, 0])
    alone = dr.fit(dr.ESN(3, 300, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, random_state=0), lorenz[0], ridge=1e-8, progress=False)
    assert torch.equal(alone.model.W_out[0], run.model.W_out[0])


def test_states_are_the_additive_maps_forced_sequence(run, lorenz):
    """The one-sequence loop and the kernel of the additive map with forcing weight 1 on the observed units."""
    model, x = dr.select(run.model, fit=0), torch.tensor(lorenz[1].observed.values[0, :60])
    z = ((x - model.data_mean[0]) / model.data_scale[0])[None, None]
    target = torch.zeros(1, 1, 59, 303, dtype=torch.float64)
    target[..., :3] = z[:, :, :-1]
    weight = torch.zeros(303, dtype=torch.float64)
    weight[:3] = 1
    first = torch.cat([z[:, :, 0], torch.zeros(1, 1, 300, dtype=torch.float64)], -1)
    predicted = forced_sequence(model.additive_map(), first, target, weight)
    state = predicted[0, 0, -1].clone()
    state[:3] = z[0, 0, -1]
    np.testing.assert_allclose(dr.warmup(model, x.numpy()).values[0, 0], state.numpy(), atol=1e-12)


def mackey_glass(n: int, seed: int) -> np.ndarray:
    """x' = .2 x(t - 17) / (1 + x(t - 17)^10) - .1 x by Runge-Kutta of step 1, the delayed term held within a step."""
    x = list(1.2 + 0.2 * (np.random.default_rng(seed).random(18) - 0.5))
    for _ in range(n):
        late = x[-18]
        rate = lambda v, late=late: 0.2 * late / (1 + late**10) - 0.1 * v  # noqa: E731
        a = rate(x[-1])
        b = rate(x[-1] + a / 2)
        c = rate(x[-1] + b / 2)
        x.append(x[-1] + (a + 2 * b + 2 * c + rate(x[-1] + c)) / 6)
    return np.array(x[18:])


def test_mackey_glass_one_step():
    """100 units, spectral radius 1.25, leak .3, ridge 1e-5, 1,600 samples: a median error of .004 at most, and an eighth of persistence's."""
    x = mackey_glass(2_000, 0)
    run = dr.fit(dr.ESN(1, 100, spectral_radius=1.25, leak=0.3, n_fits=10, random_state=0), x[:1_600, None], ridge=1e-5, standardise=False, progress=False)
    starts = np.stack([np.zeros(399, int), np.arange(1_600, 1_999)], 1)
    one = dr.forecast(run, x[:, None], starts, 1).values[:, :, 0, 0]
    error = np.sqrt(np.mean((one - x[1_601:]) ** 2, 1))
    assert np.median(error) < 0.004
    assert np.median(error) < np.sqrt(np.mean((x[1_600:-1] - x[1_601:]) ** 2)) / 8


@pytest.mark.parametrize(("radius", "forgets"), [(0.9, True), (3.0, False)])
def test_the_echo_state_property_is_there_or_not(radius, forgets):
    model = dr.ESN(1, 100, spectral_radius=radius, input_scaling=0.5 if forgets else 0.0, random_state=0)
    u = np.random.default_rng(0).standard_normal((1_001, 1))
    ends = [drive(model.weights(0), np.concatenate([u[0], h]), 1_000, u[1:])[1][1:] for h in np.random.default_rng(1).standard_normal((2, 100))]
    apart = np.linalg.norm(ends[0] - ends[1])
    assert apart < 1e-8 if forgets else apart > 1e-2


def test_memory_capacity_of_known_reservoirs():
    """Edge-of-stability networks and rings hold nearly as many inputs as they have units, random linear ones half as many; none holds more, but by chance."""
    one_hot = np.zeros((100, 1))
    one_hot[0] = 0.1
    es2n = dr.analysis.memory_capacity(dr.ResidualESN(1, 100, beta=0.05, input_scaling=0.1, n_fits=2, random_state=0))
    ring = dr.analysis.memory_capacity(dr.ESN(1, 100, topology="ring", spectral_radius=0.9, W_in=one_hot), ridge=1e-12)
    linear = dr.analysis.memory_capacity(dr.ESN(1, 100, topology="uniform", spectral_radius=0.9, input_scaling=1e-4, n_fits=2, random_state=0), ridge=1e-18)
    assert (es2n.capacity >= 95).all()
    assert (ring.capacity >= 97).all()
    assert (linear.capacity <= 60).all()
    for found in (es2n, ring, linear):
        assert (found.capacity <= 100 + 4 * found.attrs["chance"]).all()
        assert ((found.memory >= 0) & (found.memory <= 1)).all()


def test_a_choice_of_penalties_takes_the_best_on_validation(lorenz):
    model = dr.ESN(3, 100, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, n_fits=2, random_state=0)
    run = dr.fit(model, lorenz[0], ridge=(1e2, 1e-7), validation=lorenz[1], progress=False)
    assert run.history.chosen.values.tolist() == [1, 1]
    alone = dr.fit(dr.ESN(3, 100, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, n_fits=2, random_state=0), lorenz[0], ridge=1e-7, progress=False)
    np.testing.assert_allclose(run.model.W_out, alone.model.W_out, rtol=1e-4, atol=1e-4 * float(alone.model.W_out.abs().max()))


def test_missing_samples_and_inputs():
    """x' = .9 x + .3 u from 3 % missing samples: 80 units still follow inputs to a twentieth of the signal, and a gap leaves no NaN in the state."""
    g = np.random.default_rng(0)
    u = g.uniform(-1, 1, (3_000, 1))
    x = np.zeros((3_000, 1))
    for t in range(2_999):
        x[t + 1] = 0.9 * x[t] + 0.3 * u[t + 1]
    hidden = x.copy()
    hidden[g.choice(np.arange(1, 3_000), 100, replace=False)] = np.nan
    run = dr.fit(dr.ESN(1, 80, input_dim=1, input_scaling=0.1, random_state=0), dr.as_recording(hidden, inputs=u), progress=False)
    ahead = dr.forecast(run, dr.as_recording(x, inputs=u), np.array([[0, 500], [0, 1_500]]), 50).values[0, :, :, 0]
    for k, t in enumerate((500, 1_500)):
        assert np.abs(ahead[k] - x[t + 1 : t + 51, 0]).max() < 0.05 * x.std()
    state = dr.warmup(run, dr.as_recording(hidden, inputs=u))
    assert np.isfinite(state).all()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"n_updates": 100}, ArgumentError, "n_updates: a reservoir is solved"),
        ({"forcing": dr.FreeRunning(), "noise": 0.1}, ArgumentError, "forcing, noise"),
        ({"ridge": -1.0}, ArgumentError, "ridge must lie within"),
        ({"ridge": (1e-6, 1e-4)}, ArgumentError, "needs a validation recording"),
        ({"washout": 5_299}, RecordingError, "longest trial has 5300"),
        ({"washout": -1}, ArgumentError, "washout must be at least 0"),
    ],
)
def test_bad_arguments_of_fit(lorenz, options, error, said):
    with pytest.raises(error, match=said):
        dr.fit(dr.ESN(3, 20, random_state=0), lorenz[0], progress=False, **options)


def test_bad_input_elsewhere(lorenz, run):
    with pytest.raises(ArgumentError, match="singular with ridge = 0"):
        dr.fit(dr.ESN(3, 300, W=np.zeros((300, 300)), W_in=np.ones((300, 3))), lorenz[0], ridge=0.0, progress=False)
    with pytest.raises(ArgumentError, match="ridge is for reservoirs"):
        dr.fit(dr.ShallowPLRNN(3, 3, 10), lorenz[0], ridge=1e-6)
    with pytest.raises(ArgumentError, match="has no past to be warmed up"):
        dr.warmup(dr.ShallowPLRNN(3, 3, 10), lorenz[0])
    with pytest.raises(ArgumentError, match=r"\(fit, trial, latent\) = \(4, any, 303\)"):
        dr.generate(run, 10, initial=dr.warmup(dr.select(run.model, fit=0), lorenz[1]))
    with pytest.raises(ArgumentError, match="Of an orbit take one time"):
        dr.generate(run, 10, initial=dr.generate(run, 10, initial=dr.warmup(run, lorenz[1])).latent)
    with pytest.raises(ArgumentError, match="observed_dim=1"):
        dr.analysis.memory_capacity(run)
