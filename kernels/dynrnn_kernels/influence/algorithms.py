"""The algorithms that accumulate gradients forwards, by name, and what each costs and gives up."""

from __future__ import annotations

import re
from typing import NamedTuple

from dynrnn_kernels.errors import KernelError


class Algorithm(NamedTuple):
    """``n``: of SnAp, how many steps an influence may need to reach a unit; of ``truncated``, after how many steps influence starts anew."""

    name: str
    n: int = 0

    @property
    def compiled(self) -> bool:
        """Whether there is a kernel for additive maps; all others, and all on other maps, are the slow reference."""
        return self.name in COMPILED


COMPILED = ("rtrl", "truncated", "diagonal", "e-prop", "rflo")
PLAIN = ("rtrl", "diagonal", "e-prop", "rflo", "uoro", "kronecker")
NUMBERED = ("snap", "truncated")
NAMES = (*PLAIN, *(f"{name}-<n>" for name in NUMBERED))


def algorithm_of(text: str) -> Algorithm:
    """``rtrl``, ``diagonal``, ``e-prop``, ``rflo``, ``uoro``, ``kronecker``, ``snap-1``, ``snap-2``..., ``truncated-1``, ..."""
    if text in PLAIN:
        return Algorithm(text)
    found = re.fullmatch(rf"({'|'.join(NUMBERED)})-([1-9]\d{{0,8}})", text)
    if found is None:
        raise KernelError(f"an algorithm is one of {', '.join(NAMES)} with a whole number n of at least 1, got {text!r}")
    return Algorithm(found[1], int(found[2]))
