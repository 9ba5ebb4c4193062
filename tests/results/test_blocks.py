"""Facts about block-wise writing: equal to one write, committed or invisible, resumable, at bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dynrnn.errors import ArgumentError, FileFormatError, RunFolderError
from dynrnn.results import BlockWriter, open_blocks, read_results
from dynrnn.results import blocks as blocks_module
from dynrnn.results._files import read_json

TEMPLATE = {
    "observed": (("fit", "time", "neuron"), "float32"),
    "latent": (("fit", "time", "latent"), "float64"),
    "time": (("time",), "float64"),
}


def writer_at(path, **options) -> BlockWriter:
    coords = {"fit": [0, 1], "neuron": ["a", "bé", "c"]}
    return BlockWriter(path, TEMPLATE, sizes={"latent": 2}, coords=coords, attrs={"dt": 0.1, "nest": {"a": [1]}}, **options)


def steps(start: int, stop: int) -> dict[str, np.ndarray]:
    """Values that name their own place."""
    t = np.arange(start, stop, dtype=float)
    return {
        "observed": (t[None, :, None] + 0.25 * np.arange(2)[:, None, None] + 0.0625 * np.arange(3)).astype("float32"),
        "latent": -t[None, :, None] - 0.25 * np.arange(2)[:, None, None] - 0.0625 * np.arange(2),
        "time": 0.1 * t,
    }


def whole(n: int) -> xr.Dataset:
    values = steps(0, n)
    return xr.Dataset(
        {name: (TEMPLATE[name][0], values[name]) for name in ("observed", "latent")},
        coords={"time": values["time"], "fit": [0, 1], "neuron": ["a", "bé", "c"]},
        attrs={"dt": 0.1, "nest": {"a": [1]}},
    )


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_blocks_of_any_sizes_equal_one_write(tmp_path_factory, data):
    cuts = data.draw(st.lists(st.integers(0, 23), max_size=8))
    total = sum(cuts)
    chunk = data.draw(st.integers(1, 12))
    known = data.draw(st.booleans())
    path = tmp_path_factory.mktemp("blocks") / "orbit.zarr"
    with writer_at(path, chunk_steps=chunk, n_steps=total if known else None) as writer:
        start = 0
        for cut in cuts:
            writer.append(steps(start, start + cut))
            start += cut
            if data.draw(st.booleans()):
                writer.flush()
                assert open_blocks(path).sizes["time"] == start
    xr.testing.assert_identical(open_blocks(path).load(), whole(total))


def test_what_is_not_committed_is_not_seen_even_when_its_chunks_are_on_disk(tmp_path, monkeypatch):
    path = tmp_path / "orbit.zarr"
    writer = writer_at(path, chunk_steps=10, n_steps=40)
    writer.append(steps(0, 20))

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BlockWriter, "_commit", stop)
        with pytest.raises(KeyboardInterrupt):
            writer.append(steps(20, 30))
    assert (path / "observed" / "c" / "0" / "2" / "0").exists()
    xr.testing.assert_identical(open_blocks(path).load(), whole(20))


def test_an_interrupted_write_goes_on_without_gap_or_duplicate(tmp_path):
    path = tmp_path / "orbit.zarr"

    def interrupted():
        with writer_at(path, chunk_steps=8) as writer:
            writer.append(steps(0, 21))
            writer.flush()
            writer.append(steps(21, 23))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert open_blocks(path).sizes["time"] == 21
    with BlockWriter.resume(path) as writer:
        assert writer.n_steps == 21
        writer.append(steps(21, 300))
    xr.testing.assert_identical(open_blocks(path).load(), whole(300))


class Stop(BaseException):
    """Stands for a kill."""


def test_a_writer_stopped_at_any_commit_step_can_be_read_and_resumed(tmp_path, monkeypatch):
    """Every replacement of a record or of metadata is a place to die: growth, flushes and sealing included."""
    real = blocks_module.replace_file
    monkeypatch.setattr(blocks_module, "FIRST_CHUNKS", 1)
    reached = False
    for stop_at in range(1, 40):
        path = tmp_path / f"orbit-{stop_at}.zarr"
        writer = writer_at(path, chunk_steps=4)
        count = 0

        def counted(*args, stop_at=stop_at):
            nonlocal count
            count += 1
            if count == stop_at:
                raise Stop
            return real(*args)

        acknowledged = 0
        with monkeypatch.context() as patch:
            patch.setattr(blocks_module, "replace_file", counted)
            try:
                for start in range(0, 12, 6):
                    writer.append(steps(start, start + 6))
                    writer.flush()
                    acknowledged = start + 6
                writer.close()
                reached = True
            except Stop:
                pass
        seen = open_blocks(path)
        assert acknowledged <= seen.sizes["time"] <= acknowledged + 6
        xr.testing.assert_identical(seen.load(), whole(seen.sizes["time"]))
        with BlockWriter.resume(path) as again:
            again.append(steps(again.n_steps, 17))
        xr.testing.assert_identical(open_blocks(path).load(), whole(17))
        if reached:
            break
    assert reached
    assert stop_at > 10


def test_memory_stays_bounded_by_one_chunk_of_steps(tmp_path):
    # 50 blocks of 4 MB each, chunks of 1 MiB: the peak is buffer + block + what zarr copies of a chunk, far below the 200 MB written
    block = np.zeros((1, 100_000, 10), "float32")
    with BlockWriter(tmp_path / "orbit.zarr", {"latent": (("fit", "time", "latent"), "float32")}, sizes={"fit": 1, "latent": 10}) as writer:
        tracemalloc.start()
        for i in range(50):
            block[:] = i
            writer.append({"latent": block})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 * 2**20
    orbit = open_blocks(tmp_path / "orbit.zarr")
    assert orbit.sizes["time"] == 5_000_000
    np.testing.assert_array_equal(orbit.latent.isel(time=slice(99_999, None, 100_000))[0, :, 3], np.arange(50))


@pytest.mark.parametrize(("fits", "latent", "dtype"), [(1, 3, "float32"), (100, 50, "float64"), (1, 1, "bool"), (3, 20_000, "float64")])
def test_chunks_are_a_mebibyte_or_more_and_buffers_stay_small(tmp_path, fits, latent, dtype):
    template = {"latent": (("fit", "time", "latent"), dtype), "time": (("time",), "float64")}
    writer = BlockWriter(tmp_path / "orbit.zarr", template, sizes={"fit": fits, "latent": latent})
    chunks = read_json(tmp_path / "orbit.zarr" / "latent" / "zarr.json")["chunk_grid"]["configuration"]["chunk_shape"]
    assert np.prod(chunks) * np.dtype(dtype).itemsize >= 2**20
    # at most 64 MiB in all, by construction
    assert sum(buffer.nbytes for buffer in writer._buffers.values()) <= 64 * 2**20


def test_an_existing_folder_is_kept_unless_overwriting(tmp_path):
    path = tmp_path / "orbit.zarr"
    with writer_at(path, n_steps=5) as writer:
        writer.append(steps(0, 5))
    with pytest.raises(RunFolderError, match="overwrite=True"):
        writer_at(path)
    xr.testing.assert_identical(open_blocks(path).load(), whole(5))
    with writer_at(path, n_steps=3, overwrite=True) as writer:
        writer.append(steps(0, 3))
    xr.testing.assert_identical(open_blocks(path).load(), whole(3))
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("x")
    with pytest.raises(RunFolderError, match="did not write"):
        writer_at(foreign, overwrite=True)
    assert (foreign / "chapter.tex").read_text() == "x"
    with pytest.raises(FileFormatError, match="dynrnn-blocks"):
        read_results(path)


def test_a_flipped_bit_names_array_and_chunk(tmp_path):
    path = tmp_path / "orbit.zarr"
    with writer_at(path, chunk_steps=10) as writer:
        writer.append(steps(0, 50))
    chunk = path / "latent" / "c" / "0" / "3" / "0"
    raw = bytearray(chunk.read_bytes())
    raw[-6] ^= 1
    chunk.write_bytes(bytes(raw))
    orbit = open_blocks(path)
    assert orbit.latent.isel(time=slice(0, 30)).load().shape == (2, 30, 2)
    with pytest.raises(FileFormatError, match=r"'latent'.*chunk \[0, 3, 0\]"):
        orbit.latent.isel(time=35).load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.pop("latent"), "lacks 'latent'"),
        (lambda b: b.update(extra=b["time"]), "extra"),
        (lambda b: b.update(time=b["time"][:3]), "same number of steps"),
        (lambda b: b.update(observed=b["observed"][:, :, :2]), "'observed'.*shape"),
        (lambda b: b.update(observed=b["observed"] + 1j), "'observed'.*complex"),
        (lambda b: b.update(observed=xr.DataArray(b["observed"], dims=("fit", "time", "channel"))), "channel"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_whole(tmp_path, change, message):
    with writer_at(tmp_path / "orbit.zarr") as writer:
        writer.append(steps(0, 4))
        block = steps(4, 9)
        change(block)
        with pytest.raises(ArgumentError, match=message):
            writer.append(block)
        writer.append(steps(4, 9))
    xr.testing.assert_identical(open_blocks(tmp_path / "orbit.zarr").load(), whole(9))


def test_labelled_blocks_are_matched_by_name(tmp_path):
    with writer_at(tmp_path / "orbit.zarr", n_steps=6) as writer:
        block = steps(0, 6)
        block["observed"] = xr.DataArray(block["observed"], dims=("fit", "time", "neuron")).transpose("neuron", "time", "fit")
        writer.append(block)
        with pytest.raises(ArgumentError, match="n_steps=6"):
            writer.append(steps(6, 7))
    xr.testing.assert_identical(open_blocks(tmp_path / "orbit.zarr").load(), whole(6))
