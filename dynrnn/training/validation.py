"""How well the models of a training run freely, beside a recording that was held out."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynrnn.analysis.reconstruction import d_stsp
from dynrnn.analysis.reconstruction.statistics import spectral_distances
from dynrnn.models.base import Model
from dynrnn.models.ensemble import select_model
from dynrnn.models.generation import observed_orbits
from dynrnn.training.parameters import read, write

VALIDATION_STARTS = 8        # at every validation
CONFIRMING_STARTS = 64       # of the best at the end: an attractor that lets one orbit in thirty go looks whole from eight
CANDIDATES = 5
VALIDATED_BY = {
    "d_stsp": ("D_stsp on the validation recording, mean over free runs from several starts, NaN where it was not computed", "nat"),
    "both": ("D_stsp times D_H on the validation recording, means over free runs from several starts, NaN where it was not computed", "nat"),
}


def check_validation(recording: xr.Dataset, by: str) -> None:
    """The error that a spectrum of this recording would be, if one is wanted: too short, or too much is missing."""
    if by == "both":
        for x in followed(recording):
            spectral_distances([x], np.nan_to_num(x)[None, None])


def followed(recording: xr.Dataset) -> list[np.ndarray]:
    """Trials (time, channel) that are run beside: all where inputs or elapsed times lead along each, else the longest."""
    trials = [x[: int(n)] for x, n in zip(recording.observed.values, recording.n_time.values)]
    return trials if led(recording) else [max(trials, key=len)]


def led(recording: xr.Dataset) -> bool:
    """Inputs or elapsed times lead a run along the recording's own trials."""
    return "inputs" in recording or "elapsed" in recording


class Validator:
    """D_stsp (or D_stsp times D_H) of free runs against the validation recording, per fit, and the parameters that were best.

    Means over runs from ``VALIDATION_STARTS`` samples spread over the recording, each as long as it: a model that loses its attractor
    does so sooner from one start than from another, and one run misses it. With inputs or elapsed times a model runs once, along the recording's own.
    The best of each fit, which were lucky more often than others, run again from ``CONFIRMING_STARTS`` at the end; see ``confirmed``. A run that leaves for
    infinity makes the score inf; among candidates it counts as one that is never where the data are, or of five that each let one run in 64 go none were best.
    """

    def __init__(self, model: Model, recording: xr.Dataset, by: str = "d_stsp"):
        self.model, self.by, self.led = model, by, led(recording)
        n_time = recording.n_time.values
        self.true = [recording.observed.values[k, : int(n)] for k, n in enumerate(n_time)]
        self.beside = followed(recording)
        self.n_steps = int(n_time.max())
        self.starts: list[xr.Dataset] | list[np.ndarray] = [recording]                  # groups that run at once
        self.transient = 0
        if not self.led:
            (longest,) = self.beside
            seen = longest[~np.isnan(longest).all(1)]
            states = seen[np.linspace(0, len(seen) - 1, CONFIRMING_STARTS + 1).astype(int)[:-1], None]
            n = CONFIRMING_STARTS // VALIDATION_STARTS
            self.starts = [states[k::n] for k in range(n)]
            self.transient = self.n_steps // 4
            self.beside = VALIDATION_STARTS * [longest]
        self.few = self.starts[:1]                                                      # at every validation
        pooled = np.concatenate(self.true)
        beyond = np.nanmax(pooled, 0) + np.nanstd(pooled, 0)                            # a run that rests there: in no bin, and far from every Gaussian
        self.away = d_stsp(self.true, np.broadcast_to(beyond, (1, 1, self.n_steps, len(beyond))), "dynrnn-1").item()
        self.scores: dict[int, np.ndarray] = {}
        theta = read(model)
        self.best = np.full((len(theta), CANDIDATES), np.inf)                           # in no order
        self.update = np.zeros((len(theta), CANDIDATES), np.int64)
        self.theta = np.repeat(theta[:, None], CANDIDATES, 1)

    def __call__(self, update: int, theta: np.ndarray) -> np.ndarray:
        write(self.model, theta)
        score, rank = self.measure(self.model, self.few)
        fits, worst = np.arange(len(rank)), self.best.argmax(1)
        better = rank < self.best[fits, worst]
        at = fits[better], worst[better]
        self.best[at], self.update[at], self.theta[at] = rank[better], update, theta[better]
        self.scores[update] = score
        return score

    def confirmed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(parameters [F, P], score [F], update [F]) of the best candidate of each fit.

        The one with the lowest score so far runs from all starts, which gives it a better score; when it is still the lowest, it is the best, else the
        next is asked. Candidates that are left are worse by what is known of them. With inputs or elapsed times there are no more starts to ask.
        """
        score, fits = self.best.copy(), np.arange(len(self.best))
        sure = np.isinf(score) | self.led
        while (asked := np.flatnonzero(~sure[fits, score.argmin(1)])).size:
            best = score[asked].argmin(1)
            model = select_model(self.model, asked.tolist())
            write(model, self.theta[asked, best])
            score[asked, best], sure[asked, best] = self.measure(model, self.starts)[1], True
        best = score.argmin(1)
        return self.theta[fits, best], score[fits, best], self.update[fits, best]

    def measure(self, model: Model, starts: list[xr.Dataset] | list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The score [F] of free runs from these groups of starts, and what candidates are compared by: the score with runs to infinity at ``away``."""
        d, h = [], []
        for group in starts:
            orbits = observed_orbits(model, self.n_steps, group, self.transient)
            d.append(d_stsp(self.true, orbits, "dynrnn-1"))
            h.append(spectral_distances(self.beside, orbits, "dynrnn-1") if self.by == "both" else np.ones_like(d[-1]))
        D, H = np.concatenate(d, 1), np.concatenate(h, 1)
        rank = np.where(np.isfinite(D), D, self.away).mean(1) * np.where(np.isfinite(H), H, 1.0).mean(1)
        return D.mean(1) * H.mean(1), rank
