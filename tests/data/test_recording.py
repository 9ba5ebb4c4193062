"""as_recording: every accepted form says the same thing, and every fault is named where it lies."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dynrnn.data import as_recording, split
from dynrnn.errors import ArgumentError, RecordingError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))


def test_all_forms_of_one_trial_are_one_recording():
    names = ["a", "b", "c", "d"]
    time = 0.1 * np.arange(30)
    forms = [
        as_recording(X, dt=0.1),
        as_recording(X[None], dt=0.1),
        as_recording([X], dt=0.1),
        as_recording(X.T, dt=0.1, dims=("feature", "time")),
        as_recording(torch.from_numpy(X), dt=0.1),
        as_recording(pd.DataFrame(X, columns=names), dt=0.1),
        as_recording(pd.DataFrame(X, columns=names, index=time)),
        as_recording(pd.DataFrame(X, columns=names, index=pd.to_datetime("2020-01-01") + pd.to_timedelta(time, unit="s"))),
        as_recording(xr.DataArray(X.T, dims=("feature", "time"), coords={"time": time})),
        as_recording(np.asfortranarray(np.repeat(X, 2, axis=0))[::2], dt=0.1),
    ]
    for rec in forms:
        assert rec["observed"].dims == ("trial", "time", "feature")
        np.testing.assert_array_equal(rec["observed"].values, X[None])
        assert rec["n_time"].values.tolist() == [30]
        np.testing.assert_allclose(rec["time"].values, time, atol=1e-9)
        assert rec.attrs["dt"] == pytest.approx(0.1, rel=1e-9)
        assert rec.attrs["units"] == rec["time"].attrs["units"] == "s"
    assert forms[5]["feature"].values.tolist() == names


def test_ragged_trials_are_padded_and_counted():
    rec = as_recording([X[:5], X[:9], X[:7]])
    assert rec["n_time"].values.tolist() == [5, 9, 7]
    assert np.isnan(rec["observed"].values[0, 5:]).all()
    np.testing.assert_array_equal(rec["observed"].values[2, :7], X[:7])


def test_nothing_known_of_time_is_steps_without_units():
    rec = as_recording(X)
    assert rec.attrs["dt"] == 1.0
    assert "units" not in rec.attrs
    assert rec["time"].dtype.kind == "i"


def test_the_users_own_names_stay():
    array = xr.DataArray(X[:, None, :], dims=("time", "trial", "neuron"), coords={"neuron": [7, 3, 5, 1]}, attrs={"animal": "m1"})
    rec = as_recording(array, dt=0.5, units="ms")
    assert rec["observed"].dims == ("trial", "time", "neuron")
    assert rec["neuron"].values.tolist() == [7, 3, 5, 1]
    assert (rec.attrs["animal"], rec.attrs["units"]) == ("m1", "ms")


def test_masked_entries_and_none_are_missing():
    masked = np.ma.masked_greater(X, 1.0)
    np.testing.assert_array_equal(np.isnan(as_recording(masked)["observed"].values[0]), X > 1.0)
    objects = X.astype(object)
    objects[3, 2] = None
    assert np.argwhere(np.isnan(as_recording(objects)["observed"].values)).tolist() == [[0, 3, 2]]


def test_input_is_neither_changed_nor_shared():
    x = X.copy()
    x.flags.writeable = False
    rec = as_recording(x)
    rec["observed"].values[0, 0, 0] = 1e9
    np.testing.assert_array_equal(x, X)


def test_a_recording_passes_through_unchanged():
    rec = as_recording([X[:5], X], dt=0.2, inputs=[X[:5, :1], X[:, :1]])
    xr.testing.assert_identical(as_recording(rec), rec)


def test_integers_and_booleans_are_numbers_and_float32_stays():
    assert as_recording(np.arange(6).reshape(3, 2))["observed"].dtype == np.float64
    assert as_recording(np.array([[True], [False]]))["observed"].values.ravel().tolist() == [1.0, 0.0]
    assert as_recording(X.astype(np.float32))["observed"].dtype == np.float32


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_fault_anywhere_is_named_where_it_lies(data):
    n_trials, n_steps, n_channels = (data.draw(st.integers(low, high)) for low, high in ((1, 4), (1, 400), (1, 12)))
    trial, step, channel = (data.draw(st.integers(0, size - 1)) for size in (n_trials, n_steps, n_channels))
    bad = data.draw(st.sampled_from([np.inf, -np.inf]))
    x = np.zeros((n_trials, n_steps, n_channels))
    x[trial, step, channel] = bad
    array = xr.DataArray(x, dims=("trial", "time", "unit"), coords={"unit": [f"ch{k}" for k in range(n_channels)]})
    with pytest.raises(RecordingError) as caught:
        as_recording(array)
    assert f"channel 'ch{channel}' is infinite ({bad}) in trial {trial} at time index {step} " in str(caught.value)

    u = np.zeros((n_trials, n_steps, 2))
    u[trial, step, 1] = np.nan
    with pytest.raises(RecordingError) as caught:
        as_recording(np.zeros_like(x), inputs=u)
    assert f"input 1 is missing (nan) in trial {trial} at time index {step} " in str(caught.value)


def test_many_faults_are_counted_and_the_list_is_capped():
    x = X.copy()
    x[:, 1] = np.nan
    x[5:20, 0] = np.inf
    with pytest.raises(RecordingError) as caught:
        as_recording(x)
    message = str(caught.value)
    assert message.startswith("16 faults")
    assert "and 6 more" in message
    assert "time index 5 " in message
    x[5:20, 0] = 0.0
    with pytest.raises(RecordingError, match=r"channel 1 is missing throughout.*drop_sel\(feature=1\)"):
        as_recording(x)


TIME = 0.1 * np.arange(30)
GAP = np.delete(0.1 * np.arange(31), 12)
LATE = xr.Dataset({"observed": (("trial", "time", "unit"), X[None]), "n_time": ("trial", [20])}, attrs={"dt": 1.0})
REFUSED = {
    "one axis": (lambda: as_recording(X[:, 0]), r"x has 1 axes.*x\[:, None\]"),
    "four axes": (lambda: as_recording(X[None, None]), "x has 4 axes"),
    "scalar": (lambda: as_recording(3.0), "0 axes"),
    "list of numbers": (lambda: as_recording([1.0, 2.0]), "list of numbers"),
    "list of lists": (lambda: as_recording([[1.0, 2.0], [3.0, 4.0]]), "use np.asarray"),
    "no trial": (lambda: as_recording([]), "empty list"),
    "no time": (lambda: as_recording(np.empty((0, 3))), "empty: no entries along 'time'"),
    "no channel": (lambda: as_recording(np.empty((3, 0))), "empty: no entries along 'feature'"),
    "empty trial": (lambda: as_recording([X, X[:0]]), "n_time of trial 1 is 0"),
    "complex": (lambda: as_recording(X + 1j), "x is complex"),
    "text": (lambda: as_recording(np.array([["a", "b"]])), "not numeric"),
    "text in a frame": (lambda: as_recording(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, "x"]})), r"column 'b' of x.*'x' at index \(1,\)"),
    "dates": (lambda: as_recording(pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2020-01-02"])})), "'when'.*dates"),
    "series": (lambda: as_recording(pd.Series([1.0, 2.0])), "to_frame"),
    "dict": (lambda: as_recording({"a": X}), "not numeric"),
    "unnamed axes": (lambda: as_recording(xr.DataArray(X)), "axis 'dim_0' of x has no name"),
    "no time axis": (lambda: as_recording(xr.DataArray(X, dims=("sample", "unit"))), "needs one axis named 'time'.*'sample', 'unit'"),
    "two other axes": (lambda: as_recording(xr.DataArray(X[None], dims=("time", "row", "col"))), "exactly one axis beside"),
    "reserved": (lambda: as_recording(xr.DataArray(X, dims=("time", "latent"))), "'latent' of x bears a reserved name"),
    "twice one name": (lambda: as_recording(pd.DataFrame(X, columns=list("abca"))), "two channels along 'feature' are named 'a'"),
    "lost sample": (lambda: as_recording(pd.DataFrame(X, index=GAP)), r"worst gap is 0.2, from index 11 \(time 1.1\) to index 12"),
    "time runs back": (lambda: as_recording(pd.DataFrame(X, index=TIME[::-1])), "does not ascend: index 0"),
    "time missing": (lambda: as_recording(pd.DataFrame(X, index=np.where(TIME > 2.85, np.nan, TIME))), "not finite at index 29"),
    "drift": (lambda: as_recording(pd.DataFrame(X, index=TIME + 0.002 * np.arange(30) ** 2)), "unequal steps"),
    "channels differ": (lambda: as_recording([X, X[:, :3]]), "trial 1 of x has 3 channels"),
    "inputs too short": (lambda: as_recording(X, inputs=X[:-1]), "inputs of trial 0 have 29 time steps, its observations 30"),
    "inputs of other trials": (lambda: as_recording([X, X], inputs=X), "inputs have 1 trials, the recording has 2"),
    "no observed": (lambda: as_recording(xr.Dataset({"x": (("time", "unit"), X)})), "no variable 'observed'"),
    "values past the end": (lambda: as_recording(LATE), "trial 0 has n_time 20 but holds values at time index 20"),
    "n_time too long": (lambda: as_recording(LATE.assign(n_time=("trial", [31]))), "n_time of trial 0 is 31, .*rec.drop_vars"),
    "axes in another order": (lambda: as_recording(LATE.transpose("time", "trial", "unit")), "in this order"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_recording_is_refused_and_the_message_says_where(case):
    make, message = REFUSED[case]
    with pytest.raises(RecordingError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0}, "dt must be a positive number"),
        ({"dt": float("nan")}, "dt must be"),
        ({"dims": ("time",)}, "names 1 axes, but x has 2"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ArgumentError, match=message):
        as_recording(X, **options)


def test_a_step_that_contradicts_the_times_is_refused():
    with pytest.raises(ArgumentError, match=r"dt=0.2 contradicts the time axis, whose step is 0.1"):
        as_recording(pd.DataFrame(X, index=TIME), dt=0.2)


def test_rounded_and_single_precision_times_are_regular():
    """Three digits of 1/30 s, and float32 seconds at 1 kHz after an hour: both are off by their rounding only."""
    for times in (np.round(np.arange(30) / 30, 3), (3600 + 0.001 * np.arange(30)).astype(np.float32)):
        rec = as_recording(xr.DataArray(X, dims=("time", "unit"), coords={"time": times}))
        assert rec.attrs["dt"] == pytest.approx((times[-1].astype(float) - times[0]) / 29, rel=1e-3)


def test_a_frames_column_of_times_is_its_time():
    frame = pd.DataFrame({"time": [0.0, 0.5, 1.0], "a": [1.0, 2.0, 3.0]})
    recording = as_recording(frame)
    assert recording.feature.values.tolist() == ["a"]
    assert recording.attrs["dt"] == 0.5


def test_what_makes_a_recording_is_split_as_one():
    x = np.arange(20.0).reshape(10, 2)
    for part, wanted in zip(split(x, train=0.7), split(as_recording(x), train=0.7), strict=True):
        assert part.identical(wanted)


def test_a_path_is_told_how_to_be_read():
    with pytest.raises(RecordingError, match="read_recording"):
        as_recording("recording.csv")
