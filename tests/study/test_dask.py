"""Studies and maps over fits on the workers of a Dask client: the results of one process, whatever happens to workers."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import xarray as xr
from optuna.trial import TrialState

import dynrnn as dr
from dynrnn.errors import ArgumentError, RecordingError, RunFolderError, StudyError, UnknownNameError
from dynrnn.results import write_results
from dynrnn.results.run_folder import RunFolder
from dynrnn.study.cluster import THREAD_VARIABLES
from dynrnn.study.dask import _Crew, take_trials, work_on_client
from dynrnn.study.task import Task

N_TRIALS = 4


@pytest.fixture(scope="module")
def client():
    with dr.study.local_cluster(n_workers=2, threads_per_fit=1) as cluster, cluster.get_client() as client:
        yield client


@pytest.fixture(scope="module")
def recording():
    return dr.load_dataset("lorenz63", n_steps=1_500, random_state=0)


def search(recording, out, **more):
    given = {"n_trials": N_TRIALS, "n_seeds": 2, "batch": 2, "sampler": "random", "progress": False} | more
    return dr.study.optimize({"model": "esn", "reservoir_dim": 20}, {"spectral_radius": (0.2, 1.2), "leak": (0.2, 1.0)}, recording, out=out, **given)


def test_a_study_on_two_workers_is_the_study_of_one(client, recording, tmp_path):
    one, two = search(recording, tmp_path / "one"), search(recording, tmp_path / "two", client=client)
    assert one.trials.drop(columns="seconds").equals(two.trials.drop(columns="seconds"))
    assert len(two.trials) == N_TRIALS
    assert (two.trials.state == "complete").all()
    for number in range(N_TRIALS):
        a, b = (study.load(number).state_dict() for study in (one, two))
        assert all(bool((a[name] == b[name]).all()) for name in a)
        assert RunFolder.open(tmp_path / "two" / "trials" / f"{number:05d}").config["threads"] == 1


def try_out(function, client, out, n_trials):
    return dr.study.optimize(function, {"x": (-1.0, 1.0)}, objective="minimize", out=out, n_trials=n_trials, client=client, progress=False)


def killing(marks, when):
    """A function of the user's own that notes each try, and kills its process at the tries that ``when`` names."""

    def function(params, random_state, folder):
        number = int(folder.name)
        tries = len(list(marks.glob(f"{number}-*")))
        (marks / f"{number}-{tries}").touch()
        if (number, tries) in when:
            os.kill(os.getpid(), signal.SIGKILL)
        return params["x"] ** 2

    return function


def test_a_killed_worker_loses_nothing(client, tmp_path):
    threads = os.environ.get("NUMBA_NUM_THREADS")
    marks = tmp_path / "marks"
    marks.mkdir()
    study = try_out(killing(marks, {(2, 0)}), client, tmp_path / "study", 6)
    assert [trial.state for trial in study._trials()] == [TrialState.COMPLETE] * 6
    tries = [len(list(marks.glob(f"{number}-*"))) for number in range(6)]
    assert tries == [1, 1, 2, 1, 1, 1]
    # the worker that replaces it is started from this process, in which Numba has its threads and would refuse to compile with another number
    assert os.environ.get("NUMBA_NUM_THREADS") == threads


@pytest.mark.slow
def test_a_trial_that_kills_its_workers_ends_as_a_failure(client, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    study = try_out(killing(marks, {(0, 0), (0, 1), (0, 2)}), client, tmp_path / "study", 2)
    assert study.trials.state.tolist() == ["fail", "complete"]
    assert "lost 3 times" in study.trials.reason[0]


def test_an_error_of_a_worker_comes_back_as_it_is(client, tmp_path):
    def broken(params, random_state, folder):
        raise LookupError("of my own")

    with pytest.raises(LookupError, match="of my own"):
        try_out(broken, client, tmp_path / "study", 20)
    with pytest.raises(RunFolderError, match="file system that all workers share"):
        client.submit(take_trials, str(tmp_path / "elsewhere"), None, 1, pure=False).result()
    lock = threading.Lock()
    with pytest.raises(ArgumentError, match="cannot be sent"):
        try_out(lambda *_: lock, client, tmp_path / "locked", 1)


def test_a_driver_that_is_stopped_leaves_no_worker_at_work(client, tmp_path, monkeypatch):
    """Ctrl-C: workers end after the trial that they are at, and the next call goes on."""

    def slow(params, random_state, folder):
        time.sleep(0.1)
        return params["x"]

    def look(crew, *numbers):
        if (tmp_path / "study" / "trials" / "00003").exists():
            raise KeyboardInterrupt
        return plain_look(crew, *numbers)

    plain_look = _Crew.look
    with monkeypatch.context() as patch:
        patch.setattr(_Crew, "look", look)
        with pytest.raises(KeyboardInterrupt):
            try_out(slow, client, tmp_path / "study", 200)
    # A worker runs one task at a time: when each has taken another one, none is at the study any more, and they were not at its end.
    client.gather([client.submit(int, i, pure=False, workers=[address]) for i, address in enumerate(client.scheduler_info()["workers"])])
    assert 4 <= len(list((tmp_path / "study" / "trials").iterdir())) < 50


def test_maps_over_fits_equal_the_call_without_a_client(client, recording):
    model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=8, n_fits=3, random_state=0)
    training = {"n_updates": 3, "sequence_length": 20, "batch_size": 4, "progress": False, "random_state": 5}
    far = dr.study.map_fits(dr.fit, model, recording, client=client, fits_per_task=1, **training)
    here = dr.fit(model, recording, **training)
    assert all(bool((value == far.model.state_dict()[name]).all()) for name, value in here.model.state_dict().items())
    xr.testing.assert_identical(here.history.drop_vars("seconds"), far.history.drop_vars("seconds"))
    xr.testing.assert_identical(here.status, far.status)
    for function, arguments, options in [
        (dr.analysis.lyapunov_spectrum, (), {"n_steps": 100, "n_segments": 4, "random_state": 0}),
        (dr.evaluate, (recording,), {"n_null": 1}),
        (dr.generate, (50,), {"initial": dr.generate(here, 20).latent.isel(time=-1)}),       # a start of its own for each fit
    ]:
        xr.testing.assert_identical(function(here, *arguments, **options), dr.study.map_fits(function, here, *arguments, client=client, **options))


def test_a_sweep_over_a_list_keeps_its_order(client):
    """Exponents of the logistic map, at r = 3.2 of a 2-cycle with the multiplier 4 + 2 r - r^2, at r = 2.5 of a fixed point with the multiplier 2 - r."""

    def spectrum(r):
        return dr.analysis.lyapunov_spectrum(lambda x: r * x * (1 - x), dim=1, n_steps=400, n_segments=4, random_state=0)

    swept = dr.study.map_fits(spectrum, [4.0, 3.2, 2.5], client=client)
    xr.testing.assert_identical(swept, dr.study.map_fits(spectrum, [4.0, 3.2, 2.5]))
    assert swept.fit.values.tolist() == [0, 1, 2]
    assert swept.value.values[1, 0] == pytest.approx(0.5 * np.log(abs(4 + 2 * 3.2 - 3.2**2)), abs=1e-6)      # (1/2) ln |4 + 2 r - r^2|
    assert swept.value.values[2, 0] == pytest.approx(np.log(0.5), abs=1e-6)                                  # ln |2 - r|


def test_what_cannot_be_mapped_is_told(client, tmp_path):
    model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=4, n_fits=2, random_state=0)
    with pytest.raises(ArgumentError, match="same place"):
        dr.study.map_fits(dr.generate, model, 10, out=tmp_path / "x", client=client)
    with pytest.raises(ArgumentError, match="more than the fit"):
        dr.study.map_fits(_ragged, model, client=client)
    with pytest.raises(ArgumentError, match="of type int"):
        dr.study.map_fits(lambda model: 1, model, client=client)
    with pytest.raises(ArgumentError, match="n_steps"):
        dr.study.map_fits(dr.generate, model, 0, client=client)
    with pytest.raises(ArgumentError, match=r"get_client\(\)"):
        dr.study.map_fits(dr.generate, model, 10, client=client.cluster)
    with pytest.raises(ArgumentError, match=r"dask\.distributed\.Client, got str"):
        dr.study.map_fits(dr.generate, model, 10, client="tcp://127.0.0.1:8786")


def test_a_store_is_evaluated_trial_by_trial(client, tmp_path):
    model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=4, n_fits=2, random_state=0)
    x = np.cumsum(np.random.default_rng(0).standard_normal((3, 300, 3)), 1)
    x[1] *= 2
    recording = dr.as_recording(list(x), dt=0.1)
    path = write_results(tmp_path / "many.zarr", {"test_data": recording, "more": xr.Dataset({"a": ("b", [1.0])})})
    here = dr.study.evaluate_store(model, path, n_null=1)
    xr.testing.assert_identical(here, dr.study.evaluate_store(model, path, n_null=1, client=client, trials_per_task=2))
    assert here.d_stsp.dims == ("trial", "fit")
    for k in range(3):
        alone = dr.evaluate(model, recording.isel(trial=[k]), n_null=1)
        for name in alone:
            np.testing.assert_array_equal(here[name].values[k], alone[name].values)
    with pytest.raises(UnknownNameError, match="Did you mean 'test_data'"):
        dr.study.evaluate_store(model, path, "tst_data")
    with pytest.raises(RecordingError, match="is no recording"):
        dr.study.evaluate_store(model, path, "more", client=client)
    with pytest.raises(ArgumentError, match="generated"):
        dr.study.evaluate_store(model, path, generated=recording)


def test_a_trial_of_a_store_that_cannot_be_judged_is_named(client, tmp_path):
    model = dr.ShallowPLRNN(observed_dim=2, latent_dim=2, hidden_dim=4, random_state=0)
    x = np.cumsum(np.random.default_rng(0).standard_normal((300, 2)), 0)
    short = write_results(tmp_path / "short.zarr", {"test_data": dr.as_recording([x, x[:20]], dt=0.1)})
    with pytest.raises(RecordingError, match="trial 1 of .* has 20 samples"):
        dr.study.evaluate_store(model, short, client=client)
    still = write_results(tmp_path / "still.zarr", {"test_data": dr.as_recording([x, x, np.stack([x[:, 0], np.ones(300)], 1)], dt=0.1)})
    for where in ({}, {"client": client}):
        with pytest.raises(RecordingError, match="trial 2 of .*constant"):
            dr.study.evaluate_store(model, still, n_null=1, **where)


def _ragged(model):
    return xr.Dataset({"value": (("fit", "cycle"), np.zeros((1, 1 + int(model.fit_number[0]))))})


def test_every_socket_listens_on_loopback(client):
    pids = [os.getpid(), *client.run(os.getpid).values(), *[p.pid for p in psutil.Process().children(recursive=True)]]
    listening = [c for pid in set(pids) for c in psutil.Process(pid).net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3                                                      # the scheduler and two workers at the least
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    variables = client.run(lambda: {name: os.environ.get(name) for name in THREAD_VARIABLES})
    assert all(set(found.values()) == {"1"} for found in variables.values())


class PlainClient:
    """The two methods of Dask's client that are used, on threads; addresses are what ``crews`` gives at each look."""

    def __init__(self, crews, lost=False):
        self.crews, self.lost, self.pool = iter(crews), lost, ThreadPoolExecutor(4)

    def scheduler_info(self, n_workers):
        assert n_workers == -1
        return {"workers": {address: {} for address in next(self.crews)}}

    def submit(self, function, *arguments, workers, allow_other_workers, pure, key):
        return PlainFuture(None if self.lost else self.pool.submit(function, *arguments))


class PlainFuture:
    def __init__(self, future):
        self.future = future

    @property
    def status(self):
        return "pending" if self.future is None or not self.future.done() else "error" if self.future.exception() else "finished"

    def exception(self):
        return self.future.exception()

    def cancel(self):
        pass


def forever(*crew):
    while True:
        yield crew


def test_any_client_that_submits_will_do_and_no_workers_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("dynrnn.study.dask.SAID_SECONDS", 0.0)
    monkeypatch.setattr("dynrnn.study.dask.POLL_SECONDS", 0.01)
    crews = itertools.chain([(), ()], forever("tcp://far:1"))
    with pytest.warns(UserWarning, match="no workers"):
        study = try_out(lambda params, random_state, folder: params["x"], PlainClient(crews), tmp_path / "study", 3)
    assert study.trials.state.tolist() == ["complete"] * 3


def test_workers_that_are_lost_time_and_again_stop_the_study(tmp_path, monkeypatch):
    monkeypatch.setattr("dynrnn.study.dask.POLL_SECONDS", 0.0)
    with pytest.raises(StudyError, match="no trial ended meanwhile"):
        try_out(lambda *_: 0.0, PlainClient(([f"tcp://far:{i}"] for i in range(50)), lost=True), tmp_path / "study", 3)
    assert not list((tmp_path / "study" / "trials").iterdir())


def test_a_batch_system_starts_workers_with_the_threads_that_are_asked_for():
    """As docs/scale.md sets it up; the script of a job needs no SLURM."""
    from dask_jobqueue import SLURMCluster

    exports = [f"export {name}=4" for name in THREAD_VARIABLES]
    local = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    job = {"cores": 4, "processes": 1, "memory": "8 GB", "worker_extra_args": ["--nthreads", "1"], "job_script_prologue": exports}
    with SLURMCluster(**job, scheduler_options=local) as cluster:
        script = cluster.job_script().splitlines()
    command = next(i for i, line in enumerate(script) if "dask_worker" in line)
    assert all(export in script[:command] for export in exports)
    assert script[command].split("--nthreads")[-1].split()[0] == "1"                # the last one counts
    assert "#SBATCH --cpus-per-task=4" in script


def test_dask_is_needed_by_clusters_alone():
    code = (
        "import sys; sys.modules['dask'] = sys.modules['distributed'] = None\n"
        "import dynrnn as dr; dr.study.optimize; dr.study.map_fits\n"
        "try: dr.study.local_cluster()\nexcept dr.ArgumentError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "dynrnn[distributed]" in said


TRAINED = {"model": "shallow-plrnn", "hidden_dim": 10, "n_updates": 500, "sequence_length": 50}
VARIED = {"alpha": (0.05, 0.5), "learning_rate": (1e-3, 1e-2)}
GIVEN = {"n_trials": 4, "n_seeds": 2, "batch": 2, "sampler": "random", "progress": False}


@pytest.fixture(scope="module")
def of_one_process(recording, tmp_path_factory):
    return dr.study.optimize(TRAINED, VARIED, recording, out=tmp_path_factory.mktemp("one") / "study", **GIVEN).trials.drop(columns="seconds")


@pytest.mark.slow
@pytest.mark.parametrize("repeat", range(5))
def test_workers_killed_at_random_moments_change_nothing(client, recording, tmp_path, repeat, of_one_process):
    """Two kills among the trials of models that are trained: the study is that of one process, trial for trial."""
    rng, stop, killed = random.Random(repeat), threading.Event(), []

    def kill():
        for _ in range(2):
            if stop.wait(rng.uniform(0.5, 4.0)):
                return
            with contextlib.suppress(Exception):                                    # one that dies or starts while it is asked
                os.kill(rng.choice(sorted(client.run(os.getpid).values())), signal.SIGKILL)
                killed.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    study = dr.study.optimize(TRAINED, VARIED, recording, out=tmp_path / "study", client=client, **GIVEN)
    stop.set()
    killer.join()
    assert killed
    assert study.trials.drop(columns="seconds").equals(of_one_process)
    assert (study.trials.state == "complete").all()


def test_a_client_is_asked_for_before_anything_begins(tmp_path):
    with pytest.raises(ArgumentError, match=r"got int"):
        work_on_client(1, tmp_path, Task(None, {}, {}, ("value_0",), ("minimize",)), None, None)
