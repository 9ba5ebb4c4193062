"""Certificates against what they claim: pairs that come together, maps that must be refused, Jacobians that no rate may beat."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import canonical, contraction_certificate, verify_certificate
from dynrnn.analysis.contraction import certificate as module
from dynrnn.analysis.contraction import programs, visited
from dynrnn.analysis.contraction.norms import propose_norm, propose_weighted
from dynrnn.analysis.contraction.sector import _of_additive, sectors_of
from dynrnn.results import read_results, write_results
from dynrnn_kernels.additive import AdditiveMap, jacobian, step
from tests.analysis.contraction.nets import GLOBAL, TIERS, length, random_net, scattered, shrunk
from tests.models.families import DESCENDED

solver = pytest.mark.skipif(not programs.have_solver(), reason="cvxpy is not installed")


@pytest.mark.parametrize("family", DESCENDED)
def test_every_jacobian_of_a_model_lies_within_its_slopes(family):
    """J - centre has entries of at most |W1| |W2| / 2; where W1 and W2 determine the slopes, they lie in [0, 1]."""
    model = DESCENDED[family](random_state=3, input_dim=2)
    one = sectors_of(model).fits[0]
    rng = np.random.default_rng(0)
    z = torch.tensor(3 * rng.standard_normal((1, 3000, model.latent_dim)))
    u = torch.tensor(rng.standard_normal((1, 3000, 2)))
    with torch.no_grad():
        J = jacobian(model.additive_map().to(torch.float64), z, u)[0].numpy()
    radius = np.abs(one.W1) @ np.abs(one.W2) / 2
    assert (np.abs(J - one.centre) <= radius + 1e-13).all()
    assert (np.abs(J) <= one.entries).all()
    if one.shape[1] and np.linalg.matrix_rank(one.W2) == one.shape[1] and np.linalg.matrix_rank(one.W1) == one.shape[1]:
        S = np.linalg.pinv(one.W1) @ (J - one.A) @ np.linalg.pinv(one.W2)
        slopes = np.diagonal(S, axis1=1, axis2=2)
        assert slopes.min() > -1e-9
        assert slopes.max() < 1 + 1e-9


def test_a_clipped_pair_is_one_unit():
    """z' = a z + w (relu(z + 1) - relu(z)): slopes a and a + w. With two relus for independent units it would be a - w to a + w."""
    found = contraction_certificate(([0.5], [[-0.9, 0.9]], [[1.0], [1.0]], [0.0], [1.0, 0.0]), "weighted")
    np.testing.assert_allclose(found.rate, 0.5, rtol=1e-9)                           # the vertices are 0.5 and -0.4; independent: 1.4
    model = dr.ShallowPLRNN(1, 1, 1, clipped=True, random_state=0)
    with torch.no_grad():
        for name, value in {"A": 0.5, "W1": 0.9, "W2": 1.0, "h2": -1.0}.items():      # h2 < 0: the slope is 0 or -1
            getattr(model, name).fill_(value)
    np.testing.assert_allclose(contraction_certificate(model, "weighted").rate, 0.5, rtol=1e-6)


def test_a_basis_has_the_range_of_its_cumulative_slopes():
    model = dr.DendriticPLRNN(2, 2, 3, random_state=0)
    with torch.no_grad():
        model.A.fill_(0.0)
        model.W.copy_(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
        model.alpha.copy_(torch.tensor([[0.5, -0.75, 0.5]]))
        model.H.copy_(torch.tensor([[[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]]))              # both: 0, 0.5, -0.25, 0.25
    found = contraction_certificate(model, "weighted")
    np.testing.assert_allclose(found.rate, 0.5, rtol=1e-9)                           # the sum of |alpha| is 1.75


@pytest.mark.parametrize("tier", TIERS)
def test_expanding_maps_are_refused(tier):
    """Spectral radius below 1 proves nothing: with one unit off, this W1 has 1.5 and without it 0.5; random nets that expand somewhere; a chaotic PLRNN."""
    W1 = np.array([[1.5, 1.75], [-1.0, -1.0]])
    assert np.abs(np.linalg.eigvals(W1)).max() < 0.6
    nets = [(np.zeros(2), W1, np.eye(2), np.zeros(2), np.zeros(2))]
    nets += [random_net(seed, 4, 8, 2.0) for seed in range(5)]
    tent = ([0.0], [[1.9, -3.8]], [[1.0], [1.0]], [0.0], [0.0, -0.5])                  # chaotic: slopes 1.9 and -1.9
    for net in [*nets, tent]:
        map = canonical(net).maps[0]
        J = map.jacobians(map.words(scattered(net)))
        assert np.abs(np.linalg.eigvals(J)).max() > 1
        found = contraction_certificate(net, tier, orbit=scattered(net))
        assert not found.contracting.any()
        assert np.isnan(found.rate).all()
        assert "not proven" in found.status.item()
        assert not verify_certificate(net, found).valid.any()


@pytest.mark.parametrize("tier", TIERS)
def test_stable_regions_whose_product_expands_are_refused(tier, monkeypatch):
    """Both Jacobians have spectral radius sqrt(0.9), their product -2 * 0.9 - 1.8^2 as its trace: no metric shrinks under both, with or without a solver."""
    net = (np.array([[0.0, 1.0], [-0.9, 1.8]]), [[0.0], [-3.6]], [[0.0, 1.0]], np.zeros(2), [0.0])
    J = canonical(net).maps[0].jacobians(np.array([[False], [True]]))
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(J)), np.sqrt(0.9))
    assert np.abs(np.linalg.eigvals(J[0] @ J[1])).max() > 4
    assert not contraction_certificate(net, tier, orbit=scattered(net)).contracting.item()
    if tier == "visited":
        monkeypatch.setattr(visited, "have_solver", lambda: False)
        found = contraction_certificate(net, tier, orbit=scattered(net))
        assert "no common metric" in found.status.item()


@pytest.mark.parametrize("tier", GLOBAL)
@pytest.mark.parametrize("family", DESCENDED)
def test_pairs_come_together_at_the_proven_rate(family, tier):
    """Along random inputs distances in the metric shrink by the rate in every step, up to the steps' own rounding."""
    model = shrunk(DESCENDED[family](random_state=1, input_dim=2), 0.08)
    if hasattr(model, "A"):
        with torch.no_grad():
            model.A.mul_(0.8)
    found = contraction_certificate(model, tier)
    assert found.contracting.all(), found.status.item()
    assert verify_certificate(model, found).valid.all()
    rng = np.random.default_rng(0)
    map = model.additive_map().to(torch.float64)
    z = torch.tensor(2 * rng.standard_normal((2, 200, model.latent_dim)))
    row = found.isel(fit=0)
    before = length(row, (z[0] - z[1]).numpy())
    with torch.no_grad():
        for _ in range(15):
            u = torch.tensor(rng.standard_normal((1, 200, 2))).repeat(1, 2, 1)
            z = step(map, z.reshape(1, 400, -1), u).reshape(2, 200, -1)
            after = length(row, (z[0] - z[1]).numpy())
            scale = float(length(row, np.eye(model.latent_dim)).sum()) * (1 + float(z.abs().max()))
            assert (after <= found.rate.item() * before + 1e-13 * scale).all()
            before = after


def test_tanh_units_and_their_pairs():
    rng = np.random.default_rng(0)
    N = 8
    W = torch.tensor(0.2 * rng.standard_normal((1, N, N)))
    half = torch.full((1, N), 0.5, dtype=torch.float64)
    map = AdditiveMap(a=half, W1=torch.diag_embed(half), W2=W, h1=0 * half, phi="tanh")
    one = _of_additive(map, 0, None)
    rate, scales, _ = propose_norm(one)
    weighted, weights = propose_weighted(one)
    z = torch.tensor(rng.standard_normal((1, 400, N)))
    y = step(map, z, None)
    d0, d1 = (z[0, :200] - z[0, 200:]).numpy(), (y[0, :200] - y[0, 200:]).numpy()
    assert rate < 1
    assert (np.linalg.norm(d1 * scales, axis=1) <= rate * np.linalg.norm(d0 * scales, axis=1)).all()
    assert (np.abs(d1 / weights).max(1) <= weighted * np.abs(d0 / weights).max(1)).all()


@solver
def test_what_a_cheaper_tier_proves_a_dearer_one_proves_and_no_rate_beats_the_regions():
    """Factors of norm and weighted are not below the inequality's, that is not below the visited regions', and none below the worst Jacobian's radius."""
    proven = 0
    for seed in range(8):
        net = random_net(seed, 2, 4, 0.3 + 0.15 * seed)
        map = canonical(net).maps[0]
        worst = np.abs(np.linalg.eigvals(map.jacobians(map.words(scattered(net))))).max()
        every = np.array(list(itertools.product([False, True], repeat=4)))
        box = np.abs(np.linalg.eigvals(map.jacobians(every))).max()
        bound = {t: contraction_certificate(net, t, orbit=scattered(net)).bound.sel(tried=t).item() for t in TIERS}
        cheap = min(bound["norm"], bound["weighted"])
        proven += cheap < 1
        assert bound["lmi"] <= cheap * (1 + 2e-6) if cheap < 1 else True              # the leeway of 1e-6 that rates are given
        assert bound["visited"] <= bound["lmi"] * (1 + 2e-3)                          # both bisected to 1e-3
        assert min(bound["norm"], bound["weighted"], bound["lmi"]) >= box
        assert bound["visited"] >= worst
    assert proven >= 3


@solver
def test_the_inequality_is_exact_where_the_answer_is_known():
    """A normal linear map: its radius. One unit on one line, a in and a + w out: the larger modulus. A Jordan block: near its radius, far below its norm."""
    turn = 0.9 * np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    nothing = (np.zeros((2, 0)), np.zeros((0, 2)), np.zeros(2), np.zeros(0))
    np.testing.assert_allclose(contraction_certificate((turn, *nothing), "lmi").rate, 0.9, rtol=2e-3)
    np.testing.assert_allclose(contraction_certificate(([0.3], [[-1.0]], [[1.0]], [0.0], [0.0]), "lmi").rate, 0.7, rtol=2e-3)
    jordan = np.array([[0.8, 10.0], [0.0, 0.8]])
    found = contraction_certificate((jordan, *nothing))
    assert found.rate.item() < 1
    np.testing.assert_allclose(contraction_certificate((jordan, *nothing), "lmi").rate, 0.8, rtol=2e-3)


def test_time_constant_and_margin_of_a_scalar_map():
    found = contraction_certificate(([0.5], [[0.25]], [[1.0]], [0.0], [0.0]), dt=0.1)
    assert found.tier.item() == "norm"
    np.testing.assert_allclose(found.time_constant, -0.1 / np.log(0.75), rtol=1e-9)
    np.testing.assert_allclose(found.margin, 0.25, rtol=1e-9)
    assert contraction_certificate(([0.5], [[0.25]], [[1.0]], [0.0], [0.0]), rate=0.7).status.item().endswith("a rate of 0.7 was not")


@pytest.mark.parametrize("tier", TIERS)
def test_a_certificate_is_checked_again_and_found_out_when_changed(tier, tmp_path):
    net = random_net(3, 3, 5, 0.25)
    orbit = scattered(net)
    found = contraction_certificate(net, tier, orbit=orbit)
    write_results(tmp_path / "results.zarr", {"certificate": found})
    again = read_results(tmp_path / "results.zarr")["certificate"].to_dataset()
    xr.testing.assert_identical(again, found)
    assert verify_certificate(net, again).valid.item()
    assert verify_certificate(net, found).valid.item()
    worse = found.assign(rate=found.rate * 0.97)
    assert not verify_certificate(net, worse).holds.item()
    changes = {name: found[name] * 1.5 for name in ("metric", "weights", "time_constant")}
    for name, changed in {**changes, "rate": found.rate * 1.001, "scope": ("fit", np.array(["everywhere"]))}.items():
        altered = found.assign({name: changed})
        if not altered.equals(found):
            assert not verify_certificate(net, altered).valid.item(), name
    other = [np.array(x) for x in net]
    other[3] = other[3] + 1e-9
    checked = verify_certificate(tuple(other), found)
    assert not checked.same_model.item()
    assert not checked.valid.item()
    expanding = random_net(3, 3, 5, 5.0)
    assert not verify_certificate(expanding, found).holds.item()
    name = "weights" if tier == "weighted" else "metric"
    broken = found[name].copy()
    broken.values[0, -1] = -broken.values[0, -1]
    assert not verify_certificate(net, found.assign({name: broken})).holds.item()


def test_visited_regions_are_no_global_statement_and_their_balls_stay():
    """A PLRNN with a stable point in one region and expansion in another: proven near the point alone, up to the plane that bounds its region."""
    net = ([0.0], [[-0.5, 3.0]], [[1.0], [1.0]], [1.0], [0.0, -1.0])                   # slope 0, -0.5 on (0, 1), 2.5 beyond; fixed point 2/3
    states = np.array([[0.9]])
    map = canonical(net).maps[0]
    orbit = [states[0]]
    for _ in range(200):
        states = map.step(states)
        orbit.append(states[0])
    found = contraction_certificate(net, orbit=np.array(orbit))
    assert found.tier.item() == "visited"
    assert found.scope.item() == "union of visited regions"
    assert found.invariant.item()
    np.testing.assert_allclose(found.centre.values.ravel(), 2 / 3, rtol=1e-12)
    np.testing.assert_allclose(found.radius / np.sqrt(found.metric.values.item()), 1 / 3, rtol=1e-6)
    assert verify_certificate(net, found).valid.item()
    assert not verify_certificate(net, found.assign(radius=found.radius * 1.01)).consistent.item()
    both = contraction_certificate(net, orbit=np.array([*orbit, [2.0]]))
    assert not both.contracting.item()
    assert "expands" in both.status.item()


def test_a_stable_cycle_of_two_regions_has_a_ball_about_each_point():
    net = ([0.5], [[-3.0, 3.0]], [[4.0], [4.0]], [1.5], [0.5, -0.5])                   # steep between +-1/8, slope 0.5 outside: a cycle of period 2
    map = canonical(net).maps[0]
    z, orbit = np.array([[0.6]]), []
    for _ in range(300):
        z = map.step(z)
        orbit.append(z[0])
    orbit = np.array(orbit)
    assert abs(orbit[-1] - orbit[-3]) < 1e-12
    assert abs(orbit[-1] - orbit[-2]) > 0.5
    found = contraction_certificate(net, orbit=orbit[200:])
    assert found.invariant.item()
    assert found.sizes["centre_point"] == 2
    np.testing.assert_allclose(found.rate, 0.5, rtol=1e-3)
    assert verify_certificate(net, found).valid.item()


def test_without_the_solver(monkeypatch):
    """The tier is skipped and said to be; asked for, the error has the command; a common metric is then found by the gradient method."""
    monkeypatch.setattr(programs, "have_solver", lambda: False)
    monkeypatch.setattr(module, "have_solver", lambda: False)
    monkeypatch.setattr(visited, "have_solver", lambda: False)
    net = random_net(2, 3, 6, 2.0)
    with pytest.raises(dr.errors.ArgumentError, match=r"pip install 'dynrnn\[certificates\]'"):
        contraction_certificate(net, "lmi")
    assert "cvxpy is not installed" in contraction_certificate(net).status.item()
    # diag(.9, .1) turned by 60 degrees against itself times 3 in one direction: norms above 1, a metric exists
    A = np.array([[0.6, 2.0], [0.0, 0.5]])
    skewed = (A, [[0.0], [0.1]], [[0.2, 0.0]], [0.0, 0.0], [0.0])
    found = contraction_certificate(skewed, "visited", orbit=scattered(skewed))
    assert found.contracting.item()
    assert verify_certificate(skewed, found).valid.item()


def test_a_fit_of_an_ensemble_is_the_fit_alone_and_one_that_diverged_is_empty():
    model = shrunk(dr.ALRNN(2, 4, 2, n_fits=3, random_state=0), 0.1)
    with torch.no_grad():
        model.A.mul_(0.5)
        model.A[1, 0] = torch.nan
    whole, alone = contraction_certificate(model), contraction_certificate(dr.select(model, fit=2))
    xr.testing.assert_identical(whole.isel(fit=[2]).drop_attrs(), alone.drop_attrs())
    assert whole.contracting.values.tolist() == [True, False, True]
    assert whole.status.values[1] == "parameters not finite"
    assert np.isnan(whole.rate[1])
    assert verify_certificate(model, whole).valid.values.tolist() == [True, False, True]
    assert verify_certificate(dr.select(model, fit=2), whole.isel(fit=2)).valid.all()


def test_bad_input():
    net = random_net(0)
    error = dr.errors.ArgumentError
    with pytest.raises(error, match="weighted"):
        contraction_certificate(net, "weigthed")
    with pytest.raises(error, match="orbit"):
        contraction_certificate(net, "visited")
    with pytest.raises(error, match=r"\(time, 3\)"):
        contraction_certificate(net, "visited", orbit=np.zeros((5, 2)))
    with pytest.raises(error, match="between 0 and 1"):
        contraction_certificate(net, rate=1.5)
    with pytest.raises(error, match="callable"):
        contraction_certificate(lambda z: z)
    with pytest.raises(error, match="seal"):
        verify_certificate(net, xr.Dataset())
    with pytest.raises(error, match="fit 7"):
        verify_certificate(net, contraction_certificate(net).assign_coords(fit=[7]))
    broken = contraction_certificate(net, "visited", orbit=np.full((5, 3), np.nan))
    assert "not finite" in broken.status.item()
