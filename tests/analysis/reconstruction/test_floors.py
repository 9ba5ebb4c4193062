"""Floors are made of true stretches that share no sample, at the lengths that are scored."""

import numpy as np

from dynrnn.analysis.reconstruction import floor_pairs


def numbered(*lengths):
    """Trials whose samples are all different, so that a shared one is seen."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return [np.arange(float(a), float(a + n))[:, None] for a, n in zip(offsets, lengths)]


def test_one_recording_gives_ten_pairs_of_disjoint_stretches():
    test = numbered(1000)
    floor = floor_pairs(test, [1000], None, np.random.default_rng(0))
    assert len(floor.pairs) == 10
    assert floor.length == 400
    for (first,), (second,) in floor.pairs:
        assert len(first) == len(second) == 400
        assert not set(first.ravel()) & set(second.ravel())
    assert len({(float(a[0][0, 0]), float(b[0][0, 0])) for a, b in floor.pairs}) == 10


def test_a_reference_gives_all_its_stretches_of_the_orbits_length():
    test, reference = numbered(100), [x + 1e6 for x in numbered(250, 99, 100)]
    floor = floor_pairs(test, [100], reference, np.random.default_rng(0))
    assert [float(b[0][0, 0]) - 1e6 for _, b in floor.pairs] == [0, 100, 349]  # the trial of 99 is too short, as is the rest of 250
    assert all(len(b[0]) == 100 and a[0] is test[0] for a, b in floor.pairs)
    short = floor_pairs(test, [100], [reference[1]], np.random.default_rng(0))
    assert (len(short.pairs), short.length) == (1, 99)


def test_several_trials_are_split_into_halves_without_a_shared_trial():
    test = numbered(*[20] * 7)
    floor = floor_pairs(test, [20] * 7, None, np.random.default_rng(0))
    assert len(floor.pairs) == 10
    for first, second in floor.pairs:
        assert len(first) == len(second) == 3
        assert not set(np.concatenate(first).ravel()) & set(np.concatenate(second).ravel())
    assert floor.length == 60
    assert len(floor_pairs(numbered(20, 20), [20, 20], None, np.random.default_rng(0)).pairs) == 2  # (0, 1) and (1, 0)


def test_several_trials_meet_as_many_reference_trials_cut_to_their_lengths():
    test, reference = numbered(30, 20), numbered(*[25] * 6)
    floor = floor_pairs(test, [30, 20], reference, np.random.default_rng(0))
    assert len(floor.pairs) == 10
    for first, second in floor.pairs:
        assert [len(x) for x in first] == [30, 20]
        assert [len(x) for x in second] == [25, 20]
