"""Triton's interpreter in a process that may also compile: modules imported anew with kernels that are interpreted."""

from __future__ import annotations

import importlib
import sys

import pytest
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

RECURRENCE = [f"dynrnn_kernels.additive.triton{suffix}" for suffix in ("_cells", "_steps", "_gradient", "_norms", "")]
LTC = [*RECURRENCE, *(f"dynrnn_kernels.ltc.triton{suffix}" for suffix in ("_cells", "_steps", "_gradient", ""))]
UPDATE = [f"dynrnn_kernels.update.{name}" for name in ("triton_book", "triton_draw", "triton_decoder", "triton_targets", "triton_loss", "triton_step")]
INFLUENCE = [*RECURRENCE, *(f"dynrnn_kernels.influence.{name}" for name in ("triton_steps", "triton"))]
DEVICE = [*RECURRENCE, *UPDATE, "dynrnn_kernels.update.device_arrays", "dynrnn_kernels.update.device"]


def interpreted(names: list[str]):
    """The last of ``names``, imported anew like the others for the interpreter; other importers keep or get the compiled ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        for name in names:
            package, _, child = name.rpartition(".")
            patch.delitem(sys.modules, name, raising=False)
            patch.delattr(importlib.import_module(package), child, raising=False)
        module = importlib.import_module(names[-1])
        for name in names:                                                      # what was not there before is not there afterwards
            package, _, child = name.rpartition(".")
            sys.modules.pop(name, None)
            vars(sys.modules[package]).pop(child, None)
    return module


def interpret_triton_itself(monkeypatch):
    """Triton may have been imported for compiling, by torch or by us: its own device functions follow here."""
    for module in (tl, tl.standard, tl.random):
        for name, value in list(vars(module).items()):
            if isinstance(value, JITFunction):
                monkeypatch.setattr(module, name, InterpretedFunction(value.fn))
