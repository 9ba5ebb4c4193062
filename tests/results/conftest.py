"""These tests flush thousands of times, and what a disk does with a flush is not what they are about: order and renames are."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_flush():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
