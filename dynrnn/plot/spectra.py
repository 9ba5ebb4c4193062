"""Power spectra of the data and of the models' free runs, one panel a channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from dynrnn.plot._orbits import (
    GENERATED,
    MAX_CHANNELS,
    OTHER,
    TRUTH,
    Tree,
    channels_note,
    finite_part,
    new_figure,
    plain,
    take_orbits,
    tidy,
)


def plot_spectra(tree: Tree, *, fit: Any = None, trial: int = 0, smoothing: float | int = 20.0) -> Any:
    """Smoothed power spectra of truth and free runs, as a matplotlib ``Figure``; the first 6 channels, with a note when there are more.

    Each is the periodogram of the longest stretch without a gap, standardised by the truth's mean and standard deviation and cut to the
    same number of samples, smoothed by a Gaussian of ``smoothing`` frequency bins (fewer for records under 2,000 samples; the figure
    names it). A fit that stands still has no power and no line, and the panel says so. Frequencies run a little beyond where the truth has
    99.9 % of its power.

    Parameters
    ----------
    tree : results with ``observed_data`` and ``generated``; ``metrics`` chooses the fit drawn strongly, as in ``plot_attractor``.
    fit, trial : label of the fit; trial counted from 0.
    smoothing : standard deviation of the Gaussian, in frequency bins.
    """
    orbits = take_orbits(tree, fit, trial)
    n_channels = orbits.truth.shape[1]
    n_panels = min(n_channels, MAX_CHANNELS)
    columns = min(3, n_panels)
    rows = -(-n_panels // columns)
    figure = new_figure(max(4.6, 3.2 * columns), 2.4 * rows + 0.9)
    step = orbits.dt if orbits.dt is not None and orbits.units else 1.0               # uneven samples: cycles a sample, no frequency in time
    unit = "cycles/step" if orbits.dt is None else {"s": "Hz", "": "cycles/step"}.get(orbits.units, f"1/{orbits.units}")
    sigma = smoothing
    runs = [finite_part(run) for run in orbits.generated]
    handles: dict[str, Any] = {}
    for channel in range(n_panels):
        axes = figure.add_subplot(rows, columns, channel + 1)
        tidy(axes)
        axes.set_title(plain(orbits.names[channel]), fontsize=9)
        truth = longest_stretch(orbits.truth[:, channel])
        mean, scale = (float(truth.mean()), float(truth.std())) if truth.size else (0.0, 0.0)
        if truth.size < 8 or scale == 0.0:
            axes.text(0.5, 0.5, "too short or constant", ha="center", transform=axes.transAxes)
            continue
        others = [run[:, channel] for run in runs]
        usable = [len(run) for run in others if len(run) >= max(8, len(truth) // 4)]
        n = min([len(truth), *usable])
        sigma = min(smoothing, n / 100)
        frequency, power = spectrum(truth[:n], mean, scale, step, sigma)
        (handles["data"],) = axes.plot(frequency, power, color=TRUTH, lw=1.6, zorder=3)
        flat = []
        for k, run in enumerate(others):
            strong = k == orbits.shown
            if len(run) < n:
                flat.append(f"fit {orbits.fits[k]} diverged")
                continue
            values = spectrum(run[:n], mean, scale, step, sigma)[1]
            if values.max() < 1e-5 * power.max():
                flat.append(f"fit {orbits.fits[k]} stands still")
                continue
            style = {"color": GENERATED, "lw": 1.3, "zorder": 4} if strong else {"color": OTHER, "lw": 0.8, "zorder": 2}
            (handles[f"model: {orbits.label}" if strong else "other fits"],) = axes.plot(frequency, values, **style)
        if flat:
            noted = flat[0] if len(flat) == 1 else f"{len(flat)} fits stand still or diverged"
            axes.text(0.98, 0.97, plain(noted), ha="right", va="top", fontsize=7, color="#a00", transform=axes.transAxes)
        total = np.cumsum(power) / power.sum()
        axes.set_xlim(0, min(frequency[-1], 1.5 * frequency[max(4, int(np.searchsorted(total, 0.999)))]))
        axes.set_yscale("log")
        axes.set_ylim(1e-5 * power.max(), 10 * power.max())
        if channel % columns == 0:
            axes.set_ylabel("power (1 = variance of data)", fontsize=8)
        if channel + columns >= n_panels:
            axes.set_xlabel(f"frequency ({plain(unit)})", fontsize=8)
    if handles:
        order = sorted(handles, key=lambda name: (name != "data", name == "other fits"))
        lines, words = [handles[name] for name in order], [plain(name) for name in order]
        figure.legend(lines, words, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    note = f"Gaussian smoothing, sigma = {sigma:.3g} frequency bins" + _after(channels_note(n_channels))
    figure.supxlabel(note, fontsize=8, color="#555")
    return figure


def spectrum(
    x: Float[np.ndarray, " time"], mean: float, scale: float, step: float, sigma: float | int
) -> tuple[Float[np.ndarray, " frequency"], Float[np.ndarray, " frequency"]]:
    """Frequencies (cycles per unit of ``step``) and one-sided power of ``(x - mean) / scale``, whose sum is its mean square.

    The Gaussian mirrors at both ends, so smoothing keeps the sum.
    """
    from scipy.ndimage import gaussian_filter1d

    values = (x - mean) / scale
    power = np.abs(np.fft.rfft(values)) ** 2 / len(values) ** 2
    power[1 : (len(values) + 1) // 2] *= 2
    smooth = gaussian_filter1d(power, sigma, mode="reflect") if sigma > 0 else power
    return np.fft.rfftfreq(len(values), step), smooth


def longest_stretch(x: Float[np.ndarray, " time"]) -> Float[np.ndarray, " stretch"]:
    """The longest run of finite samples.

    >>> longest_stretch(np.array([1.0, np.nan, 2.0, 3.0]))
    array([2., 3.])
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.isfinite(x), [False]]).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    if not starts.size:
        return x[:0]
    best = int((stops - starts).argmax())
    return x[starts[best] : stops[best]]


def _after(note: str) -> str:
    return f"; {note}" if note else ""
