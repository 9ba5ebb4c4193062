"""Calls as bytes.

A worker of Dask unpacks a task's arguments on its event loop, and importing torch there keeps it from answering; these it unpacks at work.
"""

from __future__ import annotations

from typing import Any


def pack(thing: Any) -> bytes:
    """By cloudpickle, Dask's own, for workers of one's own; never into a file."""
    import cloudpickle

    return cloudpickle.dumps(thing)


def unpack(packed: bytes) -> Any:
    import cloudpickle

    return cloudpickle.loads(packed)


def call(packed: bytes, common: bytes) -> Any:
    """``packed`` holds a function, what it is called for and its own arguments; ``common`` those that it shares with other calls; places and names apart."""
    function, part, arguments, options = unpack(packed)
    places, names = unpack(common)
    places |= arguments
    return function(part, *[places[i] for i in range(len(places))], **names, **options)


def same(packed: bytes) -> bytes:
    return packed
