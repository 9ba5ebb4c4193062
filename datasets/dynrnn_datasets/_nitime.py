"""Recordings that the package nitime carries: resting-state fMRI of regions, and spikes of an auditory receptor of the grasshopper."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ._recording import build
from .errors import DatasetError

FMRI_TR = 1.89  # seconds; stated in nitime's example 'resting_state_fmri', since the file does not hold it
STIMULUS_STEP = 50  # microseconds: the stimulus files' first column, 20 kHz


def _file(name: str) -> Path:
    spec = importlib.util.find_spec("nitime")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError("datasets named 'nitime-...' need the package nitime, which is not installed: pip install 'dynrnn[datasets]'.")
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / name
    if not path.is_file():
        raise DatasetError(f"this nitime has no file data/{name}; versions 0.11 and 0.12 do.")
    return path


def fmri() -> xr.Dataset:
    """250 volumes of 31 series, (trial 1, time, region): one subject at rest, fixating, preprocessed; the scanner's units.

    The first three series are nuisance signals, not regions of grey matter: white matter, ventricles and whole brain.
    """
    path = _file("fmri_timeseries.csv")
    with path.open(encoding="utf-8") as lines:
        names = [name.strip().strip('"') for name in lines.readline().split(",")]
        values = np.loadtxt(lines, delimiter=",", dtype=float, ndmin=2)
    attrs = {"system": "nitime-fmri", "source": "nitime data/fmri_timeseries.csv, contributed by B. Mormino", "standardised": False}
    return build(values[None], dim="region", channels=names, dt=FMRI_TR, units="s", attrs=attrs)


def grasshopper(bin_size: Any = 1e-3) -> xr.Dataset:
    """Spike counts of one receptor cell (trial 2, time, neuron 1) with the stimulus averaged over each bin (trial, time, input 1).

    Trial 0 and 1 are answers to 10 s of a carrier tone whose amplitude is modulated by Gaussian noise up to 200 Hz and 800 Hz.
    ``bin_size`` in seconds is a whole multiple of the stimulus step, 50 microseconds; an incomplete last bin is dropped.
    """
    try:
        ratio = float(bin_size) * 1e6 / STIMULUS_STEP
    except (TypeError, ValueError):
        ratio = 0.0
    width = round(ratio) if np.isfinite(ratio) else 0
    if width < 1 or abs(ratio - width) > 1e-6 * ratio:
        raise DatasetError(f"bin_size must be a whole multiple of the stimulus step, 5e-05 s, got {bin_size!r}.")
    counts, stimuli = [], []
    for trial in (1, 2):
        spikes = np.loadtxt(_file(f"grasshopper_spike_times{trial}.txt"), dtype=float, ndmin=1)  # microseconds
        stimulus = np.loadtxt(_file(f"grasshopper_stimulus{trial}.txt"), dtype=float, ndmin=2)[:, 1]
        n_bins = stimulus.size // width
        if n_bins < 2:
            raise DatasetError(f"bin_size {bin_size!r} s leaves {n_bins} bins of a recording of {stimulus.size * STIMULUS_STEP / 1e6:g} s.")
        stimuli.append(stimulus[: n_bins * width].reshape(n_bins, width).mean(axis=1))
        edges = np.arange(n_bins + 1) * float(width * STIMULUS_STEP)
        inside = spikes < edges[-1]  # numpy's last bin is closed, ours is half open like the others
        counts.append(np.histogram(spikes[inside], edges)[0].astype(float))
    attrs = {
        "system": "nitime-grasshopper",
        "source": "nitime data/grasshopper_*.txt; Rokem et al. 2006, J. Neurophysiol. 95, 2541",
        "bin_size": width * STIMULUS_STEP / 1e6,
        "standardised": False,
        "cutoff_hz": [200.0, 800.0],
    }
    return build(
        np.stack(counts)[:, :, None],
        dim="neuron",
        channels=["receptor"],
        dt=width * STIMULUS_STEP / 1e6,
        units="s",
        attrs=attrs,
        inputs=np.stack(stimuli)[:, :, None],
        input_names=["amplitude"],
    )
