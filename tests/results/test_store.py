"""Facts about the results folder: what goes in comes out, what is damaged is named, what is not committed is not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dynrnn.errors import ArgumentError, DynrnnError, FileFormatError, RunFolderError
from dynrnn.results import read_results, write_group, write_results, write_root_attrs
from dynrnn.results import store as store_module

DTYPES = "bool int8 int16 int32 int64 uint8 uint32 uint64 float16 float32 float64 complex64 complex128".split()  # noqa: SIM905
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def datasets(draw):
    sizes = {"fit": draw(st.integers(0, 3)), "my channel": draw(st.integers(1, 4)), "zeit ü": draw(st.integers(0, 5))}
    variables = {}
    for i in range(draw(st.integers(1, 4))):
        dims = draw(st.lists(st.sampled_from(sorted(sizes)), unique=True, max_size=3))
        shape = tuple(sizes[dim] for dim in dims)
        dtype = draw(st.sampled_from([*DTYPES, "text", "object"]))
        if dtype in ("text", "object"):
            values = draw(hnp.arrays(object, shape, elements=texts, fill=st.nothing()))
            values = values if dtype == "object" else values.astype(str)
        else:
            values = draw(hnp.arrays(dtype, shape))
        variables[f"v{i}"] = (dims, values, draw(st.dictionaries(texts, json_values, max_size=2)))
    names = draw(st.lists(texts, min_size=sizes["my channel"], max_size=sizes["my channel"], unique=True))
    label = np.array(["x"] * sizes["fit"], dtype=object)
    coords = {"my channel": np.array(names, dtype=str), "fit": np.arange(sizes["fit"]), "label": ("fit", label)}
    return xr.Dataset(variables, coords=coords, attrs=draw(st.dictionaries(texts, json_values, max_size=2)))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(dataset=datasets(), attrs=st.dictionaries(texts, json_values, max_size=3), lazy=st.booleans())
def test_everything_comes_back_unchanged(tmp_path_factory, dataset, attrs, lazy):
    folder = tmp_path_factory.mktemp("store") / "results.zarr"
    inner = dataset[[*dataset.data_vars][:1]]
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), "/first": dataset, "/first/inner": inner, "/empty": xr.Dataset()})
    write_results(folder, tree)
    back = read_results(folder, lazy=lazy)
    xr.testing.assert_identical(back, tree)
    for name, variable in dataset.variables.items():
        again = back["first"].to_dataset().variables[name]
        assert again.dtype == variable.dtype
        # NaN payloads, signed zeros and the parts of complex infinities included
        if variable.dtype != object:
            assert again.values.tobytes() == variable.values.tobytes()


def test_coordinates_of_the_root_are_inherited_as_before(tmp_path):
    tree = xr.DataTree.from_dict({"/": xr.Dataset(coords={"fit": [7, 9]}, attrs={"a": 1}), "/m": xr.Dataset({"d": ("fit", [1.0, 2.0])})})
    xr.testing.assert_identical(read_results(write_results(tmp_path / "r", tree)), tree)


def test_big_endian_numbers_keep_their_values(tmp_path):
    write_group(tmp_path / "r", "g", xr.Dataset({"x": ("t", np.array([1.5, -2.0], dtype=">f8"))}))
    np.testing.assert_array_equal(read_results(tmp_path / "r")["g"]["x"], [1.5, -2.0])


@pytest.mark.parametrize(
    ("dataset", "named"),
    [
        (xr.Dataset({"when": ("t", np.array(["2020-01-01"], dtype="datetime64[ns]"))}), "when"),
        (xr.Dataset({"mixed": ("t", np.array(["a", 3.0], dtype=object))}), "mixed"),
        (xr.Dataset({"x": 1.0}, attrs={"model": object()}), "model"),
        (xr.Dataset({"x": ((), 1.0, {"scale": {1: "a"}})}), "'x'"),
        (xr.Dataset({"../x": 1.0}), "../x"),
        (xr.Dataset({"zarr.json": 1.0}), "zarr.json"),
        (xr.Dataset({3: 1.0}), "3"),
    ],
)
def test_what_the_format_cannot_hold_is_named_and_nothing_is_written(tmp_path, dataset, named):
    with pytest.raises(ArgumentError, match=named.replace(".", r"\.")):
        write_group(tmp_path / "r", "g", dataset)
    assert list(tmp_path.iterdir()) == []


def sample() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "loss": (("fit", "update"), rng.normal(size=(2, 50))),
            "eigenvalue": ("fit", np.array([1 + 2j, 3.0])),
            "status": ("fit", ["ok", "diverged"]),
        },
        coords={"fit": [0, 1]},
        attrs={"note": {"a": [1, 2]}},
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_results(tmp_path / "results.zarr", xr.DataTree.from_dict({"/": xr.Dataset(attrs={"k": 1}), "/training": sample()}))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_any_flipped_bit_in_any_file_is_detected(folder):
    rng = np.random.default_rng(1)
    for path in files_of(folder):
        raw = path.read_bytes()
        for position in {0, len(raw) - 1, *rng.integers(0, len(raw), 6).tolist()}:
            damaged = bytearray(raw)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(damaged))
            with pytest.raises(FileFormatError, match=str(folder)):
                read_results(folder)
        path.write_bytes(raw)
    xr.testing.assert_identical(read_results(folder)["training"].to_dataset(), sample())


def test_any_truncated_or_missing_file_is_detected(folder):
    for path in files_of(folder):
        raw = path.read_bytes()
        for length in (0, 1, len(raw) // 2, len(raw) - 1):
            path.write_bytes(raw[:length])
            with pytest.raises(FileFormatError):
                read_results(folder)
        path.unlink()
        with pytest.raises(FileFormatError):
            read_results(folder)
        path.write_bytes(raw)


def test_a_damaged_chunk_is_named_and_the_others_stay_readable(tmp_path):
    # 3 fits of 2**20 doubles: one chunk of 8 MiB each, since chunks split the leading dim first
    values = np.random.default_rng(0).normal(size=(3, 2**20))
    write_group(tmp_path / "r", "g", xr.Dataset({"orbit": (("fit", "time"), values)}))
    chunk = tmp_path / "r" / "g" / "orbit" / "c" / "1" / "0"
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 2] ^= 4
    chunk.write_bytes(bytes(raw))
    lazy = read_results(tmp_path / "r", lazy=True)["g"]["orbit"]
    np.testing.assert_array_equal(lazy[[0, 2]].values, values[[0, 2]])
    with pytest.raises(FileFormatError, match=r"'orbit'.*chunk \[1, 0\].*(checksum|Checksum|crc)"):
        lazy[:, 10:20].load()
    chunk.unlink()
    with pytest.raises(FileFormatError, match=r"'orbit'.*chunk \[1, 0\] is missing"):
        read_results(tmp_path / "r")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_lazy_indexing_equals_numpy_indexing(folder_of_cube, data):
    cube, lazy = folder_of_cube
    index = tuple(
        data.draw(
            st.integers(-size, size - 1)
            | st.slices(size)
            | st.lists(st.integers(-size, size - 1), min_size=1, max_size=4).map(np.array)
        )
        for size in cube.shape
    )
    picked = lazy.isel(dict(zip(lazy.dims, index, strict=True))).values
    expected = cube
    for axis in reversed(range(3)):
        expected = expected[(slice(None),) * axis + (index[axis],)]
    np.testing.assert_array_equal(picked, expected)


@pytest.fixture(scope="module")
def folder_of_cube(tmp_path_factory):
    cube = np.arange(4 * 5 * 6, dtype=float).reshape(4, 5, 6)
    path = write_group(tmp_path_factory.mktemp("cube") / "r", "g", xr.Dataset({"cube": (("a", "b", "c"), cube)}))
    return cube, read_results(path, lazy=True)["g"]["cube"]


def rewrite_metadata(folder: Path, change) -> None:
    """What an attacker would do: change an array's metadata and make record and seal consistent with it."""
    from dynrnn.results._files import digest_of, dump_json, read_json, replace_file, seal

    path = folder / "training" / "loss" / "zarr.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_bytes(dump_json(document))
    record = read_json(folder / "COMMIT.json")
    record.pop("sha256")
    record["groups"]["training"]["nodes"][""]["loss/zarr.json"] = digest_of(path.read_bytes())
    replace_file(folder / "COMMIT.json", seal(record))


def regular(*shape: int) -> dict:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


ATTACKS = {
    "pickle filter": (lambda d: d["codecs"].insert(0, {"name": "numcodecs.pickle", "configuration": {}}), "pickle"),
    "unknown codec": (lambda d: d["codecs"][1].update(name="blosc"), "blosc"),
    "codec configuration": (lambda d: d["codecs"][1]["configuration"].update(path="/etc/passwd"), "zstd"),
    "no checksum": (lambda d: d["codecs"].pop(), "codecs"),
    "format 2": (lambda d: d.update(zarr_format=2), "format 2"),
    "structured dtype": (lambda d: d.update(data_type={"name": "structured", "configuration": {}}), "structured"),
    "object dtype": (lambda d: d.update(data_type="null_terminated_bytes"), "data type"),
    "terabytes": (lambda d: d.update(shape=[10**7, 10**6], chunk_grid=regular(10**5, 10**2)), "bytes"),
    "too many chunks": (lambda d: d.update(shape=[10**9, 50]), "files"),
    "huge chunk": (lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[10**6, 10**6]), "chunk"),
    "negative shape": (lambda d: d.update(shape=[-1, 50]), "shape"),
    "sharding": (lambda d: d.update(codecs=[{"name": "sharding_indexed", "configuration": {}}]), "sharding"),
    "transformers": (lambda d: d.update(storage_transformers=[{"name": "x"}]), "transformers"),
    "unknown entry": (lambda d: d.update(must_understand_me={"name": "x"}), "must_understand_me"),
    "unnamed dims": (lambda d: d.update(dimension_names=None), "dimensions"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_metadata_are_refused_before_zarr_opens_them(folder, attack, monkeypatch):
    change, word = ATTACKS[attack]
    rewrite_metadata(folder, change)
    monkeypatch.setattr(zarr, "open_array", lambda *args, **kwargs: pytest.fail("zarr was asked to open it"))
    with pytest.raises(FileFormatError, match=f"loss.*{word}"):
        read_results(folder)


def test_a_chunk_that_claims_to_unpack_to_gigabytes_is_refused(folder):
    import google_crc32c

    chunk = folder / "training" / "loss" / "c" / "0" / "0"
    # zstd magic, 8-byte content size (flag 3), window descriptor, then 2**40 as the size
    bomb = b"\x28\xb5\x2f\xfd" + bytes([0xC0, 0x58]) + (2**40).to_bytes(8, "little") + b"\0" * 20
    chunk.write_bytes(bomb + google_crc32c.value(bomb).to_bytes(4, "little"))
    with pytest.raises(FileFormatError, match="loss"):
        read_results(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "null", "[]", "", "\x00"])
def test_a_broken_record_is_one_error(folder, text):
    (folder / "COMMIT.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"COMMIT\.json"):
        read_results(folder)


def test_links_and_foreign_folders_are_refused(folder, tmp_path):
    outside = tmp_path / "outside"
    shutil.move(folder / "training", outside)
    (folder / "training").symlink_to(outside)
    with pytest.raises(FileFormatError, match="link"):
        read_results(folder)
    plain = tmp_path / "plain.zarr"
    sample().drop_vars("status").to_zarr(plain, consolidated=False)
    with pytest.raises(FileFormatError, match="no committed results"):
        read_results(plain)
    before = files_of(plain)
    with pytest.raises(RunFolderError, match="no results of dynrnn"):
        write_group(plain, "g", sample())
    assert files_of(plain) == before
    with pytest.raises(FileFormatError, match="does not exist"):
        read_results(tmp_path / "nowhere")


class Stop(BaseException):
    """Stands for a kill: nothing in the package catches it."""


@pytest.mark.parametrize("whole", [False, True])
def test_a_writer_stopped_at_any_step_leaves_the_old_or_the_new_state(folder, monkeypatch, whole):
    old, new = sample(), sample().assign(loss=sample()["loss"] + 1)
    real = {name: getattr(store_module, name) for name in ("replace_file", "fsync_tree", "write_dataset", "fsync_directory")}
    seen = []
    for stop_at in range(1, 20):
        count = 0

        def counted(name, stop_at=stop_at):
            def call(*args, **kwargs):
                nonlocal count
                count += 1
                if count == stop_at:
                    raise Stop
                return real[name](*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(store_module, name, counted(name))
            try:
                if whole:
                    write_results(folder, xr.DataTree.from_dict({"/": xr.Dataset(attrs={"k": 2}), "/training": new}))
                else:
                    write_group(folder, "training", new)
                finished = True
            except Stop:
                finished = False
        tree = read_results(folder)
        is_new = bool((tree["training"]["loss"] == new["loss"]).all())
        xr.testing.assert_identical(tree["training"].to_dataset(), new if is_new else old)
        assert tree.attrs == ({"k": 2} if whole and is_new else {"k": 1})
        seen.append(is_new)
        if finished:
            break
        write_results(folder, xr.DataTree.from_dict({"/": xr.Dataset(attrs={"k": 1}), "/training": old}))
    # both outcomes occurred and the uninterrupted write is the last
    assert (seen[0], seen[-1], finished) == (False, True, True)
    assert len([item for item in folder.iterdir() if item.is_dir()]) == 1


def test_other_groups_and_attrs_stay_when_one_group_is_replaced(folder):
    extra = xr.Dataset({"d_stsp": ("fit", [0.5, 1.0])}, coords={"fit": [0, 1]})
    write_group(folder, "metrics", extra)
    for factor in (2, 3, 4):
        write_group(folder, "metrics", extra * factor)
        tree = read_results(folder)
        np.testing.assert_array_equal(tree["metrics"]["d_stsp"], factor * extra["d_stsp"])
        xr.testing.assert_identical(tree["training"].to_dataset(), sample())
    write_root_attrs(folder, {"k": [3]})
    tree = read_results(folder)
    assert tree.attrs == {"k": [3]}
    assert set(tree.children) == {"training", "metrics"}


def test_a_lazy_reader_never_sees_the_data_of_a_later_write(folder):
    lazy = read_results(folder, lazy=True)["training"].to_dataset()
    for shift in (1, 2, 3):
        write_group(folder, "training", sample().assign(loss=sample()["loss"] + shift))
        with pytest.raises(FileFormatError, match="loss"):
            lazy["loss"].copy().values  # noqa: B018


def test_a_budget_bounds_what_is_loaded(folder):
    with pytest.raises(FileFormatError, match="max_bytes=500"):
        read_results(folder, max_bytes=500)
    assert read_results(folder, lazy=True, max_bytes=500)["training"]["loss"].shape == (2, 50)


def test_a_full_disk_is_a_typed_error_that_leaves_the_old_state(folder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_dataset", full)
        with pytest.raises(RunFolderError, match="No space left") as info:
            write_group(folder, "training", sample())
    assert isinstance(info.value, DynrnnError)
    assert str(folder) in str(info.value)
    xr.testing.assert_identical(read_results(folder)["training"].to_dataset(), sample())


def test_plain_xarray_opens_a_group(folder):
    plain = xr.open_zarr(folder, group="training", consolidated=False)
    np.testing.assert_array_equal(plain["loss"], sample()["loss"])
    np.testing.assert_array_equal(plain["eigenvalue"], sample()["eigenvalue"])
