"""The package's own error types: every message says what is wrong, where, why it is likely, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DynrnnError(Exception):
    """Base of every error that dynrnn raises on purpose."""


class ArgumentError(DynrnnError, ValueError):
    """An argument is out of range, of the wrong kind, or does not fit another one."""


class UnknownNameError(ArgumentError):
    """A dataset, model or preset of that name does not exist; the message suggests the nearest that does."""


class CertificateError(ArgumentError):
    """Contraction was asked for and cannot be proven; the message says what is wanting, and the range in which it can."""


class RecordingError(DynrnnError, ValueError):
    """A recording cannot be used as it is; the message names the channel, trial and time."""


class DatasetError(DynrnnError, ValueError):
    """A known system or a packaged recording could not be produced."""


class FileFormatError(DynrnnError, ValueError):
    """A file could not be read: unknown kind, damaged, foreign, or the reader's package is missing."""


class RunFolderError(DynrnnError, OSError):
    """A run's folder is in use, incomplete or damaged."""


class StorageError(DynrnnError, OSError):
    """The storage of a study cannot be opened, reached or written; what was recorded before is intact."""


class StudyError(DynrnnError, ValueError):
    """A study cannot be used as it is: it belongs to another search, another version, or no study is there."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not in a table, with the nearest right one.

    >>> str(unknown_name("preset", "gtf2023", ["gtf-2023", "cns-2023"]))
    "unknown preset 'gtf2023'. Did you mean 'gtf-2023'? Known: cns-2023, gtf-2023."
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5) or difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def check_bool(name: str, value: object) -> bool:
    """``value`` if it is True or False; ArgumentError otherwise, since "no" would count as yes."""
    if type(value).__name__ not in ("bool", "bool_"):                               # Python's and numpy's
        raise ArgumentError(f"{name} is True or False, got {value!r}.")
    return bool(value)


def check_int(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """``value`` as an int within [low, high]; ArgumentError otherwise."""
    import operator

    try:
        number = operator.index(value)  # type: ignore[arg-type]  # bool is refused below, floats raise
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ArgumentError(f"{name} must be a whole number, got {value!r}.")
    if number < low or (high is not None and number > high):
        bound = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ArgumentError(f"{name} must be {bound}, got {number}.")
    return number
