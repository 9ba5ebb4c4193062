"""Models whose map has structured matrices, so that one parameter is many of its entries: found by probing, and trained like any other."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import dynrnn as dr
from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.models.additive import AdditiveModel
from dynrnn.training.norms import jacobian_upper_bound
from dynrnn.training.parameters import flat_parameters, read
from dynrnn_kernels.additive import AdditiveMap, Block, Circulant, Permutation, Scalar, Sparse
from dynrnn_kernels.additive.layout import pack
from tests.kernels.maps import stay_native
from tests.training.test_update import SETTINGS, recording

M = 6
PATTERN = torch.tensor([0, 1, 1, 3, 4, 5, 5]), torch.tensor([2, 0, 4, 3, 5, 1, 0])
SIZES = {"circulant": (2, 2, 2), "block": (2, 3, 3), "sparse": (7,)}         # of W2's parameters: two channels, two taps; two blocks; seven entries


class StructuredRNN(AdditiveModel):
    """``z' = s P z + c phi(W2 z + h2)`` with a ring shift P and a structured W2."""

    family = "structured"
    initialisations = ("random",)
    pulled_to: ClassVar[dict[str, float]] = {"W2": 0.0, "h2": 0.0}
    unit_rows = ()
    s: Tensor
    c: Tensor
    W2: Tensor
    h2: Tensor

    def __init__(self, kind: str, phi: str = "tanh", **options: Any):
        super().__init__(3, M, **options)
        self.kind, self.phi = kind, phi
        self._fill_parameters()

    def _own_config(self) -> dict[str, Any]:
        return {"kind": self.kind, "phi": self.phi}

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"s": np.array([0.5]), "c": np.array([0.8]), "W2": 0.5 * rng.standard_normal(SIZES[self.kind]), "h2": 0.1 * rng.standard_normal(M)}

    def additive_map(self) -> AdditiveMap:
        W2 = {
            "circulant": lambda: Circulant(self.W2, 3, (0, 1)), "block": lambda: Block(self.W2), "sparse": lambda: Sparse(self.W2, *PATTERN, M, M),
        }[self.kind]()
        return AdditiveMap(
            a=None, A=Permutation(self.s, (torch.arange(M) - 1) % M), W1=Scalar(self.c, M), h1=torch.zeros_like(self.h2), phi=self.phi, W2=W2, h2=self.h2,
            C=self.C if self.input_dim else None,
        )


@pytest.fixture(params=[True, False], ids=["native", "written out"])
def native(request, monkeypatch):
    """Whether compiled code takes structures as they are, whatever their size."""
    stay_native(monkeypatch, request.param)
    return request.param


@pytest.mark.parametrize(("kind", "entries"), [("circulant", 3), ("block", 1), ("sparse", 1)])
def test_probing_finds_every_place_of_a_parameter(kind, entries, native):
    """The flat parameters, put where ``fill`` says, are the packed map; written out, each has as many places as its structure gives it."""
    model = StructuredRNN(kind, n_fits=2, random_state=0)
    flat = flat_parameters(model)
    theta = read(model)
    filled = np.where(flat.fill >= 0, theta[:, np.maximum(flat.fill, 0)], flat.constant)
    np.testing.assert_array_equal(filled, pack(model.additive_map()).detach().numpy())
    places = np.bincount(flat.fill[flat.fill >= 0], minlength=flat.size)
    assert (places[flat.slice("W2")] == (1 if native else entries)).all()
    assert (places[flat.slice("s")] == (1 if native else M)).all()
    assert (places[flat.slice("c")] == (1 if native else M)).all()
    assert (places[flat.slice("h2")] == 1).all()


@pytest.mark.parametrize("kind", SIZES)
def test_a_fit_alone_has_the_bits_that_it_has_in_an_ensemble(kind, native):
    fits = [StructuredRNN(kind, n_fits=n, random_state=0) for n in (3, 1)]
    for model in fits:
        dr.fit(model, recording(False, False), batch_size=9, **SETTINGS | {"n_updates": 5})
    np.testing.assert_array_equal(read(fits[0])[0], read(fits[1])[0])


@pytest.mark.parametrize("kind", SIZES)
def test_compiled_fit_equals_reference(kind, native):
    """With regularisers, inputs and missing samples; parameters with several places get the sum of their gradients."""
    trained = {}
    for backend in ("cpu", "reference"):
        model = StructuredRNN(kind, n_fits=2, input_dim=2, random_state=0)
        penalty = dr.Regularisation(latent=1e-3)
        run = dr.fit(model, recording(True, True), batch_size=9, noise=0.05, backend=backend, regularisation=penalty, **SETTINGS | {"n_updates": 5})
        trained[backend] = run, dict(model.named_parameters())
    (a, one), (b, two) = trained["cpu"], trained["reference"]
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-5)              # float32, as in test_update.py
    np.testing.assert_allclose(a.history.gradient_norm, b.history.gradient_norm, rtol=1e-4)
    start = dict(StructuredRNN(kind, n_fits=2, input_dim=2, random_state=0).named_parameters())
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)
        assert not torch.equal(one[name], start[name]), name


def test_the_bound_on_the_jacobian_takes_structures():
    """||s P|| = |s|, ||c I|| = |c|, and a block-diagonal matrix has the largest norm of its blocks."""
    model = StructuredRNN("block", n_fits=3, random_state=1)
    want = model.s.abs()[:, 0] + model.c.abs()[:, 0] * torch.linalg.matrix_norm(model.W2, ord=2).amax(1)
    torch.testing.assert_close(jacobian_upper_bound(model.additive_map()), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", SIZES)
def test_canonical_maps_take_structures(kind):
    model = StructuredRNN(kind, "relu", n_fits=2, random_state=2)
    z = torch.randn(2, 20, M, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k, map in enumerate(canonical(model).maps):
        np.testing.assert_allclose(map.step(z[k].numpy()), model.step(z)[k].detach().numpy(), rtol=1e-12, atol=1e-13)      # float64, sums of 12 terms


@pytest.mark.parametrize("kind", SIZES)
def test_devices_and_norms_take_the_written_out_map(kind, native):
    model = StructuredRNN(kind, n_fits=2, random_state=0)
    flat, theta = flat_parameters(model, written_out=True), read(model)
    filled = np.where(flat.fill >= 0, theta[:, np.maximum(flat.fill, 0)], flat.constant)
    np.testing.assert_array_equal(filled, pack(model.additive_map().written_out()).detach().numpy())
    assert flat.layout.pattern is None


@pytest.mark.parametrize("norm", ["product_upper_bound", "jacobian_upper_bound"])
def test_adaptive_strength_of_a_structured_map(monkeypatch, norm):
    """It depends on the map, not on how its matrices lie."""
    alphas = []
    for stays in (True, False):
        with monkeypatch.context() as patch:
            stay_native(patch, stays)
            model = StructuredRNN("block", n_fits=2, random_state=0)
            forcing = dr.AdaptiveTeacherForcing(norm=norm)
            run = dr.fit(model, recording(), forcing, n_updates=6, sequence_length=10, batch_size=3, progress=False, random_state=0)
            alphas.append(run.history.alpha.values)
    np.testing.assert_allclose(alphas[0], alphas[1], rtol=1e-4)                     # six updates in float32, in another order of sums
    assert (alphas[0][:, 0] != 1).any() or norm == "jacobian_upper_bound"
