"""Leases as rows of a table of our own beside Optuna's, in the same database."""

from __future__ import annotations

import contextlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from dynrnn.study.storage.guard import Guard
from dynrnn.study.storage.leases import Lease

METADATA = sa.MetaData()
TABLE = sa.Table(
    "dynrnn_leases",
    METADATA,
    sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("study_id", sa.Integer, nullable=False, index=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("beat", sa.Integer, nullable=False),
)


class TableLeases:
    """Compare and swap is an UPDATE whose WHERE names the generation, and how many rows it changed; the first lease is an INSERT under the primary key.

    Costs one transaction a step. Lost connections are the guard's business.
    """

    def __init__(self, engine: sa.Engine, guard: Guard) -> None:
        self._engine = engine
        self._guard = guard

    def read(self, study_id: int) -> dict[int, Lease]:
        query = sa.select(TABLE).where(TABLE.c.study_id == study_id)

        def rows() -> list[Any]:
            with self._engine.connect() as connection:
                return list(connection.execute(query))

        return {row.trial_id: Lease(row.trial_id, row.generation, row.owner, row.beat, row.losses) for row in self._guard(rows)}

    def take(self, study_id: int, trial_id: int, generation: int, owner: str, losses: int) -> bool:
        values = {"generation": generation + 1, "owner": owner, "beat": 0, "losses": losses}
        if generation == 0:
            # An INSERT counts no rows on every driver: it either raises or has been done.
            with contextlib.suppress(IntegrityError):
                self._changed(sa.insert(TABLE).values(trial_id=trial_id, study_id=study_id, **values))
                return True
        elif self._changed(sa.update(TABLE).where(TABLE.c.trial_id == trial_id, TABLE.c.generation == generation).values(values)):
            return True
        # Where a connection broke after the commit, the second try finds its own row.
        now = self.read(study_id).get(trial_id)
        return now is not None and now.owner == owner

    def renew(self, study_id: int, trial_id: int, generation: int, owner: str) -> bool:
        return self._changed(sa.update(TABLE).where(*self._mine(trial_id, generation, owner)).values(beat=TABLE.c.beat + 1))

    def release(self, study_id: int, trial_id: int, generation: int, owner: str) -> bool:
        return self._changed(sa.update(TABLE).where(*self._mine(trial_id, generation, owner)).values(owner=""))

    def drop(self, study_id: int, trial_id: int) -> None:
        self._changed(sa.delete(TABLE).where(TABLE.c.trial_id == trial_id))

    @staticmethod
    def _mine(trial_id: int, generation: int, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
        return TABLE.c.trial_id == trial_id, TABLE.c.generation == generation, TABLE.c.owner == owner

    def _changed(self, statement: sa.Insert | sa.Update | sa.Delete) -> bool:
        def run() -> bool:
            with self._engine.begin() as connection:
                return connection.execute(statement).rowcount == 1

        return self._guard(run)
