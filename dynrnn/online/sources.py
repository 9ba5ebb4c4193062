"""Where samples come from one by one: a text file that may still be written, or a socket on this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dynrnn.data import is_clock
from dynrnn.errors import ArgumentError, FileFormatError, RecordingError, check_int

LONGEST = 2**20             # characters of a line; more is no row of numbers
MISSING = ("", "nan", "na", "null", "none")


def rows_of_file(
    path: str | os.PathLike[str], *, delimiter: str = ",", follow: bool = False, poll: float = 0.1, patience: float = np.inf
) -> Iterator[np.ndarray]:
    """Rows of numbers (N,) from a text file, line by line, with one line in memory; empty fields are missing (NaN). A first line may hold names, and a column
    that it names ``time`` or ``t`` is no channel, as in ``read_recording``; samples are taken to be even in time.

    follow : wait at the end for what is still to be written, looking every ``poll`` seconds, until nothing came for ``patience`` seconds. A line counts
        when it has ended.
    FileFormatError, with the number of the line, for what is no number.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "stream.csv"
    >>> _ = file.write_text("x,y\\n1,2\\n3,\\n")
    >>> [row.tolist() for row in rows_of_file(file)]
    [[1.0, 2.0], [3.0, nan]]
    """
    place = Path(path)
    if not place.is_file():
        raise FileFormatError(f"{place} is no file. Give the text file that the samples are written to, one a line.")
    with place.open("r", encoding="utf-8", errors="replace") as lines:
        number, part, last = 0, "", time.monotonic()
        row_of = _Rows(delimiter)
        while True:
            got = lines.readline(LONGEST)
            if got:
                part, last = part + got, time.monotonic()
                if len(part) >= LONGEST:
                    raise FileFormatError(f"{place}, line {number + 1} is longer than {LONGEST:,} characters: not a row of numbers.")
            if part.endswith("\n") or (part and not got and not follow):
                number += 1
                row = row_of(part, f"{place}, line {number}", first=number == 1)
                part = ""
                if row is not None:
                    yield row
            elif not got:
                if not follow or time.monotonic() - last > patience:
                    return
                time.sleep(poll)


def rows_of_socket(port: int, host: str = "127.0.0.1", *, delimiter: str = ",", timeout: float | None = None) -> Iterator[np.ndarray]:
    """Rows of numbers (N,) from a connection to a port of this machine, where somebody sends lines as in ``rows_of_file``, until he closes it.

    It listens nowhere, and connects to loopback addresses alone: for another machine, forward the port (``ssh -L``). ``timeout``: seconds without anything
    after which RecordingError is raised, never by default.
    """
    check_int("port", port, low=1, high=65_535)
    try:
        local = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ArgumentError(
            f"host must be an address of this machine, such as 127.0.0.1, got {host!r}. Forward a port of another machine: ssh -L {port}:localhost:{port}."
        )
    try:
        connection = socket.create_connection((host, port), timeout=timeout)
    except OSError as error:
        raise RecordingError(f"nobody answers on port {port} of {host}: {error}. Start what sends the samples first.") from error
    with connection, connection.makefile("r", encoding="utf-8", errors="replace") as lines:
        number, row_of = 0, _Rows(delimiter)
        while True:
            try:
                line = lines.readline(LONGEST)
            except TimeoutError:
                raise RecordingError(f"nothing came from port {port} for {timeout} seconds, after {number:,} lines.") from None
            if not line:
                return
            number += 1
            if len(line) >= LONGEST:
                raise FileFormatError(f"port {port}, line {number} is longer than {LONGEST:,} characters: not a row of numbers.")
            row = row_of(line, f"port {port}, line {number}", first=number == 1)
            if row is not None:
                yield row


class _Rows:
    """Lines as rows of numbers."""

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        self.clock: int | None = None                                               # the column of the time, if the first line names one

    def __call__(self, line: str, where: str, first: bool) -> np.ndarray | None:
        """The line's numbers; None for an empty one, and for names in the first."""
        if not line.strip():
            return None
        fields = [field.strip() for field in line.split(self.delimiter)]
        try:
            row = np.array([np.nan if field.lower() in MISSING else float(field) for field in fields])
        except ValueError:
            if first:
                self.clock = next((k for k, name in enumerate(fields) if is_clock(name)), None)
                return None
            bad = next(field for field in fields if field.lower() not in MISSING and not _is_number(field))
            raise FileFormatError(
                f"{where}: {bad[:40]!r} is no number. Fields are separated by {self.delimiter!r}; give delimiter= if it is another."
            ) from None
        return row if self.clock is None else np.delete(row, self.clock)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
