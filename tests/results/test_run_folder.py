"""Facts about a run's folder: new or refused, whole config or none, one writer."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynrnn.errors import FileFormatError, RecordingError, RunFolderError
from dynrnn.results import RunFolder, check_schema, data_fingerprint, stamp


def test_a_folder_in_use_is_named_and_left_alone(tmp_path):
    run = RunFolder.create(tmp_path / "run", {"a": 1})
    with pytest.raises(RunFolderError, match=f"{run.path} is in use.*resume"):
        RunFolder.create(run.path, {"a": 2})
    assert RunFolder.open(run.path).config == {"a": 1}
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"x")
    with pytest.raises(RunFolderError, match="other files"):
        RunFolder.create(other)
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.create(other / "cat.jpg")
    (tmp_path / "empty").mkdir()
    assert RunFolder.create(tmp_path / "empty", {}).config == {}


@pytest.mark.parametrize("text", ['{"config": {}}', "[1]", "{", '{"format": "dynrnn-run", "format_version": 9, "config": {}}', "\xff"])
def test_foreign_and_damaged_folders_are_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"config\.json"):
        RunFolder.open(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="no run"):
        RunFolder.open(tmp_path)
    with pytest.raises(FileFormatError, match="not a folder"):
        RunFolder.open(tmp_path / "nowhere")


def test_only_one_writer_holds_the_lock_and_it_is_given_back(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    with run.lock(), pytest.raises(RunFolderError, match="in use"), RunFolder(run.path).lock():
        pass
    with run.lock():
        pass


def recording(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"observed": (("trial", "time", "neuron"), values), "n_time": ("trial", [values.shape[1]])}, attrs={"dt": 0.1})


def test_the_fingerprint_depends_on_the_data_and_on_nothing_else():
    values = np.random.default_rng(0).normal(size=(1, 6, 2))
    values[0, 2, 1] = np.nan
    base = data_fingerprint(recording(values))
    other_nan = values.copy()
    other_nan.view("uint64")[0, 2, 1] ^= 1  # another payload, still not a number
    assert np.isnan(other_nan[0, 2, 1])
    assert data_fingerprint(recording(other_nan)) == base
    assert data_fingerprint(recording(np.asfortranarray(values)).assign_attrs(note="x")) == base
    changed = values.copy()
    changed[0, 0, 0] = np.nextafter(changed[0, 0, 0], 9)
    different = [
        recording(changed),
        recording(values.astype("float32")),
        recording(values[:, ::-1]),
        recording(values.reshape(1, 4, 3)),
        recording(values).assign(n_time=("trial", [5])),
        recording(values).assign_coords(neuron=["a", "b"]),
    ]
    assert len({base, *map(data_fingerprint, different)}) == 7
    with pytest.raises(RecordingError, match="observed"):
        data_fingerprint(xr.Dataset())


def test_the_schema_names_what_is_missing_and_what_is_misshapen():
    metrics = xr.Dataset({name: ("fit", [1.0]) for name in ("d_stsp", "d_hellinger", "prediction_error")})
    attrs = stamp({"model": "alrnn"}, random_state=3)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), "/metrics": metrics.assign(d_stsp_floor=("draw", [1.0]))})
    assert check_schema(tree, groups=("metrics",)) == [
        "/metrics: 'd_stsp_floor' has dims ('draw',), expected (pair)",
        "/metrics lacks variable 'valid_prediction_time' with dims (fit)",
    ]
    del tree.attrs["random_state"]
    assert check_schema(tree)[0] == "attribute 'random_state' of the root is missing"
    assert "group /training is missing" in check_schema(tree)
    named = xr.Dataset({"observed": (("trial", "time", "any name"), np.zeros((1, 2, 3))), "n_time": ("trial", [2])})
    assert check_schema(xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), "/observed_data": named}), groups=("observed_data",)) == []
