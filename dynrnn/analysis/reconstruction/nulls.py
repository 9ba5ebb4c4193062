"""Where the linear nulls of a score are from, and one draw of each for every test trial."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynrnn.analysis.reconstruction._checks import Trials
from dynrnn.analysis.reconstruction.linear import VectorAutoregression, fit_vector_autoregression
from dynrnn.analysis.reconstruction.surrogates import fill_linear, phase_surrogate


class NullModels(NamedTuple):
    """The two linear nulls, fitted once, and where they are from."""

    sources: Trials
    lengths: list[int]
    var: VectorAutoregression
    surrogate_source: str
    linear_source: str

    @classmethod
    def fit(cls, test: Trials, lengths: list[int], training: Trials | None) -> NullModels:
        base, said = (test, "the test recording itself (in-sample)") if training is None else (training, "the training recording")
        sources, surrogate_said = base, said
        if training is not None and max(len(x) for x in training) < max(lengths):
            sources, surrogate_said = test, "the test recording itself (in-sample; every training trial is shorter)"
        var = fit_vector_autoregression(base)
        linear = f"vector autoregression of order {var.order}, fitted to {said}"
        if not var.stable:
            linear += f"; its roots were scaled down from radius {var.spectral_radius:.5f} to make it stable"
        return cls(sources, lengths, var, f"phase-randomised {surrogate_said}", linear)

    def surrogate(self, generator: np.random.Generator) -> Trials:
        """One surrogate for each trial, of a randomly placed stretch of the source where that is longer."""
        result = []
        for trial, length in enumerate(self.lengths):
            own = [trial] if len(self.sources) == len(self.lengths) and len(self.sources[trial]) >= length else []
            fitting = own or [i for i, x in enumerate(self.sources) if len(x) >= length]
            x = self.sources[fitting[int(generator.integers(len(fitting)))]]
            start = int(generator.integers(len(x) - length + 1))
            result.append(phase_surrogate(x[start : start + length], generator))
        return result

    def linear(self, generator: np.random.Generator) -> Trials:
        model = self.var.stabilised()
        start = fill_linear(self.sources[0])[: model.order]
        return [model.simulate(length, generator, start) for length in self.lengths]
