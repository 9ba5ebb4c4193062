"""One self-contained HTML page about a run: what came out, beside floors and nulls, and where it came from.

It reads the run's folder through ``dynrnn.results`` alone, loads nothing from elsewhere, and escapes every name, since names come from
other people's files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import DynrnnError, FileFormatError
from dynrnn.pages import description, document, number, picture, png_of, spread
from dynrnn.results import RunFolder, check_schema, read_results
from dynrnn.results._files import replace_file
from dynrnn.results.schema import ANALYSES

SCORES = {
    "d_stsp": ("D_stsp", "divergence of the invariant measures, nats; lower is better"),
    "d_hellinger": ("D_H", "Hellinger distance of the power spectra, 0 to 1; lower is better"),
    "prediction_error": ("PE", "mean squared error of short forecasts; lower is better"),
    "valid_prediction_time": ("valid time", "how long forecasts stay close; higher is better"),
}
COLUMNS = {"floor": "floor", "surrogate": "surrogate", "linear": "linear model", "persistence": "persistence", "published": "published"}
_KINDS = {
    "diverged": "diverged",
    "collapsed": "collapsed: D_stsp is about that of an orbit that stands still",
    "missed the attractor": "missed the attractor: D_stsp is above 2",
    "stopped in training": "stopped early in training",
}
GOOD_LIMIT = 2.0
"""A fit whose D_stsp (nats) is above this has missed the attractor."""


def report(run_folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` into a run's folder and return its path.

    The page holds a verdict, the scores beside their floors, nulls and published figures, every fit with its seed and status, the
    attractor, spectra, time series and the history of training, what ``dr.analyze`` found, and the provenance. It is one file that needs
    no network. Groups of results that are missing are said to be.

    Raises FileFormatError for a folder without a run or with damaged results, RunFolderError if the page cannot be written.
    Cost: O(samples log samples) of the first trial, for the spectra.
    """
    if (RunFolder(run_folder).path / "study.json").exists():
        raise FileFormatError(f"{run_folder} holds a study, not a run: dynrnn study report {run_folder}, or name one of its trials' folders.")
    folder = RunFolder.open(run_folder)
    if not folder.results.exists():
        raise FileFormatError(f"{folder.path} holds no results yet (no {folder.results.name}). Let the fit end, or resume it.")
    tree = read_results(folder.results, lazy=True)
    html = page(tree, folder.config, folder.path.resolve().name, folder.libraries)
    replace_file(folder.report, html.encode("utf-8", "replace"))
    return folder.report


def page(tree: xr.DataTree, config: Mapping[str, Any], name: str, libraries: Mapping[str, Any] | None = None) -> str:
    """The page's HTML for a tree of results, the run's configuration and name, and the versions of libraries that it was made with."""
    metrics = tree["metrics"].to_dataset().load() if "metrics" in tree.children else None
    training = tree["training"].to_dataset().load() if "training" in tree.children else None
    states = fit_states(metrics, training)
    title = _title(tree, config, name)
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="sub">{escape(_subtitle(tree, name))}</p>', _verdict(metrics, states)]
    if metrics is not None:
        parts += ["<h2>Scores</h2>", _score_table(metrics)]
    parts += ["<h2>Fits</h2>", _fit_table(metrics, training, states, tree.attrs)]
    parts += _figures(tree)
    parts += _taken_apart(tree)
    parts += ["<h2>Provenance</h2>", _provenance(tree, config, libraries or {})]
    return document(title, "\n".join(parts))


def fit_states(metrics: xr.Dataset | None, training: xr.Dataset | None) -> dict[Any, list[str]]:
    """What is wrong with each fit, by its label: stopped in training, diverged, collapsed, missed the attractor; an empty list is fine.

    Collapsed is a D_stsp of at least 0.8 of what an orbit scores that stays in one cell (the persistence null).
    """
    labels = list(dict.fromkeys([label for data in (training, metrics) if data is not None for label in _labels(data)]))
    states: dict[Any, list[str]] = {label: [] for label in labels}
    if training is not None and "status" in training:
        for label, status in zip(_labels(training), training["status"].values.tolist(), strict=True):
            if str(status).startswith(("stopped", "diverged")):
                states[label].append("stopped in training")
    if metrics is None or "d_stsp" not in metrics:
        return states
    ceiling = float(metrics["d_stsp_persistence"]) if "d_stsp_persistence" in metrics else np.inf
    diverged = metrics["diverged"].values if "diverged" in metrics else np.zeros(metrics.sizes["fit"], bool)
    for label, score, lost in zip(_labels(metrics), metrics["d_stsp"].values.tolist(), diverged.tolist(), strict=True):
        if lost or not np.isfinite(score):
            states[label].append("diverged")
        elif score > GOOD_LIMIT and score >= 0.8 * ceiling:
            states[label].append("collapsed")
        elif score > GOOD_LIMIT:
            states[label].append("missed the attractor")
    return states


def _labels(data: xr.Dataset) -> list[Any]:
    return data["fit"].values.tolist() if "fit" in data.coords else list(range(data.sizes.get("fit", 0)))


def _title(tree: xr.DataTree, config: Mapping[str, Any], name: str) -> str:
    setting = config.get("setting")
    model = config.get("model") or (setting.get("model") if isinstance(setting, dict) else None) or "model"
    recording = config.get("recording")
    data = config.get("dataset") or (recording.get("dataset") if isinstance(recording, dict) else None)
    if not data and "observed_data" in tree.children:
        attrs = tree["observed_data"].attrs
        data = attrs.get("dataset") or attrs.get("system") or attrs.get("source")
    return f"{model} on {data or name}"


def _subtitle(tree: xr.DataTree, name: str) -> str:
    bits = [f"run {name}"]
    if "observed_data" in tree.children:
        recording = tree["observed_data"].to_dataset()
        observed = recording["observed"]
        (dim,) = set(observed.dims) - {"trial", "time"}
        n_trials, n_channels = observed.sizes["trial"], observed.sizes[dim]
        total = int(recording["n_time"].sum()) if "n_time" in recording else n_trials * observed.sizes["time"]
        bits.append(f"{n_trials} trial{'s' * (n_trials > 1)}, {total:,} samples of {n_channels} channel{'s' * (n_channels > 1)}")
        if recording.attrs.get("units"):
            bits.append(f"dt {recording.attrs.get('dt', 1)} {recording.attrs['units']}")
    if tree.attrs.get("created_at"):
        bits.append(str(tree.attrs["created_at"]))
    return " · ".join(bits)


def _verdict(metrics: xr.Dataset | None, states: Mapping[Any, list[str]]) -> str:
    """One paragraph out of the numbers alone."""
    n = len(states)
    said = []
    if metrics is not None and "d_stsp" in metrics and metrics.sizes["fit"]:
        n_scored = metrics.sizes["fit"]
        text = f"Median D_stsp over {n_scored} fit{'s' * (n_scored > 1)} is {number(np.median(metrics['d_stsp'].values))}"
        medians = {label: metrics[f"d_stsp_{key}"] for key, label in COLUMNS.items() if _has(metrics, f"d_stsp_{key}")}
        beside = [f"{label} {number(np.median(null.values))}" for label, null in medians.items()]
        said.append(text + (f" ({', '.join(beside)})." if beside else "; no floor was computed."))
    else:
        said.append("The fits were not scored: the run holds no /metrics with d_stsp. Store them with run.store(metrics=dr.evaluate(...)).")
    for kind, words in _KINDS.items():
        labels = [label for label, found in states.items() if kind in found]
        if labels:
            which = ", ".join(f"{label}" for label in labels[:12]) + (", …" if len(labels) > 12 else "")
            said.append(f"{len(labels)} of {n} fits {words} (fit {which}).")
    bad = any(states.values())
    if not bad and n and metrics is not None and "d_stsp" in metrics:
        said.append("No fit diverged, collapsed or was stopped." if n > 1 else "The fit neither diverged, collapsed nor was stopped.")
    return f'<p class="verdict{" bad" if bad else ""}">{escape(" ".join(said))}</p>'


def _score_table(metrics: xr.Dataset) -> str:
    head = "<th>score</th><th>fits<small>median [min, max]</small></th>" + "".join(f"<th>{label}</th>" for label in COLUMNS.values())
    rows, notes = [], []
    for name, (label, _) in SCORES.items():
        if name not in metrics:
            continue
        values = metrics[name].values
        unit = metrics[name].attrs.get("units", "")
        shown = escape(label) + (f"<small>{escape(str(unit))}</small>" if unit and str(unit) != "1" else "")
        cells = [f"<td>{shown}</td>", f"<td>{spread(values)}</td>"]
        for key in COLUMNS:
            if not _has(metrics, f"{name}_{key}"):
                cells.append("<td>-</td>")
                continue
            null = metrics[f"{name}_{key}"]
            if key == "published":
                error = f" ± {number(float(null.attrs['spread']))}" if null.attrs.get("spread") is not None else ""
                source = "; ".join(str(null.attrs[item]) for item in ("method", "where", "note") if null.attrs.get(item))
                notes.append(source or "source not recorded")
                cells.append(f"<td>{number(float(null))}{error} <sup>{len(notes)}</sup></td>")
            else:
                cells.append(f"<td>{spread(null.values)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    if not rows:
        return '<p class="note">The group /metrics holds none of the scores.</p>'
    lines = [f"{i}: {note}" for i, note in enumerate(notes, 1)]
    lines += [f"{label}: {meaning}." for name, (label, meaning) in SCORES.items() if name in metrics]
    preset = metrics.attrs.get("preset")
    lines.append(
        (f"Preset {preset}. " if preset else "")
        + "Floor: stretches of the true system against each other. Surrogate: phase-randomised data. Linear model: vector autoregression. "
        + "Persistence: an orbit that stands still."
    )
    if metrics.attrs.get("floor_is_shorter"):
        lines.append("The floor is from shorter stretches than the scored orbit, so its D_stsp is too high.")
    below = "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>{below}'


def _fit_table(metrics: xr.Dataset | None, training: xr.Dataset | None, states: Mapping[Any, list[str]], attrs: Mapping[Any, Any]) -> str:
    if not states:
        return '<p class="note">The run holds neither /training nor /metrics, so there are no fits to list.</p>'
    scores = [name for name in SCORES if metrics is not None and name in metrics]
    trained = ["status", "refused steps", "last loss"] if training is not None else []
    head = ["fit", "seed", "outcome", *trained, *(SCORES[name][0] for name in scores)]
    texts = {2, 3} if training is not None else {2}
    rows = []
    for label, found in states.items():
        cells = [str(label), f"({attrs.get('random_state', '?')}, {label})", ", ".join(found) or ("scored" if scores else "trained")]
        if training is not None:
            at = _labels(training).index(label) if label in _labels(training) else None
            loss = training["loss"].values[at] if at is not None and "loss" in training else np.array([])
            loss = loss[np.isfinite(loss)]
            cells.append(str(training["status"].values[at]) if at is not None and "status" in training else "-")
            cells.append(f"{int(training['refused'].values[at]):,}" if at is not None and "refused" in training else "-")
            cells.append(number(loss[-1]) if loss.size else "-")
        if metrics is not None and scores:
            at = _labels(metrics).index(label) if label in _labels(metrics) else None
            cells += ["-" if at is None else number(metrics[name].values[at]) for name in scores]
        row = "".join(f'<td{" class=text" if i in texts else ""}>{escape(cell)}</td>' for i, cell in enumerate(cells))
        rows.append(f"<tr{' class=bad' if found else ''}>{row}</tr>")
    top = "".join(f"<th{' class=text' if i in texts else ''}>{escape(cell)}</th>" for i, cell in enumerate(head))
    note = '<p class="note">The seed of a fit is (random_state, fit).</p>'
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>{note}'


def _taken_apart(tree: xr.DataTree) -> list[str]:
    """What ``dr.analyze`` stored, in words, and the picture of a training's fixed points."""
    from dynrnn import plot
    from dynrnn.analysis import summary

    groups = {name: tree[name].to_dataset().load() for name in ANALYSES if name in tree.children}
    if not groups:
        return []
    parts = ["<h2>The models taken apart</h2>", f"<pre>{escape(summary(groups))}</pre>"]
    if "bifurcations" in groups:
        parts += _drawn(tree, [("Fixed points over the training", plot.plot_bifurcations, ("bifurcations",), "From the birth of each to its death.")])
    return parts


def _figures(tree: xr.DataTree) -> list[str]:
    from dynrnn import plot

    wanted = [
        ("Attractor", plot.plot_attractor, ("observed_data", "generated"), "Data and the model's free run within the same limits."),
        ("Power spectra", plot.plot_spectra, ("observed_data", "generated"), "Smoothed spectra of the data and of every fit's free run."),
        ("Time series", plot.plot_timeseries, ("observed_data", "generated"), "A free run need not follow the data in time."),
    ]
    if "training" in tree.children and "ridge" in tree["training"]:
        wanted.append(("Penalties", plot.plot_penalties, ("training",), "Errors of the solved readouts, in variances; filled: what each fit took."))
    else:
        wanted.append(("Training", plot.plot_training, ("training",), "Loss, forcing and gradient norm of all fits."))
    return _drawn(tree, wanted)


def _drawn(tree: xr.DataTree, wanted: list[tuple[str, Any, tuple[str, ...], str]]) -> list[str]:
    parts = []
    for title, draw, groups, caption in wanted:
        parts.append(f"<h2>{escape(title)}</h2>")
        missing = [name for name in groups if name not in tree.children]
        if missing:
            listed = ", ".join(f"/{name}" for name in missing)
            parts.append(f'<p class="note">Not drawn: the run holds no {listed}. Store it with run.store({missing[0]}=...).</p>')
            continue
        try:
            drawn = picture(png_of(draw(tree)), title, caption)
        except FileFormatError as error:
            if "damaged" in str(error) or "missing (" in str(error):
                raise
            parts.append(f'<p class="note">Not drawn: {escape(str(error))}</p>')
        except DynrnnError as error:
            parts.append(f'<p class="note">Not drawn: {escape(str(error))}</p>')
        else:
            parts.append(drawn)
    return parts


def _provenance(tree: xr.DataTree, config: Mapping[str, Any], libraries: Mapping[str, Any]) -> str:
    keys = ("dynrnn_version", "schema_version", "created_at", "random_state", "device", "dtype", "data_fingerprint")
    known = {key.replace("_", " "): tree.attrs[key] for key in keys if tree.attrs.get(key) not in (None, "")}
    if "metrics" in tree.children:
        attrs = tree["metrics"].attrs
        scored = ("preset", "preset_reference", "floor_source", "var_order", "n_true", "n_generated")
        known |= {key.replace("_", " "): attrs[key] for key in scored if key in attrs}
    if libraries:
        known["libraries"] = ", ".join(f"{name} {version}" for name, version in libraries.items())
    problems = check_schema(tree)
    missing = "".join(f'<p class="note">{escape(problem)}.</p>' for problem in problems)
    return (
        f"{description(known)}<h3>Configuration</h3><pre>{escape(json.dumps(dict(config), indent=1, ensure_ascii=False))}</pre>"
        + (f"<h3>Not in the results</h3>{missing}" if missing else "")
    )


def _has(data: xr.Dataset, name: str) -> bool:
    return name in data and data[name].size > 0
