"""One row for each variant of each family: the contract tests run over all of them."""

from __future__ import annotations

import torch

from dynrnn.models import (
    ALRNN,
    ESN,
    LTC,
    PLRNN,
    Assembly,
    DeepESN,
    DendriticPLRNN,
    EulerStateNetwork,
    IdentityRNN,
    NextGenerationReservoir,
    ResidualESN,
    ResidualMemoryNetwork,
    ShallowPLRNN,
    WaveRNN,
)


def with_readout(model):
    """A reservoir whose readout is something, in an ensemble the same as alone."""
    for f, number in enumerate(model.fit_number.tolist()):
        g = torch.Generator().manual_seed(number)
        for value in (model.W_out, model.b_out, model.L, model.h_start):
            value[f] = 0.1 * torch.randn(value.shape[1:], generator=g, dtype=torch.float64)
    return model


DESCENDED = {
    "plrnn": lambda **o: PLRNN(3, 5, **o),
    "plrnn-centred": lambda **o: PLRNN(3, 5, mean_centred=True, **o),
    "shallow": lambda **o: ShallowPLRNN(3, 4, 7, **o),
    "shallow-clipped": lambda **o: ShallowPLRNN(3, 3, 7, clipped=True, **o),
    "shallow-affine": lambda **o: ShallowPLRNN(3, 2, 7, clipped=True, observation="affine", decoder_bias=True, **o),
    "dendritic": lambda **o: DendriticPLRNN(3, 5, 4, **o),
    "dendritic-clipped": lambda **o: DendriticPLRNN(3, 5, 4, clipped=True, **o),
    "dendritic-centred": lambda **o: DendriticPLRNN(3, 5, 4, clipped=True, mean_centred=True, **o),
    "alrnn": lambda **o: ALRNN(3, 6, 2, **o),
    "alrnn-linear": lambda **o: ALRNN(3, 5, 0, **o),
    "alrnn-full": lambda **o: ALRNN(3, 5, 5, observation="affine", **o),
    "wave-rnn": lambda **o: WaveRNN(3, 30, velocity=0.7, **o),                                          # large enough to stay a convolution in compiled code
    "wave-rnn-untied": lambda **o: WaveRNN(3, 4, 2, activation="tanh", tied=False, observation="identity", **({"init": "random"} | o)),
    "identity-rnn": lambda **o: IdentityRNN(3, 6, decoder_bias=True, **o),
}
SOLVED = {
    "esn": lambda **o: with_readout(ESN(3, 30, leak=0.5, bias_scaling=0.3, **o)),
    "esn-dense": lambda **o: with_readout(ESN(3, 12, topology="uniform", **o)),
    "residual-esn": lambda **o: with_readout(ResidualESN(3, 20, **o)),
    "residual-esn-cycle": lambda **o: with_readout(ResidualESN(3, 40, branch="cycle", alpha=0.4, beta=0.7, topology="sparse", rescaling="norm", **o)),
    "euler-state-network": lambda **o: with_readout(EulerStateNetwork(3, 20, **o)),
    "deep-esn": lambda **o: with_readout(DeepESN(3, 32, 3, leak=(0.5, 0.7, 1.0), bias_scaling=0.3, density=0.5, **o)),
    "deep-residual-esn": lambda **o: with_readout(DeepESN(3, 21, 2, branch="random", alpha=0.5, beta=0.4, readout="last", **o)),
    "residual-memory-network": lambda **o: with_readout(ResidualMemoryNetwork(3, 20, 9, beta=0.3, memory_radius=0.8, **o)),
    "residual-memory-network-cycle": lambda **o: with_readout(ResidualMemoryNetwork(3, 24, 30, branch="cycle", readout="all", memory_radius=0.8, **o)),
    "next-generation-reservoir": lambda **o: with_readout(NextGenerationReservoir(3, 2, orders=(1, 2), stride=2, **o)),
}
PULLED_BACK = {                                                                # maps that are filled by a function of the parameters
    "assembly": lambda **o: Assembly(3, (3, 2, 3), density=0.5, **o),
    "assembly-svd": lambda **o: Assembly(3, (3, 3), blocks="svd", integrator="euler", activation="tanh", gain=1.5, **o),
    "assembly-symmetric": lambda **o: Assembly(3, (3, 2, 2), blocks="symmetric", topology="hub", observation="identity", **o),
    "ltc": lambda **o: LTC(3, 5, **o),
    "ltc-wired": lambda **o: LTC(3, 4, unfolds=3, dt=0.5, wiring=[[0, 1, -1, 0], [1, 0, 0, 1], [-1, -1, 1, 1], [0, 1, 0, 0]], observation="identity", **o),
    "ltc-rk4": lambda **o: LTC(3, 4, unfolds=2, dt=0.2, solver="rk4", **o),
}
FAMILIES = DESCENDED | SOLVED | PULLED_BACK
