"""A long dataset written in blocks along one dim, at bounded memory; readers see what is committed and nothing else.

    orbit.zarr/
      COMMIT.json        how many steps count, the sha256 of every metadata file; sealed by its own sha256
      zarr.json          a zarr v3 group
      observed/ ...      arrays pre-sized along time on their chunk grid

Whole chunks go to disk first, then the record, in one rename. A writer killed at any moment leaves the committed steps, without a hole and
without a step more; ``BlockWriter.resume`` goes on from there. One writer at a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import xarray as xr
import zarr

from dynrnn.errors import ArgumentError, FileFormatError, RunFolderError, check_int
from dynrnn.results._arrays import chunk_file, chunk_shape, create_array
from dynrnn.results._dataset import NOTE, read_dataset, read_metadata, write_dataset
from dynrnn.results._files import (
    digest_of,
    dump_json,
    fsync_directory,
    fsync_file,
    json_value,
    read_json,
    read_sealed,
    replace_directory,
    replace_file,
    resolve_directory,
    seal,
    temporary_sibling,
    writing,
)
from dynrnn.results._layout import BUFFER_BYTES, Layout, default_chunk_steps, make_layout
from dynrnn.results._metadata import check_array
from dynrnn.results.store import MAX_BYTES, RECORD

KIND = "dynrnn-blocks"
FORMAT_VERSION = 1
FIRST_CHUNKS = 16
"""Room made at first where the final length is not known; it grows fourfold."""


class BlockWriter:
    """Append blocks of steps to a new folder; use it as a context manager.

    Parameters
    ----------
    path : folder to create.
    template : ``{name: (dims, dtype)}``, numbers or bool; every variable has ``append_dim`` among its dims. A coordinate along
        ``append_dim`` (``"time": (("time",), "float64")``) is appended like any other.
    sizes : lengths of the dims that no coordinate names, e.g. ``{"latent": 20}``.
    coords : coordinates of the other dims, ``{name: values}`` for a dim or ``{name: (dims, values)}``.
    append_dim : the dim that grows, ``"time"`` by default.
    attrs, variable_attrs : JSON-able; of the dataset, and by variable.
    n_steps : the final length where it is known; otherwise arrays grow as they fill.
    overwrite : replace what dynrnn wrote at ``path`` before. Otherwise an existing folder is a RunFolderError.
    chunk_steps : steps in a chunk. By default the smallest array with more than the one dim gets chunks of at least 1 MiB, unless all
        buffers together would pass 64 MiB.

    Memory: one chunk of steps of every variable. ``n_steps`` (the attribute) tells how many are committed: whole chunks at once, the rest
    at ``flush()`` or at the end of the ``with`` block. After an error inside the block the committed steps stay and can be resumed.

    >>> import tempfile, numpy as np
    >>> folder = tempfile.mkdtemp() + "/orbit.zarr"
    >>> with BlockWriter(folder, {"observed": (("time", "feature"), "float32")}, coords={"feature": ["x", "y"]}) as writer:
    ...     for start in range(0, 30, 10):
    ...         writer.append({"observed": np.full((10, 2), start)})
    >>> open_blocks(folder).observed.sel(feature="y").values[[0, 10, 29]].tolist()
    [0.0, 10.0, 20.0]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        template: Mapping[str, tuple[Sequence[str], Any]],
        *,
        sizes: Mapping[str, int] | None = None,
        coords: Mapping[str, Any] | None = None,
        append_dim: str = "time",
        attrs: Mapping[str, Any] | None = None,
        variable_attrs: Mapping[str, Mapping[str, Any]] | None = None,
        n_steps: int | None = None,
        overwrite: bool = False,
        chunk_steps: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.append_dim = append_dim
        self.n_steps = 0
        if self.path.exists() and not (overwrite and _is_ours(self.path)):
            foreign = "holds something that dynrnn did not write" if overwrite else "exists already"
            remedy = "Choose another path" if overwrite else "Choose another path, or pass overwrite=True to replace it"
            raise RunFolderError(f"{self.path} {foreign}. {remedy}.")
        fixed = xr.Dataset(coords={name: _variable(name, values) for name, values in (coords or {}).items()})
        lengths = {**{str(dim): size for dim, size in fixed.sizes.items()}, **(sizes or {})}
        if append_dim in lengths:
            raise ArgumentError(f"dim {append_dim!r} grows: leave it out of coords, sizes.")
        self._layout = {name: make_layout(name, dims, dtype, append_dim, lengths) for name, (dims, dtype) in template.items()}
        if not self._layout:
            raise ArgumentError("template names no variable; give {name: (dims, dtype)}.")
        chunk_steps = default_chunk_steps(self._layout, n_steps) if chunk_steps is None else chunk_steps
        self.chunk_steps = check_int("chunk_steps", chunk_steps, low=1)
        self._capacity = self.chunk_steps * FIRST_CHUNKS if n_steps is None else check_int("n_steps", n_steps, low=0)
        self._final = n_steps
        self._create(fixed, dict(attrs or {}), variable_attrs or {}, overwrite)
        self._buffers = self._empty_buffers()
        self._open()

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> BlockWriter:
        """A writer that goes on after the last committed step of an interrupted one; FileFormatError if the folder is damaged."""
        writer = cls.__new__(cls)
        writer.path = Path(path)
        record = _read_record(writer.path)
        writer.append_dim, writer.n_steps = record["append_dim"], record["n_steps"]
        writer.chunk_steps, writer._final = record["chunk_steps"], record["final"]
        writer._digests = record["metadata"]
        writer._layout = {}
        writer._capacity = 2**62
        stored = open_blocks(writer.path)
        for name in record["variables"]:
            info = check_array(read_metadata(writer.path, f"{name}/zarr.json", writer._digests), writer.path / name)
            axis = info.dims.index(writer.append_dim)
            writer._layout[name] = Layout(info.dims, axis, np.dtype(info.data_type), info.shape)
            # lengths differ where the writer was stopped while it changed them; the shortest has room for every committed step
            writer._capacity = min(writer._capacity, info.shape[axis])
        writer._buffers = writer._empty_buffers()
        start = writer.n_steps - writer._filled
        for name, layout in writer._layout.items():
            tail = stored[name].isel({writer.append_dim: slice(start, writer.n_steps)}).transpose(*layout.dims)
            writer._buffers[name][layout.at(0, writer._filled)] = tail.values
        writer._open()
        return writer

    @property
    def _filled(self) -> int:
        """Steps of the committed length that belong to a chunk not yet full (they are in the buffers, too)."""
        return self.n_steps % self.chunk_steps

    def append(self, block: Mapping[str, Any]) -> None:
        """Add steps: every variable of the template, with the same number of steps; commits each chunk that gets full.

        Arrays have the template's dims in its order; an ``xr.DataArray`` is matched by name. ArgumentError names a variable that does
        not fit; then nothing of the block is added.
        """
        arrays = {name: self._checked(name, block) for name in self._layout}
        unknown = sorted(set(map(str, block)) - set(arrays))
        if unknown:
            raise ArgumentError(f"the block holds {unknown}, which the template does not name ({sorted(arrays)}).")
        lengths = {name: array.shape[self._layout[name].axis] for name, array in arrays.items()}
        n_new = next(iter(lengths.values()))
        if any(length != n_new for length in lengths.values()):
            raise ArgumentError(f"the variables of a block must have the same number of steps along {self.append_dim!r}, got {lengths}.")
        end = self.n_steps + self._pending + n_new
        if self._final is not None and end > self._final:
            raise ArgumentError(f"the block ends at step {end:,}, past the n_steps={self._final:,} announced.")
        done = 0
        while done < n_new:
            used = self._filled + self._pending
            take = min(n_new - done, self.chunk_steps - used)
            for name, array in arrays.items():
                layout = self._layout[name]
                self._buffers[name][layout.at(used, used + take)] = array[layout.at(done, done + take)]
            self._pending += take
            done += take
            if used + take == self.chunk_steps:
                self.flush()

    def flush(self) -> None:
        """Write and commit every step appended so far."""
        if not self._pending:
            return
        start = self.n_steps - self._filled
        stop = self.n_steps + self._pending
        if stop > self._capacity:
            self._set_length(max(4 * self._capacity, stop))
        with writing(self.path):
            for name, layout in self._layout.items():
                # the partial chunk of an earlier flush is replaced as a whole, committed steps included
                self._arrays[name][layout.at(start, stop)] = self._buffers[name][layout.at(0, stop - start)]
                self._sync(name, start)
        self.n_steps = stop
        self._pending = 0
        self._commit()

    def close(self) -> None:
        """Flush and cut the arrays to the steps written."""
        self.flush()
        if self._capacity != self.n_steps:
            self._set_length(self.n_steps)
        self._sealed = True
        self._commit()

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()

    def _checked(self, name: str, block: Mapping[str, Any]) -> np.ndarray:
        if name not in block:
            raise ArgumentError(f"the block lacks {name!r}; every block holds all of {sorted(self._layout)}.")
        layout, value = self._layout[name], block[name]
        if isinstance(value, xr.DataArray):
            if set(value.dims) != set(layout.dims):
                raise ArgumentError(f"{name!r} of the block has dims {value.dims}, the template has {layout.dims}.")
            value = value.transpose(*layout.dims)
        array = np.asarray(value)
        expected = layout.shape(array.shape[layout.axis] if array.ndim == len(layout.dims) else -1)
        if array.shape != expected:
            raise ArgumentError(f"{name!r} of the block has shape {array.shape}, expected {layout.describe()} for dims {layout.dims}.")
        if not np.can_cast(array.dtype, layout.dtype, "same_kind"):
            raise ArgumentError(f"{name!r} of the block has dtype {array.dtype}, which does not fit the template's {layout.dtype}.")
        return array

    def _create(self, fixed: xr.Dataset, attrs: dict[str, Any], variable_attrs: Mapping[str, Mapping[str, Any]], overwrite: bool) -> None:
        beside = temporary_sibling(self.path)
        home = beside / "store"
        try:
            with writing(self.path):
                write_dataset(home, fixed)
                note = read_json(home / "zarr.json")["attributes"][NOTE]
                for name, layout in self._layout.items():
                    own = json_value(dict(variable_attrs.get(name, {})), f"attrs of variable {name!r}")
                    chunks = chunk_shape(layout.shape(self.chunk_steps), layout.dtype.itemsize, BUFFER_BYTES)
                    chunks = (*chunks[: layout.axis], self.chunk_steps, *chunks[layout.axis + 1 :])
                    create_array(home, name, layout.shape(self._capacity), layout.dtype.name, layout.dims, own, chunks)
                group = json_value(attrs, "attrs")
                coords = [str(name) for name in fixed.coords]
                coords += [name for name, layout in self._layout.items() if layout.dims == (name,)]
                names = list(dict.fromkeys([*self._layout, *coords]))
                group[NOTE] = {**note, "variables": names, "coords": coords}
                replace_file(home / "zarr.json", dump_json({"zarr_format": 3, "node_type": "group", "attributes": group}))
                files = ["zarr.json", *(f"{name}/zarr.json" for name in names)]
                self._digests = {file: [digest_of((home / file).read_bytes())] for file in files}
                self._sealed = False
                self._commit(home)
                if self.path.exists() and not overwrite:
                    raise RunFolderError(f"{self.path} was created by another process meanwhile. Choose another path.")
                replace_directory(home, self.path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _open(self) -> None:
        self._sealed = False
        self._pending = 0
        self._arrays: dict[str, zarr.Array] = {}
        # a chunk of zeros must exist like any other, or a lost chunk would look like it; open_array has no argument for this
        with zarr.config.set({"array.write_empty_chunks": True}):
            for name in self._layout:
                self._arrays[name] = cast(zarr.Array, zarr.open_array(store=str(self.path / name), mode="r+", zarr_format=3))

    def _empty_buffers(self) -> dict[str, np.ndarray]:
        return {name: np.empty(layout.shape(self.chunk_steps), layout.dtype) for name, layout in self._layout.items()}

    def _sync(self, name: str, start: int) -> None:
        """Force the chunks just written, and the names of new ones, to disk."""
        layout, chunks = self._layout[name], self._arrays[name].chunks
        counts = [range(-(-size // chunk)) for size, chunk in zip(layout.shape(1), chunks, strict=True)]
        folders = set()
        for index in np.ndindex(*(len(count) for count in counts)):
            place = [*index]
            place[layout.axis] = start // self.chunk_steps
            file = chunk_file(self.path / name, place)
            fsync_file(file)
            folder = file.parent
            while folder != self.path:
                folders.add(folder)
                folder = folder.parent
        for folder in folders:
            fsync_directory(folder)

    def _set_length(self, length: int) -> None:
        """Change the arrays' length; the record allows the old and the new metadata before any of them changes."""
        changed = {}
        for name, layout in self._layout.items():
            document = read_metadata(self.path, f"{name}/zarr.json", self._digests)
            document["shape"] = list(layout.shape(length))
            changed[name] = dump_json(document)
            key = f"{name}/zarr.json"
            self._digests[key] = [digest_of(changed[name]), digest_of((self.path / key).read_bytes())]
        self._commit()
        for name, raw in changed.items():
            replace_file(self.path / name / "zarr.json", raw)
        self._capacity = length
        pending = self._pending
        sealed = self._sealed
        self._open()
        self._pending, self._sealed = pending, sealed

    def _commit(self, home: Path | None = None) -> None:
        record = {
            "format": KIND,
            "format_version": FORMAT_VERSION,
            "append_dim": self.append_dim,
            "variables": list(self._layout),
            "n_steps": self.n_steps,
            "chunk_steps": self.chunk_steps,
            "final": self._final,
            "sealed": self._sealed,
            "metadata": self._digests,
        }
        replace_file((home or self.path) / RECORD, seal(record))


def open_blocks(path: str | os.PathLike[str]) -> xr.Dataset:
    """The committed steps of a folder of :class:`BlockWriter`, lazily: arrays stay on disk until they are used, no Dask needed.

    Works while the writer still writes: what is seen is what was committed at the time of the call. Coordinates of dims are loaded.
    Raises FileFormatError, naming path, array and chunk, for a folder that is missing, foreign or damaged; chunks are verified when used.
    """
    folder = resolve_directory(Path(path))
    record = _read_record(folder)
    committed = record["append_dim"], record["n_steps"]
    return read_dataset(folder, record["metadata"], lazy=True, max_bytes=MAX_BYTES, committed=committed)[0]


def _variable(name: str, values: Any) -> Any:
    """A coordinate as xarray takes it: bare values are those of the dim of that name."""
    return values if isinstance(values, tuple | xr.Variable | xr.DataArray) else (name, np.asarray(values))


def _is_ours(path: Path) -> bool:
    return path.is_dir() and ((path / RECORD).is_file() or not any(path.iterdir()))


def _read_record(folder: Path) -> dict[str, Any]:
    if not (folder / RECORD).exists():
        what = "holds no committed blocks" if folder.is_dir() else "does not exist"
        raise FileFormatError(f"{folder} {what} (no {RECORD}). Give the folder that was passed as out=.")
    record = read_sealed(folder / RECORD, KIND, FORMAT_VERSION)
    digests = record.get("metadata")
    sound = isinstance(digests, dict) and all(isinstance(value, list) for value in digests.values())
    sound = sound and isinstance(record.get("append_dim"), str) and isinstance(record.get("variables"), list)
    sound = sound and all(type(record.get(key)) is int and record[key] >= 0 for key in ("n_steps", "chunk_steps"))
    sound = sound and (record.get("final") is None or type(record["final"]) is int)
    if not sound:
        raise FileFormatError(f"{folder / RECORD} does not describe blocks as this format does: it was not written by dynrnn.")
    return record
