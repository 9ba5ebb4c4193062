"""One row for each variant of each family: the contract tests run over all of them."""

from __future__ import annotations

from dynrnn.models import ALRNN, PLRNN, DendriticPLRNN, ShallowPLRNN

FAMILIES = {
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
}
