"""``fit(backend="triton")`` in Triton's interpreter: the device's updates in the training loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

import dynrnn as dr
from dynrnn.training import updates
from dynrnn.training.draws import Sampler
from dynrnn.training.norms import jacobian_upper_bound
from dynrnn.training.parameters import read
from dynrnn.training.validation import Validator
from dynrnn_kernels.additive import library
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.influence import sequence
from tests.kernels.interpreter import DEVICE, INFLUENCE, RECURRENCE, interpret_triton_itself, interpreted
from tests.models.families import DESCENDED
from tests.training.test_update import recording

kernels = interpreted(DEVICE)
SETTINGS = dict(n_updates=3, sequence_length=3, batch_size=2, progress=False, random_state=3, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(updates, "device_kernels", lambda: kernels)
    interpret_triton_itself(monkeypatch)


@pytest.mark.parametrize("family", ["shallow", "wave"])
def test_a_fit_by_influence_on_a_device_is_that_on_the_cpu(family, monkeypatch):
    """The host draws the windows of both; missing samples and inputs; a map that parameters fill by index, and one that has structures."""
    monkeypatch.setattr(library, "device_kernels", lambda: interpreted(RECURRENCE))
    influence = interpreted(INFLUENCE)
    monkeypatch.setattr(sequence, "device_influence", lambda: influence)
    make = {"shallow": lambda: dr.ShallowPLRNN(3, 3, 2, input_dim=2, random_state=0), "wave": lambda: dr.WaveRNN(3, 4, 1, input_dim=2, random_state=0)}[family]
    trained = []
    for backend in ("triton", "cpu"):
        trained.append(dr.fit(make(), recording(missing=True, inputs=True), gradient="rtrl", backend=backend, **(SETTINGS | {"n_updates": 2})))
    mine, truth = trained
    assert mine.history.attrs["backend"] == "triton"
    np.testing.assert_allclose(mine.history.loss, truth.history.loss, rtol=1e-5)  # float32
    for (name, a), b in zip(mine.model.named_parameters(), truth.model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def model(**options):
    return dr.ShallowPLRNN(3, 4, 5, n_fits=2, random_state=0, **options)


@pytest.mark.parametrize("family", ["shallow", *(pytest.param(name, marks=pytest.mark.slow) for name in DESCENDED if name != "shallow")])
def test_a_fit_equals_the_reference_on_the_same_windows(family, monkeypatch):
    """The windows that the device drew are put in the place of the host's."""
    drawn, launch = [], kernels.launch_update

    def recorded(arrays):
        launch(arrays)
        drawn.append(arrays.windows.numpy().copy())

    monkeypatch.setattr(kernels, "launch_update", recorded)
    trained, data = {}, recording(missing=True, inputs=True)
    for backend in ("triton", "reference"):
        m = DESCENDED[family](n_fits=2, input_dim=2, random_state=0)
        regularisation = dr.Regularisation(latent=1e-2, observation=np.array([0.0, 1e-2]))
        trained[backend] = dr.fit(m, data, backend=backend, gradient_clip=0.5, regularisation=regularisation, **SETTINGS)
        monkeypatch.setattr(Sampler, "windows", lambda self, first, last: np.stack(drawn[first:last]))
    mine, truth = trained["triton"], trained["reference"]
    assert mine.history.attrs["backend"] == mine.config["backend"] == "triton"
    assert mine.status.values.tolist() == ["finished", "finished"]
    np.testing.assert_allclose(mine.history.loss, truth.history.loss, rtol=1e-5)  # float32, as for the compiled update
    np.testing.assert_allclose(mine.history.gradient_norm, truth.history.gradient_norm, rtol=1e-4)
    for (name, a), b in zip(mine.model.named_parameters(), truth.model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_parameters_come_back_where_the_host_wants_them():
    """The adapted strength of the second update is that of the parameters after one; the last score is that of the model that comes back."""
    forcing = dr.AdaptiveTeacherForcing(norm="jacobian_upper_bound", every=1, gamma=0.0)
    data = recording(n=60)
    short, long = (dr.fit(model(), data, forcing, validation=data, backend="triton", **(SETTINGS | {"n_updates": n})) for n in (1, 2))
    with torch.no_grad():
        want = 1 - 1 / jacobian_upper_bound(short.model.additive_map())
    assert (want > 0).all()
    np.testing.assert_allclose(long.history.alpha[:, 1], want, rtol=1e-6)
    validator = Validator(dr.concat([long.model]), data)
    validator(2, read(long.model))
    np.testing.assert_array_equal(long.history.validation[:, -1], validator.scores[2])


def test_adaptive_norms_are_computed_where_the_updates_are(monkeypatch):
    """By the recurrence's power iteration: 30 iterations come from below within some percent of the largest singular value."""
    asked, norms = [], kernels.recurrence.spectral_norms

    def recorded(flat, lay, states, u):
        asked.append(states.shape)
        return norms(flat, lay, states, u)

    monkeypatch.setattr(library, "device_kernels", lambda: kernels.recurrence)
    monkeypatch.setattr(kernels.recurrence, "spectral_norms", recorded)
    forcing, data = dr.AdaptiveTeacherForcing(alpha=0.0, norm="batch_maximum", every=1), recording()
    alpha = {}
    for backend in ("triton", "cpu"):
        m = model()
        with torch.no_grad():
            m.A += 1.0                                                          # Jacobians grow, so that the strength says how much
        alpha[backend] = dr.fit(m, data, forcing, backend=backend, **(SETTINGS | {"n_updates": 1})).history.alpha.values[:, 0]
    assert asked == [(2, 2 * 3, 4)]
    assert (alpha["cpu"] > 0.1).all()
    assert (alpha["triton"] <= alpha["cpu"] + 1e-6).all()                       # float32
    np.testing.assert_allclose(alpha["triton"], alpha["cpu"], rtol=0.05)


@pytest.mark.parametrize("precision", ["tf32x3", "tf32"])
def test_precision_reaches_the_products_and_is_kept(precision, monkeypatch):
    asked, launch = [], kernels.recurrence.launch

    def recorded(kernel, grid, *arguments, **constants):
        asked.append(constants.get("PRECISION"))
        launch(kernel, grid, *arguments, **constants)

    monkeypatch.setattr(kernels.recurrence, "launch", recorded)
    run = dr.fit(model(), recording(), backend="triton", precision=precision, **(SETTINGS | {"n_updates": 1}))
    assert asked.count(precision) == 2                                          # forward and adjoint
    assert "ieee" not in asked
    assert run.config["precision"] == run.history.attrs["precision"] == precision


def test_what_is_missing_is_said_before_any_work(monkeypatch, tmp_path):
    settings = SETTINGS | {"backend": "triton", "out": tmp_path / "run"}
    with pytest.raises(KernelError, match=r"M = 130 latent units .* another backend"):
        dr.fit(dr.ShallowPLRNN(3, 130, 5, random_state=0), recording(), **settings)
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(dr.ArgumentError, match=r"CUDA device, and torch sees none .* backend='cpu'"):
        dr.fit(model(), recording(), **settings)
    assert not (tmp_path / "run").exists()
