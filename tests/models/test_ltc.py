"""Liquid time-constant networks: order of the solver, bounds, elapsed times, positivity, training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

import dynrnn as dr
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn.models import LTC
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc import forced_sequence


def after_one(model: LTC, z: torch.Tensor, u: torch.Tensor, unfolds: int, solver: str) -> torch.Tensor:
    model.unfolds, model.solver = unfolds, solver
    with torch.no_grad():
        return model.step(z, u)


@pytest.mark.parametrize(("solver", "low", "high"), [("semi-implicit", 1.8, 2.2), ("euler", 1.8, 2.2), ("rk4", 14, 18)])
def test_halving_the_parts_divides_the_error_by_two_to_the_order(solver, low, high):
    """Against Runge-Kutta of fourth order at 1,000 parts, whose own error is 1e-8 of theirs; ratios 2 and 16 but for terms of the next order."""
    model = LTC(2, 12, input_dim=2, n_fits=3, random_state=0)
    g = torch.Generator().manual_seed(0)
    z, u = torch.rand(3, 20, 12, generator=g, dtype=torch.float64) * 2 - 1, torch.randn(3, 20, 2, generator=g, dtype=torch.float64)
    truth = after_one(model, z, u, 1000, "rk4")
    errors = [float((after_one(model, z, u, n, solver) - truth).abs().mean()) for n in (48, 96, 192)]
    for coarse, fine in pairwise(errors):
        assert low < coarse / fine < high, errors


def test_states_stay_within_their_bounds_whatever_drives_them():
    """10^5 steps of 20 sequences in all, inputs up to 10^3, elapsed times from 10^-3 to 10^3; in float64 nothing but rounding may pass the ends."""
    model = LTC(2, 8, input_dim=3, n_fits=2, unfolds=2, random_state=1)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (model.vleak, model.E, model.E_in):
            value.copy_(torch.randn(value.shape, generator=g))
        map = model.map().to(torch.float64)
    B, T = 10, 5_000
    low, high = (x.double()[:, None, None] for x in model.bounds())
    u = (torch.rand(2, B, T, 3, generator=g, dtype=torch.float64) * 2 - 1) * 10 ** (torch.rand(2, B, T, 1, generator=g, dtype=torch.float64) * 4 - 1)
    dt = 10 ** (torch.rand(2, B, T, generator=g, dtype=torch.float64) * 6 - 3)
    assert float(u.abs().max()) > 900
    z0 = low[:, 0] + (high - low)[:, 0] * torch.rand(2, B, 8, generator=g, dtype=torch.float64)
    z = forced_sequence(map, z0, z0.new_zeros(1).expand(2, B, T, 8), 0.0, u, dt=dt)
    rounding = 8 * (3 + 8 + 3) * torch.finfo(torch.float64).eps * (high - low)     # of sums with as many terms, in numerator and denominator
    assert bool((z >= low - rounding).all())
    assert bool((z <= high + rounding).all())
    assert float(((z.amax((1, 2)) - z.amin((1, 2))) / (high - low)[:, 0, 0]).mean()) > 0.2      # they do move within them


def test_a_unit_relaxes_within_its_time_constants():
    """While its synapses do not change a unit is linear, of the rate (gleak + what is open) / cm: minus the diagonal of the slope, without its own synapse."""
    model = LTC(2, 6, input_dim=2, n_fits=2, random_state=2)
    with torch.no_grad():
        model.w[:] = torch.where(torch.eye(6, dtype=torch.bool), torch.tensor(-60.0), model.w)     # softplus of it is next to nothing
        shortest, longest = model.time_constants().double().unbind(1)
        map = model.map().to(torch.float64)
        z, u = torch.randn(2, 200, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 200, 2, dtype=torch.float64)
        J = dr.models.LTC.jacobian(model, z, u, 1e-7)                                            # 1 + dt df/dz
    tau = 1e-7 / (1 - torch.diagonal(J, dim1=-2, dim2=-1))
    assert map.latent_dim == 6
    assert bool((tau > shortest[:, None] * (1 - 1e-5)).all())                                     # dt / tau of the order of 1e-6, rounding over dt 1e-8
    assert bool((tau < longest[:, None] * (1 + 1e-5)).all())
    assert float((tau / shortest[:, None]).max()) > 1.5


def test_two_halves_of_a_step_with_half_the_parts_are_the_step():
    model = LTC(2, 7, input_dim=2, n_fits=2, random_state=3)
    g = torch.Generator().manual_seed(1)
    z, u = torch.randn(2, 5, 7, generator=g, dtype=torch.float64), torch.randn(2, 5, 2, generator=g, dtype=torch.float64)
    model.unfolds = 12
    whole = model.step(z, u, 0.8)
    model.unfolds = 6
    assert torch.equal(whole, model.step(model.step(z, u, 0.4), u, 0.4))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("B", [5, 6])                                                              # 6: as many sequences as units
def test_irregular_times_of_a_batch_are_those_of_its_sequences(B, backend):
    model = LTC(2, 6, input_dim=2, n_fits=2, random_state=4).double()
    g = torch.Generator().manual_seed(2)
    T = 9
    map, z0, u = model.map(), *(torch.randn(2, B, *rest, generator=g, dtype=torch.float64) for rest in ((6,), (T, 2)))
    dt = 10 ** (torch.rand(2, B, T, generator=g, dtype=torch.float64) * 2 - 1.5)
    still = torch.zeros(2, B, T, 6, dtype=torch.float64)
    together = forced_sequence(map, z0, still, 0.0, u, dt=dt, backend=backend)
    for b in range(B):
        z = z0[:, b, None]
        alone = forced_sequence(map, z, still[:, b, None], 0.0, u[:, b, None], dt=dt[:, b, None], backend=backend)
        torch.testing.assert_close(together[:, b], alone[:, 0], rtol=0, atol=1e-6)
        z = z0[:, b, None]
        for t in range(T):                                                                        # and by the model's own step, which takes a time a fit
            z = model.step(z, u[:, b, None, t], dt[:, b, None, t])
            torch.testing.assert_close(together[:, b, None, t], z, rtol=0, atol=1e-6)
    packed = forced_sequence(map, z0, still.flatten(1, 2), 0.0, u.flatten(1, 2), dt=dt.flatten(1, 2), lengths=[T] * B, backend=backend)
    torch.testing.assert_close(packed, together.flatten(1, 2), rtol=0, atol=1e-6)
    each = model.step(z0, u[:, :, 0], dt[:, :, 0])
    torch.testing.assert_close(each, together[:, :, 0], rtol=0, atol=1e-6)


def test_gradients_with_irregular_times_are_the_references():
    model = LTC(2, 6, input_dim=2, n_fits=2, random_state=5).double()
    g = torch.Generator().manual_seed(3)
    z0, u, dt = (torch.rand(*shape, generator=g, dtype=torch.float64) + 0.1 for shape in ((2, 5, 6), (2, 5, 7, 2), (2, 1, 7)))
    results = []
    for backend in ("reference", "cpu"):
        z = forced_sequence(model.map(), z0, torch.zeros(2, 5, 7, 6, dtype=torch.float64), 0.2, u, dt=dt, backend=backend)
        results.append(torch.autograd.grad(z.square().sum(), [p for name, p in model.named_parameters() if name != "L"]))
    for want, got in zip(*results):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
    times = dt.requires_grad_()
    z = forced_sequence(model.map(), z0, torch.zeros(2, 5, 7, 6, dtype=torch.float64), 0.2, u, dt=times)
    with pytest.raises(KernelError, match="no derivative by dt"):
        z.sum().backward()


@pytest.mark.parametrize("B", [5, 6])
def test_elapsed_times_that_do_not_fit_are_named(B):
    model = LTC(2, 6, n_fits=2, random_state=0)
    map, z0, still, times = model.map(), torch.zeros(2, B, 6), torch.zeros(2, B, 3, 6), torch.ones(2, B, 3)
    for dt in (torch.ones(B), torch.ones(B, 3), torch.ones(2, 3, B), torch.ones(1, B, 3, 1), torch.ones(B, 1, 3)):
        with pytest.raises(KernelError, match=r"dt must be a number or have the shape \(fit, sequence, time\)"):
            forced_sequence(map, z0, still, 0.0, dt=dt)
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        at = times.clone()
        at[1, 2, 1] = bad
        with pytest.raises(KernelError, match=r"above 0 and finite everywhere; at \(1, 2, 1\)"):
            forced_sequence(map, z0, still, 0.0, dt=at)
        with pytest.raises(KernelError, match="above 0 and finite"):
            forced_sequence(map, z0, still, 0.0, dt=bad)
    with pytest.raises(KernelError, match=r"dt is torch\.float64"):
        forced_sequence(map, z0, still, 0.0, dt=times.double())
    for dt in (torch.ones(B), torch.ones(B, 2), torch.ones(2, B, 1)):
        with pytest.raises(KernelError, match=r"shape \(fit, sequence\)"):
            model.step(z0, None, dt)
        with pytest.raises(KernelError, match=r"shape \(fit, sequence\)"):
            model.jacobian(z0, None, dt)


def test_what_is_positive_stays_so_through_any_update():
    model = LTC(2, 6, input_dim=2, n_fits=2, random_state=0)
    with torch.no_grad():
        for p in model.parameters():
            p += 30 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    map = model.map()
    for name in ("cm", "gleak", "w", "w_in"):
        value = map.tensors()[name]
        assert bool((value > 0).all()), name
        assert torch.equal(value, softplus(getattr(model, name)))


def test_wiring_leaves_no_synapse_where_there_is_none():
    wiring = np.array([[0, 1, 0], [-1, 0, 0], [0, 1, 1]])
    model = LTC(1, 3, wiring=wiring, random_state=0)
    J = model.jacobian(torch.zeros(1, 1, 3, dtype=torch.float64), None, 0.01).detach()[0, 0]
    model.unfolds = 1
    J = model.jacobian(torch.zeros(1, 1, 3, dtype=torch.float64), None, 0.01).detach()[0, 0]
    assert np.array_equal((J - torch.diag(torch.diag(J))).numpy() != 0, (wiring != 0) & ~np.eye(3, dtype=bool))
    assert bool((torch.sign(model.E[0])[torch.tensor(wiring != 0)] == torch.tensor(wiring[wiring != 0])).all())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"unfolds": 0}, ArgumentError, "unfolds"), ({"dt": 0.0}, ArgumentError, "dt must be a time above 0"),
        ({"dt": float("nan")}, ArgumentError, "dt must be"),
        ({"solver": "rk45"}, UnknownNameError, "solver"), ({"wiring": np.ones((3, 4))}, ArgumentError, "wiring must be"),
        ({"wiring": np.full((4, 4), 0.5)}, ArgumentError, "of -1, 0 and 1"),
    ],
)
def test_arguments_that_do_not_fit_are_named(given, error, message):
    with pytest.raises(error, match=message):
        LTC(2, 4, **given)


def test_it_learns_a_sine_by_descent_and_runs_freely():
    time = np.arange(600) * 0.1
    recording = dr.as_recording(np.stack([np.sin(time), np.cos(time)], -1), dt=0.1)
    model = LTC(2, 12, unfolds=2, dt=0.1, random_state=0)
    run = dr.fit(model, recording, forcing=dr.GeneralizedTeacherForcing(alpha=0.2), n_updates=300, sequence_length=20, learning_rate=(1e-1, 1e-2),
                 progress=False, random_state=0)
    loss = run.history.loss.values[0]
    assert loss[-10:].mean() < 0.1 * loss[:5].mean()
    low, high = (x.double().numpy() for x in run.model.bounds())
    orbit = dr.generate(run.model, 500, initial=recording, transient=100).latent.values
    assert np.isfinite(orbit).all()
    assert (orbit >= low - 1e-6).all()
    assert (orbit <= high + 1e-6).all()
