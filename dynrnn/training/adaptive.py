"""The strength of generalised teacher forcing, adapted while training."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from dynrnn.models.additive import AdditiveModel
from dynrnn.training.draws import Sampler
from dynrnn.training.forcing import AdaptiveTeacherForcing, per_fit
from dynrnn.training.norms import JACOBIAN_NORMS
from dynrnn.training.parameters import FlatParameters
from dynrnn.training.pullback import map_of_flat
from dynrnn.training.updates import training_device
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.update import AFFINE, Problem
from dynrnn_kernels.update.reference import filled


class AdaptiveAlpha:
    """Algorithm 1 of generalised teacher forcing. A fit's bits do not depend on the others: all that is not a kernel goes fit by fit.

    The map comes straight from the flat parameters; the model's tensors are not touched. Norms are computed by ``backend``, where it computes the updates.
    """

    def __init__(self, flat: FlatParameters, model: AdditiveModel, forcing: AdaptiveTeacherForcing, problem: Problem, sampler: Sampler, T: int, backend: str):
        self.backend, self.device = backend, training_device() if backend == "triton" else torch.device("cpu")
        self.forcing, self.problem, self.sampler = forcing, problem, sampler
        self.alpha = per_fit("alpha", forcing.alpha, model.n_fits)
        self.gamma = per_fit("gamma", forcing.gamma, model.n_fits)
        map = model.additive_map()
        self.map_of = map_of_flat(model) if flat.layout is None else filled(map, problem)
        self.layout = layout_of(map.written_out())                                 # the norms' kernels take no structured matrices
        self.span = np.arange(1, T + 1)

    def update(self, u: int, theta: np.ndarray, active: np.ndarray) -> np.ndarray:
        """The strength from update ``u`` on, [F]."""
        fits = np.flatnonzero(active)
        if fits.size == 0:
            return self.alpha
        with torch.no_grad():
            maps = [cast(AdditiveMap, self.map_of(k, torch.from_numpy(theta[k]))) for k in fits.tolist()]
            flat = torch.cat([pack(map.written_out()) for map in maps])
        theta = theta[fits]
        states = None if self.forcing.norm == "jacobian_upper_bound" else torch.from_numpy(self._states(u, fits, theta)).to(self.device)
        norm = JACOBIAN_NORMS[self.forcing.norm](flat.to(self.device), self.layout, states, backend=self.backend)
        kappa = norm.max(1).astype(np.float64)
        self.alpha[fits] = self.forcing.relaxed(self.alpha[fits], kappa, self.gamma[fits])
        return self.alpha

    def _states(self, u: int, fits: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Forcing signals of the batch, [F, B, T, M]: the states that the data say at samples 1..T of each window, missing samples as 0."""
        p, M = self.problem, self.layout.M
        windows, noise = self.sampler.windows(u, u + 1)[0], self.sampler.noise(u, u + 1)
        x = p.data[windows[fits][..., 0, None], windows[fits][..., 1, None] + self.span]
        if noise.shape[0]:
            x += p.noise_level[fits, None, None, None] * noise[0, fits, 1:].transpose(0, 2, 1, 3)
        if p.has_missing:
            np.nan_to_num(x, copy=False, nan=0.0)
        N = x.shape[-1]
        if p.observation != AFFINE and M == N:
            return x
        states = np.empty((*x.shape[:-1], M), x.dtype)
        for k, parameters in enumerate(theta):
            if p.observation == AFFINE:
                B = parameters[p.obs_weight : p.obs_weight + N * M].reshape(N, M)
                seen = x[k] - parameters[p.obs_bias : p.obs_bias + N] if p.obs_bias >= 0 else x[k]
                states[k] = seen @ np.linalg.pinv(B, rcond=max(B.shape) * np.finfo(B.dtype).eps).T if np.isfinite(B).all() else np.nan
            else:
                states[k, ..., :N] = x[k]
                states[k, ..., N:] = x[k] @ parameters[p.obs_weight : p.obs_weight + (M - N) * N].reshape(M - N, N).T
        return states
