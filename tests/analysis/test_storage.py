"""What the analyses of motion give goes into a run's store and comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn import analysis
from dynrnn.results import read_results, write_results
from tests.analysis.lyapunov.systems import LOZI, henon


def orbit() -> np.ndarray:
    z, out = torch.tensor([0.1, 0.1], dtype=torch.float64), []
    for _ in range(1_200):
        z = henon(z)
        out.append(z.numpy())
    return np.array(out[200:])


def driven() -> tuple[dr.ALRNN, np.ndarray]:
    return dr.ALRNN(2, 3, 1, input_dim=1, random_state=0), np.random.default_rng(0).standard_normal((2, 60, 1))


RESULTS = {
    "spectrum": lambda: analysis.lyapunov_spectrum(LOZI, n_steps=50, n_segments=4),
    "conditional": lambda: analysis.conditional_exponents(*driven()),
    "covariant": lambda: analysis.covariant_vectors(LOZI, n_steps=50, warmup=50, backward_warmup=50),
    "dimension": lambda: analysis.correlation_dimension(orbit()),
    "correlation_entropy": lambda: analysis.correlation_entropy(orbit(), max_dim=8),
    "from_data": lambda: analysis.largest_exponent_from_data(orbit(), n_surrogates=0),
    "certificate": lambda: analysis.contraction_certificate(([0.5], [[0.2]], [[1.0]], [0.0], [0.0])),
    "attractors": lambda: analysis.attractors(([0.5], [[0.2]], [[1.0]], [0.0], [0.0]), n_starts=16, box=(-1.0, 1.0), n_steps=100, transient=100),
    "diagram": lambda: analysis.orbit_diagram(lambda p: lambda z: p * z * (1 - z), [2.5, 3.2], dim=1, starts=[[0.3], [0.4]], n_steps=50, transient=50),
    "waves": lambda: analysis.wave_velocity(np.random.default_rng(0).standard_normal((2, 40, 5)), n_surrogates=3),
    "branch": lambda: analysis.continuation(lambda z, p: p * z * (1 - z), [0.6], 2.5, (2.0, 3.2), dim=1),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_come_back(name, tmp_path):
    found = RESULTS[name]()
    groups = {name: found} if isinstance(found, xr.Dataset) else {f"{name}_{key}": part.to_dataset() for key, part in found.items()}
    write_results(tmp_path / "results.zarr", groups)
    back = read_results(tmp_path / "results.zarr")
    for key, part in groups.items():
        xr.testing.assert_identical(back[key].to_dataset().load(), part)
