"""What a tree of results holds: names of groups and variables, their dims, and the root's provenance.

Ensembles have the dim ``fit``; ragged things are padded with ``valid``. ``*`` stands for the user's own name of the observed dim.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import RecordingError
from dynrnn.results._files import json_value

SCHEMA_VERSION = 1
OBSERVED_DATA, TRAINING, GENERATED, METRICS = "observed_data", "training", "generated", "metrics"
TEST_DATA = "test_data"  # optional: the recording that the model was judged on, like OBSERVED_DATA
ANALYSES = ("lyapunov_spectrum", "fixed_points", "cycles", "symbolic_code", "code_entropies", "bifurcations")
REPORTED = (OBSERVED_DATA, TRAINING, GENERATED, METRICS, TEST_DATA, "metrics_average", *ANALYSES)
SCORES = ("d_stsp", "d_hellinger", "prediction_error", "valid_prediction_time")
"""Scores of a reconstruction. Beside ``<score>`` (fit) stand ``<score>_floor`` (pair), ``<score>_surrogate`` (draw),
``<score>_linear`` (draw), ``<score>_persistence`` and ``<score>_published`` (scalars; the latter with attrs ``where``)."""

REQUIRED: dict[str, dict[str, tuple[str, ...]]] = {
    OBSERVED_DATA: {"observed": ("trial", "time", "*"), "n_time": ("trial",)},
    TRAINING: {
        "loss": ("fit", "update"),
        "alpha": ("fit", "update"),
        "learning_rate": ("fit", "update"),
        "gradient_norm": ("fit", "update"),
        "seconds": ("fit", "update"),
        "status": ("fit",),
        "refused": ("fit",),
    },
    GENERATED: {"observed": ("fit", "trial", "time", "*"), "latent": ("fit", "trial", "time", "latent")},
    METRICS: dict.fromkeys(SCORES, ("fit",)),
}
OPTIONAL: dict[str, dict[str, tuple[str, ...]]] = {
    OBSERVED_DATA: {"inputs": ("trial", "time", "input"), "elapsed": ("trial", "time")},
    TRAINING: {"validation": ("fit", "update")},
    METRICS: {
        f"{score}_{kind}": dims
        for score in SCORES
        for kind, dims in {"floor": ("pair",), "surrogate": ("draw",), "linear": ("draw",), "persistence": (), "published": ()}.items()
    },
}
ROOT_ATTRS = ("schema_version", "dynrnn_version", "created_at", "config", "random_state", "device", "dtype", "data_fingerprint")


def check_schema(tree: xr.DataTree, groups: tuple[str, ...] = tuple(REQUIRED)) -> list[str]:
    """What is missing or misshapen in a tree, one sentence each; an empty list is a complete tree.

    >>> check_schema(xr.DataTree(), groups=("metrics",))[-1]
    'group /metrics is missing'
    """
    problems = [f"attribute {name!r} of the root is missing" for name in ROOT_ATTRS if name not in tree.attrs]
    for group in groups:
        if group not in tree.children:
            problems.append(f"group /{group} is missing")
            continue
        present = tree.children[group].to_dataset()
        for name, dims in {**OPTIONAL.get(group, {}), **REQUIRED[group]}.items():
            if name not in present.variables:
                if name in REQUIRED[group]:
                    problems.append(f"/{group} lacks variable {name!r} with dims ({', '.join(dims)})")
            elif not _match(present[name].dims, dims):
                problems.append(f"/{group}: {name!r} has dims {tuple(present[name].dims)}, expected ({', '.join(dims)})")
    return problems


def stamp(
    config: Mapping[str, Any],
    *,
    random_state: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    data_fingerprint: str = "",
) -> dict[str, Any]:
    """The root's attrs: versions, UTC time, configuration, seed, device, dtype and the data's fingerprint. ArgumentError if not JSON-able.

    >>> stamp({"model": "alrnn"}, random_state=0)["config"]
    {'model': 'alrnn'}
    """
    try:
        version = importlib.metadata.version("dynrnn")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return {
        "schema_version": SCHEMA_VERSION,
        "dynrnn_version": version,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": json_value(dict(config), "config"),
        "random_state": random_state,
        "device": str(device),
        "dtype": str(dtype),
        "data_fingerprint": data_fingerprint,
    }


def data_fingerprint(recording: xr.Dataset) -> str:
    """sha256 (hex) of a recording's data: names, shapes, dtypes, every byte of observed, n_time, inputs and elapsed, and the coordinates of dims.

    Free attrs do not enter, so provenance may be edited; NaN is one value whatever its bits. O(bytes), one trial in memory at a time.

    >>> a = xr.Dataset({"observed": (("trial", "time", "feature"), np.zeros((1, 4, 2)))})
    >>> data_fingerprint(a) == data_fingerprint(a.assign_attrs(note="x")), data_fingerprint(a) == data_fingerprint(a + 1)
    (True, False)
    """
    if "observed" not in recording:
        raise RecordingError("the dataset has no variable 'observed', so it is no recording. Make one with dynrnn.as_recording(...).")
    digest = hashlib.sha256()
    names = [name for name in ("observed", "n_time", "inputs", "elapsed") if name in recording.variables]
    names += sorted(str(name) for dim in recording.dims for name in [dim] if name in recording.coords)
    for name in names:
        variable = recording[name]
        digest.update(f"{name}|{variable.dims}|{variable.shape}|{variable.dtype.kind}{variable.dtype.itemsize}|".encode())
        parts = [variable[i] for i in range(variable.shape[0])] if variable.ndim > 1 else [variable]
        for part in parts:
            values = np.asarray(part.values)
            if values.dtype.kind in "OUT":
                digest.update("\0".join(map(str, values.ravel().tolist())).encode())
                continue
            if values.dtype.kind in "fc":
                values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)
            digest.update(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _match(dims: tuple[Any, ...], expected: tuple[str, ...]) -> bool:
    return len(dims) == len(expected) and all(want in ("*", have) for have, want in zip(dims, expected, strict=True))
