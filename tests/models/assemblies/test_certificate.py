"""Certificates against states, trajectories, another way to prove the same, and forgeries."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynrnn.analysis import contraction_certificate
from dynrnn.analysis.contraction import proof as proofs
from dynrnn.analysis.contraction.programs import have_solver
from dynrnn.analysis.contraction.sector import sectors_of
from dynrnn.models.assemblies import certify
from dynrnn.models.assemblies.blocks import drawn_sparse
from dynrnn.models.assemblies.bounds import Area
from tests.models.assemblies.nets import KINDS, STEPS, assembly, gain_patterns, in_metric


def states(model, n=200, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.standard_normal((model.n_fits, n, model.latent_dim)) * 10 ** rng.uniform(-1, 2, (1, n, 1)))


def scaled(certificate, L, **options):
    """The same areas with another coupling."""
    given = {"dt": certificate.dt, "integrator": certificate.integrator} | options
    return certify(certificate.metric, certificate.weights, L, certificate.areas, **given)


@pytest.mark.parametrize("integrator", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_state_of_random_assemblies_violates_its_certificate(kind, integrator):
    """3 fits x 150 states by the kernel's Jacobian of the map, and, in continuous time, gains that have no state at all."""
    model = assembly(kind, integrator=integrator, n_fits=3, gain=1.5, activation="tanh" if kind == "svd" else "relu")
    found = model.certificate()
    assert found.check().all(), found.faults()
    assert (model.violations(states(model, 150)) == 0).all()
    assert (found.violations(1.0001 * found.rate[:, None, None, None] * np.eye(11)) == 1).all()
    rng = np.random.default_rng(0)
    for k in range(3):
        for gains in [*rng.integers(0, 2, (15, 11)), *rng.random((15, 11))]:
            J = in_metric(found.metric[k], -np.eye(11) + found.weights[k] * gains + found.coupling[k])
            assert np.linalg.eigvalsh((J + J.T) / 2)[-1] <= -found.continuous_rate[k]


@pytest.mark.parametrize("integrator", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_trajectories_under_common_input_approach_at_every_step(kind, integrator):
    """By the stated factor at least, so that the rate in time is at least nine tenths of lambda for small steps."""
    model = assembly(kind, integrator=integrator, input_dim=2, dt=0.02)
    found = model.certificate()
    rng = np.random.default_rng(1)
    z = torch.tensor(3 * rng.standard_normal((1, 2, 11)))
    distance = []
    with torch.no_grad():
        for _ in range(100):
            distance.append(found.distance(z[:, 0].numpy(), z[:, 1].numpy())[0])
            z = model.step(z, torch.tensor(rng.standard_normal((1, 1, 2))).expand(1, 2, 2))
    ratio = np.array(distance[1:]) / distance[:-1]
    assert ratio.max() <= found.rate[0]
    assert -np.log(ratio).sum() / (99 * 0.02) >= 0.9 * found.continuous_rate[0]


@pytest.mark.parametrize("kind", KINDS)
def test_gain_of_the_coupling(kind):
    """Euler's steps shrink as the gain grows; the implicit-explicit rate does not depend on it."""
    found = assembly(kind).certificate()
    gains = (0, 1, 10, 100)
    euler = [scaled(found, gain * found.coupling, integrator="euler") for gain in gains]
    implicit = [scaled(found, gain * found.coupling) for gain in gains]
    assert all(one.check().all() for one in implicit)
    rates = [one.rate[0] for one in implicit]
    assert np.ptp(rates) < 1e-7                                                         # the slack of the skewness, which is rounding
    steps = np.array([one.dt_max[0] for one in euler])
    assert (np.diff(steps) < 0).all()
    assert steps[3] < 1e-3 * steps[0] < 1e3 * steps[3] * 100
    assert not euler[3].certified.any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_step_of_euler(kind):
    """Over all 2^9 patterns of gains the map contracts in the metric at 0.9 of it, and does not at twice of it (in fact at 1.5 times)."""
    found = assembly(kind, areas=(3, 3, 3)).certificate()
    strong = scaled(found, 3 * found.coupling, integrator="euler")
    most = strong.dt_max[0]
    below, above = (scaled(found, 3 * found.coupling, integrator="euler", dt=factor * most) for factor in (0.9, 1.5))
    assert below.check()[0]
    assert not above.check()[0]
    J = in_metric(found.metric[0], -np.eye(9) + found.weights[0] * gain_patterns(9)[:, None] + 3 * found.coupling[0])
    largest = lambda dt: np.linalg.norm(np.eye(9) + dt * J, 2, axis=(1, 2)).max()  # noqa: E731
    assert largest(0.9 * most) <= below.rate[0] < 1 < largest(1.5 * most)


def test_beyond_twice_the_largest_step_euler_diverges():
    """With all units off the step has the eigenvalues 1 - dt + i dt w of the coupling."""
    found = assembly("svd", bound=0.4).certificate()
    most = scaled(found, 10 * found.coupling, integrator="euler").dt_max[0]
    J = -np.eye(11) + 10 * found.coupling[0]
    largest = lambda dt: np.abs(np.linalg.eigvals(np.eye(11) + dt * J)).max()  # noqa: E731
    assert largest(0.9 * most) < 1 < largest(2 * most)


@pytest.mark.parametrize("scale", [6.0, 10.0])
def test_the_identity_metric_of_scaled_nets_is_refused(scale):
    """Nets that contract in their own metric; in the identity a pattern of gains expands, and the checker says so."""
    rng, expanding = np.random.default_rng(2), 0
    for _ in range(5):
        W, P = drawn_sparse(rng, 8, 0.15, scale)
        arrays = lambda P, W=W: (P[None], W[None], np.zeros((1, 8, 8)), (8,))  # noqa: E731
        own = certify(*arrays(np.diag(P)), dt=0.05, integrator="implicit-explicit")
        assert own.check()[0]
        worst = max(np.linalg.eigvalsh((W * d + (W * d).T) / 2)[-1] for d in gain_patterns(8))
        refused = certify(*arrays(np.eye(8)), dt=0.05, integrator="implicit-explicit")
        if worst >= 1:
            expanding += 1
            assert not refused.certified[0]
            assert not replace(own, metric=np.eye(8)[None]).check()[0]
    assert expanding >= 3


@pytest.mark.parametrize("integrator", STEPS)
def test_forgeries_are_refused(integrator):
    found = assembly("svd", integrator=integrator).certificate()
    assert found.check()[0]
    L, W, P = found.coupling.copy(), found.weights.copy(), found.metric.copy()
    L[0, 0, 5] += 10
    W[0, :4, :4] *= 3
    P[0, 0, 5] = P[0, 5, 0] = 1e-3
    most = 10.0 if integrator == "euler" else 1e9
    forged = [
        replace(found, coupling=L), replace(found, weights=W), replace(found, metric=P), replace(found, metric=-found.metric),
        replace(found, rate=found.rate - 1e-3), replace(found, continuous_rate=found.continuous_rate * 1.5), replace(found, rate=found.rate * np.nan),
        replace(found, coupling=found.coupling * np.nan), replace(found, weights=3 * found.weights, dt_max=np.array([most])),
    ]
    for one in forged:
        assert not one.check()[0], one.faults()


def multipliers(kind, found, one, gain):
    """Of the matrix inequality in our metric: a grid where they are known but for a factor; of sparse areas by a program, for the best rate."""
    P, M = found.metric[0], len(found.metric[0])
    if kind != "sparse":
        h = found.dt if found.integrator == "implicit-explicit" else found.dt / (1 - found.dt)
        level = h * max(area.level for area in found.bounds().blocks) / gain
        return [level * factor * (np.diag(P) if kind == "svd" else np.ones(M)) for factor in np.geomspace(0.05, 20, 41)]
    cp = pytest.importorskip("cvxpy")
    scales, square = cp.Variable(M, nonneg=True), cp.Variable()
    corner = -one.A.T @ P @ one.W1 - one.W2.T @ cp.diag(scales)
    whole = cp.bmat([[square * P - one.A.T @ P @ one.A, corner], [corner.T, 2 * cp.diag(scales) - one.W1.T @ P @ one.W1]])
    cp.Problem(cp.Minimize(square), [whole >> 0]).solve()
    return [np.maximum(scales.value, 1e-5)]                                         # units that reach no other have none, and a proof wants it above 0


@pytest.mark.parametrize("integrator", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_analysis_agrees(kind, integrator):
    """Its matrix inequality, of another derivation, proves our rate with our metric; and the best metric, where it can be looked for, is no worse."""
    model = assembly(kind, integrator=integrator, areas=(4, 3), bound=0.8)
    found, one = model.certificate(), sectors_of(model).fits[0]
    rate, P = found.rate[0] + 1e-9, found.metric[0]
    proven = [proofs.margin(one, proofs.Proof(proofs.LMI, rate, metric=P, multiplier=m)) for m in multipliers(kind, found, one, model.gain)]
    assert max(proven) > 0
    if have_solver():
        best = contraction_certificate(model, "lmi")
        assert bool(best.contracting[0])
        assert float(best.rate[0]) <= found.rate[0] * (1 + 1e-3)


def test_one_area_by_hand():
    """One unit, W = w: J = -1 + w d. Contracts at 1 - max(w, 0); Euler with dt: |1 - dt + dt w d|; implicit-explicit: (1 + dt max(w, 0)) / (1 + dt)."""
    for w in (0.5, -0.5, -3.0):
        one = Area(np.eye(1), np.array([[w]]))
        arrays = (np.eye(1)[None], np.array([[[w]]]), np.zeros((1, 1, 1)), (1,))
        found = certify(*arrays, dt=0.1, integrator="implicit-explicit")
        np.testing.assert_allclose(found.continuous_rate, 1 - max(w, 0), rtol=1e-6)
        np.testing.assert_allclose(one.norm, abs(w), rtol=1e-9)
        assert max(1 + 0.1 * max(w, 0), 0) / 1.1 <= found.rate[0] < 1
