"""What the kernels' tests share."""

from __future__ import annotations

import pytest

from tests.kernels.recurrences import ROWS, Row


@pytest.fixture(scope="session", params=ROWS)
def row(request: pytest.FixtureRequest) -> Row:
    """Each recurrence that there is."""
    return ROWS[request.param]
