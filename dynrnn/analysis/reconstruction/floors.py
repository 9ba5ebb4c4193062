"""Pairs of true stretches: what a perfect model would score at this length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynrnn.analysis.reconstruction._checks import Trials

N_PAIRS = 10
_SHARE = 0.4  # of a single recording, a stretch


@dataclass(frozen=True)
class FloorPairs:
    """``pairs`` of (true, second true) bundles of trials; ``source`` says where they are from.

    ``length`` is the number of samples in a second bundle (the largest, if they differ).
    """

    pairs: list[tuple[Trials, Trials]]
    source: str
    length: int


def floor_pairs(test: Trials, lengths: list[int], reference: Trials | None, generator: np.random.Generator) -> FloorPairs:
    """Pairs of true stretches to score against each other, in the place of (test, orbit) with orbits of ``lengths``.

    With a ``reference``: the test trials against stretches of the reference, cut to the orbits' lengths. One test trial meets all
    non-overlapping stretches of the reference trials that are long enough (if none is, whole trials); several test trials meet as many
    reference trials at a time, in up to ten random choices. Without: a single test trial is split into pairs of disjoint stretches of
    0.4 of its length, ten pairs at shifted places (which overlap between pairs, so their spread is too small); several trials are
    split at random into two halves of whole trials.
    """
    if reference is not None:
        return _against_reference(test, lengths, reference, generator)
    if len(test) == 1:
        return _within(test[0])
    half = len(test) // 2
    chosen: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
    for _ in range(50 * N_PAIRS):  # distinct draws; few trials have few
        order = generator.permutation(len(test)).tolist()
        chosen[tuple(sorted(order[:half])), tuple(sorted(order[half : 2 * half]))] = None
        if len(chosen) == N_PAIRS:
            break
    pairs = [([test[i] for i in first], [test[i] for i in second]) for first, second in chosen]
    source = f"{len(pairs)} splits of the {len(test)} test trials into two sets of {half}"
    return FloorPairs(pairs, source, _largest(pairs))


def _within(x: np.ndarray) -> FloorPairs:
    length = max(int(_SHARE * len(x)), 1)
    slack = len(x) - 2 * length
    shifts = sorted({round(slack * i / 3) for i in range(4)})
    pairs = [([x[a : a + length]], [x[length + b : 2 * length + b]]) for a in shifts for b in shifts if b >= a]
    source = f"{len(pairs)} pairs of disjoint stretches of the test recording itself, {length} of its {len(x)} samples each"
    return FloorPairs(pairs, source, length)


def _largest(pairs: list[tuple[Trials, Trials]]) -> int:
    return max(sum(len(x) for x in second) for _, second in pairs)


def _against_reference(test: Trials, lengths: list[int], reference: Trials, generator: np.random.Generator) -> FloorPairs:
    if len(test) == 1:
        length = lengths[0]
        long_enough = [x for x in reference if len(x) >= length] or reference
        stretches = [x[i : i + length] for x in long_enough for i in range(0, max(len(x) - length, 0) + 1, length)]
        pairs = [(list(test), [x]) for x in stretches]
        longest = _largest(pairs)
        source = f"the test recording against {len(pairs)} stretches of the reference, at most {longest} samples each"
        return FloorPairs(pairs, source, longest)
    size = min(len(test), len(reference))
    chosen: dict[tuple[int, ...], None] = {}
    for _ in range(50 * N_PAIRS):
        chosen[tuple(sorted(generator.choice(len(reference), size=size, replace=False).tolist()))] = None
        if len(chosen) == N_PAIRS:
            break
    pairs = [(test[:size], [reference[j][:n] for j, n in zip(choice, lengths)]) for choice in chosen]
    source = f"{size} test trials against {len(pairs)} choices of {size} reference trials, cut to the orbits' lengths"
    return FloorPairs(pairs, source, _largest(pairs))
