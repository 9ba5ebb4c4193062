"""The command line, through its entry point."""

from __future__ import annotations

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.cli import main

SMALL = ["--updates", "20", "--sequence-length", "20", "--fits", "2", "--hidden-dim", "5", "--no-progress"]


def test_fit_judges_stores_and_reports(tmp_path, capsys):
    t = 0.1 * np.arange(1500)
    np.save(tmp_path / "x.npy", np.stack([np.sin(t), np.cos(0.7 * t)], 1) + 0.01 * np.random.default_rng(0).standard_normal((1500, 2)))
    main(["fit", str(tmp_path / "x.npy"), "--dt", "0.1", "--out", str(tmp_path / "run"), "--average", *SMALL])
    printed = capsys.readouterr().out
    assert "D_stsp" in printed
    assert "report.html" in printed
    tree = dr.read_results(tmp_path / "run" / "results.zarr")
    assert {"observed_data", "test_data", "training", "generated", "metrics"} <= set(tree.children)
    assert tree["observed_data"].sizes["time"] == 1200
    assert tree["test_data"].sizes["time"] == 300
    assert tree["metrics"].d_stsp.sizes == {"fit": 2}
    assert tree["metrics_average"].d_stsp.sizes == {"fit": 1}
    assert dr.load(tmp_path / "run" / "checkpoints" / "average").hidden_dim == 10
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<img" in page
    (tmp_path / "run" / "report.html").unlink()
    main(["report", str(tmp_path / "run")])
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.filterwarnings("always:.*stopped early:UserWarning")
def test_fits_that_were_stopped_are_told_once(tmp_path, capsys):
    main(["fit", "lorenz63", "--steps", "1500", "--learning-rate", "1000", "1000", "--out", str(tmp_path / "run"), *SMALL, "--updates", "40"])
    printed = capsys.readouterr()
    assert printed.err.startswith("dynrnn: warning: 2 of 2 fits stopped early: fit 0 after about update ")
    assert ".py:" not in printed.err
    assert "2 stopped" in printed.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "lorentz63", "--out", "{tmp}/run"], ["UnknownNameError", "lorenz63"]),
        (["fit", "{tmp}/nothing.npy", "--out", "{tmp}/run"], ["nothing.npy"]),
        (["fit", "{tmp}/x.xyz", "--out", "{tmp}/run"], [".xyz"]),
        (["fit", "lorenz63", "--preset", "gtf2023", "--out", "{tmp}/run"], ["gtf-2023"]),
        (["fit", "lorenz63", "--steps", "500", "--alpha", "1.5", "--out", "{tmp}/run"], ["alpha"]),
        (["fit", "{tmp}/x.csv", "--dt", "0.1", "--model", "alrnn", "--average", "--out", "{tmp}/run"], ["latent_dim = 20"]),
        (["fit", "{tmp}/nothing.npy", "--alpha", "1.5", "--out", "{tmp}/run"], ["alpha"]),       # before anything is read
        (["fit", "lorenz63", "--steps", "500", "--areas", "6", "6", "--out", "{tmp}/run"], ["--areas", "shallow-plrnn"]),
        (["fit", "lorenz63", "--steps", "500", "--model", "assembly", "--latent-dim", "6", "--out", "{tmp}/run"], ["--latent-dim"]),
        (
            ["fit", "{tmp}/x.csv", "--dt", "0.1", "--model", "assembly", "--areas", "3", "3", "--blocks", "svd", "--integrator", "euler", "--step", "5",
             "--out", "{tmp}/run"],
            ["CertificateError", "0 < dt <= 0.99"],
        ),
        (["fit", "{tmp}/x.csv", "--dt", "0.1", "--model", "wave-rnn", "--kernel-size", "4", "--out", "{tmp}/run"], ["odd", "got 4"]),
        (["fit", "{tmp}/x.csv", "--dt", "0.1", "--model", "wave-rnn", "--latent-dim", "9", "--out", "{tmp}/run"], ["--ring-channels"]),
        (["report", "{tmp}"], ["no run"]),
        (["fit", "lorenz63", "--updates", "-5", "--out", "{tmp}/run"], ["--updates", "at least 1"]),
        (["fit", "lorenz63", "--model", "plrnn", "--n-relu", "3", "--out", "{tmp}/run"], ["--n-relu", "plrnn"]),
        (["fit", "lorenz63", "--forcing", "sparse", "--alpha", "0.4", "--out", "{tmp}/run"], ["--alpha", "--forcing sparse"]),
        (["fit", "{tmp}/x.csv", "--steps", "500", "--out", "{tmp}/run"], ["--steps", "x.csv"]),
        (["fit", "{tmp}/still.csv", "--dt", "0.1", "--out", "{tmp}/run"], ["'b'", "constant"]),
        (["fit", "{tmp}/index.csv", "--dt", "0.1", "--out", "{tmp}/run"], ["column ''", "index=False"]),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(arguments, words, tmp_path, capsys):
    (tmp_path / "x.xyz").write_text("1")
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(50)))
    (tmp_path / "still.csv").write_text("a,b\n" + "".join(f"{i % 7},{min(i, 300)}\n" for i in range(500)))
    (tmp_path / "index.csv").write_text(",a\n" + "".join(f"{i},{i % 7}\n" for i in range(500)))
    with pytest.raises(SystemExit) as end:
        main([a.replace("{tmp}", str(tmp_path)) for a in arguments])
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("dynrnn: ")
    assert "Traceback" not in printed
    for word in words:
        assert word in printed, printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", [["--keep", "best"], ["--validate"], ["--validate-mean"], ["--validate-every", "7"], []])
def test_free_runs_are_followed_beside_all_that_is_trained_on(asked, tmp_path, monkeypatch):
    """Four fifths of the file, of which nothing is held out for them."""
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(500)))

    class Asked(Exception):
        pass

    def fit(model, training, validation=None, **options):
        assert training.sizes["time"] == 400
        assert validation is (training if asked else None)
        assert options["validate_every"] == (7 if "7" in asked else None)
        raise Asked

    monkeypatch.setattr(dr, "fit", fit)
    with pytest.raises(Asked):
        main(["fit", str(tmp_path / "x.csv"), "--dt", "0.1", *asked, "--out", str(tmp_path / "run")])


def test_datasets_are_listed(capsys):
    main(["datasets"])
    printed = capsys.readouterr().out
    assert "lorenz63" in printed
    assert "nitime-fmri" in printed


def test_learning_from_a_file_goes_on_where_it_stopped(tmp_path, capsys):
    t = 0.1 * np.arange(400)
    rows = [f"{np.sin(a)},{np.cos(a)}" for a in t]
    (tmp_path / "stream.csv").write_text("\n".join(["x,y", *rows[:200]]) + "\n")
    arguments = ["learn", str(tmp_path / "stream.csv"), "--out", str(tmp_path / "learner"), "--hidden-dim", "6", "--warmup", "50", "--no-progress"]
    main(arguments)
    assert "200 samples" in capsys.readouterr().out
    (tmp_path / "stream.csv").write_text("\n".join(rows[200:]))
    main([*arguments, "--block", "7"])
    assert "400 samples" in capsys.readouterr().out
    whole = dr.OnlineLearner(dr.ShallowPLRNN(2, 2, 6, random_state=0), warmup=50, random_state=0)
    whole.learn(np.stack([np.sin(t), np.cos(t)], 1))
    np.testing.assert_array_equal(dr.OnlineLearner.load(tmp_path / "learner").state.values, whole.state.values)
