"""NWB files through pynapple; skipped without the extra `neuro`."""

from datetime import UTC, datetime

import numpy as np
import pytest

from dynrnn.data import read_recording
from dynrnn.errors import ArgumentError, FileFormatError

SPIKES = [np.array([0.01, 0.02, 0.33, 0.99]), np.array([0.05, 0.55, 0.56])]


@pytest.fixture
def nwb(tmp_path):
    pytest.importorskip("pynapple")
    pynwb = pytest.importorskip("pynwb")
    file = pynwb.NWBFile(
        session_description="session", identifier="id", session_start_time=datetime(2020, 1, 1, tzinfo=UTC)
    )
    for spikes in SPIKES:
        file.add_unit(spike_times=spikes, obs_intervals=[[0.0, 1.0]])
    data = np.arange(20.0).reshape(10, 2)
    file.add_acquisition(pynwb.TimeSeries(name="lfp", data=data, unit="V", starting_time=0.0, rate=100.0))
    path = tmp_path / "a.nwb"
    with pynwb.NWBHDF5IO(path, "w") as out:
        out.write(file)
    return path


def test_continuous_series_come_as_they_are(nwb):
    rec = read_recording(nwb, key="lfp")
    np.testing.assert_array_equal(rec["observed"].values[0], np.arange(20.0).reshape(10, 2))
    assert rec["observed"].dims[-1] == "channel"
    assert rec.attrs["dt"] == pytest.approx(0.01)


def test_spikes_are_counted_in_bins_of_the_stated_size(nwb):
    rec = read_recording(nwb, key="units", bin_size=0.1)
    counts = rec["observed"].values[0]
    edges = rec["time"].values[0] - 0.05 + 0.1 * np.arange(len(counts) + 1) - 1e-9  # the first bin starts on the first spike
    expected = np.stack([np.histogram(spikes, edges)[0] for spikes in SPIKES], axis=1)
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() >= sum(map(len, SPIKES)) - 2  # an incomplete last bin may be dropped
    assert (rec.attrs["bin_size"], rec.attrs["dt"]) == (0.1, pytest.approx(0.1))
    assert rec["observed"].dims[-1] == "unit"


def test_choices_are_asked_for_and_listed(nwb):
    with pytest.raises(FileFormatError, match=r"(?s)(units.*lfp|lfp.*units).*key="):
        read_recording(nwb)
    with pytest.raises(FileFormatError, match="'lpf' is not in it"):
        read_recording(nwb, key="lpf")
    with pytest.raises(ArgumentError, match="bin_size="):
        read_recording(nwb, key="units")
    with pytest.raises(ArgumentError, match="leave bin_size out"):
        read_recording(nwb, key="lfp", bin_size=0.1)


def test_damaged_and_foreign_files_are_refused(tmp_path, nwb):
    path = tmp_path / "b.nwb"
    for content in (b"hello", nwb.read_bytes()[:3000]):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"b\.nwb is no NWB file, or is damaged"):
            read_recording(path)
