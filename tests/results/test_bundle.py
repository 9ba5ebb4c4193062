"""Facts about bundles: bit-equal round trips, every damage detected by one error, old or new and never neither."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import torch

from dynrnn.errors import ArgumentError, FileFormatError, RunFolderError
from dynrnn.results import _files, read_bundle, read_manifest, write_bundle
from dynrnn.results._files import digest_of, dump_json, seal
from dynrnn.results.bundle import CONFIG, MANIFEST, TENSORS

TENSOR_SET = {
    "A": torch.tensor([[1.0, float("nan")], [-0.0, float("inf")]]),
    "W": torch.arange(24, dtype=torch.float64).reshape(2, 3, 4).transpose(0, 2),
    "step": torch.tensor(7),
    "empty": torch.empty(0, 3),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "mask": torch.tensor([True, False]),
}
SETTINGS = {"model": "alrnn", "nested": {"channels": ["a", "ü"], "x": [1, 2.5, None, True]}}


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "m.dynrnn", TENSOR_SET, SETTINGS)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else bits(tensor[None])


def test_tensors_and_config_come_back_bit_equal(folder):
    tensors, config = read_bundle(folder)
    assert config == SETTINGS
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {name: (t.dtype, t.shape) for name, t in TENSOR_SET.items()}
    assert all(bits(tensors[name]) == bits(TENSOR_SET[name]) for name in TENSOR_SET)
    manifest = read_manifest(folder)
    assert manifest["libraries"]["torch"] == torch.__version__
    assert manifest["files"][TENSORS]["size"] == (folder / TENSORS).stat().st_size


def test_tensors_that_share_memory_are_stored_each(tmp_path):
    base = torch.arange(6.0)
    tensors, _ = read_bundle(write_bundle(tmp_path / "b", {"x": base, "y": base[2:4]}, {}))
    assert tensors["y"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize("name", [MANIFEST, TENSORS, CONFIG])
def test_every_flipped_bit_and_every_cut_is_detected(folder, name):
    raw = (folder / name).read_bytes()
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << (position % 8)
        (folder / name).write_bytes(bytes(damaged))
        with pytest.raises(FileFormatError):
            read_bundle(folder)
    for length in [*range(0, len(raw), 37), len(raw) - 1]:
        (folder / name).write_bytes(raw[:length])
        with pytest.raises(FileFormatError, match=str(folder)):
            read_bundle(folder)
    (folder / name).write_bytes(raw + b"\n")
    with pytest.raises(FileFormatError, match=str(folder)):
        read_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(FileFormatError, match=name):
        read_bundle(folder)


def forge(folder, tensors: bytes) -> None:
    """A bundle whose manifest vouches for whatever the file holds."""
    manifest = read_manifest(folder)
    manifest["files"][TENSORS] = {"sha256": digest_of(tensors), "size": len(tensors)}
    (folder / TENSORS).write_bytes(tensors)
    (folder / MANIFEST).write_bytes(seal(manifest))


def header(**entries) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


class Trap:
    def __reduce__(self):
        return os.mkdir, ("pickle-was-run",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (2**40).to_bytes(8, "little") + b"{}",
        header(A={"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4]}) + b"\0" * 4,
        header(A={"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}) + b"\0" * 4,
        header(A={"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}) + b"\0" * 4,
        header(A={"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 4]}) + b"\0" * 4,
        header(A=3),
        header(A={"dtype": [], "shape": "x", "data_offsets": None}),
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        pickle.dumps(Trap()),
    ],
)
def test_hostile_tensor_files_with_a_consistent_manifest_are_refused(folder, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forge(folder, data)
    with pytest.raises(FileFormatError, match=r"model\.safetensors"):
        read_bundle(folder)
    assert not (tmp_path / "pickle-was-run").exists()


def test_foreign_things_are_refused_both_ways(tmp_path, folder):
    for make in ("missing", "file", "folder", "run"):
        path = tmp_path / make
        if make == "file":
            path.write_bytes(b"PK\x03\x04")
        if make in ("folder", "run"):
            path.mkdir()
            (path / "data.csv").write_text("1,2")
        if make == "run":
            (path / MANIFEST).write_bytes(seal({"format": "other", "format_version": 1}))
        with pytest.raises(FileFormatError, match=str(path)):
            read_bundle(path)
        if make in ("file", "folder"):
            with pytest.raises(RunFolderError, match="not replaced"):
                write_bundle(path, {}, {})
    manifest = read_manifest(folder)
    manifest["format_version"] = 99
    (folder / MANIFEST).write_bytes(seal(manifest))
    with pytest.raises(FileFormatError, match="format version 99"):
        read_bundle(folder)


def test_a_file_that_is_a_link_is_refused(folder, tmp_path):
    (folder / CONFIG).rename(tmp_path / "elsewhere.json")
    (folder / CONFIG).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FileFormatError, match="link"):
        read_bundle(folder)


class Stop(BaseException):
    """Stands for a kill."""


def test_overwriting_stopped_at_any_system_call_leaves_the_old_or_the_new(folder, monkeypatch):
    names = [("os", "fsync"), ("os", "rename"), ("os", "replace"), ("shutil", "rmtree")]
    real = {pair: getattr(getattr(_files, pair[0]), pair[1]) for pair in names}
    outcomes = []
    for stop_at in range(1, 40):
        count = 0

        def counted(pair, after, stop_at=stop_at):
            def call(*args, **kwargs):
                nonlocal count
                count += 1
                if count == stop_at and not after:
                    raise Stop
                result = real[pair](*args, **kwargs)
                if count == stop_at:
                    raise Stop
                return result

            return call

        for after in (False, True):
            count = 0
            with monkeypatch.context() as patch:
                for pair in names:
                    patch.setattr(getattr(_files, pair[0]), pair[1], counted(pair, after))
                try:
                    write_bundle(folder, {"A": torch.tensor([float(stop_at)])}, {"n": stop_at})
                    finished = True
                except Stop:
                    finished = False
            tensors, config = read_bundle(folder)
            assert tensors["A"].flatten()[0].item() == config.get("n", 1.0)
            outcomes.append(config.get("n") == stop_at)
            write_bundle(folder, TENSOR_SET, SETTINGS)
        if finished:
            break
    assert finished
    assert {*outcomes} == {True, False}
    assert [item.name for item in folder.parent.iterdir() if item.name.endswith(".previous")] == []


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(ArgumentError, match="'when'"):
        write_bundle(tmp_path / "b", {}, {"when": object()})
    with pytest.raises(ArgumentError, match="'sparse'"):
        write_bundle(tmp_path / "b", {"sparse": torch.eye(3).to_sparse()}, {})
    with pytest.raises(ArgumentError, match="complex128"):
        write_bundle(tmp_path / "b", {"z": torch.ones(1, dtype=torch.complex128)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_path_and_keeps_the_old_bundle(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_files.os, "fsync", full)
        with pytest.raises(RunFolderError, match=f"{folder}.*No space left"):
            write_bundle(folder, {}, {"new": True})
    assert read_bundle(folder)[1] == SETTINGS
    assert [item.name for item in folder.parent.iterdir()] == [folder.name]


def test_the_seal_covers_the_spelling_too():
    """A document that parses to the same values but is spelt otherwise is a changed file."""
    raw = seal({"format": "x", "b": 1.0})
    assert dump_json(json.loads(raw)) == raw
