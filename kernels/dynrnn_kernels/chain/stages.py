"""How a chain lies in arrays: its stages' numbers one after the other, and a row of offsets and tags of each."""

from __future__ import annotations

import numpy as np
import torch

from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.additive.pattern import pattern
from dynrnn_kernels.chain.map import ChainMap


def packed(map: ChainMap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(flats, table, patterns): numbers [F, size]; of each stage its Layout's numbers, which count from its own first number, and where its pattern begins
    and ends among those of all stages, which follow each other."""
    flats = torch.cat([pack(stage) for stage in map.stages], 1).detach().contiguous().numpy()
    patterns = [pattern(stage).numpy() for stage in map.stages]
    ends = np.cumsum([len(one) for one in patterns])
    rows = [[*layout_of(stage)[:-1], end - len(own), end] for stage, own, end in zip(map.stages, patterns, ends, strict=True)]
    return flats, np.array(rows, dtype=np.int64), np.concatenate(patterns)
