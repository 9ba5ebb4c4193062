"""The page of a study: right about what is best, what failed and what is luck; self-contained; escaped; and drawn for no trial as for many."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import optuna
import pytest

import dynrnn as dr
from dynrnn.cli_study import summary
from dynrnn.study.page_figures import FEWEST
from dynrnn.study.study import Study
from dynrnn.study.task import keep
from dynrnn.study.workers import trial_folder

HOSTILE = '"><img src=x onerror=alert(1)>$_{'
REASON = "<script>alert(2)</script> & far"
N_TRIALS = 45


class Page(HTMLParser):
    """Tags, what is loaded or linked, words, table rows."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.pictures, self.links, self.words, self.rows = [], [], [], [], []
        self.cell = False
        self.feed(path.read_text())
        self.text = "".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attrs = dict(attrs)
        assert not any(name.startswith("on") for name in attrs)
        self.pictures += [attrs["src"]] if tag == "img" else []
        self.links += [attrs["href"]] if tag == "a" else []
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.words.append(data)
        if self.cell:
            self.rows[-1][-1] += data

    def trials(self):
        """Rows of the table of all trials, by number."""
        head = next(i for i, row in enumerate(self.rows) if row[:2] == ["trial", "state"])
        return {int(row[0]): row[1:] for row in self.rows[head + 1:] if row[0].isdigit() and len(row) == len(self.rows[head])}


def bowl(params, random_state, folder):
    """Fails above .8 by an error and where it is told to by NaN."""
    if params[HOSTILE] > 0.8:
        raise dr.ArgumentError(REASON)
    return np.nan if params["kind"] == "nan" else params[HOSTILE] ** 2 + 0.01


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    space = {HOSTILE: (-1.0, 1.0), "kind": ["a", "b", "nan"], "n": (1, 5)}
    out = tmp_path_factory.mktemp("many") / "study"
    study = dr.study.optimize(bowl, space, out=out, objective="minimize", n_trials=N_TRIALS, sampler="random", progress=False)
    return study, Page(study.report())


def test_the_page_loads_nothing_and_its_links_stay_in_the_folder(many):
    study, page = many
    assert all(picture.startswith("data:image/png;base64,iVBOR") for picture in page.pictures)
    assert len(page.pictures) == 3                                                  # history, importances, slices
    assert all(re.fullmatch(r"trials/\d{5}/", link) and (study.path / link).is_dir() for link in page.links)
    html = (study.path / "report.html").read_text()
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|url\(", html)


def test_names_and_reasons_are_text_never_markup(many):
    _, page = many
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert REASON in page.text


def test_every_trial_is_listed_as_the_storage_has_it(many):
    study, page = many
    rows, stored = page.trials(), study.trials
    assert sorted(rows) == list(range(N_TRIALS))
    for number, row in rows.items():
        state = {"fail": "failed"}.get(stored.state[number], stored.state[number])
        assert row[0].removesuffix(" *") == state
        assert row[1] == (f"{stored.value_0[number]:.3g}" if state == "complete" else "-")
    assert [number for number, row in rows.items() if row[0].endswith("*")] == [study.best.number]
    assert f"Trial {study.best.number} is best: value_0 {stored.value_0.min():.3g}" in page.text


def test_failures_are_counted_by_reason(many):
    study, page = many
    rows = {row[0]: int(row[1]) for row in page.rows if len(row) == 3 and row[1].isdigit()}
    assert rows == study.trials.reason[lambda reason: reason != ""].value_counts().to_dict()
    assert len(rows) == 2


def test_a_parameter_that_decides_all_is_the_important_one(many):
    study, page = many
    assert "Importances need" not in page.text
    assert study.trials.state.eq("complete").sum() >= FEWEST
    assert next(iter(optuna.importance.get_param_importances(study.optuna))) == HOSTILE


def test_no_trial_and_no_complete_trial_are_said(many, tmp_path):
    study, _ = many
    task = replace(study.task, n_trials=3)
    empty = Study(tmp_path / "none", keep(task, tmp_path / "none"))
    page = Page(empty.report())
    assert "No trial has begun." in page.text
    assert page.pictures == []

    def lost(params, random_state, folder):
        return np.inf

    failed = dr.study.optimize(lost, {"x": (0.0, 1.0)}, out=tmp_path / "failed", objective="minimize", n_trials=1, progress=False)
    page = Page(failed.report())
    assert "No trial has been completed yet." in page.text
    assert ["objective 0 is inf, not a finite number", "1", "0"] in page.rows


def test_what_another_program_wrote_of_a_trial_is_left_out(many, tmp_path):
    study, _ = many
    task = replace(study.task, n_trials=4)
    other = Study(tmp_path / "other", keep(task, tmp_path / "other"))
    params = {HOSTILE: 0.5, "kind": "a", "n": 2}
    noted = [
        {"seconds": "long", "floor": "low", "per_fit": "good", "reason": ["many"]},
        {"seconds": None, "floor": {"value_0": "low"}, "per_fit": {"value_0": 3}},
        {"seconds": {"a": 1}, "floor": [], "per_fit": {"value_0": ["bad", 1.0, None]}},
    ]
    for i, attrs in enumerate(noted):
        stored = optuna.trial.create_trial(value=float(i), params=params, distributions=task.space, user_attrs=attrs)
        other.optuna.add_trial(stored)
    page = Page(other.report())
    assert "Trial 0 is best: value_0 0." in page.text
    assert [row[-1] for row in page.trials().values()] == ["-"] * 3
    assert other.trials.seconds.isna().all()
    assert summary(other).startswith("trial 0: value_0 0\n")


def test_a_front_of_three_objectives_holds_what_nothing_beats(tmp_path):
    def three(params, random_state, folder):
        return [params["a"] ** 2, (params["a"] - 1) ** 2, params["b"]]

    ways = ["minimize", "minimize", "maximize"]
    study = dr.study.optimize(three, {"a": (-2.0, 3.0), "b": (0.0, 1.0)}, out=tmp_path / "s", objective=ways, n_trials=12, sampler="random", progress=False)
    page = Page(study.report())
    sign = np.array([1, 1, -1])
    values = {trial.number: sign * trial.values for trial in study.optuna.trials}
    free = [k for k, v in values.items() if not any((w <= v).all() and (w < v).any() for w in values.values())]
    assert [number for number, row in page.trials().items() if row[0].endswith("*")] == free
    assert f"Importances need {FEWEST} complete trials, and there are 12." in page.text
    assert f"{len(free)} trial" in page.text


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Two trials of a small reservoir on channels with hostile names."""
    t = np.arange(1_500) * 0.1
    x = np.stack([np.sin(t), np.cos(1.3 * t)], 1)
    recording = dr.as_recording(x, dt=0.1).assign_coords(feature=[HOSTILE, "b"])
    setting = {"model": "esn", "reservoir_dim": 30}
    out = tmp_path_factory.mktemp("learned") / "study"
    return dr.study.optimize(setting, {"spectral_radius": (0.2, 1.0)}, recording, out=out, n_trials=2, n_seeds=2, progress=False)


def test_the_best_stands_with_each_fit_floors_nulls_and_the_warning(learned):
    page = Page(learned.report())
    best = learned.best
    each = " ".join(f"{v:.3g}" for v in sorted(best.user_attrs["per_fit"]["d_stsp"]))
    assert [str(best.number), f"{best.value:.3g}{each}"] in [row[:2] for row in page.rows]
    stored = dr.read_results(trial_folder(learned.path, best.number) / "results.zarr")["metrics"]
    row = next(row for row in page.rows if row[0] == "d_stsp" and len(row) == 6)
    columns = ("d_stsp", *(f"d_stsp_{kind}" for kind in ("floor", "surrogate", "linear", "persistence")))
    assert row[1:] == [f"{float(np.median(stored[name])):.3g}" for name in columns]
    assert "looks better than it is" in page.text
    assert f"dynrnn study rerun {learned.path} {best.number}" in page.text
    assert len(page.pictures) == 4                                                  # history, two attractors, slices


def test_reruns_with_other_seeds_are_what_the_best_is_judged_by(learned):
    number = learned.best.number
    again = learned.rerun(number, n_seeds=3, random_state=9)
    page = Page(learned.report())
    assert f"With seeds that it was not chosen by, trial {number} has d_stsp {again.values[0]:.3g} of 3 fits." in page.text
    assert f"reruns/{again.folder.name}/" in page.links


def test_a_trials_folder_is_a_run_that_report_takes(learned):
    path = dr.report(trial_folder(learned.path, 1))
    page = Page(path)
    assert "script" not in page.tags
    assert "esn on" in page.text
    assert [row for row in page.rows if row and row[0].startswith("D_stsp")]
    assert "Not drawn" not in page.text
