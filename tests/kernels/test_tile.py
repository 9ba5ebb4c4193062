"""Register tiles against numpy, at every remainder of their heights."""

from __future__ import annotations

import numpy as np
import pytest

from dynrnn_kernels.additive.tile import ROWS, add_outer, place, product


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_products_at_every_size(dtype, tolerance):
    g = np.random.default_rng(0)
    for n in range(1, 24):
        for k in (0, 1, 2, 3, 4, 5, 7, 20):
            A, B = g.standard_normal((n, k)).astype(dtype), g.standard_normal((k, ROWS)).astype(dtype)
            out = np.full((n, ROWS), np.nan, dtype)
            product(A, B, out)
            np.testing.assert_allclose(out, A @ B, rtol=tolerance, atol=10 * tolerance)
        for m in (1, 2, 5, 8):
            A, B = g.standard_normal((n, 3 * ROWS)).astype(dtype), g.standard_normal((m, 3 * ROWS)).astype(dtype)
            out = g.standard_normal(n * m + 2).astype(dtype)
            before = out.copy()
            add_outer(A, B, out)
            np.testing.assert_allclose(out[: n * m], before[: n * m] + (A @ B.T).ravel(), rtol=tolerance, atol=20 * tolerance)
            assert (out[n * m :] == before[n * m :]).all()


def test_place_writes_its_columns_alone():
    g = np.random.default_rng(1)
    source, into = g.standard_normal((5, ROWS)), g.standard_normal((5, 3 * ROWS + 3))
    want = into.copy()
    want[:, 5 : 5 + ROWS] = source
    place(source, into, 5)
    np.testing.assert_array_equal(into, want)


def test_tiles_refuse_strided_arrays():
    x = np.ones((4, 2 * ROWS))
    with pytest.raises(Exception, match="contiguous"):
        product(np.ones((3, 4)), x[:, ::2], np.ones((3, ROWS)))
