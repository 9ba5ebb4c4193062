"""Compile the CPU kernels into their cache, float32 in one process and float64 in another, before tests run side by side and each would compile them all.

python tests/kernels/compile_all.py
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

import dynrnn as dr
from dynrnn_kernels import chain, recurrences
from dynrnn_kernels.additive import forced_sequence
from dynrnn_kernels.additive.layout import cpu_layout, pack
from dynrnn_kernels.additive.norms import mean_norms, spectral_norms
from dynrnn_kernels.additive.orbit import later
from dynrnn_kernels.additive.tangent import carry, random_frames
from dynrnn_kernels.influence import forward_sequence


def compile_for(dtype: torch.dtype) -> None:
    model = dr.ShallowPLRNN(3, 3, 4, clipped=True, random_state=0).to(dtype)
    z = torch.zeros(1, 2, 3, dtype=dtype, requires_grad=True)
    forced_sequence(model.additive_map(), z, torch.zeros(1, 2, 5, 3, dtype=dtype), torch.zeros((), dtype=dtype)).sum().backward()
    ltc = dr.LTC(3, 4, random_state=0).to(dtype)
    still = torch.zeros(1, 2, 5, 4, dtype=dtype)
    recurrences.forced_sequence(ltc.map(), still[:, :, 0], still, torch.zeros((), dtype=dtype)).sum().backward()
    with torch.no_grad():
        map, z = model.additive_map(), z.detach()
        spectral_norms(pack(map), cpu_layout(map), z)
        mean_norms(pack(map), cpu_layout(map), z[:, None])
        later(map, z, 2, torch.zeros(0, dtype=dtype))
        carry(map, z, random_frames((1, 2, 3, 3), np.random.default_rng(0)).to(dtype), 2, pair=z + 1e-3)
    if dtype == torch.float32:
        time = np.arange(200) / 10
        recording = dr.as_recording(np.stack([np.sin(time + k) for k in range(3)], -1), dt=0.1)
        dr.fit(model, recording, n_updates=2, sequence_length=20, progress=False)
        for reservoir in (dr.ESN(3, 20, random_state=0), dr.NextGenerationReservoir(3)):
            dr.generate(dr.fit(reservoir, recording, progress=False), 2)
        dr.fit(dr.ESN(3, 20, random_state=0), recording, solver="rls", progress=False)
        dr.RecursiveLeastSquares(1, 1).update(np.ones(1), np.ones(1))
    else:
        dr.ColumnarLearner(2, 1, random_state=0).step([0.0, 1.0], 0.0)
        dr.ElementwiseLSTMLearner(2, 2, 1, random_state=0).step([0.0, 1.0], [0.0])
        dr.OnlineLearner(dr.ShallowPLRNN(2, 2, 4, random_state=0), warmup=0, random_state=0).learn(np.eye(2))
        deep = dr.DeepESN(1, 6, 2, density=1.0, random_state=0).map()
        chain.orbit(deep, z.new_zeros(1, 1, 7), 2)
        chain.carry(deep, z.new_zeros(1, 1, 7), random_frames((1, 1, 1, 7), np.random.default_rng(0)), 2)
        forward_sequence(model.additive_map(), z, torch.zeros(1, 2, 5, 3, dtype=dtype), 0.1).sum().backward()
        for route in ("pruned", "search"):
            dr.analysis.cycles(([[2.0]], [[-4.0]], [[1.0]], [0.0], [-0.5]), max_period=4, route=route)


def main() -> None:
    if len(sys.argv) > 1:
        compile_for(getattr(torch, sys.argv[1]))
        return
    running = [subprocess.Popen([sys.executable, __file__, name]) for name in ("float32", "float64")]
    sys.exit(max(process.wait() for process in running))


if __name__ == "__main__":
    main()
