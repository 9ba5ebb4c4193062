"""The command line of studies: ``dynrnn study run | work | show | rerun | report``, thin over ``dynrnn.study``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


def table_of(words: tuple[str, ...], option: str) -> dict[str, str]:
    """``name=value`` words as a table."""
    from dynrnn.errors import ArgumentError

    out = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name or not value:
            raise ArgumentError(f"{option} takes name=value, as in {option} alpha=0.05..0.5:log n_relu=1,2,3; got {word!r}.")
        out[name] = value
    return out


@dataclass
class Run:
    """Search for the settings with which a model reconstructs a recording best. The same command goes on where it was stopped."""

    source: tyro.conf.Positional[str]
    """A dataset's name (see `dynrnn datasets`) or a recording's file."""
    out: Path
    """Folder of the study."""
    setting: str = "shallow-plrnn"
    """A model family, or a published setting such as alrnn-lorenz63."""
    fix: tuple[str, ...] = ()
    """What is other than the default: name=value, such as n_updates=20000 forcing=sparse."""
    space: tuple[str, ...] = ()
    """What is varied: alpha=0.02..0.6:log hidden_dim=20..200 n_relu=1,2,3 noise=0..0.1:step=0.01; default the family's own space."""
    objective: tuple[str, ...] = ("d_stsp",)
    """One or several of d_stsp, d_hellinger, prediction_error, valid_prediction_time, n_parameters, n_symbols."""
    trials: int = 40
    seeds: int = 4
    """Fits of each setting, trained side by side; the value is their --aggregate."""
    aggregate: Literal["median", "mean", "worst"] = "median"
    batch: int = 1
    """Settings that are proposed together; those of equal shape train in one ensemble."""
    workers: int = 1
    """Processes on this machine."""
    sampler: str = "tpe"
    """tpe, random, gp, nsga2."""
    pruner: Literal["none", "median", "halving", "hyperband"] = "none"
    rungs: int = 10
    """At how many moments of a training a pruner looks at its quality, up to 20."""
    storage: str | None = None
    """A path that ends in .db or .journal, or env:NAME or file:PATH, where a PostgreSQL URL is kept; default study.db in the folder."""
    lease: float = 60.0
    """Seconds without a sign of life after which another worker takes a trial over."""
    preset: str = "dynrnn-1"
    random_state: int = 0
    steps: int = 20_000
    """Samples of a known system, for training and for judging."""
    noise: float = 0.0
    """Observation noise of a known system's training data, as a fraction of each channel's standard deviation."""
    dt: float | None = None
    key: str | None = None
    bin_size: float | None = None
    train: float = 0.8
    """Share of a recording to train on; settings are judged on the rest."""
    progress: bool = True

    def run(self) -> None:
        import dynrnn as dr
        from dynrnn.cli import load_source
        from dynrnn.errors import ArgumentError
        from dynrnn.study.setting import starting_point
        from dynrnn.study.space import own_space, plain

        fixed = {name: plain(value) for name, value in table_of(self.fix, "--fix").items()}
        varied = table_of(self.space, "--space")
        if both := sorted(fixed.keys() & varied.keys()):
            raise ArgumentError(f"{', '.join(both)}: both in --fix and in --space. Take it out of one.")
        training, validation, reference = load_source(
            self.source, steps=self.steps, noise=self.noise, dt=self.dt, key=self.key, bin_size=self.bin_size, train=self.train,
            random_state=self.random_state, n_references=1,
        )
        setting: Any = self.setting
        if fixed:
            start = starting_point(self.setting) | fixed
            varied = varied or own_space(start, fixed)
            setting = {name: value for name, value in start.items() if name not in varied}
        study = dr.study.optimize(
            setting, varied or None, training, validation=validation, reference=reference, out=self.out,
            objective=self.objective, n_trials=self.trials, n_seeds=self.seeds, aggregate=self.aggregate, batch=self.batch, n_workers=self.workers,
            sampler=self.sampler, pruner=self.pruner, n_rungs=self.rungs, preset=self.preset, storage=self.storage, lease=self.lease,
            random_state=self.random_state, progress=self.progress,
        )
        print(summary(study))
        print(f"report: {study.report()}")
        if not (study.trials.state == "complete").any():
            raise SystemExit(1)


@dataclass
class Work:
    """Add a worker to a study, on any machine that sees its folder and its storage."""

    study: tyro.conf.Positional[Path]
    share: int = 1
    """Workers that share a batch."""
    progress: bool = True

    def run(self) -> None:
        from tqdm.auto import tqdm

        from dynrnn.study.task import load_task
        from dynrnn.study.workers import work

        task = load_task(self.study)
        with tqdm(unit="trial", disable=not self.progress) as bar:
            print(f"{work(self.study, task, self.share, bar)} trials ended by this worker")


@dataclass
class Show:
    """Print a study's trials and the best."""

    study: tyro.conf.Positional[Path]

    def run(self) -> None:
        import dynrnn as dr

        study = dr.study.Study(self.study)
        print(study.trials.to_string(na_rep="-") if len(study.trials) else "no trial yet: dynrnn study work " + str(self.study))
        print(summary(study))


@dataclass
class Rerun:
    """Run a trial again: with the study's seeds to the same bits, with other ones to see how good the setting is where it was not chosen."""

    study: tyro.conf.Positional[Path]
    number: tyro.conf.Positional[int]
    seeds: int | None = None
    """Fits to train; default as many as in the study."""
    random_state: int | None = None
    """Another one than the study's gives other seeds; default the study's."""

    def run(self) -> None:
        import numpy as np

        import dynrnn as dr
        from dynrnn.study.page_tables import metrics_of

        study = dr.study.Study(self.study)
        again = study.rerun(self.number, n_seeds=self.seeds, random_state=self.random_state)
        old, metrics = study.trials.loc[self.number], metrics_of(again.folder)
        for i, (name, values) in enumerate(again.per_fit.items()):
            value = "no finite value" if again.values is None else f"{again.values[i]:.4g}"
            floor = f"; floor {np.median(metrics[f'{name}_floor']):.3g}" if metrics is not None and f"{name}_floor" in metrics else ""
            print(f"{name}: {value} (in the study {old[name]:.4g}{floor}); each fit {' '.join(f'{float(v):.4g}' for v in sorted(values, key=float))}")
        other = self.random_state not in (None, study.task.random_state)
        same = {
            True: "equal to the study's, to the bit", False: "NOT equal to the study's: another machine, version or number of threads?",
            None: "of other seeds than the study's" if other else "not compared, since the study did not complete this trial",
        }[again.same]
        print(f"parameters: {same}\n{again.folder} (dynrnn report {again.folder} makes a page of it)")


@dataclass
class Report:
    """Write a study's report.html."""

    study: tyro.conf.Positional[Path]

    def run(self) -> None:
        import dynrnn as dr

        print(dr.study.Study(self.study).report())


def summary(study: Any) -> str:
    """The best trials in words, one a line, with what each fit had and the floor."""
    from dynrnn.errors import StudyError
    from dynrnn.study.recorded import floor_of, per_fit_of

    try:
        front = study.front
    except StudyError as error:
        return str(error)
    lines = []
    for trial in front:
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(study.task.objectives, trial.values))
        beside = [f"{name} of the fits {' '.join(f'{v:.3g}' for v in sorted(found))}" for name, found in per_fit_of(trial).items()]
        if floors := floor_of(trial):
            beside.append("floors " + ", ".join(f"{name} {value:.3g}" for name, value in floors.items()))
        told = f" ({'; '.join(beside)})" if beside else ""
        lines.append(f"trial {trial.number}: {values}{told}\n  {trial.params}")
    note = "chosen among many on the same seeds, so it looks better than it is. This tells how good it is:\n"
    note += f"dynrnn study rerun {study.path} {front[0].number} --random-state {study.task.random_state + 1} --seeds 10"
    return "\n".join([*lines, note])


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Work, tyro.conf.subcommand("work")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Rerun, tyro.conf.subcommand("rerun")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


@dataclass
class Study:
    """Search over hyperparameters and seeds, with workers that may be killed and a storage that outlives them."""

    command: Command

    def run(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.command.run()
