"""What is no storage of ours is refused with a reason, and nothing in a study is run."""

from __future__ import annotations

import pickle
import sqlite3
import sys
import zlib
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from dynrnn.errors import ArgumentError, StorageError, StudyError
from dynrnn.study import SAMPLERS, open_storage, sampler_named
from dynrnn.study.sampling import NumberedSampler
from dynrnn.study.storage import filesystems
from dynrnn.study.storage.guard import Guard, guarded
from tests.study.test_queue import SPACE, queue_in

PNG = b"\x89PNG\r\n\x1a\n" + zlib.compress(bytes(1000))
SQLITE = b"SQLite format 3\x00" + bytes(200)


def mounts(*lines):
    return "".join(f"{i} 1 0:{i} / {point} rw - {kind} host:/export rw\n" for i, (point, kind) in enumerate(lines))


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "fuse.sshfs"])
def test_sqlite_on_a_network_file_system_is_refused(tmp_path, monkeypatch, kind):
    table = tmp_path / "mountinfo"
    table.write_text(mounts(("/", "ext4"), (str(tmp_path / "shared"), kind), (str(tmp_path / "shared" / "local"), "xfs")))
    monkeypatch.setattr(filesystems, "MOUNTS", table)
    with pytest.raises(StorageError, match=r"journal.*PostgreSQL") as caught:
        open_storage(tmp_path / "shared" / "runs" / "study.db")
    assert kind in str(caught.value)
    assert not (tmp_path / "shared").exists()
    open_storage(tmp_path / "shared" / "runs" / "study.journal")
    open_storage(tmp_path / "shared" / "local" / "study.db").close()


def test_a_later_mount_hides_an_earlier_one_and_names_may_hold_blanks(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    spaced = tmp_path / "a b"
    table.write_text(mounts(("/", "ext4"), (str(spaced).replace(" ", "\\040"), "ext4"), (str(spaced).replace(" ", "\\040"), "nfs")))
    monkeypatch.setattr(filesystems, "MOUNTS", table)
    assert filesystems.filesystem_of(spaced / "x") == "nfs"
    assert filesystems.filesystem_of(tmp_path / "a") == "ext4"
    monkeypatch.setattr(filesystems, "MOUNTS", tmp_path / "none")
    assert filesystems.filesystem_of(tmp_path) == ""


@pytest.mark.parametrize("suffix", [".db", ".journal"])
@pytest.mark.parametrize("content", [b"", PNG, b"not a study", b'{"a": 1}\n', SQLITE], ids=["empty", "png", "text", "json", "sqlite"])
def test_a_file_that_is_no_study_is_refused_and_left_as_it_is(tmp_path, suffix, content):
    path = tmp_path / f"study{suffix}"
    path.write_bytes(content)
    with pytest.raises(StudyError, match="no study"):
        open_storage(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_and_a_database_of_something_else_are_refused(tmp_path):
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE birds (name TEXT)")
    other.close()
    with pytest.raises(StudyError, match="birds"):
        open_storage(tmp_path / "other.db")
    for suffix in (".db", ".journal"):
        (tmp_path / f"folder{suffix}").mkdir()
        with pytest.raises(StudyError):
            open_storage(tmp_path / f"folder{suffix}")


def test_another_version_of_optuna_is_named(tmp_path):
    open_storage(tmp_path / "study.db").close()
    database = sqlite3.connect(tmp_path / "study.db")
    database.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
    database.commit()
    database.close()
    with pytest.raises(StudyError, match="another version of Optuna"):
        open_storage(tmp_path / "study.db")


def test_a_study_of_optunas_own_can_be_extended_in_the_same_file(tmp_path):
    path = tmp_path / "study.db"
    optuna.create_study(study_name="theirs", storage=optuna.storages.RDBStorage(f"sqlite:///{path}")).add_trial(create_trial(value=1.0))
    storage = open_storage(f"sqlite:///{path}")
    assert queue_in(storage, study_name="ours").next().finish([0.0])
    assert {study.study_name for study in storage.optuna.get_all_studies()} == {"theirs", "ours"}
    storage.close()


@pytest.mark.parametrize("text", ["", "study", "study.csv", "mysql://host/db", "redis://host", "env:NOT_SET_AT_ALL", "postgresql://"])
def test_other_texts_are_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ArgumentError, StorageError)):
        open_storage(text, patience=0.0)
    assert list(tmp_path.iterdir()) == []


def test_workers_that_make_the_file_at_once_find_one(zygote, tmp_path):
    """The tables come whole or not at all: eight makers, one file, nothing beside it but SQLite's own."""
    job = {"source": str(tmp_path / "a{b} c" / "study.db"), "study": "s", "n_trials": 1, "folder": str(tmp_path), "pause": 0.0, "steps": 1}
    pids = [zygote.start(**job) for _ in range(8)]
    assert [zygote.wait(pid) for pid in pids] == [0] * 8, (tmp_path / "log").read_text()
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in (tmp_path / "a{b} c").iterdir()} == {"study.db"}


_events: list[str] = []
_listening = False


def _listen(event, arguments):
    if _listening and event in ("pickle.find_class", "os.system", "subprocess.Popen", "socket.connect"):
        _events.append(event)


class _Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


@pytest.fixture
def listening(monkeypatch):
    if not _events:
        sys.addaudithook(_listen)  # cannot be taken away again, hence the switch
    _events[:] = ["-"]
    return lambda on: monkeypatch.setattr(sys.modules[__name__], "_listening", on)


@pytest.mark.parametrize("sampler", [pytest.param(name, marks=pytest.mark.slow if name == "gp" else ()) for name in SAMPLERS])
def test_nothing_in_a_hostile_study_is_run(tmp_path, listening, sampler):
    """Payloads where Optuna's CmaEsSampler unpickles, and where the samplers that are offered keep what they know."""
    marker = tmp_path / "run"
    payload = pickle.dumps(_Payload(str(marker))).hex()
    keys = ["cma:optimizer", "cma:optimizer:0", "cma:generation", "tpe:relative_params:1", "gp:relative_params:1", "nsga2:other", "anything"]
    storage = open_storage(tmp_path / "study.journal")
    queue = queue_in(storage, study_name="s", n_trials=16, sampler=sampler_named(sampler))
    for i in range(14):
        trial = create_trial(
            state=TrialState.COMPLETE, value=float(i), params={"x": i / 14, "n": 1 + i % 5}, distributions=SPACE,
            system_attrs=dict.fromkeys(keys, payload), user_attrs={"hostile": payload},
        )  # fmt: skip
        storage.optuna.create_new_trial(queue.study_id, trial)
    for key in keys:
        storage.optuna.set_study_system_attr(queue.study_id, key, payload)
    sampler_named(sampler)(0)
    listening(True)
    claim = queue.next()
    done = claim.finish([0.0])
    listening(False)
    assert done
    assert set(claim.params) == set(SPACE)
    assert _events == ["-"]
    assert not marker.exists()


def test_the_payload_would_be_seen(tmp_path, listening):
    marker = tmp_path / "run"
    payload = pickle.dumps(_Payload(str(marker)))
    listening(True)
    pickle.loads(payload)  # noqa: S301
    listening(False)
    assert "pickle.find_class" in _events
    assert marker.exists()


def test_cmaes_is_refused_however_it_comes(monkeypatch):
    class CmaEs(optuna.samplers.RandomSampler):
        pass

    monkeypatch.setattr(optuna.samplers, "CmaEsSampler", CmaEs)
    with pytest.raises(ArgumentError, match="unpickles"):
        NumberedSampler(lambda seed: CmaEs(), 0)


def test_what_a_storage_cannot_read_is_one_error_and_its_answers_pass():
    class Inner(optuna.storages.InMemoryStorage):
        def get_all_trials(self, *arguments, **options):
            raise LookupError("no state 'FINE'")

        def get_trial(self, trial_id):
            raise KeyError("no such trial")

    storage = guarded(Inner(), Guard("the file", 0.1))
    with pytest.raises(StudyError, match="the file holds what cannot be read"):
        storage.get_all_trials(0)
    with pytest.raises(KeyError, match="no such trial"):
        storage.get_trial(0)
