"""PostgreSQL: the storage of many machines.

The password goes to the driver alone: the URL that SQLAlchemy, Optuna and their messages see has none. Connections are checked before they are used, and a
lost one is made again (`Guard`); dead peers are noticed within a minute or two. No statement is prepared on the server, so that a pooler such as pgbouncer
may stand in between, as more workers than the server has connections need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage, get_storage

from dynrnn.errors import StorageError, StudyError
from dynrnn.study.storage.connector import Connector
from dynrnn.study.storage.guard import Guard, guarded
from dynrnn.study.storage.table_leases import METADATA, TableLeases

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
OPENING_PATIENCE = 5.0
_SECRET_OPTIONS = ("password", "sslpassword", "passfile", "sslkey", "oauth_client_secret")
_LINK = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
_LOCK = 0x64796E726E6E  # "dynrnn"


def secrets_of(url: sa.URL) -> tuple[str, ...]:
    """Every spelling of what no message may hold."""
    options = [value for key in _SECRET_OPTIONS for value in _texts(url.query.get(key))]
    plain = [*options, *([str(url.password)] if url.password else [])]
    return tuple(dict.fromkeys(spelling for text in plain for spelling in (text, quote(text, safe=""), quote_plus(text), repr(text)[1:-1])))


def has_secret(url: sa.URL) -> bool:
    return url.password is not None or any(key in url.query for key in _SECRET_OPTIONS if key != "passfile")


def describe(url: sa.URL) -> str:
    host = url.host or next(iter(_texts(url.query.get("host"))), "") or "local"
    return f"PostgreSQL {host}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def open_postgres(url: sa.URL, guard: Guard) -> tuple[BaseStorage, TableLeases, Callable[[], None]]:
    """Optuna's storage in the database, with its tables and ours made where there are none."""
    rdb = guard(lambda: _connect(url), patience=min(guard.patience, OPENING_PATIENCE))
    return guarded(get_storage(rdb), guard), TableLeases(rdb.engine, guard), rdb.engine.dispose


def _connect(url: sa.URL) -> RDBStorage:
    try:
        import psycopg
    except ImportError:
        raise StorageError("PostgreSQL needs the package psycopg: pip install 'dynrnn[postgres]'.") from None
    plain = sa.URL.create("postgresql+psycopg", username=url.username, host=url.host, port=url.port, database=url.database)
    with_secrets = url.set(drivername="postgresql+psycopg")
    # Positional and named arguments, as SQLAlchemy reads them from a URL.
    positional, named = with_secrets.get_dialect()().create_connect_args(with_secrets)
    arguments: dict[str, Any] = {**_LINK, "prepare_threshold": None, **named}

    connector = Connector(lambda: psycopg.connect(*positional, **arguments))
    first = sa.create_engine(plain, creator=connector, poolclass=sa.pool.NullPool)
    text = plain.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    # One transaction holds the lock that lets one worker at a time make the tables; it works through a pooler, too.
    with connector.opening(), first.begin() as connection:
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        try:
            rdb = RDBStorage(text, engine_kwargs={"creator": connector, "pool_pre_ping": True, "pool_size": 2, "max_overflow": 4})
        except RuntimeError as error:
            raise StudyError(f"{describe(url)} was written by another version of Optuna: {str(error).strip()}") from None
        METADATA.create_all(rdb.engine)
    return rdb


def _texts(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
