from __future__ import annotations

import uuid

import pytest
from optuna.logging import WARNING, set_verbosity

from tests.study.postgres_server import PostgresServer
from tests.study.workers import Zygote

set_verbosity(WARNING)
KINDS = ["sqlite", "journal", "postgres"]


def on(*kinds):
    """A mark: the storages on which a test is always run; on the others it is slow."""
    params = [pytest.param(kind, marks=() if kind in kinds else pytest.mark.slow) for kind in KINDS]
    return pytest.mark.parametrize("source", params, indirect=True)


@pytest.fixture(scope="session")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def zygote():
    parent = Zygote()
    yield parent
    parent.close()


@pytest.fixture(params=KINDS)
def source(request, tmp_path):
    """The text that opens a storage of each kind."""
    return source_of(request.param, request, tmp_path)


def source_of(kind, request, tmp_path):
    if kind != "postgres":
        return str(tmp_path / f"study.{'db' if kind == 'sqlite' else 'journal'}")
    path = tmp_path / "url"
    path.write_text(request.getfixturevalue("postgres").url)
    path.chmod(0o600)
    return f"file:{path}"


@pytest.fixture
def job(source, tmp_path):
    """A study of 8 short trials for the workers in zygote.py."""
    folder = tmp_path / "trials"
    folder.mkdir()
    return {"source": source, "study": uuid.uuid4().hex, "n_trials": 8, "folder": str(folder), "steps": 4, "pause": 0.05, "lease": 60.0, "sampler": "random"}
