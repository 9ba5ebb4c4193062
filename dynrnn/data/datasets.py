"""Known systems and packaged recordings, with this package's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import xarray as xr

from dynrnn.errors import ArgumentError, DatasetError, UnknownNameError, unknown_name


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

    with _own_errors():
        return dynrnn_datasets.load(name, **options)


def known_system(name: str, **parameters: Any) -> Any:
    """A known flow as an object, for the functions of ``dynrnn.analysis``: ``dim``, ``field(z)`` and its default ``dt``.

    name : ``"lorenz63"``, ``"lorenz96"``, ``"roessler"``. parameters : its own, for example ``rho=35.0``.

    >>> known_system("lorenz63", rho=35.0).dim
    3
    """
    import dynrnn_datasets

    if name not in dynrnn_datasets.SYSTEMS:
        raise unknown_name("system", name, dynrnn_datasets.SYSTEMS)
    try:
        with _own_errors():
            return dynrnn_datasets.SYSTEMS[name](**parameters)
    except TypeError as error:
        raise ArgumentError(f"{name} does not take these parameters: {error}.") from None


def reference_spectrum(name: str) -> xr.Dataset:
    """The Lyapunov spectrum of a known system, computed with this package and shipped with it; see ``dynrnn_datasets.reference_spectrum``.

    >>> reference_spectrum("henon").value.sizes["exponent"]
    2
    """
    import dynrnn_datasets

    with _own_errors():
        return dynrnn_datasets.reference_spectrum(name)


@contextmanager
def _own_errors() -> Iterator[None]:
    """The datasets' errors as dynrnn's."""
    import dynrnn_datasets

    try:
        yield
    except dynrnn_datasets.UnknownDatasetError as error:
        raise UnknownNameError(str(error)) from None        # the names are all there is to say
    except dynrnn_datasets.DatasetError as error:
        raise DatasetError(str(error)) from error
