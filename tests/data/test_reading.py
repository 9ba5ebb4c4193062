"""Files: what was written comes back, what is no recording is refused by path and reason."""

import zipfile

import numpy as np
import pytest
from scipy import io

from dynrnn.data import read_recording
from dynrnn.errors import ArgumentError, FileFormatError, RecordingError

X = np.random.default_rng(0).normal(size=(20, 3))


def test_every_format_gives_back_what_was_written(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", x=X, other=X[:3])
    io.savemat(tmp_path / "a.mat", {"x": X})
    table = np.column_stack([0.5 * np.arange(20), X])
    for suffix, comma in ((".csv", ","), (".tsv", "\t")):
        np.savetxt(tmp_path / f"a{suffix}", table, delimiter=comma, header=comma.join(["time", "u", "v", "w"]), comments="", fmt="%.17g")
    read = {
        "npy": read_recording(tmp_path / "a.npy", dt=0.5),
        "npz": read_recording(tmp_path / "a.npz", key="x", dt=0.5),
        "mat": read_recording(tmp_path / "a.mat", dt=0.5),
        "csv": read_recording(tmp_path / "a.csv"),
        "tsv": read_recording(tmp_path / "a.tsv"),
    }
    for name, rec in read.items():
        # text passes pandas' parser, which before version 3 errs by a few units in the last place
        np.testing.assert_allclose(rec["observed"].values, X[None], rtol=2e-14 if name in ("csv", "tsv") else 0)
        np.testing.assert_allclose(rec["time"].values, 0.5 * np.arange(20))
        assert rec.attrs["dt"] == 0.5
    assert read["csv"]["feature"].values.tolist() == ["u", "v", "w"]
    assert read["npz"].attrs["key"] == "x"


def test_cells_of_a_matlab_file_are_trials_and_dims_name_its_axes(tmp_path):
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = X[:7], X
    io.savemat(tmp_path / "a.mat", {"trials": cells, "wide": X.T})
    assert read_recording(tmp_path / "a.mat", key="trials")["n_time"].values.tolist() == [7, 20]
    rec = read_recording(tmp_path / "a.mat", key="wide", dims=("neuron", "time"))
    np.testing.assert_array_equal(rec["observed"].values, X[None])


def test_empty_fields_of_a_table_are_missing(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n,3\n4,5\n")
    observed = read_recording(tmp_path / "a.csv")["observed"].values
    assert np.argwhere(np.isnan(observed)).tolist() == [[0, 1, 0]]


def _hdf5_mat(path):
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM" + bytes(400))


def _bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(3_000_000))


def _cut(path):
    np.save(path, X)
    path.write_bytes(path.read_bytes()[:-100])


BAD = {
    "unknown.abc": (lambda p: p.write_text("x"), FileFormatError, r"suffix '.abc' \(known: .csv.*\.nwb"),
    "pickle.pkl": (lambda p: p.write_bytes(b"\x80\x04N."), FileFormatError, "unpickling a file can run any code"),
    "store.zarr": (lambda p: p.mkdir(), FileFormatError, "dynrnn.results"),
    "folder.csv": (lambda p: p.mkdir(), FileFormatError, "is a folder"),
    "absent.csv": (lambda p: None, FileFormatError, "does not exist"),
    "empty.npy": (lambda p: p.write_bytes(b""), FileFormatError, "empty"),
    "cut.npy": (_cut, FileFormatError, "damaged"),
    "foreign.npy": (lambda p: p.write_text("hello there"), FileFormatError, "damaged"),
    "objects.npy": (lambda p: np.save(p, np.array([[None]]), allow_pickle=True), FileFormatError, "no NumPy array of numbers"),
    "foreign.npz": (lambda p: p.write_text("hello there"), FileFormatError, "damaged"),
    "two.npz": (lambda p: np.savez(p, a=X, b=X), FileFormatError, r"holds 2 arrays: a .*, b .*key="),
    "bomb.npz": (_bomb, FileFormatError, "declares 3,000,000 bytes"),
    "foreign.mat": (lambda p: p.write_bytes(bytes(range(256)) * 4), FileFormatError, "MATLAB"),
    "new.mat": (_hdf5_mat, FileFormatError, "version 7.3"),
    "struct.mat": (lambda p: io.savemat(p, {"s": {"a": 1.0}}), FileFormatError, "'s' is a"),
    "headless.csv": (lambda p: p.write_text("1.0,2.0\n3.0,4.0\n"), FileFormatError, "not with a header"),
    "rows.csv": (lambda p: p.write_text("x,y\n"), FileFormatError, "no rows"),
    "ragged.csv": (lambda p: p.write_text("x,y\n1,2\n1,2,3\n"), FileFormatError, "2 fields"),
    "binary.csv": (lambda p: p.write_bytes(b"\xff\xfe\x00\x01"), FileFormatError, "not UTF-8"),
    "twice.csv": (lambda p: p.write_text("x,x\n1,2\n"), RecordingError, "two columns are named 'x'"),
    "text.csv": (lambda p: p.write_text("x,y\n1,2\n3,oops\n"), RecordingError, "column 'y' holds 'oops' in row 2"),
    "gap.csv": (lambda p: p.write_text("t,x\n0,1\n1,2\n3,1\n4,2\n"), RecordingError, "worst gap is 2, from index 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_path_and_reason(tmp_path, name):
    make, kind, message = BAD[name]
    path = tmp_path / name
    make(path)
    with pytest.raises(kind, match=f"(?s){name}.*{message}"):
        read_recording(path, max_bytes=1_000_000)


def test_every_cut_and_every_flipped_byte_is_an_error_of_ours_or_numbers(tmp_path):
    """Damage is either noticed and named, or (in the payload) changes a number; no other exception passes."""
    rng = np.random.default_rng(1)
    np.save(tmp_path / "a.npy", X)
    np.savez_compressed(tmp_path / "a.npz", x=X)
    io.savemat(tmp_path / "a.mat", {"x": X}, do_compression=True)
    n_refused = n_unnamed = 0
    for suffix in (".npy", ".npz", ".mat"):
        whole = (tmp_path / f"a{suffix}").read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
            path = tmp_path / f"b{suffix}"
            path.write_bytes(bytes(damaged[: rng.integers(1, len(damaged))]) if rng.random() < 0.5 else bytes(damaged))
            try:
                read_recording(path, max_bytes=10_000_000)
            except (FileFormatError, RecordingError) as error:
                n_refused += path.name in str(error)
                n_unnamed += path.name not in str(error)
    assert n_unnamed == 0
    assert n_refused > 60  # half are cut short, and compressed ones carry checksums


def test_a_huge_sparse_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.npy"
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1)))
    with path.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {**header, "shape": (2_500_000_000, 1)})
        out.truncate(out.tell() + 20_000_000_000)
    with pytest.raises(FileFormatError, match="20,000,000,000 bytes"):
        read_recording(path)


def test_arguments_that_do_not_apply_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(ArgumentError, match="key='x' does not apply"):
        read_recording(tmp_path / "a.npy", key="x")
    with pytest.raises(ArgumentError, match="bin_size applies"):
        read_recording(tmp_path / "a.npy", bin_size=0.1)
