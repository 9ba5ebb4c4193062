"""The strength of generalised teacher forcing, adapted while training."""

from __future__ import annotations

import numpy as np
import torch

from dynrnn.models.base import AdditiveModel
from dynrnn.training.draws import Sampler
from dynrnn.training.forcing import AdaptiveTeacherForcing, per_fit
from dynrnn.training.norms import JACOBIAN_NORMS, jacobian_upper_bound
from dynrnn.training.parameters import write
from dynrnn_kernels.additive import jacobian
from dynrnn_kernels.update import Problem


class AdaptiveAlpha:
    """Algorithm 1 of generalised teacher forcing, fit by fit so that a fit's bits do not depend on the others."""

    def __init__(self, model: AdditiveModel, forcing: AdaptiveTeacherForcing, problem: Problem, sampler: Sampler, T: int):
        self.model, self.forcing, self.problem, self.sampler, self.T = model, forcing, problem, sampler, T
        self.alpha = per_fit("alpha", forcing.alpha, model.n_fits)
        self.gamma = per_fit("gamma", forcing.gamma, model.n_fits)

    def update(self, u: int, theta: np.ndarray, active: np.ndarray) -> np.ndarray:
        """The strength from update ``u`` on, [F]."""
        write(self.model, theta)
        windows = self.sampler.windows(u, u + 1)[0]
        noise = self.sampler.noise(u, u + 1)
        with torch.no_grad():
            whole = self.model.additive_map()
            states = self._states(windows, noise) if self.forcing.norm != "jacobian_upper_bound" else None
            for k in np.flatnonzero(active):
                map = whole.with_tensors({name: value[k : k + 1] for name, value in whole.tensors().items()})
                if states is None:
                    kappa = float(jacobian_upper_bound(map)[0])
                else:
                    B, T, M = states.shape[1:]
                    J = jacobian(map, states[k].reshape(1, B * T, M)).reshape(1, B, T, M, M)
                    kappa = float(JACOBIAN_NORMS[self.forcing.norm](J).max())
                estimate = max(0.0, 1.0 - 1.0 / kappa) if np.isfinite(kappa) and kappa > 0 else 0.0
                old, gamma = self.alpha[k], self.gamma[k]
                self.alpha[k] = estimate if estimate > old else gamma * old + (1 - gamma) * estimate
        return self.alpha

    def _states(self, windows: np.ndarray, noise: np.ndarray) -> torch.Tensor:
        """Forcing signals of the batch, [F, B, T, M]: the states that the data say at samples 1..T of each window."""
        span = np.arange(1, self.T + 1)
        x = self.problem.data[windows[..., 0, None], windows[..., 1, None] + span]          # [F, B, T, N]
        if noise.shape[0]:
            x = x + self.problem.noise_level[:, None, None, None] * noise[0][:, 1:].transpose(0, 2, 1, 3)
        return self.model.encode(torch.as_tensor(x))
