"""Bounds of one area against the truth, which for a few units is the largest over all patterns of gains."""

import numpy as np
import pytest

from dynrnn.models.assemblies.blocks import SymmetricBlocks
from dynrnn.models.assemblies.bounds import Area, positive_part
from dynrnn.models.assemblies.metrics import sparse_metric, symmetric_metric
from tests.models.assemblies.nets import KINDS, gain_patterns, in_metric, small_area


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_no_pattern_of_gains_exceeds_a_bound(kind, seed):
    """Nor are the bounds far off: the norm is reached, the log-norm to a tenth of its room."""
    P, W = small_area(kind, seed)
    one, patterns = Area(P, W), gain_patterns(6)
    WD = in_metric(P, W[None] * patterns[:, None])
    norm = np.linalg.norm(WD, 2, axis=(1, 2)).max()
    log_norm = np.linalg.eigvalsh((WD + WD.transpose(0, 2, 1)) / 2)[:, -1].max()
    assert norm <= one.norm <= norm * 1.2
    assert log_norm <= one.log_norm < 1
    for h in (0.01, 0.1, 0.5):
        growth = np.linalg.norm(np.eye(6) + h * WD, 2, axis=(1, 2)).max() ** 2
        assert growth <= one.growth(h) <= (1 + h) ** 2
        assert abs(one.growth(h) - one.growth(h, proof=False)) < 1e-6 * one.growth(h)


def test_the_metric_of_a_sparse_area_is_one_for_moduli():
    """P A + A' P < 0 for A = |W|_+ - I, also where A is far from symmetric and some units are not reached at all."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        W = rng.uniform(-2, 2, (8, 8)) * (rng.random((8, 8)) < 0.15)
        A, P = positive_part(W) - np.eye(8), sparse_metric(W)
        assert (P is not None) == (np.linalg.eigvals(A).real.max() < -1e-9)
        if P is not None:
            assert np.linalg.eigvalsh(P[:, None] * A + A.T * P)[-1] < 0
    assert sparse_metric(np.array([[0.0, 2.0], [0.6, 0.0]])) is None                   # a loop of gain 1.2
    assert sparse_metric(np.array([[-9.0, 2.0], [0.4, 0.0]])) is not None               # a unit that inhibits itself is free to


def test_the_metric_of_symmetric_weights_is_the_inverse_of_the_published_one():
    """W = R - M with M = c R^2, 1 / (4 c) = bound: M^-1 is our metric up to a factor, and M itself is none."""
    P, W = small_area("symmetric", 3)
    c = 1 / (4 * (0.9 + 1e-12))
    values, U = np.linalg.eigh(W)
    R = (U * (np.sqrt(1 / (4 * c) - values) / np.sqrt(c) + 1 / (2 * c))) @ U.T
    M = c * R @ R
    np.testing.assert_allclose(R - M, W, atol=1e-12)
    np.testing.assert_allclose(P @ M, np.eye(6) * (P @ M)[0, 0], atol=1e-9)
    np.testing.assert_allclose(Area(P, W).log_norm, 0.9, rtol=1e-6)                     # the rate that symmetric weights have at best: 1 - bound
    WD = in_metric(M, np.array([W * d for d in gain_patterns(6)]))
    assert np.linalg.eigvalsh((WD + WD.transpose(0, 2, 1)) / 2)[:, -1].max() > 1         # so the published metric proves nothing here


@pytest.mark.parametrize(("bound", "lowest"), [(0.95, -3.0), (0.5, -0.2), (0.3, -20.0)])
def test_what_symmetric_blocks_keep_to_holds_for_any_eigenvalues(bound, lowest):
    design = SymmetricBlocks((6,), bound, lowest).design()
    rng = np.random.default_rng(0)
    for _ in range(5):
        U = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        values = rng.uniform(lowest, bound, 6)
        values[:2] = lowest, bound
        W = (U * values) @ U.T
        W = (W + W.T) / 2
        P = symmetric_metric(W, bound * (1 + 1e-12))
        WD = in_metric(P, np.array([W * d for d in gain_patterns(6)]))
        assert np.linalg.norm(WD, 2, axis=(1, 2)).max() <= design.kappa * (1 + 1e-9)
        for h in (0.01, 0.1, 0.4):
            assert np.linalg.norm(np.eye(6) + h * WD, 2, axis=(1, 2)).max() ** 2 <= design.growth(h) * (1 + 1e-9)
