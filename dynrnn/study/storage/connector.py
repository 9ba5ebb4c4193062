"""How an engine of SQLAlchemy gets its connections from a function of ours, so that its URL need say nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Connector:
    """Makes connections; those made while a storage is being opened are closed if that fails, since nobody else knows of them then."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._made: list[Any] | None = None

    def __call__(self) -> Any:
        connection = self._connect()
        if self._made is not None:
            self._made.append(connection)
        return connection

    @contextmanager
    def opening(self) -> Iterator[None]:
        self._made = []
        try:
            yield
        except BaseException:
            for connection in self._made:
                with suppress(Exception):
                    connection.close()
            raise
        finally:
            self._made = None
