"""Who holds a lease or a lock, and whether that process is known to be gone.

An owner is one line of text: ``place|pid|start|unique``. The place is this boot of this kernel and this space of process numbers (containers of
one machine share the boot, not the numbers), so that a process is looked up only where its number means what it meant. Where the system
does not tell (no /proc), nobody is known to be gone and only time decides.
"""

from __future__ import annotations

import functools
import os
import uuid
from pathlib import Path

_NOWHERE = "elsewhere"


@functools.lru_cache(maxsize=4)
def _place(pid: int) -> str:
    """This machine's boot and name space of processes; asked again after a fork (hence the argument)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return _NOWHERE
    return f"{boot}/{space}"


def _process(pid: int) -> tuple[str, str] | None:
    """State and start time (in ticks since boot) of a process; None where there is none. Its name may hold blanks and brackets, so the end is parsed."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (fields[0], fields[19]) if len(fields) > 19 else None


def new_owner() -> str:
    """A name for what this process is about to take, unlike any other."""
    pid = os.getpid()
    start = (_process(pid) or ("", ""))[1]
    return f"{_place(pid)}|{pid}|{start}|{uuid.uuid4().hex[:16]}"


def known_dead(owner: str) -> bool:
    """Whether the owner was a process of this very place that has ended (a killed child that nobody waited for has ended, too).

    >>> known_dead(new_owner()), known_dead("another machine|1|1|x"), known_dead("nonsense")
    (False, False, False)
    """
    parts = owner.split("|")
    if len(parts) != 4 or parts[0] == _NOWHERE or parts[0] != _place(os.getpid()) or not parts[1].isdigit():
        return False
    found = _process(int(parts[1]))
    return found is None or found[0] in "ZX" or found[1] != parts[2]
