"""No password in any message, log, file or process list, over everything that can go wrong with a database; and what happens when it goes away."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import traceback
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

from dynrnn.errors import ArgumentError, DynrnnError, StorageError, StudyError
from dynrnn.study import open_storage
from tests.study.test_queue import queue_in
from tests.study.workers import wait_for

CANARY = "c4nary-{x}-7f3a"
QUOTED = CANARY.replace("{", "%7B").replace("}", "%7D")
SPELLINGS = (CANARY, QUOTED, "c4nary", "7f3a")

# How the text is wrong, what it is, and the error it makes. HERE is the address of the real server.
TYPED = {
    "typed out": f"postgresql://u:{QUOTED}@HERE/postgres",
    "typed out as an option": f"postgresql://HERE/postgres?user=u&password={QUOTED}",
    "typed out, colon missing": f"postgresql//u:{QUOTED}@HERE/postgres",
    "typed out, other database": f"mysql://u:{QUOTED}@HERE/db",
    "typed out as a file's name": f"runs/{QUOTED}@study.db2",
}
KEPT = {
    "other database": f"mysql://u:{QUOTED}@HERE/db",
    "other driver": f"postgresql+psycopg2://u:{QUOTED}@HERE/db",
    "slashes missing": f"postgresql:u:{QUOTED}@HERE/db",
    "port is no number": f"postgresql://u:{QUOTED}@localhost:port/db",
    "port is the password": f"postgresql://u@localhost:{CANARY}/db",
    "port out of range": f"postgresql://u:{QUOTED}@localhost:99999/db",
    "refused": f"postgresql://u:{QUOTED}@127.0.0.1:1/db",
    "no such host": f"postgresql://u:{QUOTED}@nowhere.invalid/db",
    "wrong password": f"postgresql://dynrnn:{QUOTED}@HERE/postgres",
    "no such user": f"postgresql://nobody:{QUOTED}@HERE/postgres",
    "unescaped at": f"postgresql://dynrnn:{CANARY}@x@HERE/postgres",
    "unescaped slash": f"postgresql://dynrnn:{CANARY}/x@HERE/postgres",
    "unescaped hash": f"postgresql://dynrnn:{CANARY}#x@HERE/postgres",
    "broken bracket": f"postgresql://dynrnn:{CANARY}@[::1/postgres",
    "bad option": f"postgresql://dynrnn:{QUOTED}@HERE/postgres?sslmode=nonsense",
    "unknown option": f"postgresql://dynrnn:{QUOTED}@HERE/postgres?nonsense=1",
    "password as an option": f"postgresql://dynrnn@HERE/postgres?password={QUOTED}",
    "key's password": f"postgresql://dynrnn@HERE/postgres?sslpassword={QUOTED}&sslkey=/nothing&sslmode=require",
    "line break": f"postgresql://dynrnn:{CANARY}\x00@HERE/postgres",
    "silent server": f"postgresql://dynrnn:{QUOTED}@SILENT/postgres?connect_timeout=2",
    "server of something else": f"postgresql://dynrnn:{QUOTED}@BABBLER/postgres",
}


@pytest.fixture(scope="module")
def addresses(postgres):
    """The real server, one that never answers, and one that answers nonsense."""
    silent, babbler = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))

    def babble():
        while True:
            try:
                peer, _ = babbler.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=babble)
    thread.start()
    yield {"HERE": f"127.0.0.1:{postgres.port}", "SILENT": f"127.0.0.1:{silent.getsockname()[1]}", "BABBLER": f"127.0.0.1:{babbler.getsockname()[1]}"}
    babbler.shutdown(socket.SHUT_RDWR)
    babbler.close()
    silent.close()
    thread.join()


def put(text, addresses):
    for name, address in addresses.items():
        text = text.replace(name, address)
    return text


def everything_said(error):
    """The traceback and whatever it hides: causes and contexts, with their arguments."""
    said, seen = ["".join(traceback.format_exception(error))], error
    while seen is not None:
        said += [str(seen), repr(seen), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(said)


def assert_silent(text, spellings=SPELLINGS):
    assert [spelling for spelling in spellings if spelling in text] == []


def command_lines():
    return b"\n".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()).decode(errors="replace")


@pytest.mark.parametrize("which", TYPED)
def test_a_password_that_is_typed_out_is_refused_and_not_repeated(addresses, which, caplog, capfd):
    with pytest.raises((ArgumentError, StorageError)) as caught:
        open_storage(put(TYPED[which], addresses), patience=0.0)
    assert_silent(everything_said(caught.value) + caplog.text + "".join(capfd.readouterr()))


@pytest.mark.parametrize("text", ["postgresql://dynrnn:{0.password}@{1}/postgres", "postgresql://dynrnn@{1}/postgres?password={0.password}"])
def test_the_right_password_typed_out_is_refused_as_well(postgres, text):
    with pytest.raises(ArgumentError, match=r"list of processes.*env:DYNRNN_STORAGE") as caught:
        open_storage(text.format(postgres, f"127.0.0.1:{postgres.port}"))
    assert_silent(everything_said(caught.value), (postgres.password,))


@pytest.mark.parametrize("which", KEPT)
def test_failures_do_not_say_the_password(addresses, which, caplog, capfd, tmp_path, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.chdir(tmp_path)
    url = put(KEPT[which], addresses)
    path = tmp_path / "url"
    path.write_text(url)
    path.chmod(0o600)
    monkeypatch.setenv("DYNRNN_STORAGE", url.replace("\x00", ""))
    for source in (None, f"file:{path}"):
        with pytest.raises(DynrnnError) as caught:
            open_storage(source, patience=0.0)
        assert_silent(everything_said(caught.value))
    path.unlink()
    assert_silent(caplog.text + "".join(capfd.readouterr()) + command_lines())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "url"
    path.write_text(f"postgresql://u:{QUOTED}@127.0.0.1:1/db")
    for mode in (0o644, 0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(StorageError, match="chmod 600") as caught:
            open_storage(f"file:{path}")
        assert_silent(everything_said(caught.value))
    with pytest.raises(StorageError, match="cannot be read"):
        open_storage(f"file:{tmp_path / 'none'}")
    path.write_bytes(b"\xff\xfe" + CANARY.encode())
    path.chmod(0o600)
    with pytest.raises(StorageError, match="no text") as caught:
        open_storage(f"file:{path}")
    assert_silent(everything_said(caught.value))


def test_psycopg_missing_says_what_to_install(monkeypatch):
    monkeypatch.setenv("DYNRNN_STORAGE", f"postgresql://u:{QUOTED}@127.0.0.1:1/db")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"dynrnn\[postgres\]") as caught:
        open_storage()
    assert_silent(everything_said(caught.value))


@pytest.fixture
def opened(postgres, monkeypatch):
    monkeypatch.setenv("DYNRNN_STORAGE", postgres.url)
    storage = open_storage(patience=30.0)
    storage.name = uuid.uuid4().hex
    yield storage
    storage.close()


def test_an_open_storage_does_not_show_its_password(opened, postgres):
    rdb = opened.optuna._inner._backend
    said = [repr(opened), opened.describe(), str(vars(opened)), str(vars(opened.optuna)), rdb.url, repr(rdb.engine), str(rdb.engine.url), str(vars(rdb))]
    assert_silent("\n".join(said), (postgres.password,))
    assert opened.describe() == f"PostgreSQL 127.0.0.1:{postgres.port}/postgres"


def test_a_lost_connection_is_waited_for_and_nothing_is_lost(opened, postgres):
    """The server crashes while a worker is at it, and comes back."""
    queue = queue_in(opened, n_trials=8)
    timer = threading.Timer(1.0, postgres.start)
    for claim in queue:
        with claim.keep_alive():
            claim.report(0, 1.0)
            if claim.number == 3:
                postgres.stop(signal.SIGQUIT)
                timer.start()
            assert claim.finish([float(claim.number)])
    timer.join()
    assert [trial.value for trial in queue.trials()] == [float(number) for number in range(8)]


def test_a_server_that_stays_away_stops_the_worker_with_words(opened, postgres, caplog, capfd):
    queue = queue_in(opened, n_trials=3)
    queue.next().finish([1.0])
    claim = queue.next()
    opened.guard.patience = 0.5
    postgres.stop()
    try:
        with pytest.raises(StorageError, match="Start the worker again") as caught:
            claim.finish([2.0])
        assert_silent(everything_said(caught.value) + caplog.text + "".join(capfd.readouterr()), (postgres.password,))
        assert claim.release() is False
    finally:
        postgres.start()
    opened.guard.patience = 30.0
    assert queue.trials()[0].value == 1.0
    assert claim.lost.is_set()
    assert queue.next().number == 2


def test_another_version_in_the_database_is_named(opened, postgres):
    engine = opened.optuna._inner._backend.engine
    with engine.begin() as connection:
        version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v9.9.9'"))
    try:
        with pytest.raises(StudyError, match="another version of Optuna") as caught:
            open_storage()
        assert_silent(everything_said(caught.value), (postgres.password,))
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_workers_leave_no_password_anywhere_and_listen_nowhere(zygote, postgres, tmp_path):
    """Real processes, one of which is killed: files, outputs, process list, sockets."""
    url = tmp_path / "url"
    url.write_text(postgres.url)
    url.chmod(0o600)
    folder = tmp_path / "trials"
    folder.mkdir()
    job = {"source": f"file:{url}", "study": uuid.uuid4().hex, "n_trials": 4, "folder": str(folder), "steps": 4, "pause": 0.05}
    pids = [zygote.start(**job) for _ in range(2)]
    wait_for(lambda: list(folder.glob("*.steps")))
    assert_silent(command_lines(), (postgres.password,))
    assert not any(listening(pid) for pid in pids)
    os.kill(pids[0], signal.SIGKILL)
    assert [zygote.wait(pid) for pid in pids] == [-signal.SIGKILL, 0], (folder / "log").read_text()
    url.unlink()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert postgres.password.encode() not in path.read_bytes()


def listening(pid):
    """Sockets of the process that wait for connections."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]]
    return [row for row in rows if row[3] == "0A" and row[9] in own]
