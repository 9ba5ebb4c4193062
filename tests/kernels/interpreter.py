"""Triton's interpreter within a process that may also compile: modules imported anew with kernels that are interpreted."""

from __future__ import annotations

import importlib
import sys

import pytest
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction


def interpreted(names: list[str]):
    """The last of ``names``, imported anew like the others for the interpreter; other importers keep or get the compiled ones."""
    before = {name: sys.modules.pop(name, None) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        module = importlib.import_module(names[-1])
    for name, old in before.items():
        sys.modules.pop(name, None)
        if old is not None:
            sys.modules[name] = old
    return module


def interpret_triton_itself(monkeypatch):
    """Triton may have been imported for compiling, by torch or by us: its own device functions follow here."""
    for module in (tl, tl.standard, tl.random):
        for name, value in list(vars(module).items()):
            if isinstance(value, JITFunction):
                monkeypatch.setattr(module, name, InterpretedFunction(value.fn))
