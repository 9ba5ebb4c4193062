"""The journal: torn tails, full disks, dead holders of its lock, damage in the middle."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from dynrnn.errors import StorageError, StudyError
from dynrnn.study import open_storage
from dynrnn.study.storage.lock import FileLock
from dynrnn.study.storage.owners import new_owner
from tests.study.test_queue import queue_in


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of a journal with five finished trials and one in work, and where each line ends."""
    path = tmp_path_factory.mktemp("written") / "study.journal"
    storage = open_storage(path)
    queue = queue_in(storage, n_trials=6)
    for value in range(5):
        queue.next().finish([float(value)])
    queue.next()
    return path.read_bytes()


def tear(tmp_path, data, size):
    path = tmp_path / "study.journal"
    path.write_bytes(data[:size])
    path.with_name("study.journal.leases").mkdir(exist_ok=True)
    return path


def finish_study(path):
    storage = open_storage(path)
    queue = queue_in(storage, n_trials=6, lease=0.05)
    for claim in queue:
        assert claim.finish([1.0])
    return [trial.number for trial in queue.trials() if trial.state.is_finished()]


def offsets(data, n):
    """Places spread over the whole file, most of them inside a line."""
    return [1 + round(i * (len(data) - 2) / (n - 1)) for i in range(n)]


@pytest.mark.parametrize("i", range(0, 50, 10))
def test_a_torn_journal_goes_on(tmp_path, written, i):
    assert finish_study(tear(tmp_path, written, offsets(written, 50)[i])) == list(range(6))


@pytest.mark.slow
@pytest.mark.parametrize("i", range(50))
def test_a_journal_torn_at_fifty_places_goes_on(tmp_path, written, i):
    assert finish_study(tear(tmp_path, written, offsets(written, 50)[i])) == list(range(6))


def test_optunas_own_backend_does_not(tmp_path, written):
    """What the repair is for: a torn last line, two records more, and nothing loads again."""
    path = tear(tmp_path, written, len(written) - 20)
    stock = JournalStorage(JournalFileBackend(str(path)))
    stock.set_study_user_attr(0, "a", 1)
    with pytest.raises(ValueError):
        stock.set_study_user_attr(0, "a", 2)
    with pytest.raises(ValueError):
        JournalStorage(JournalFileBackend(str(path)))
    with pytest.raises(StorageError, match="damaged in line"):
        open_storage(path)


def test_two_writers_see_each_other_after_a_tear(tmp_path, written):
    path = tear(tmp_path, written, len(written) - 5)
    first, second = open_storage(path), open_storage(path)
    first.optuna.set_study_user_attr(0, "a", 1)
    second.optuna.set_study_user_attr(0, "b", 2)
    for storage in (first, second, open_storage(path)):
        attrs = storage.optuna.get_study_user_attrs(0)
        assert (attrs["a"], attrs["b"]) == (1, 2)
    with open(path, "ab") as stream:
        stream.truncate(100)
    with pytest.raises(StorageError, match="shorter"):
        first.optuna.get_all_trials(0)


@pytest.mark.parametrize("line", [b"\x00" * 40, b"[1, 2]", b'{"op_code": 77, "worker_id": "x"}', b"[" * 100_000])
def test_damage_in_the_middle_is_named(tmp_path, written, line):
    lines = written.splitlines()
    lines[7] = line
    path = tear(tmp_path, b"\n".join(lines) + b"\n", None)
    with pytest.raises(StorageError, match="line 8"):
        open_storage(path)


def test_a_record_without_its_fields_is_no_crash(tmp_path, written):
    path = tear(tmp_path, written + b'{"op_code": 4, "worker_id": "x"}\n', None)
    with pytest.raises(StudyError, match="cannot be read"):
        open_storage(path)


@pytest.mark.parametrize("kind", ["db", "journal"])
def test_a_full_disk_is_a_storage_error_and_the_study_goes_on(tmp_path, kind):
    """The limit on a file's size stands for the disk; it is set in a child, and lifted by its end."""
    path = tmp_path / f"study.{kind}"
    storage = open_storage(path)
    queue_in(storage, n_trials=60).next().finish([0.5])
    storage.close()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            storage = open_storage(path, patience=1.0)
            largest = max(file.stat().st_size for file in path.parent.glob("study.*") if file.is_file() and not file.name.endswith("-shm"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 3000, resource.RLIM_INFINITY))
            try:
                for claim in queue_in(storage, n_trials=60):
                    claim.finish([1.0])
            except StorageError as error:
                status = 0 if "disk is full" in str(error) and str(path) in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    storage = open_storage(path)
    queue = queue_in(storage, n_trials=60)
    before = sum(trial.state.is_finished() for trial in queue.trials())
    assert before >= 1
    claim = queue.next()
    assert claim.finish([2.0])
    assert sum(trial.state.is_finished() for trial in queue.trials()) == before + 1
    assert queue.study().best_value == 0.5
    storage.close()


def test_the_lock_excludes_and_a_dead_holder_is_passed_at_once(tmp_path):
    path, inside, most = tmp_path / "lock", [], []

    def work():
        for _ in range(30):
            with FileLock(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    place, _, _, name = new_owner().split("|")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    os.symlink(f"{place}|{child.pid}|1|{name}", path)
    with FileLock(path, grace=1e6):
        assert os.readlink(path) != name
    assert list(tmp_path.iterdir()) == []


def test_a_holder_elsewhere_is_passed_after_the_grace(tmp_path):
    path = tmp_path / "lock"
    os.symlink("another machine|1|1|x", path)
    began = time.monotonic()
    with FileLock(path, grace=0.3):
        assert time.monotonic() - began >= 0.3
    assert not Path(path).is_symlink()


def test_a_lock_that_is_no_link_is_passed_after_the_grace(tmp_path):
    path = tmp_path / "lock"
    path.write_text("of another program")
    with FileLock(path, grace=0.2):
        assert path.is_symlink()
    assert not path.exists()


def test_a_killed_holder_does_not_stop_the_study(tmp_path, written):
    path = tear(tmp_path, written, None)
    child = subprocess.run([sys.executable, "-c", f"import os; from dynrnn.study.storage.lock import FileLock\nfrom pathlib import Path\n"
                            f"FileLock(Path({str(path) + '.lock'!r})).__enter__(); os.kill(os.getpid(), 9)"])  # fmt: skip
    assert child.returncode == -signal.SIGKILL
    assert path.with_name("study.journal.lock").is_symlink()
    storage = open_storage(path)
    storage.optuna.set_study_user_attr(0, "a", 1)
    assert optuna.load_study(study_name="study", storage=storage.optuna).user_attrs["a"] == 1
