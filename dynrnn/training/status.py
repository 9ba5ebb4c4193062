"""How each fit ended, and what to do about it."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Outcome of one fit; ``advice`` says what to do."""

    FINISHED = "finished"
    STOPPED_GRADIENT = "stopped: loss or gradient not finite"
    STOPPED_STEP = "stopped: step not finite"
    STOPPED_CALLBACK = "stopped: by the callback"

    @property
    def advice(self) -> str:
        if self in (Status.FINISHED, Status.STOPPED_CALLBACK):
            return ""
        return (
            "Updates were refused many times in a row; the parameters are those of the last good update. Raise alpha or force more often, "
            "lower the learning rate, shorten sequence_length, or set gradient_clip."
        )
