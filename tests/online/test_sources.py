"""Samples from a file that grows and from a socket of this machine, and what is refused."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.errors import ArgumentError, FileFormatError, RecordingError
from dynrnn.online import rows_of_file, rows_of_socket


def test_a_column_of_times_is_no_channel(tmp_path):
    file = tmp_path / "stream.csv"
    file.write_text("x,Time,y\n1,0.1,2\n3,0.2,\n")
    np.testing.assert_array_equal(list(rows_of_file(file)), [[1, 2], [3, np.nan]])


def test_a_file_that_is_still_written(tmp_path):
    """Lines come in pieces, one of them cut in the middle of a number."""
    file = tmp_path / "stream.csv"
    file.write_text("x,y\n1.5,")

    def write():
        for piece in ("2\n3", "4,5\n", "\n,6\n"):
            time.sleep(0.05)
            with file.open("a") as out:
                out.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    rows = list(rows_of_file(file, follow=True, poll=0.01, patience=1.0))
    writer.join()
    np.testing.assert_array_equal(rows, [[1.5, 2.0], [34.0, 5.0], [np.nan, 6.0]])


def test_a_last_line_without_an_end_counts(tmp_path):
    (tmp_path / "a.txt").write_text("1 2\n3 4")
    assert [row.tolist() for row in rows_of_file(tmp_path / "a.txt", delimiter=" ")] == [[1.0, 2.0], [3.0, 4.0]]


def test_a_learner_follows_a_socket():
    """What arrives is what was sent, learned as from an array."""
    phase = 0.1 * np.arange(300)
    x = np.stack([np.sin(phase), np.cos(phase)], 1)
    server = socket.create_server(("127.0.0.1", 0))

    def send():
        with server, server.accept()[0] as connection:
            for row in x:
                connection.sendall((",".join(repr(float(value)) for value in row) + "\n").encode())

    sender = threading.Thread(target=send)
    sender.start()
    one, whole = (dr.OnlineLearner(dr.ShallowPLRNN(2, 2, 8, random_state=0), warmup=50, random_state=0) for _ in range(2))
    assert one.follow(rows_of_socket(server.getsockname()[1], timeout=10.0), block=7, progress=False) == 300
    sender.join()
    whole.learn(x)
    np.testing.assert_array_equal(one.state.values, whole.state.values)


def test_what_is_refused(tmp_path):
    (tmp_path / "bad.csv").write_text("x\n1\ntwo\n")
    with pytest.raises(FileFormatError, match=r"line 3: 'two' is no number"):
        list(rows_of_file(tmp_path / "bad.csv"))
    with pytest.raises(FileFormatError, match="is no file"):
        next(rows_of_file(tmp_path / "none.csv"))
    for host in ("192.168.0.1", "example.org"):
        with pytest.raises(ArgumentError, match="an address of this machine"):
            next(rows_of_socket(5_000, host))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RecordingError, match="nobody answers"):
        next(rows_of_socket(port))
