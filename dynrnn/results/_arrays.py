"""One labelled array as one zarr v3 array: checksummed chunks that all exist, and a reader that names what is damaged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.codecs import Crc32cCodec, ZstdCodec

from dynrnn.errors import ArgumentError, FileFormatError
from dynrnn.results._metadata import ITEM_BYTES, ArrayInfo

CHUNK_BYTES = 8 * 2**20
_MAX_STRING_CHUNK_BYTES = 64 * 2**20
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def chunk_shape(shape: Sequence[int], item_bytes: int, target: int = CHUNK_BYTES) -> tuple[int, ...]:
    """Chunks of at most about ``target`` bytes that split leading axes first, since readers take one fit or trial at a time.

    >>> chunk_shape((4, 2, 1_000_000, 3), 4)
    (1, 1, 699050, 3)
    """
    chunks = [max(1, size) for size in shape]
    for axis in range(len(chunks)):
        rest = math.prod(chunks) // chunks[axis] * item_bytes
        if rest * chunks[axis] <= target:
            break
        chunks[axis] = max(1, target // rest)
    return tuple(chunks)


def encode(values: np.ndarray, where: str) -> tuple[np.ndarray, str, str]:
    """``values`` as they are stored, the zarr data type, and the numpy spelling to give back; ArgumentError for a type without a place."""
    dtype = values.dtype
    if dtype.kind in "OUT":
        texts = np.asarray(values, dtype=object)
        for position, text in np.ndenumerate(texts):
            if not isinstance(text, str):
                raise ArgumentError(
                    f"{where} holds {text!r} ({type(text).__name__}) at {position} among strings. "
                    "Only plain strings can be stored; convert it."
                )
        return texts, "string", dtype.newbyteorder("=").str if dtype.kind == "U" else dtype.kind
    native = dtype.newbyteorder("=")
    if native.name not in ITEM_BYTES:
        raise ArgumentError(
            f"{where} has dtype {dtype}, which results cannot hold. Use bool, integers, floats, complex64, complex128 or strings."
        )
    return values.astype(native, copy=False), native.name, ""


def create_array(
    folder: Path,
    name: str,
    shape: Sequence[int],
    data_type: str,
    dims: Sequence[str],
    attributes: dict[str, Any],
    chunks: Sequence[int] | None = None,
) -> zarr.Array:
    """An empty array in the group ``folder``; no chunk exists yet. Checksums cover the stored bytes, so no flipped bit is decompressed."""
    return zarr.create_array(
        store=str(folder),
        name=name,
        shape=tuple(shape),
        dtype=data_type,
        chunks=tuple(chunks) if chunks is not None else chunk_shape(shape, ITEM_BYTES[data_type]),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        dimension_names=list(dims),
        attributes=attributes,
        config={"write_empty_chunks": True},
    )


def chunk_file(folder: Path, index: Iterable[int]) -> Path:
    return folder.joinpath("c", *map(str, index))


class StoredArray(BackendArray):
    """A lazy array over the zarr array in ``folder``, cut to ``shape`` (the committed part), for xarray's lazy indexing."""

    def __init__(self, folder: Path, info: ArrayInfo, spelling: str, shape: tuple[int, ...] | None = None) -> None:
        self.folder = folder
        self.info = info
        self.shape = info.shape if shape is None else shape
        self.dtype = _numpy_dtype(info.data_type, spelling)
        self._array: zarr.Array | None = None

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)
        return self._read(key.tuple)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        # zarr takes no backward slice: read it forward and turn it over
        key, turned = zip(*map(_forward, key, self.shape), strict=True) if key else ((), ())
        touched = self._touched(key)
        for index in touched:
            self._check_chunk(index)
        try:
            values = self._open().oindex[key] if key else self._open()[()]
        except Exception as error:
            raise self._damage(touched, error) from None
        flips = tuple(slice(None, None, -1 if turn else 1) for turn, item in zip(turned, key, strict=True) if not isinstance(item, int))
        return np.asarray(np.asarray(values)[flips], dtype=self.dtype)

    def _open(self) -> zarr.Array:
        if self._array is None:
            array = zarr.open_array(store=str(self.folder), mode="r", zarr_format=3)
            if not isinstance(array, zarr.Array) or array.shape != self.info.shape:
                raise FileFormatError(f"{self.folder} changed while it was read.")
            self._array = array
        return self._array

    def _touched(self, key: tuple[Any, ...]) -> list[tuple[int, ...]]:
        """The chunks that a selection needs."""
        axes = []
        for item, chunk in zip(key, self.info.chunks, strict=True):
            if isinstance(item, slice):
                positions = range(item.start, item.stop, item.step)
                dense = len(positions) and item.step <= chunk
                ends = (positions[0] // chunk, positions[-1] // chunk) if dense else (0, 0)
                axes.append(range(ends[0], ends[1] + 1) if dense else [position // chunk for position in positions])
            else:
                axes.append(np.unique(np.atleast_1d(item) // chunk).tolist())
        return list(itertools.product(*axes))

    def _check_chunk(self, index: tuple[int, ...]) -> None:
        """A chunk that is missing would read as zeros, and one that claims to unpack to gigabytes would be believed; both are refused."""
        path = chunk_file(self.folder, index)
        try:
            with open(path, "rb") as stream:
                head = stream.read(18)
        except OSError:
            raise FileFormatError(f"{self._name(index)} is missing ({path}). Restore the folder from a copy.") from None
        limit = _MAX_STRING_CHUNK_BYTES if self.info.data_type == "string" else self.info.chunk_bytes
        size = _unpacked_size(head)
        if size is None or size > limit:
            raise FileFormatError(f"{self._name(index)} is damaged: {path} does not start as a packed chunk of at most {limit:,} bytes.")

    def _damage(self, touched: list[tuple[int, ...]], error: Exception) -> FileFormatError:
        """The error for a failed read, with the first chunk that fails by itself."""
        reason = str(error).split("\n")[0] or type(error).__name__
        for index in touched:
            block = tuple(
                slice(i * chunk, min((i + 1) * chunk, size))
                for i, chunk, size in zip(index, self.info.chunks, self.info.shape, strict=True)
            )
            try:
                _ = self._open()[block]
            except Exception as failure:
                reason = str(failure).split("\n")[0] or type(failure).__name__
                return FileFormatError(f"{self._name(index)} is damaged: {reason} Restore it from a copy; the other chunks are readable.")
        return FileFormatError(f"array {self.folder.name!r} in {self.folder.parent} could not be read: {reason}")

    def _name(self, index: tuple[int, ...]) -> str:
        return f"array {self.folder.name!r} in {self.folder.parent}: chunk {list(index)}"


def _forward(item: Any, size: int) -> tuple[Any, bool]:
    """One entry of an index with positive ends and step, and whether the result is to be turned over."""
    if not isinstance(item, slice):
        return (np.asarray(item) % max(size, 1) if np.ndim(item) else int(item) % max(size, 1)), False
    positions = range(*item.indices(size))
    if not positions:
        return slice(0, 0, 1), False
    turn = positions.step < 0
    positions = positions[::-1] if turn else positions
    return slice(positions[0], positions[-1] + 1, positions.step), turn


def lazy_variable(stored: StoredArray, attributes: dict[str, Any]) -> xr.Variable:
    return xr.Variable(stored.info.dims, indexing.LazilyIndexedArray(stored), attributes)


def _numpy_dtype(data_type: str, spelling: str) -> np.dtype:
    if data_type != "string":
        return np.dtype(data_type)
    if spelling == "O":
        return np.dtype(object)
    return np.dtypes.StringDType() if spelling == "T" else np.dtype(spelling)


def _unpacked_size(head: bytes) -> int | None:
    """The content size that a zstd frame declares (RFC 8878, section 3.1.1.1); None if it is no such frame or declares none."""
    if len(head) < 6 or head[:4] != _ZSTD_MAGIC:
        return None
    descriptor = head[4]
    single_segment = bool(descriptor & 0x20)
    width = {0: 1 if single_segment else 0, 1: 2, 2: 4, 3: 8}[descriptor >> 6]
    start = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 0x03]
    if width == 0 or len(head) < start + width:
        return None
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)
