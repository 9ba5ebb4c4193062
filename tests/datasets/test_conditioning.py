"""Facts of the conditioning streams: how often a pattern announces, when the US comes, how often distractors are on, and where a stream goes on."""

from __future__ import annotations

import numpy as np
import pytest

from dynrnn_datasets import DatasetError, TraceConditioning, TracePatterning, copy_stream, discounted_return


@pytest.mark.parametrize("times", [((24, 36), (80, 120)), ((4, 6), (10, 20)), ((3, 3), (5, 5))])
def test_patterns_announce_exactly(times):
    isi, iti = times
    stream = TracePatterning(isi=isi, iti=iti, random_state=2)
    data = stream.draw(200_000)
    cs, us, trial = data.inputs.values[:, :6], data.cumulant.values, data.trial.values
    assert len(stream.patterns) == 20
    assert stream.valid.sum() == 10
    onset = np.flatnonzero(data.since == 0)
    assert np.array_equal(np.flatnonzero(cs.any(1)), onset)                     # on for one step, three bits of six
    assert (cs[onset].sum(1) == 3).all()
    codes = cs[onset] @ (2 ** np.arange(6))
    announced = data.announced.values[onset]
    for code in np.unique(codes):                                               # one pattern, one meaning
        assert len(set(announced[codes == code])) == 1
    assert len(np.unique(codes[announced])) == len(np.unique(codes[~announced])) == 10
    n = len(onset)
    assert abs(announced.mean() - 0.5) < 4 * 0.5 / np.sqrt(n)                   # four standard errors of a fair coin
    lag, owner = data.since.values[us > 0], trial[us > 0]
    assert len(set(owner)) == len(owner)                                        # one US a trial, in announced trials alone, within its interval
    assert set(owner) <= set(np.flatnonzero(announced))
    assert len(owner) >= announced.sum() - 1                                    # the last trial may be cut
    assert set(lag) == set(range(isi[0], isi[1] + 1))
    gaps = np.diff(onset)
    assert gaps.min() >= isi[0] + iti[0]
    assert gaps.max() <= isi[1] + iti[1]
    rest = gaps[owner[owner < len(gaps)]] - lag[owner < len(gaps)]
    assert set(rest) == set(range(iti[0], iti[1] + 1))
    shares = data.inputs.values[:, 6:11].mean(0)
    p = 1 / (10 * np.arange(1, 6))
    assert (np.abs(shares - p) < 4 * np.sqrt(p * (1 - p) / len(us))).all()
    assert np.array_equal(data.inputs.values[:, 11], us)


def test_conditioning_has_the_published_times():
    data = TraceConditioning(random_state=1).draw(100_000)
    cs, us = data.inputs.values.T
    onset, ends = np.flatnonzero(np.diff(cs, prepend=0) > 0), np.flatnonzero(np.diff(cs, append=0) < 0)
    first, last = np.flatnonzero(np.diff(us, prepend=0) > 0), np.flatnonzero(np.diff(us, append=0) < 0)
    n = min(len(first), len(last), len(ends)) - 1
    assert (ends[:n] - onset[:n] == 3).all()                                    # on for four steps
    assert (last[:n] - first[:n] == 1).all()
    assert set(first[:n] - onset[:n]) == set(range(7, 14))
    assert set(onset[1 : n + 1] - first[:n]) == set(range(80, 130))


@pytest.mark.parametrize("make", [TracePatterning, TraceConditioning])
def test_a_stream_goes_on_where_it_stopped(make):
    whole = make(random_state=4).draw(60_000)
    stream, parts = make(random_state=4), []
    for n in np.random.default_rng(0).multinomial(60_000, [0.2] * 5):
        parts.append(stream.draw(int(n)))
        stream = make(random_state=4, start=stream.position)
    for name in whole.data_vars:
        assert np.array_equal(whole[name], np.concatenate([part[name] for part in parts])), name
    assert not np.array_equal(whole.inputs, make(random_state=5).draw(60_000).inputs)


def test_the_return_is_that_of_the_next_us():
    """gamma^(steps to US - 1) before it, and what comes after does not count: with 80 steps between trials 0.9^80 = 2e-4."""
    data = TracePatterning(random_state=0).draw(5_000)
    us = np.flatnonzero(data.cumulant)
    G = discounted_return(data.cumulant.values, 0.9)
    for t, u in ((u - k, u) for u in us[:-1] for k in (1, 2, 10, 20)):
        assert G[t] == pytest.approx(0.9 ** (u - t - 1), abs=0.9**80)
    brute = [sum(0.9 ** (k - t - 1) * data.cumulant.values[k] for k in range(t + 1, 300)) for t in range(300)]
    np.testing.assert_allclose(discounted_return(data.cumulant.values[:300], 0.9), brute, rtol=1e-12, atol=1e-15)


def test_copies_are_asked_for_in_order():
    task = copy_stream(3_000, 7, random_state=0)
    start = np.append(np.flatnonzero(task.start), task.sizes["time"])
    lengths = np.diff(start) // 2
    assert np.array_equal(np.unique(lengths), np.arange(1, 8))
    shown, answer, asked = task.inputs.values.argmax(1), task.answer.values, task.asked.values
    for first, L in zip(start[:-1], lengths, strict=True):
        assert np.array_equal(answer[first + L : first + 2 * L], shown[first : first + L])
        assert (shown[first + L : first + 2 * L] == 2).all()
        assert (asked[first : first + 2 * L] == (np.arange(2 * L) >= L)).all()
    later = copy_stream(10, 7, random_state=0, first=1_020)                     # over the seam of two blocks
    assert np.array_equal(later.inputs, task.inputs[start[1_020] : start[1_030]])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: TracePatterning(isi=(5, 4)), "largest isi"), (lambda: TracePatterning(n_on=7), "n_on"),
        (lambda: TracePatterning(iti=(2, 3), us_duration=3), "us_duration"), (lambda: TracePatterning(start=(0, 10**6)), "start"),
        (lambda: TracePatterning().draw(0), "n_steps"), (lambda: copy_stream(1, 0), "max_length"), (lambda: discounted_return(np.zeros(3), 1.0), "gamma"),
    ],
)
def test_streams_that_cannot_be_are_named(make, word):
    with pytest.raises(DatasetError, match=word):
        make()
