"""The stream of any model by automatic derivatives, sample by sample in torch: the slow reference, and all that there is for what the kernel cannot do."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.optim.radam import radam

from dynrnn.models.base import Model
from dynrnn.online.engine import Settings
from dynrnn.streams import stream
from dynrnn.training.parameters import flat_parameters, read, trainable
from dynrnn.training.pullback import map_of_flat
from dynrnn_kernels.influence.cpu_stream import GATHERED, LOST, REFUSED, SINCE_RESET, STARTED, TAKEN
from dynrnn_kernels.influence.rules import Rule, rule_of
from dynrnn_kernels.influence.terms import split, terms
from dynrnn_kernels.radam import BETA1, BETA2, EPSILON
from dynrnn_kernels.recurrences import Map


class TorchStream:
    """One sample costs some milliseconds a fit. A fit's bits depend on no other."""

    def __init__(self, model: Model, settings: Settings):
        F, M = model.n_fits, model.latent_dim
        self.model, self.settings, self.flat = model, settings, flat_parameters(model)
        self.trainable = torch.from_numpy(trainable(model, self.flat))
        self.map_of, self.unit = map_of_flat(model), torch.from_numpy(settings.unit)
        self._theta = torch.tensor(read(model, np.float64))
        self.first, self.second, self.grad = (torch.zeros_like(self._theta) for _ in range(3))
        self.now, self.kept = torch.zeros(F, M, dtype=torch.float64), torch.zeros(F, M, dtype=torch.float64)
        self.counted = np.zeros((F, 6), np.int64)
        seeds = [int(stream(settings.random_state, "gradient", k).integers(2**62)) for k in model.fit_number.tolist()]
        self.rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.rules: list[Rule] = [rule_of(settings.algorithm, self._map(f), 1, self.rngs[f]) for f in range(F)]

    @property
    def theta(self) -> np.ndarray:
        return self._theta.numpy()

    @property
    def counts(self) -> np.ndarray:
        return self.counted

    def _map(self, f: int) -> Map:
        with torch.no_grad():
            return self.map_of(f, self._theta[f])

    def run(self, x: np.ndarray, u: np.ndarray, alpha: np.ndarray, rate: np.ndarray, restart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        F, T, N = len(self._theta), len(x), x.shape[1]
        prediction, loss = np.full((F, T, N), np.nan), np.full((F, T), np.nan)
        samples, drive = torch.from_numpy(x), torch.from_numpy(u)
        for f in range(F):
            map = self._map(f)
            for t in range(T):
                if restart[t] or not self.counted[f, STARTED]:
                    self._begin(f, samples[t])
                    continue
                inputs = drive[t][None, None] if map.input_dim else None
                prediction[f, t], loss[f, t], z = self._predict(f, map, samples[t], inputs)
                if z is None:
                    continue
                if self.counted[f, GATHERED] >= self.settings.every and self._update(f, float(rate[f, t])):
                    map = self._map(f)
                self._force(f, z, samples[t], float(alpha[f, t]))
        return prediction, loss

    def _part(self, f: int, name: str) -> Tensor:
        start, shape = self.flat.offsets[name]
        return self._theta[f, start : start + int(np.prod(shape))].reshape(shape)

    def _decoder(self, f: int) -> tuple[Tensor, Tensor | float]:
        return self._part(f, "B"), self._part(f, "b") if "b" in self.flat.offsets else 0.0

    def _begin(self, f: int, x: Tensor) -> None:
        """The state of a sample alone, which owes nothing to any number."""
        x = torch.nan_to_num(x)
        if self.model.observation == "affine":
            B, b = self._decoder(f)
            self.now[f] = torch.linalg.pinv(B) @ (x - b)
        else:
            rest = self._part(f, "L") @ x if "L" in self.flat.offsets else x[:0]
            self.now[f] = torch.cat([x, rest])
        self.kept[f] = 1
        self.rules[f] = rule_of(self.settings.algorithm, self._map(f), 1, self.rngs[f])
        self.counted[f, STARTED], self.counted[f, SINCE_RESET] = 1, 0

    def _predict(self, f: int, map: Map, x: Tensor, u: Tensor | None) -> tuple[np.ndarray, float, Tensor | None]:
        now, kept = self.now[f][None, None], self.settings.forgetting[f] * self.kept[f][None, None]
        z, J, E = terms(map, now, u)
        rule = self.rules[f]
        rule.advance(map, J * kept[:, :, None], E, now, kept, u)
        z, seen, N = z[0, 0], ~torch.isnan(x), len(x)
        value, B = z[:N], None
        if self.model.observation == "affine":
            B, b = self._decoder(f)
            value = B @ z + b
        error = torch.where(seen, value - torch.nan_to_num(x), torch.zeros_like(value))
        n = int(seen.sum())
        by = 2 * error / max(n, 1)
        g = torch.cat([by, by.new_zeros(len(z) - N)]) if B is None else by @ B
        owed = rule.gradient(g[None, None])[0, 0]
        loss = float(error.square().sum()) / n if n else float("nan")
        if not bool(torch.isfinite(owed).all() and torch.isfinite(z).all()):
            self.counted[f, LOST] += 1
            self.grad[f], self.counted[f, GATHERED] = 0, 0
            self._begin(f, x)
            return value.numpy(), loss, None
        self.grad[f] += self._pulled(f, owed[None, : -len(z)])
        if B is not None:
            self.grad[f, self.flat.slice("B")] += torch.outer(by, z).flatten()
            if "b" in self.flat.offsets:
                self.grad[f, self.flat.slice("b")] += by
        self.counted[f, GATHERED] += 1 if n else 0
        return value.numpy(), loss, z

    def _pulled(self, f: int, owed: Tensor) -> Tensor:
        """Derivative by the map's numbers [1, Q] as one by the parameters."""
        theta = self._theta[f].clone().requires_grad_()
        with torch.enable_grad():
            tensors = self.map_of(f, theta).tensors()
        parts = split(owed, self._map(f))
        held = [name for name, value in tensors.items() if value.requires_grad]
        (grad,) = torch.autograd.grad([tensors[name] for name in held], theta, [parts[name] for name in held])
        return grad

    def _update(self, f: int, rate: float) -> bool:
        grad = self.grad[f] * self.trainable / int(self.counted[f, GATHERED])
        norm, clip = float(grad.norm()), float(self.settings.clip[f])
        made = bool(np.isfinite(norm))
        if made:
            grad = grad * (clip / norm) if norm > clip else grad
            new, first, second = self._theta[f].clone(), self.first[f].clone(), self.second[f].clone()
            if self.settings.plain:
                new -= rate * grad
            else:
                count = torch.tensor(float(self.counted[f, TAKEN]))
                radam([new], [grad], [first], [second], [count], beta1=BETA1, beta2=BETA2, lr=rate, weight_decay=0.0, eps=EPSILON)
            made = all(bool(torch.isfinite(value).all()) for value in (new, first, second))
            if made:
                self._theta[f], self.first[f], self.second[f] = new, first, second
        self.counted[f, TAKEN if made else REFUSED] += 1
        self.grad[f], self.counted[f, GATHERED] = 0, 0
        return made

    def _force(self, f: int, z: Tensor, x: Tensor, alpha: float) -> None:
        seen, N, M = ~torch.isnan(x), len(x), len(z)
        if self.model.observation == "affine":
            B, b = self._decoder(f)
            target = torch.linalg.pinv(B) @ (torch.nan_to_num(x) - b)
            w = alpha * self.unit * float(seen.all())
        else:
            target = torch.cat([torch.nan_to_num(x), x.new_zeros(M - N)])
            w = alpha * self.unit * torch.cat([seen.double(), x.new_zeros(M - N)])
        self.now[f], self.kept[f] = z + w * (target - z), 1 - w

    def tensors(self) -> dict[str, Tensor]:
        out = {name: getattr(self, name).clone() for name in ("first", "second", "grad", "now", "kept")}
        out |= {"theta": self._theta.clone(), "counts": torch.from_numpy(self.counted.copy())}
        for f, rule in enumerate(self.rules):
            out[f"rng.{f}"] = self.rngs[f].get_state()
            out |= {f"rule.{f}.{name}": value for name, value in rule.tensors().items()}
        return out

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        for name in ("first", "second", "grad", "now", "kept"):
            getattr(self, name).copy_(tensors[name])
        self._theta.copy_(tensors["theta"])
        self.counted[...] = tensors["counts"].numpy()
        for f, rng in enumerate(self.rngs):
            rng.set_state(tensors[f"rng.{f}"])
            own = f"rule.{f}."
            self.rules[f] = rule_of(self.settings.algorithm, self._map(f), 1, rng)
            self.rules[f].adopt({name.removeprefix(own): value for name, value in tensors.items() if name.startswith(own)})
            rng.set_state(tensors[f"rng.{f}"])                                      # a rule that draws has drawn when it began

