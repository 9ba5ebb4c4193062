"""What training asks of a recording beyond its form: channels that vary, trials that are long enough, numbers that float32 holds."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from dynrnn.errors import RecordingError

from ._faults import Faults, observed_dim, plain

# float32 ends at 3.4e38; a loss squares the values
LARGEST = 1e18


def check_for_training(recording: xr.Dataset, sequence_length: int, standardise: bool = True) -> None:
    """RecordingError where ``recording`` (checked by ``as_recording``) cannot be trained on.

    With ``standardise``: a channel that is constant, or varies by less than its own rounding, has no scale. Without: values beyond 1e18,
    whose squares float32 does not hold. At least one trial must have ``sequence_length + 1`` steps (an initial state and its targets);
    shorter ones are left to the sampler. Two identical channels are a UserWarning: legal, but mostly one channel recorded twice.

    >>> import numpy as np
    >>> from dynrnn.data import as_recording
    >>> check_for_training(as_recording(np.zeros((100, 1))), sequence_length=20, standardise=True)
    Traceback (most recent call last):
    dynrnn.errors.RecordingError: channel 0 is constant (all 100 samples equal 0.0), so it cannot be standardised.
    Drop it with rec.drop_sel(feature=0), or pass standardise=False.
    """
    n_time = recording["n_time"].values
    longest = int(np.argmax(n_time))
    if n_time[longest] < sequence_length + 1:
        raise RecordingError(
            f"every trial is shorter than sequence_length + 1 = {sequence_length + 1:,} steps: the longest, trial {longest}, has "
            f"{n_time[longest]:,}. Pass sequence_length={max(1, int(n_time[longest]) - 1)} or less, or a longer recording."
            + (" It has more channels than samples: are the axes (time, channel)?" if n_time[longest] < recording.sizes[recording.observed.dims[-1]] else "")
        )
    dim = observed_dim(recording)
    names = recording[dim].values if dim in recording.coords else np.arange(recording.sizes[dim])
    observed = recording["observed"].values
    faults = Faults()
    seen: dict[bytes, object] = {}
    for channel, name in enumerate(map(plain, names)):
        values = observed[:, :, channel]
        present = values[~np.isnan(values)].astype(float)
        low, high = float(present.min()), float(present.max())
        drop = f"Drop it with rec.drop_sel({dim}={name!r}), or pass standardise=False."
        if standardise and low == high:
            samples = f"all {present.size:,} samples equal {low}" if present.size > 1 else f"its one sample is {low}"
            faults.add(f"channel {name!r} is constant ({samples}), so it cannot be standardised.\n{drop}")
        elif standardise and not (high - low > 8 * np.spacing(max(abs(low), abs(high))) and high - low > 1e-150):
            # below 1e-150 the variance underflows
            faults.add(f"channel {name!r} varies by rounding only (from {low!r} to {high!r}), so it cannot be standardised.\n{drop}")
        elif not standardise and max(abs(low), abs(high)) > LARGEST:
            most = max(abs(low), abs(high))
            faults.add(f"channel {name!r} reaches {most:g}, whose square float32 does not hold. Rescale it, or pass standardise=True.")
        key = values.tobytes()
        if key in seen and low < high:
            warnings.warn(f"channels {seen[key]!r} and {name!r} are identical; drop one if that is not meant.", UserWarning, stacklevel=2)
        seen.setdefault(key, name)
    faults.raise_if_any()
