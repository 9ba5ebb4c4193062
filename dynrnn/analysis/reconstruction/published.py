"""Published scores, each with where it was read. Second-hand figures say so; figures that nobody could check are not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class PublishedScore(NamedTuple):
    """A published figure: ``value`` and ``spread`` (as printed; None where there was none) of ``score`` on ``dataset``, by ``preset``."""

    dataset: str
    n_channels: int
    preset: str
    method: str
    score: str
    value: float
    spread: float | None
    where: str
    note: str = ""
    second_hand: bool = False
    headline: bool = False
    n_steps: int | None = None
    """samples of the scored orbit, where stated: D_stsp falls with it"""


_POSTER = "Hess et al. 2023 (ICML), Table 1, as on the poster in DurstewitzLab/GTF-shPLRNN; median +- MAD of 20 runs"
_IN_SAMPLE = "in-sample: the published training and test files are identical"
_EMBEDDED = "PPG-DaLiA, 5-d delay embedding; the file has variance 0.69, and PE may be in its units"

# dataset, channels, samples, note, then (method, (d_stsp, spread), (d_hellinger, spread), (prediction_error, spread));
# the first row is the headline
_GTF_TABLE = (
    (
        "ecg",
        5,
        100_000,
        _EMBEDDED,
        (
            ("shallow PLRNN + GTF", (4.3, 0.6), (0.34, 0.02), (2.4e-3, 0.1e-3)),
            ("shallow PLRNN + adaptive GTF", (4.5, 0.4), (0.34, 0.02), (2.4e-3, 0.2e-3)),
            ("shallow PLRNN + sparse forcing", (7.1, 1.8), (0.38, 0.03), (5e-3, 2e-3)),
            ("dendritic PLRNN + identity forcing", (5.8, 0.6), (0.37, 0.06), (4.0e-3, 0.4e-3)),
            ("reservoir", (5.3, 1.7), (0.39, 0.05), (4e-3, 1e-3)),
            ("LSTM", (15.2, 0.5), (0.73, 0.02), (2.5e-2, 0.5e-2)),
            ("neural ODE", (12.2, 0.7), (0.7, 0.03), (4.1e-1, 0.1e-1)),
            ("LEM", (16.3, 0.2), (0.56, 0.04), (7.4e-1, 0.1e-1)),
        ),
    ),
    (
        "eeg",
        64,
        9_640,
        _IN_SAMPLE,
        (
            ("shallow PLRNN + GTF", (2.1, 0.2), (0.11, 0.01), (5.5e-1, 0.1e-1)),
            ("shallow PLRNN + adaptive GTF", (2.4, 0.2), (0.13, 0.01), (5.4e-1, 0.6e-1)),
            ("shallow PLRNN + sparse forcing", (14, 7), (0.50, 0.16), (2.5e-1, 0.3e-1)),
            ("dendritic PLRNN + identity forcing", (3, 1), (0.13, 0.04), (3.4e-1, 0.1e-1)),
            ("reservoir", (14, 7), (0.54, 0.15), (5.9e-1, 0.3e-1)),
            ("LSTM", (30, 21), (0.2, 0.1), (9.2e-1, 2.3e-1)),
            ("neural ODE", (20, 0.5), (0.47, 0.01), (5.5e-1, 0.2e-1)),
            ("LEM", (10.2, 1.5), (0.38, 0.06), (8.2e-1, 0.6e-1)),
        ),
    ),
)
_CNS = "output of the tutorial notebook in DurstewitzLab/CNS-2023; one run"
_ALRNN = "output of the Python tutorial in DurstewitzLab/ALRNN-DSR; one run"
_DYNAMIX = "output of the notebook in DurstewitzLab/DynaMix-python; one run"
_AGGREGATOR = "second-hand: wizwand.com, not checked against the paper"


def _table() -> tuple[PublishedScore, ...]:
    rows = []
    for dataset, n_channels, n_steps, note, methods in _GTF_TABLE:
        for rank, (method, *scores) in enumerate(methods):
            for score, (value, spread) in zip(("d_stsp", "d_hellinger", "prediction_error"), scores):
                row = PublishedScore(dataset, n_channels, "gtf-2023", method, score, value, spread, _POSTER, note, headline=rank == 0)
                rows.append(row._replace(n_steps=n_steps))
    for dataset, method, where, n_steps, d_stsp, d_hellinger, headline in (
        ("lorenz63", "shallow PLRNN (M=3, L=50)", _CNS, None, 0.233, 0.081, True),
        ("lorenz63", "AL-RNN (M=20, P=2)", _ALRNN, 10_000, 3.52, 0.143, False),
        ("lorenz63", "DynaMix, zero-shot", _DYNAMIX, 10_000, 0.804, 0.064, False),
        ("chua", "DynaMix, zero-shot", _DYNAMIX, 10_000, 2.21, 0.088, True),
        ("sprottm", "DynaMix, zero-shot", _DYNAMIX, 10_000, 3.32, 0.097, True),
    ):
        for score, value in (("d_stsp", d_stsp), ("d_hellinger", d_hellinger)):
            rows.append(PublishedScore(dataset, 3, "cns-2023", method, score, value, None, where, headline=headline, n_steps=n_steps))
    for dataset, n_channels, value in (("lorenz63", 3, 0.26), ("lorenz96", 20, 1.68)):
        method = "shallow PLRNN + GTF"
        row = PublishedScore(dataset, n_channels, "gtf-2023", method, "d_stsp", value, None, _AGGREGATOR, second_hand=True, headline=True)
        rows.append(row._replace(n_steps=100_000))
    return tuple(rows)


PUBLISHED: tuple[PublishedScore, ...] = _table()

_ALIASES = {"lorenz": "lorenz63", "ecgppgdalia": "ecg", "ppgdalia": "ecg", "ecgpecuzal5d": "ecg", "eegphysionet": "eeg"}


def published_scores(dataset: str, preset: str, *, n_channels: int | None = None) -> list[PublishedScore]:
    """All published figures on a dataset as a preset measures them, the headline ones first; empty where there are none.

    >>> [row.value for row in published_scores("ECG", "gtf-2023") if row.headline]
    [4.3, 0.34, 0.0024]
    """
    key = "".join(letter for letter in dataset.lower() if letter.isalnum())
    key = _ALIASES.get(key, key)
    rows = [r for r in PUBLISHED if r.dataset == key and r.preset == preset and n_channels in (None, r.n_channels)]
    return sorted(rows, key=lambda row: not row.headline)


def headline(attrs: Mapping[str, object], presets: tuple[str, ...], n_channels: int) -> dict[str, PublishedScore]:
    """The headline figure of each score for the dataset that a recording's attrs name (``dataset`` or ``system``), by score."""
    found: dict[str, PublishedScore] = {}
    for name in ("dataset", "system"):
        if isinstance(value := attrs.get(name), str):
            for preset in presets:
                for row in published_scores(value, preset, n_channels=n_channels):
                    if row.headline:
                        found.setdefault(row.score, row)
    return found
