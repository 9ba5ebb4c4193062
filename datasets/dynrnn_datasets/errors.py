"""What this package raises on purpose: a ValueError that says what is wrong, why it is likely, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DatasetError(ValueError):
    """A known system or a packaged recording could not be produced as asked."""


class UnknownDatasetError(DatasetError):
    """There is no dataset of that name."""


def nearest(name: object, known: Iterable[str]) -> str:
    """' Did you mean ...?' with the closest known name, or an empty string.

    >>> nearest("lorentz63", ["lorenz63", "roessler"])
    " Did you mean 'lorenz63'?"
    """
    names = {known_name.lower(): known_name for known_name in known}
    close = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    return f" Did you mean {names[close[0]]!r}?" if close else ""
