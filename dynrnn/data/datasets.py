"""``load_dataset``: known systems and packaged recordings, with this package's errors."""

from __future__ import annotations

from typing import Any

import xarray as xr

from dynrnn.errors import DatasetError, UnknownNameError


def load_dataset(name: str, **options: Any) -> xr.Dataset:
    """A recording by name: ``"lorenz63"``, ``"lorenz96"``, ``"roessler"``, ``"dysts:Thomas"``, ``"nitime-fmri"``, ...

    Options (``n_steps, n_trials, dt, noise, standardise, observed, transient, random_state, rtol, atol`` and the system's parameters) are
    those of ``dynrnn_datasets.load``, which says what comes back; ``dynrnn_datasets.available()`` lists the names.

    Raises UnknownNameError with the nearest right name, DatasetError for anything else, a missing extra included.

    >>> rec = load_dataset("roessler", n_steps=200, random_state=0)
    >>> rec["observed"].dims, rec.attrs["dt"]
    (('trial', 'time', 'feature'), 0.08)
    >>> load_dataset("lorentz63")
    Traceback (most recent call last):
    dynrnn.errors.UnknownNameError: unknown dataset 'lorentz63'. Did you mean 'lorenz63'? ...
    """
    import dynrnn_datasets

    try:
        return dynrnn_datasets.load(name, **options)
    except dynrnn_datasets.UnknownDatasetError as error:
        raise UnknownNameError(str(error)) from error
    except dynrnn_datasets.DatasetError as error:
        raise DatasetError(str(error)) from error
