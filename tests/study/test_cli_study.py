"""Studies from the shell: one command, and mistakes."""

import sys

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.cli import main

ESN = ["--setting", "esn", "--fix", "reservoir_dim=20", "--trials", "2", "--seeds", "1", "--no-progress"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path, t = tmp_path_factory.mktemp("data") / "waves.csv", np.arange(1_500) * 0.1
    np.savetxt(path, np.stack([np.sin(t), np.cos(1.3 * t)], 1), delimiter=",", header="a,b", comments="")
    return [str(path), "--dt", "0.1"]


def test_a_study_in_one_command_goes_on_with_the_same_command(tmp_path, capsys, source):
    out = str(tmp_path / "run")
    main(["study", "run", *source, *ESN, "--space", "spectral_radius=0.2..1.2", "ridge=1e-8..1e-4:log", "--out", out])
    said = capsys.readouterr().out
    assert "floors d_stsp" in said
    assert "looks better than it is" in said
    first = dr.study.Study(out).trials
    main(["study", "run", *source, *ESN, "--space", "spectral_radius=0.2..1.2", "ridge=1e-8..1e-4:log", "--out", out])
    assert dr.study.Study(out).trials.equals(first)
    main(["study", "show", out])
    assert "spectral_radius" in capsys.readouterr().out
    main(["study", "rerun", out, "1"])
    assert "to the bit" in capsys.readouterr().out
    main(["study", "rerun", out, "1", "--random-state", "5", "--seeds", "1"])
    assert "other seeds" in capsys.readouterr().out


def test_what_is_fixed_leaves_the_rest_of_the_space(source, monkeypatch):
    seen = {}
    monkeypatch.setattr(dr.study, "optimize", lambda setting, space, *others, **more: seen.update(setting=setting, space=space) or sys.exit(0))
    with pytest.raises(SystemExit):
        main(["study", "run", *source, "--setting", "alrnn-lorenz63", "--fix", "n_updates=20", "noise=0.04", "--out", "x"])
    assert set(seen["space"]) == {"interval", "latent_dim", "n_relu", "learning_rate"}
    assert seen["setting"]["noise"] == 0.04
    assert not seen["setting"].keys() & seen["space"].keys()


def test_a_study_of_failures_alone_is_no_success(source, monkeypatch, capsys, tmp_path):
    def broken(*arguments):
        raise dr.RecordingError("nothing works")

    monkeypatch.setattr("dynrnn.study.workers.run_trials", broken)
    with pytest.raises(SystemExit) as caught:
        main(["study", "run", *source, *ESN, "--space", "spectral_radius=0.2..1.2", "--out", str(tmp_path / "run")])
    assert caught.value.code == 1
    assert "nothing works" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [
    (["run", *ESN, "--space", "spectral_radious=0.2..1.2"], "Did you mean 'spectral_radius'"),
    (["run", *ESN, "--space", "spectral_radius"], "name=value"),
    (["run", *ESN, "--space", "reservoir_dim=10..20"], "both in --fix and in --space"),
    (["run", *ESN, "--space", "spectral_radius=0.2..1.2", "--storage", "postgresql://me:canary@host/db"], "has a password"),
    (["run", *ESN, "--space", "spectral_radius=0.2..1.2", "--sampler", "cmaes"], "unpickles"),
    (["show"], "no study.json"),
    (["rerun", "0"], "no study.json"),
])
def test_mistakes_are_one_message(tmp_path, capsys, source, words, said):
    where = ["--out", str(tmp_path / "x")] if words[0] == "run" else [str(tmp_path / "x")]
    with pytest.raises(SystemExit) as caught:
        main(["study", words[0], *(source if words[0] == "run" else []), *where, *words[1:]])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "canary" not in error
    assert "Traceback" not in error
