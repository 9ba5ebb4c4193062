"""Long-term scores of free runs, beside their floor and their nulls: D_stsp and D_H by one preset."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynrnn.analysis.reconstruction._checks import Trials, as_matrix, refuse_infinite, require_variation, stream
from dynrnn.analysis.reconstruction.floors import floor_pairs
from dynrnn.analysis.reconstruction.histogram import Box, box_around, divergence_within
from dynrnn.analysis.reconstruction.mixture import d_stsp_gmm
from dynrnn.analysis.reconstruction.nulls import NullModels
from dynrnn.analysis.reconstruction.presets import Preset, get_preset
from dynrnn.analysis.reconstruction.spectrum import hellinger_by_channel
from dynrnn.analysis.reconstruction.surrogates import fill_forward
from dynrnn.errors import ArgumentError, RecordingError, check_int
from dynrnn.streams import check_random_state
from dynrnn_kernels.threads import side_by_side

LONG_NAMES = {"d_stsp": "state-space divergence D_stsp", "d_hellinger": "Hellinger distance of power spectra D_H"}
UNITS = {"d_stsp": "nat", "d_hellinger": "1"}


class Measured(NamedTuple):
    d_stsp: float
    d_hellinger: float
    outside: float
    """share of the generated samples outside the box (0 with a mixture)"""


class Standardiser(NamedTuple):
    """Moments of the test recording, (channel,) each: scores do not depend on the user's units."""

    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, trials: Trials) -> Standardiser:
        stacked = np.concatenate(trials)
        sd = require_variation(stacked)
        return cls(np.nanmean(stacked, axis=0), sd)

    def __call__(self, trials: Iterable[np.ndarray]) -> Trials:
        return [(x - self.mean) / self.sd for x in trials]


def score_orbits(
    true: Sequence[Float[np.ndarray, "_ channel"]],
    orbits: Float[np.ndarray, "fit trial time channel"],
    preset: str | Preset = "dynrnn-1",
    *,
    reference: Sequence[Float[np.ndarray, "_ channel"]] | None = None,
    training: Sequence[Float[np.ndarray, "_ channel"]] | None = None,
    n_null: int = 5,
    random_state: int | None = 0,
    progress: bool = False,
) -> xr.Dataset:
    """D_stsp and D_H of orbits against the true trials, with floor and nulls by the same metric at the same lengths.

    ``true``, ``reference`` and ``training`` are lists of trials (time, channel), NaN = missing, in one common unit; ``orbits``
    (fit, trial, time, channel) has one trial for each true one, and is cut to its length. D_stsp pools the trials, D_H is their mean over
    trials and channels but those that are constant in a true trial (counted in the attr ``spectra_skipped``).

    Returns ``d_stsp``, ``d_hellinger`` (fit), ``diverged`` (fit: not finite somewhere, scores inf), ``outside`` (fit: share of samples
    outside the box, if binned), and for both scores ``_floor`` (pair), ``_surrogate`` (draw), ``_linear`` (draw), ``_persistence`` ().
    The floor scores true stretches against each other (see :func:`floor_pairs`; its length is in the attrs). The nulls are
    phase-randomised surrogates, free runs of a vector autoregression (order by BIC up to 5), both made from ``training`` if it has a
    long enough trial, otherwise from the test data themselves, which flatters them, and an orbit that stays at the first sample. Attrs
    say which.

    Cost: (fit + pair + 2 n_null) evaluations of the preset's D_stsp and D_H.

    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> score = score_orbits([x], x[None, None], n_null=2)
    >>> float(score.d_stsp[0]), float(score.d_hellinger[0]), bool(score.diverged[0])
    (0.0, 0.0, False)
    """
    rule = get_preset(preset)
    check_int("n_null", n_null, low=0)
    random_state = check_random_state(random_state)
    test = [as_matrix(f"true trial {i}", x) for i, x in enumerate(true)]
    refuse_infinite(test)
    if orbits.shape[1] != len(test) or orbits.shape[3] != test[0].shape[1]:
        raise ArgumentError(
            f"the orbits have {orbits.shape[1]} trials of {orbits.shape[3]} channels, the true recording {len(test)} of "
            f"{test[0].shape[1]}; generate one orbit from each trial of the recording that scores it."
        )
    unit = Standardiser.of(test)
    test = unit(test)
    others = [None if source is None else unit(np.asarray(x, dtype=np.float64) for x in source) for source in (reference, training)]
    lengths = [min(len(x), orbits.shape[2]) for x in test]

    def measure(actual: Trials, generated: Trials) -> Measured:
        return _measure(rule, actual, generated, random_state)

    bar = _progress(progress)
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging orbit may overflow here; it scores inf
        runs = [unit(orbits[k, i, :n].astype(np.float64) for i, n in enumerate(lengths)) for k in range(len(orbits))]
    fits = [measure(test, run) for run in bar(runs, "fits")]
    data = xr.Dataset(coords={"fit": np.arange(len(orbits))})
    data["diverged"] = "fit", np.array([not all(np.isfinite(x).all() for x in run) for run in runs], dtype=bool)
    data.diverged.attrs = {"long_name": "the free run is not finite", "units": "1"}
    if estimator(rule, test[0].shape[1]) == "binned":
        data["outside"] = "fit", np.array([m.outside for m in fits])
        data.outside.attrs = {"long_name": "share of the free run's samples outside the box of the true recording", "units": "1"}
    _add(data, "", fits, "fit", rule)

    floor = floor_pairs(test, lengths, others[0], stream(random_state, "floor"))
    floors = []
    for first, second in bar(floor.pairs, "floor"):
        with contextlib.suppress(RecordingError, ArgumentError):  # a channel may be silent, or hardly observed, in one short stretch
            floors.append(_measure_true(rule, first, second, random_state))
    _add(data, "_floor", floors, "pair", rule, source=floor.source)

    nulls = NullModels.fit(test, lengths, others[1])
    draws = range(n_null)
    surrogates = [measure(test, nulls.surrogate(stream(random_state, "surrogate", i))) for i in bar(draws, "surrogates")]
    _add(data, "_surrogate", surrogates, "draw", rule, source=nulls.surrogate_source)
    linear = [measure(test, nulls.linear(stream(random_state, "linear", i))) for i in bar(draws, "linear")]
    _add(data, "_linear", linear, "draw", rule, source=nulls.linear_source)
    frozen = [np.tile(fill_forward(x)[0], (n, 1)) for x, n in zip(test, lengths)]
    _add(data, "_persistence", [measure(test, frozen)], None, rule, source="the first sample, for ever")
    data.attrs = {
        "preset": rule.name,
        "preset_reference": rule.reference,
        "d_stsp_estimator": estimator(rule, test[0].shape[1]),
        "n_true": sum(len(x) for x in test),
        "n_true_missing": sum(int(np.isnan(x).any(axis=1).sum()) for x in test),
        "n_generated": sum(lengths),
        "floor_source": floor.source,
        "floor_length": floor.length,
        "floor_pairs_skipped": len(floor.pairs) - len(floors),
        "spectra_skipped": sum(int((~varies(x[:n])).sum()) for x, n in zip(test, lengths)),
        "floor_is_shorter": int(floor.length < sum(lengths)),
        "var_order": nulls.var.order,
        "var_spectral_radius": nulls.var.spectral_radius,
        "var_stabilised": int(not nulls.var.stable),
        "random_state": random_state,
    }
    return data


def estimator(rule: Preset, n_channels: int) -> str:
    return "binned" if n_channels <= rule.max_binned_dim else "gaussian mixture"


def d_stsp(
    true: Sequence[Float[np.ndarray, "_ channel"]],
    orbits: Float[np.ndarray, "fit trial time channel"],
    preset: str | Preset = "dynrnn-1",
    *,
    random_state: int = 0,
) -> Float[np.ndarray, "fit trial"]:
    """D_stsp alone, of every orbit against all true trials pooled, without floor or nulls: for many orbits, as in a search.

    ``true`` is a list of trials (time, channel), NaN = missing, in the orbits' unit. An orbit that is not finite scores inf. For scores
    to publish use :func:`score_orbits`.

    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> d_stsp([x], np.stack([x, x + np.inf])[None]).tolist()
    [[0.0, inf]]
    """
    rule = get_preset(preset)
    unit = Standardiser.of([as_matrix(f"true trial {i}", x) for i, x in enumerate(true)])
    pooled = np.concatenate(unit(true))
    box = _box(rule, pooled)

    def of_orbit(x: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return _divergence(rule, pooled, unit([x.astype(np.float64)])[0], random_state, box)[0]

    return np.reshape(side_by_side(of_orbit, [x for runs in orbits for x in runs]), orbits.shape[:2])


def spectral_distances(
    true: Sequence[Float[np.ndarray, "_ channel"]], orbits: Float[np.ndarray, "fit trial time channel"], preset: str | Preset = "dynrnn-1"
) -> Float[np.ndarray, "fit trial"]:
    """D_H alone, of every orbit against the true trial of its own number, without floor or nulls; inf of an orbit that is not finite.

    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> spectral_distances([x, x], np.stack([x, x + np.inf])[None]).tolist()
    [[0.0, inf]]
    """
    rule = get_preset(preset)

    def of_pair(pair: tuple[np.ndarray, np.ndarray]) -> float:
        return _spectral_distance(rule, [pair[0]], [pair[1].astype(np.float64)])

    return np.reshape(side_by_side(of_pair, [pair for runs in orbits for pair in zip(true, runs, strict=True)]), orbits.shape[:2])


def _box(rule: Preset, true: np.ndarray) -> Box | None:
    """Bins around the true samples, where the preset's estimator has any."""
    refuse_infinite([true])
    return box_around(true, rule.n_bins, rule.bin_range, rule.drop_edges) if estimator(rule, true.shape[1]) == "binned" else None


def _divergence(rule: Preset, true: np.ndarray, generated: np.ndarray, random_state: int, box: Box | None) -> tuple[float, float]:
    """D_stsp by the preset's estimator, and the share of generated samples outside the box, if there is one."""
    if not np.isfinite(generated).all():
        return math.inf, float(np.mean(~np.isfinite(generated).all(axis=1)))
    if box is not None:
        binned = divergence_within(box, generated, laplace=rule.laplace, overflow_cell=rule.overflow_cell)
        return binned.value, binned.n_generated_outside / len(generated)
    divergence = d_stsp_gmm(
        true,
        generated,
        variance=rule.gmm_variance,
        n_components=rule.gmm_components,
        n_samples=rule.gmm_samples,
        components=rule.gmm_choice,
        underflow=rule.gmm_underflow,
        random_state=random_state,
    )
    return divergence, 0.0


def _measure(rule: Preset, actual: Trials, generated: Trials, random_state: int) -> Measured:
    """Both scores of a bundle of trials; D_stsp over all samples, D_H trial by trial at the common length."""
    pooled = np.concatenate(generated)
    true = np.concatenate(actual)
    divergence, outside = _divergence(rule, true, pooled, random_state, _box(rule, true))
    if not np.isfinite(pooled).all():
        return Measured(math.inf, math.inf, outside)
    return Measured(divergence, _spectral_distance(rule, actual, generated), outside)


def _measure_true(rule: Preset, first: Trials, second: Trials, random_state: int) -> Measured:
    """The scores of true trials in the place of orbits: their missing samples are no divergence, and enter neither score."""
    pooled, true = np.concatenate(second), np.concatenate(first)
    complete = pooled[~np.isnan(pooled).any(axis=1)]
    if not len(complete):
        raise RecordingError("no sample of a true stretch is observed in every channel.")
    divergence, outside = _divergence(rule, true, complete, random_state, _box(rule, true))
    common = [(a[:n], b[:n]) for a, b in zip(first, second) for n in [min(len(a), len(b))]]
    seen = [np.where(np.isnan(b), np.nan, a) for a, b in common]
    return Measured(divergence, _spectral_distance(rule, seen, [fill_forward(b) for _, b in common]), outside)


def _spectral_distance(rule: Preset, actual: Trials, generated: Trials) -> float:
    """D_H, trial by trial at the common length: the mean over trials and over the channels that vary in them."""
    options = {"smoothing_sigma": rule.smoothing_sigma, "boundary": rule.smoothing_boundary, "form": rule.hellinger_form}
    distances = []
    for a, b in zip(actual, generated):
        n = min(len(a), len(b))
        active = varies(a[:n])
        if active.any():
            distances.append(hellinger_by_channel(a[:n, active], b[:n, active], **options))
    if not distances:
        raise RecordingError("no channel of the true recording varies within any trial, so there is no spectrum to compare.")
    return float(np.concatenate(distances).mean())


def varies(x: np.ndarray) -> np.ndarray:
    """Channels, (channel,) bool, that have a spectrum in this trial: a neuron may be silent in one trial and not in the next."""
    filled = np.where(np.isnan(x), -np.inf, x).max(axis=0), np.where(np.isnan(x), np.inf, x).min(axis=0)
    return filled[0] > filled[1]


def _add(data: xr.Dataset, suffix: str, scores: list[Measured], dim: str | None, rule: Preset, **attrs: str) -> None:
    for name in ("d_stsp", "d_hellinger"):
        values = np.array([getattr(score, name) for score in scores], dtype=np.float64)
        data[name + suffix] = ((), values[0]) if dim is None else (dim, values)
        what = LONG_NAMES[name] + (f", {suffix[1:]}" if suffix else "")
        data[name + suffix].attrs = {"long_name": what, "units": UNITS[name], "preset": rule.name, **attrs}


def _progress(shown: bool) -> Callable[[Sequence[Any], str], Iterable[Any]]:
    if not shown:
        return lambda items, what: items
    from tqdm import tqdm

    return lambda items, what: tqdm(items, desc=f"scores: {what}", leave=False)
