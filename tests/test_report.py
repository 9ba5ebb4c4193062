"""Facts about the page: self-contained, escaped, right about which fits failed, and plain about what is missing."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

from dynrnn.errors import FileFormatError
from dynrnn.reporting import fit_states, page, report
from dynrnn.results import RunFolder, stamp, write_results

NAMES = ["<script>alert(1)</script>", "a&b", '"><img src=x onerror=alert(1)>']


def tree_of(*groups: str) -> xr.DataTree:
    n = 400
    t = 0.1 * np.arange(n)
    truth = np.stack([np.sin(t), np.cos(t), np.sin(2 * t)], axis=1)
    runs = np.stack([truth[::-1], 0 * truth, truth])[:, None]
    coords = {"trial": [0], "time": t, "<i>dim": NAMES}
    fits = {"fit": [0, 1, 2]}
    history = {name: (("fit", "update"), np.full((3, 20), 0.5)) for name in ("loss", "alpha", "learning_rate", "gradient_norm", "seconds")}
    everything = {
        "observed_data": xr.Dataset(
            {"observed": (("trial", "time", "<i>dim"), truth[None]), "n_time": ("trial", [n])},
            coords=coords,
            attrs={"dt": 0.1, "units": "s", "dataset": "<b>lorenz</b>"},
        ),
        "training": xr.Dataset(
            {**history, "status": ("fit", ["finished", "finished", "stopped: step not finite"]), "refused": ("fit", [0, 3, 21])},
            coords=fits,
        ),
        "generated": xr.Dataset(
            {"observed": (("fit", "trial", "time", "<i>dim"), runs), "latent": (("fit", "trial", "time", "latent"), runs)},
            coords={**coords, **fits},
        ),
        "metrics": xr.Dataset(
            {
                "d_stsp": ("fit", [0.25, 10.5, np.inf]),
                "d_stsp_floor": ("pair", [0.04, 0.06, 0.05]),
                "d_stsp_surrogate": ("draw", [2.0, 3.0]),
                "d_stsp_persistence": 11.0,
                "d_stsp_published": ((), 0.26, {"where": "Table 1 of <somewhere>", "spread": 0.03}),
                "d_hellinger": ("fit", [0.1, 0.8, 1.0]),
                "diverged": ("fit", [False, False, True]),
            },
            coords=fits,
        ),
    }
    tree = xr.DataTree.from_dict({name: everything[name] for name in groups or everything})
    tree.attrs = stamp({"model": "alrnn"}, random_state=5, data_fingerprint="abc123")
    return tree


class Page(HTMLParser):
    """Tags that are open at the end, attributes that load something, the text, and every table row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack, self.loads, self.tags, self.rows, self.words = [], [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "img"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.stack):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "one", {"model": "alrnn", "note": "</pre><script>alert(2)</script>"})
    write_results(run.results, tree_of())
    path = report(run.path)
    assert path == run.report
    return path.read_text()


def test_the_page_needs_nothing_from_elsewhere(html):
    parsed = Page(html)
    assert parsed.stack == []
    assert len(parsed.loads) == 4
    for source in parsed.loads:
        kind, data = source.split(",", 1)
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    assert not re.search(r"https?://|@import|url\(", html)


def test_names_from_files_are_text_never_markup(html):
    parsed = Page(html)
    assert set(parsed.tags) & {"script", "b", "i", "somewhere", "iframe"} == set()
    text = "".join(parsed.words)
    for name in ("<b>lorenz</b>", "</pre><script>alert(2)</script>", "Table 1 of <somewhere>"):
        assert name in text
    assert "alrnn on <b>lorenz</b>" in text


def test_the_numbers_stand_beside_floor_nulls_and_source(html):
    rows = {row[0]: row[1:] for row in Page(html).rows}
    assert rows["D_stsp"] == ["10.5 [0.25, inf]", "0.05 [0.04, 0.06]", "2.5 [2, 3]", "-", "11", "0.26 ± 0.03 1"]
    assert rows["D_H"][1:] == ["-"] * 5


def test_every_fit_is_listed_with_seed_and_outcome(html):
    rows = [row for row in Page(html).rows if row[0] in ("0", "1", "2")]
    assert [row[1] for row in rows] == ["(5, 0)", "(5, 1)", "(5, 2)"]
    assert [row[2] for row in rows] == ["scored", "collapsed", "stopped in training, diverged"]
    assert [row[4] for row in rows] == ["0", "3", "21"]
    assert [row[6] for row in rows] == ["0.25", "10.5", "inf"]
    assert "1 of 3 fits diverged (fit 2)" in html
    assert "abc123" in html


@pytest.mark.parametrize(
    ("score", "ceiling", "found"),
    [(0.3, 11.0, []), (1.99, 2.0, []), (2.5, 11.0, ["missed the attractor"]), (8.9, 11.0, ["collapsed"]), (np.nan, 11.0, ["diverged"])],
)
def test_outcomes_follow_from_score_and_ceiling(score, ceiling, found):
    metrics = xr.Dataset({"d_stsp": ("fit", [score]), "d_stsp_persistence": ceiling}, coords={"fit": [4]})
    assert fit_states(metrics, None) == {4: found}


@pytest.mark.parametrize("groups", [("training",), ("observed_data",), ("metrics",), ("observed_data", "training")])
def test_missing_groups_are_said(groups):
    parsed = Page(page(tree_of(*groups), {}, "run"))
    text = "".join(parsed.words)
    for name in {"observed_data", "training", "generated", "metrics"} - set(groups):
        assert f"group /{name} is missing" in text
    assert ("not scored" in text) == ("metrics" not in groups)
    assert parsed.tags.count("img") == ("training" in groups)


def test_folders_without_results_and_damaged_ones_are_errors(tmp_path):
    run = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(FileFormatError, match="no results yet"):
        report(run.path)
    write_results(run.results, tree_of())
    chunk = run.results / "generated" / "observed" / "c" / "0" / "0" / "0" / "0"
    raw = bytearray(chunk.read_bytes())
    raw[-1] ^= 1
    chunk.write_bytes(bytes(raw))
    with pytest.raises(FileFormatError, match="'observed'"):
        report(run.path)
    assert not run.report.exists()
