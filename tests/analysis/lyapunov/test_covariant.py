"""Covariant vectors: directions that are known in closed form or from the flow itself, and the checks that a result carries."""

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.analysis import PiecewiseLinearMap, covariant_vectors
from dynrnn.analysis.lyapunov.subspaces import pair_angles, smallest_principal_angle
from tests.analysis.lyapunov.systems import henon

LOZI = PiecewiseLinearMap([[0, 1], [0.5, 0]], [[-1.7, -1.7], [0, 0]], [[1, 0], [-1, 0]], [1, 0], [0, 0])


class Lorenz:
    """The flow of 1963, from a state on the attractor."""

    dim, dt, transient = 3, 0.05, 2.0
    initial = (-8.0, -8.0, 27.0)

    def field(self, z):
        x, y, w = z[..., 0], z[..., 1], z[..., 2]
        return torch.stack([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w], -1)


def test_of_a_linear_map_they_are_its_eigenvectors():
    """Wherever the orbit is; eigenvalues 0.9, 0.6, 0.3 and eigenvectors far from orthogonal. The gap of 2 a step makes 200 steps exact to rounding."""
    vectors = np.array([[1.0, 1.0, 0.2], [0.0, 0.5, 1.0], [0.3, 0.0, 1.0]])
    values = np.array([0.9, -0.6, 0.3])
    J = vectors @ np.diag(values) @ np.linalg.inv(vectors)
    found = covariant_vectors(lambda z: z @ torch.tensor(J).T, dim=3, n_steps=50, warmup=200, backward_warmup=200, transient=0)
    unit = vectors / np.linalg.norm(vectors, axis=0)
    cosine = np.abs(np.einsum("tvm,mv->tv", found.direction.values[0], unit))
    np.testing.assert_allclose(cosine, 1, atol=1e-13)
    np.testing.assert_allclose(found.exponent.values[0], np.log(np.abs(values)), atol=1e-12)
    expected = np.arccos(np.abs(unit.T @ unit).clip(0, 1))
    np.testing.assert_allclose(found.angle.values[0, 10], expected - np.diag(np.diag(expected)), atol=1e-12)
    np.testing.assert_allclose(found.localisation.values[0, 10], 1 / (unit**4).sum(0), rtol=1e-12)
    assert found.status.item() == "analysed"
    assert (found.group == "contracting").all()


def test_of_henon_they_are_covariant_and_grow_by_the_determinant():
    """ln |det J| = sum of local growths + ln of the ratio of the parallelograms' areas: so the mean growths add up to ln 0.3 but for the ends'."""
    found = covariant_vectors(henon, dim=2, n_steps=400, warmup=200, backward_warmup=200)
    assert float(found.covariance_residual.max()) < 1e-8
    area = np.log(np.sin(found.angle.values[0, :, 0, 1]))
    step = found.local_growth.values[0].sum(-1)[:-1]
    np.testing.assert_allclose(step, np.log(0.3) - np.diff(area), atol=1e-9)
    z, v = found.state.values[0], found.direction.values[0]
    moved = np.stack([-2.8 * z[:-1, :1] * v[:-1, :, 0] + v[:-1, :, 1], 0.3 * v[:-1, :, 0]], -1)            # J by hand, [t, vector, xy]
    lengths = np.linalg.norm(moved, axis=-1, keepdims=True)
    np.testing.assert_allclose(moved / lengths, v[1:], atol=1e-8)                                            # orientation too
    np.testing.assert_allclose(np.log(lengths[..., 0]), found.local_growth.values[0, :-1], atol=1e-8)


@pytest.mark.slow
def test_the_neutral_vector_of_a_flow_is_its_direction():
    """Gap 0.9 x 0.05 a step: after 280 steps differences are e^-12.6 in the angle, 1e-11 in the cosine; the integration's error is 1e-7 in the angle."""
    found = covariant_vectors(Lorenz(), n_steps=60, warmup=280, backward_warmup=280, neutral=0.3)
    field = Lorenz().field(torch.tensor(found.state.values[0])).numpy()
    cosine = (field * found.direction.values[0, :, 1]).sum(-1) / np.linalg.norm(field, axis=-1)
    assert np.abs(cosine).min() > 1 - 1e-9
    assert found.group.values[0].tolist() == ["expanding", "neutral", "contracting"]
    assert float(found.covariance_residual.max()) < 1e-8


def test_checkpoints_change_nothing():
    """Backward sweeps end at another step, where another random start is forgotten; so do blocks of either kind."""
    whole = covariant_vectors(LOZI, n_steps=300, warmup=300, backward_warmup=300, initial=[[0.1, 0.1]])
    for checkpoint in (7, 600):
        blocks = covariant_vectors(LOZI, n_steps=300, warmup=300, backward_warmup=300, initial=[[0.1, 0.1]], checkpoint=checkpoint)
        np.testing.assert_array_equal(whole.state, blocks.state)
        np.testing.assert_allclose(whole.direction, blocks.direction, atol=1e-12)
    assert float(whole.covariance_residual.max()) < 1e-8
    # the unstable direction of a Lozi map is constant on either side of images of x = 0, and never the stable one: the map is hyperbolic
    assert whole.smallest_angle.sel(spaces="expanding-contracting").item() > 0.3


def test_each_fit_of_a_model_is_what_it_is_alone_and_a_diverged_one_is_empty():
    model = dr.ShallowPLRNN(3, 3, 20, clipped=True, n_fits=3, random_state=0)
    with torch.no_grad():
        model.W1[2] = np.nan
        model.A[1] = 2.0
        model.h1[1] = 1.0
    found = covariant_vectors(model, n_steps=100, warmup=2_000, backward_warmup=100)
    alone = covariant_vectors(dr.select(model, fit=0), n_steps=100, warmup=2_000, backward_warmup=100)
    np.testing.assert_array_equal(found.state.values[0], alone.state.values[0])
    np.testing.assert_allclose(found.direction.values[0], alone.direction.values[0], atol=1e-13)
    assert float(found.covariance_residual[0].max()) < 1e-8
    assert "diverge" in str(found.status.values[1])
    assert "finite" in str(found.status.values[2])
    assert np.isnan(found.direction.values[1:]).all()


def test_dead_directions_are_cut_off():
    """Two units that copy nothing: J has rank 2, so two of four exponents are -inf, and the first two vectors are those of the 2 x 2 block."""
    A = np.diag([0.9, 0.5, 0.0, 0.0])
    A[2, 0] = A[3, 1] = 1.0
    copying = PiecewiseLinearMap(A, np.zeros((4, 1)), np.zeros((1, 4)), np.zeros(4), [0.0])
    found = covariant_vectors(copying, n_steps=20, warmup=100, backward_warmup=100, transient=0)
    assert found.n_live.item() == 2
    assert "first 2 of 4" in found.status.item()
    assert np.isnan(found.direction.values[0, :, 2:]).all()
    expected = np.array([[0.9, 0, 1, 0], [0, 0.5, 0, 1]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.direction.values[0, 5, :2], expected, atol=1e-12)


def test_vectors_that_do_not_settle_are_said():
    """A rotation has equal exponents: the checks of either sweep see that vectors are not unique, though they are covariant."""
    angle = 1.0
    J = 0.9 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = covariant_vectors(lambda z: z @ torch.tensor(J).T, dim=2, n_steps=20, transient=0, warmup=50, backward_warmup=50)
    assert "not settled" in found.status.item()
    assert float(found.covariance_residual.max()) < 1e-8


def test_angles_of_vectors_and_spaces():
    """Two planes in four dimensions at principal angles 1e-9 and 0.7, where a cosine alone would give 0."""
    small = 1e-9
    C = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [np.cos(small), 0, np.sin(small), 0], [0, np.cos(0.7), 0, np.sin(0.7)]]).T
    mixed = C.copy()
    mixed[:, 1], mixed[:, 3] = C[:, 0] + 0.5 * C[:, 1], C[:, 3] - 2 * C[:, 2]                                # other bases of the same planes
    assert smallest_principal_angle(mixed[None], np.array([0, 1]), np.array([2, 3]))[0] == pytest.approx(small, rel=1e-5)
    assert pair_angles(C[None])[0, 0, 2] == pytest.approx(small, rel=1e-7)


def test_bad_input_is_refused():
    with pytest.raises(dr.ArgumentError, match="n_vectors = 3"):
        covariant_vectors(LOZI, n_vectors=3)
    with pytest.raises(dr.ArgumentError, match="n_steps"):
        covariant_vectors(LOZI, n_steps=3)
    with pytest.raises(dr.ArgumentError, match="one orbit"):
        covariant_vectors(LOZI, initial=[[0.1, 0.1], [0.2, 0.1]])
    with pytest.raises(dr.ArgumentError, match="neutral"):
        covariant_vectors(LOZI, neutral=-1.0)
