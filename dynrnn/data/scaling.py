"""Standardisation fitted on the training data alone, applied to any recording of the same channels, and inverted on output."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, RecordingError

from ._faults import observed_dim, plain


@dataclass(frozen=True)
class Scaling:
    """standardised = (x - mean) / scale for each channel; ``names`` are the channels in order, ``mean`` and ``scale`` in the user's units.

    >>> import numpy as np
    >>> scaling = Scaling(("a", "b"), (1.0, 2.0), (2.0, 4.0))
    >>> scaling.apply(np.array([[3.0, 6.0]])).tolist(), scaling.invert(np.array([[1.0, 1.0]])).tolist()
    ([[1.0, 1.0]], [[3.0, 6.0]])
    """

    names: tuple[Any, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.mean) == len(self.scale):
            sizes = f"{len(self.names)}, {len(self.mean)}, {len(self.scale)}"
            raise ArgumentError(f"Scaling needs one mean and one scale a channel; names, mean and scale have {sizes} entries.")
        for name, mean, scale in zip(self.names, self.mean, self.scale):
            if not (math.isfinite(mean) and math.isfinite(scale) and scale > 0):
                raise ArgumentError(f"channel {name!r} has mean {mean} and scale {scale}; both must be finite and the scale positive.")

    def apply(self, x: Any) -> Any:
        """Standardised ``x``: a recording, an xr.DataArray with the channels' axis, or an array or tensor with channels last; O(size)."""
        return self._map(x, lambda values, mean, scale: (values - mean) / scale)

    def invert(self, x: Any) -> Any:
        """``x`` back in the user's units, in the same forms; the inverse of ``apply`` up to rounding."""
        return self._map(x, lambda values, mean, scale: values * scale + mean)

    def _map(self, x: Any, formula: Any) -> Any:
        if isinstance(x, xr.Dataset):
            if "observed" not in x:
                raise RecordingError("this Dataset has no variable 'observed' to scale.")
            return x.assign(observed=self._map(x["observed"], formula))
        if isinstance(x, xr.DataArray):
            dim = str(x.dims[-1])
            names = tuple(map(plain, x[dim].values)) if dim in x.coords else tuple(range(x.sizes[dim]))
            if names != self.names:
                raise RecordingError(f"the channels {list(names)} are not those of the scaling, {list(self.names)} (in this order).")
            return x.copy(data=formula(x.values, *self._constants(x.values)))
        if x.shape[-1] != len(self.names):
            raise ArgumentError(f"the last axis has {x.shape[-1]} entries, the scaling {len(self.names)} channels.")
        return formula(x, *self._constants(x))

    def _constants(self, like: Any) -> tuple[Any, Any]:
        """Mean and scale in the kind and precision of ``like``."""
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(like, torch.Tensor):
            make = like.new_tensor if like.is_floating_point() else torch.tensor
            return make(self.mean), make(self.scale)
        dtype = like.dtype if like.dtype.kind == "f" else np.float64
        return np.array(self.mean, dtype=dtype), np.array(self.scale, dtype=dtype)


def fit_scaling(recording: xr.Dataset) -> Scaling:
    """The mean and standard deviation of each channel over its observed entries, all trials together. Cost O(size).

    Raises RecordingError naming a channel that has no standard deviation. Fit on training data only: statistics of the test data in the
    scaling are a leak.

    >>> import numpy as np
    >>> from dynrnn.data import as_recording
    >>> fit_scaling(as_recording(np.array([[0.0], [2.0], [np.nan]]))).mean
    (1.0,)
    """
    dim = observed_dim(recording)
    observed = recording["observed"].values
    names = tuple(map(plain, recording[dim].values)) if dim in recording.coords else tuple(range(observed.shape[-1]))
    means, scales = [], []
    for channel, name in enumerate(names):
        values = observed[:, :, channel]
        values = values[~np.isnan(values)].astype(float)
        mean, scale = (float(values.mean()), float(values.std())) if values.size else (math.nan, 0.0)
        if not (values.size and values.max() > values.min() and math.isfinite(scale) and scale > 0):
            raise RecordingError(
                f"channel {name!r} is constant or empty ({values.size:,} samples), so it cannot be standardised.\n"
                f"Drop it with rec.drop_sel({dim}={name!r}), or pass standardise=False."
            )
        means.append(mean)
        scales.append(scale)
    return Scaling(names, tuple(means), tuple(scales))
