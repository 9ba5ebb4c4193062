"""Text tables: a header of channel names, one row a sample."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynrnn.errors import ArgumentError, FileFormatError, RecordingError

_NO_CHANNEL = re.compile(r"|trial|index|unnamed: 0|time ?stamp|(time|t)[ _]?([(\[].*|s|ms|us|sec|seconds?)")


def read_table(path: Path, *, key: str | None, bin_size: Any, max_bytes: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The frame of a .csv or .tsv; a column named time or t becomes its index."""
    if key is not None:
        raise ArgumentError(f"key={key!r} does not apply to {path.suffix}: the file is one table.")
    if path.stat().st_size > max_bytes:
        raise FileFormatError(f"{path} holds {path.stat().st_size:,} bytes, above max_bytes={max_bytes:,}. Raise it if memory allows.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            first = lines.readline()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is no text table: it is not UTF-8 ({error.reason} at byte {error.start}).") from error
    separator = max("\t;,", key=first.count) if any(map(first.count, "\t;,")) else ","
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    if not any(header) or "\0" in first:
        raise FileFormatError(f"{path} has no header in its first line. It needs one: the channels' names, separated by commas.")
    if all(_is_number(name) for name in header):
        raise FileFormatError(
            f"{path} starts with numbers ({first.strip()[:40]}), not with a header. Add a first line with the channels' names: "
            "read as a header it would cost the first sample."
        )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise RecordingError(f"{path}: two columns are named {twice[0]!r}. Give each a name of its own.")
    try:
        frame = pd.read_csv(path, sep=separator, header=0, names=header, index_col=False, encoding="utf-8-sig")
    except (ValueError, UnicodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise FileFormatError(f"{path} is no regular table: {str(error).strip()}. Every row needs {len(header)} fields.") from error
    if frame.empty:
        raise FileFormatError(f"{path} has a header ({', '.join(header)}) but no rows.")
    for name in header:
        if not pd.api.types.is_numeric_dtype(frame[name]):  # one bad field makes the whole column text
            column = pd.Series(frame[name])
            numeric = pd.Series(pd.to_numeric(column, errors="coerce"))
            at = int(np.argmax((numeric.isna() & column.notna()).to_numpy()))
            raise RecordingError(f"{path}: column {name!r} holds {column.iloc[at]!r} in row {at + 1}, which is no number. Correct it.")
    clocks = [name for name in header if is_clock(name)]
    if len(clocks) > 1:
        raise RecordingError(f"{path} has more than one time column: {', '.join(clocks)}. Rename all but one.")
    for name in header:
        if _NO_CHANNEL.fullmatch(name.lower()):
            raise RecordingError(
                f"{path}: the column {name!r} looks like a time, an index or a trial's number, not like a channel. Call the time 'time'; leave an index out "
                "(pandas: to_csv(index=False)); give trials to as_recording as a list of arrays; and give a channel another name."
            )
    if clocks:
        frame = frame.set_index(clocks[0])
        if frame.index.dtype.kind in "iu":
            frame.index = frame.index.astype(float)
    return frame, {}


def is_clock(name: str) -> bool:
    """Whether a column of that name is the time, and no channel."""
    return name.strip().lower() in ("time", "t")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
