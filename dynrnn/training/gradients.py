"""Gradients by name: backpropagation through time, and the algorithms that accumulate them forwards.

With S = dz/dtheta, the influence of every number on the state, exact real-time recurrent learning (Williams & Zipser 1989, Neural Comput. 1, 270) is

    S[t+1] = J[t] (1 - w[t]) S[t] + E[t],      dL/dtheta = sum_t dL/dz[t] S[t]

with the step's derivatives J by the state and E by its numbers, and w the weight of forcing. Nothing is kept over time, so an update can be made at any
sample. For Q numbers of a map of M units a step costs M^2 Q, where backpropagation costs Q.

| name | what it does | cost of a step | exact |
|---|---|---|---|
| ``bptt`` | backpropagation through the window | Q, and states of the window | yes |
| ``rtrl`` | S itself | M^2 Q | yes |
| ``truncated-n`` | S starts anew every n steps | M^2 Q | where n covers the window |
| ``snap-n`` | S only where a number reaches a unit within n steps (Menick et al. 2021) | up to M^2 Q | where J is diagonal |
| ``diagonal``, ``e-prop`` | only J's diagonal: for rates, e-prop (Bellec et al. 2020) with exact learning signals | M Q | where J is diagonal |
| ``rflo`` | only a unit's leak (Murray 2019), with exact learning signals | M Q | where J is the leak |
| ``uoro`` | S as one outer product, random (Tallec & Ollivier 2018) | Q | in the mean |
| ``kronecker`` | S as vector times matrix, random (Mujika et al. 2018); additive maps with relu, tanh or identity | M^3 + M^2 H | in the mean |

All are exact where alpha = 1 at every step, since nothing is carried on there. ``rtrl``, ``truncated``, ``diagonal``, ``e-prop`` and ``rflo`` are compiled
for additive models (all of the PLRNN family, wave-RNN), and for a CUDA device (``backend="triton"``, which no card has run yet: it is tested in Triton's
interpreter); everything else is a slow reference by automatic derivatives, of any model.
"""

from __future__ import annotations

from dynrnn.errors import ArgumentError, unknown_name
from dynrnn.models.base import Model
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.influence import NAMES, Algorithm, algorithm_of
from dynrnn_kernels.influence.algorithms import COMPILED
from dynrnn_kernels.influence.rules import has_factors

BPTT = "bptt"


def check_gradient(gradient: str, model: Model, backend: str = "cpu") -> Algorithm | None:
    """The algorithm by name, None for backpropagation; an error if there is none of this name, or none for this model."""
    if gradient == BPTT:
        return None
    try:
        algorithm = algorithm_of(gradient)
    except (KernelError, TypeError):
        raise unknown_name("gradient", gradient, [BPTT, *NAMES]) from None
    map = model.map()
    additive = isinstance(map, AdditiveMap)
    if backend == "triton" and not (additive and algorithm.compiled):
        raise ArgumentError(
            f"gradient={gradient!r} of {model.family} has no kernel on a device, which has {', '.join(COMPILED)} of additive models: "
            "use backend='cpu', or gradient='bptt'."
        )
    if algorithm.name == "rflo" and not additive:
        raise ArgumentError(f"rflo carries influence by a unit's leak, which {model.family} has not as a term of its own: take gradient='diagonal'.")
    if algorithm.name == "kronecker" and not has_factors(map):
        raise ArgumentError(
            f"kronecker wants a map whose steps add products of one vector and one matrix: additive, without structured matrices, phi relu, tanh or identity; "
            f"{model.family} is not: take gradient='uoro', which is as unbiased, or 'rtrl'."
        )
    return algorithm

