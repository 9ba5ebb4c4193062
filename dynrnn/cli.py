"""The command line: ``dynrnn fit | learn | analyze | study | report | datasets``, thin over the library."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dynrnn.cli_study import Study
from dynrnn.errors import DynrnnError

DEFAULT_LATENT = {"alrnn": 20, "ltc": 32}      # or as many as there are channels
RESERVOIRS = ("esn", "residual-esn", "euler-state-network", "deep-esn", "residual-memory-network", "next-generation-reservoir")
WAVES = ("wave-rnn", "identity-rnn")
OF_RESERVOIRS = (
    "reservoir_dim", "n_layers", "memory_dim", "n_delays", "stride", "spectral_radius", "leak", "beta", "input_scaling", "bias_scaling", "ridge", "washout",
    "solver", "forgetting",
)
OF_FAMILIES = {
    **dict.fromkeys(("areas", "blocks", "topology", "integrator", "step"), ("assembly",)), "hidden_dim": ("shallow-plrnn",), "n_bases": ("dendritic-plrnn",),
    "n_relu": ("alrnn",), "clipped": ("shallow-plrnn", "dendritic-plrnn"), "mean_centred": ("plrnn", "dendritic-plrnn"), "activation": WAVES,
    **dict.fromkeys(("positions", "ring_channels", "kernel_size", "velocity"), ("wave-rnn",)),
}
OF_FORCINGS = {"alpha": "gtf", "alpha_end": "gtf", "interval": "sparse", "norm": "adaptive"}
OF_DESCENT = (
    "latent_dim", "hidden_dim", "n_relu", "n_bases", "clipped", "mean_centred", "positions", "ring_channels", "kernel_size", "velocity", "activation",
    "observation", "init", "average", "forcing", "alpha", "alpha_end", "interval", "norm",
    "updates", "sequence_length", "batch_size", "learning_rate", "training_noise", "latent_regularisation", "observation_regularisation",
    "gradient", "gradient_clip", "keep", "validate_by", "validate_every", "validate_mean", "checkpoint_every",
)


@dataclass
class Fit:
    """Fit a model to a known system or a recording, run it freely, judge it, and write a report."""

    source: tyro.conf.Positional[str]
    """A dataset's name (see `dynrnn datasets`) or a recording's file (.csv .npy .npz .mat .nwb)."""
    out: Path
    """New folder for config, checkpoints, results.zarr and report.html."""
    model: Literal[
        "plrnn", "shallow-plrnn", "dendritic-plrnn", "alrnn", "esn", "residual-esn", "euler-state-network", "deep-esn", "residual-memory-network",
        "next-generation-reservoir", "wave-rnn", "identity-rnn", "assembly", "ltc",
    ] = "shallow-plrnn"
    latent_dim: int | None = None
    """Latent units M; default the number of channels (alrnn: 20 or more, ltc: 32 or more, identity-rnn: 40); wave-rnn has positions times ring channels."""
    hidden_dim: int = 50
    """Hidden units of shallow-plrnn."""
    n_relu: int = 2
    """Relu units of alrnn."""
    n_bases: int = 20
    """Bases of dendritic-plrnn."""
    clipped: bool = True
    """Clipped form of shallow-plrnn and dendritic-plrnn, whose orbits stay bounded where max|A| < 1."""
    mean_centred: bool = False
    """Mean-centred form of plrnn and dendritic-plrnn."""
    areas: tuple[int, ...] = (32, 32, 32, 32)
    """Units of each area of assembly, which contracts by construction and is for recordings with inputs."""
    blocks: Literal["sparse", "symmetric", "svd"] = "sparse"
    """Weights within the areas of assembly."""
    topology: Literal["all", "hierarchical", "hub"] = "all"
    """Which areas of assembly are coupled."""
    integrator: Literal["implicit-explicit", "euler"] = "implicit-explicit"
    step: float = 0.1
    """Step of assembly, in its time constants."""
    positions: int = 8
    """Positions on the ring of wave-rnn."""
    ring_channels: int = 8
    """Channels of wave-rnn's ring."""
    kernel_size: int = 3
    """Positions that a kernel of wave-rnn spans, odd."""
    velocity: float = 0.0
    """Positions a step of wave-rnn's initial wave; 0, the identity, suits finely sampled flows, 1 a memory of inputs."""
    activation: Literal["relu", "tanh", "identity"] = "tanh"
    """Of wave-rnn and identity-rnn; with relu free runs are not bounded."""
    reservoir_dim: int = 300
    """Units of a reservoir: esn, residual-esn, euler-state-network, deep-esn (of all layers), residual-memory-network (beside the memory). Reservoirs are
    solved; the options of descent are not for them."""
    n_layers: int = 3
    """Layers of deep-esn."""
    memory_dim: int = 100
    """Units of the linear memory of residual-memory-network."""
    n_delays: int = 2
    """Samples that next-generation-reservoir takes products of."""
    stride: int = 1
    """Steps between these."""
    spectral_radius: float | None = None
    leak: float | None = None
    """Leak of esn and deep-esn."""
    beta: float | None = None
    """Weight of the new part in residual-esn and residual-memory-network, whose old part weighs 1 - beta."""
    input_scaling: float | None = None
    bias_scaling: float | None = None
    """Random biases of a reservoir, which lift the symmetry of tanh: 1 is good for Lorenz-63, 0 the default."""
    ridge: tuple[float, ...] = (1e-6,)
    """Penalty of a reservoir's readout; of several each fit takes the best on a tenth that is held out."""
    washout: int | None = None
    """Samples that drive a reservoir before it learns; 100, and of next-generation-reservoir as many as its line needs."""
    solver: Literal["ridge", "rls"] = "ridge"
    """Of a reservoir: one factorisation of all samples, or recursive least squares, sample by sample."""
    forgetting: float | None = None
    """Of rls: factor by which a sample's weight falls with each further one."""
    observation: Literal["identity", "affine"] | None = None
    """Channels are the first latent units, or affine in all of them; default identity (wave-rnn, identity-rnn, assembly, ltc: affine)."""
    init: str | None = None
    """Published initialisation; each family has its default."""
    fits: int = 4
    """Members of the ensemble, trained side by side."""
    average: bool = False
    """Average the fits' maps into one model, too: saved as checkpoints/average, and judged beside them. Its free runs hold where single fits are lost."""
    forcing: Literal["gtf", "adaptive", "sparse", "free"] = "gtf"
    alpha: float = 0.15
    """Strength of gtf; with --alpha-end the strength at the start."""
    alpha_end: float | None = None
    interval: int | None = None
    """Samples between forcings of sparse; estimated from the data if not given."""
    norm: str = "product_upper_bound"
    """Jacobian norm of adaptive."""
    updates: int = 50_000
    sequence_length: int = 200
    batch_size: int = 16
    learning_rate: tuple[float, float] = (1e-3, 1e-5)
    """At the start and at the end."""
    training_noise: float = 0.0
    """Noise added to windows while training, in standard deviations."""
    latent_regularisation: float = 0.0
    observation_regularisation: float = 0.0
    gradient: str = "bptt"
    """bptt, or accumulated forwards: rtrl (equal), truncated-<n>, snap-<n>, diagonal, e-prop, rflo, uoro, kronecker."""
    gradient_clip: float | None = None
    standardise: bool = True
    keep: Literal["last", "best", "mean"] = "last"
    """Model of the last update, the one whose free runs are best beside the training data, or the mean of the parameters over the last tenth (with a rate
    that ends high)."""
    validate: bool = False
    """Follow free runs beside the training data, of reservoirs beside a tenth of them held out (implied by --keep best, --validate-every and
    --validate-mean)."""
    validate_by: Literal["d_stsp", "both"] = "d_stsp"
    """What is followed and makes a model the best: D_stsp, or D_stsp times D_H, for recordings with a rhythm."""
    validate_every: int | None = None
    """Updates from one such free run to the next; default a twentieth of all. AL-RNNs pass through a good model: look often."""
    validate_mean: bool = False
    """Follow and choose from means of the parameters since the validation before, not from those of single updates (with a rate that ends high)."""
    checkpoint_every: int | None = None
    """Keep the model of every so many updates, so that `dynrnn analyze` can tell how fixed points and cycles come about."""
    random_state: int = 0
    steps: int = 100_000
    """Samples of a known system, for training and for each test trajectory."""
    noise: float = 0.0
    """Observation noise of a known system, as a fraction of each channel's standard deviation."""
    dt: float | None = None
    """Sampling interval; for a file without a time axis, or a known system."""
    key: str | None = None
    """Which array of a .npz, .mat or .nwb file."""
    bin_size: float | None = None
    """Seconds per bin for spike times."""
    elapsed: bool = False
    """The file's samples are uneven in time: keep their times, which ltc uses."""
    train: float = 0.8
    """Share of a recording to train on; the rest is for judging."""
    preset: str = "dynrnn-1"
    """Metric preset: dynrnn-1, gtf-2023, alrnn-2024, cns-2023."""
    progress: bool = True

    def run(self) -> None:
        import dynrnn as dr
        from dynrnn.analysis.reconstruction import check_test, get_preset

        preset, forcing, solved = get_preset(self.preset), self.forcing_scheme(), self.model in RESERVOIRS      # mistakes are told before any work
        self.check_options(solved)
        training, test, reference = self.load()
        followed = self.validate or self.validate_mean or self.validate_every is not None or self.keep == "best"
        validation = training if followed else None
        if solved and (self.validate or len(self.ridge) > 1):                    # forecasts of what a readout was solved for would choose the least penalty
            training, validation = dr.split(training, train=0.9)
        model = self.build(training)
        if self.average:
            dr.average(model)                                                   # a model that has no average is told before the fit, not after
        check_test(test, preset)                                                # and so are data on which nothing can be judged
        if solved:
            ridge = self.ridge[0] if len(self.ridge) == 1 else self.ridge
            run = dr.fit(
                model, training, validation=validation, out=self.out, progress=self.progress, standardise=self.standardise, ridge=ridge,
                washout=self.washout, solver=self.solver, forgetting=self.forgetting,
            )
        else:
            run = self.descend(model, training, validation, forcing)
        orbit, scores = judge(run, test, reference, training, preset)
        run.store(test_data=test, generated=orbit, metrics=scores)
        if self.average:
            together = dr.average(run)
            dr.save(together, self.out / "checkpoints" / "average")
            print(f"\nthe mean of the {self.fits} maps, as one model")
            run.store(metrics_average=judge(together, test, reference, training, preset)[1])
        print(run)
        print(f"report: {dr.report(self.out)}")

    def check_options(self, solved: bool) -> None:
        """ArgumentError for a number that none can be, and for an option of another kind of model, forcing or source that was given a value."""
        from dynrnn.errors import ArgumentError, check_int

        for f in fields(self):
            if isinstance(value := getattr(self, f.name), int) and not isinstance(value, bool):
                check_int(option(f.name), value, low=0 if f.name in ("random_state", "washout") else 1)
        wrong = [f.name for f in fields(self) if f.name in (OF_DESCENT if solved else OF_RESERVOIRS) and getattr(self, f.name) != f.default]
        if wrong:
            names = ", ".join(map(option, wrong))
            kind = "is solved, not descended" if solved else "is no reservoir"
            raise ArgumentError(f"{names}: no option of {self.model}, which {kind}. Leave it out.")
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        others = [name for name, families in OF_FAMILIES.items() if self.model not in families] + (["latent_dim"] if self.model == "assembly" else [])
        if wrong := [option(name) for name in given if name in others]:
            raise ArgumentError(f"{', '.join(wrong)}: no option of {self.model}. Leave it out.")
        if wrong := [option(name) for name in given if self.forcing != OF_FORCINGS.get(name, self.forcing)]:
            raise ArgumentError(f"{', '.join(wrong)}: no option of --forcing {self.forcing}. Leave it out.")
        if is_file(self.source) and (wrong := [option(name) for name in given if name in ("steps", "noise")]):
            raise ArgumentError(f"{', '.join(wrong)}: of known systems, and {self.source} is a recording. Leave it out.")

    def descend(self, model: Any, training: Any, validation: Any, forcing: Any) -> Any:
        import dynrnn as dr

        return dr.fit(
            model, training, forcing=forcing, n_updates=self.updates, sequence_length=self.sequence_length,
            batch_size=self.batch_size, learning_rate=self.learning_rate, validation=validation, out=self.out, progress=self.progress,
            random_state=self.random_state, noise=self.training_noise, standardise=self.standardise, keep=self.keep, validate_by=self.validate_by,
            validate_every=self.validate_every, validate_mean=self.validate_mean, checkpoint_every=self.checkpoint_every, gradient=self.gradient,
            gradient_clip=float("inf") if self.gradient_clip is None else self.gradient_clip,
            regularisation=dr.Regularisation(latent=self.latent_regularisation, observation=self.observation_regularisation),
        )

    def load(self) -> tuple[Any, Any, Any]:
        """Training recording, test recording, and a second true one where the system is known."""
        return load_source(
            self.source, steps=self.steps, noise=self.noise, dt=self.dt, key=self.key, bin_size=self.bin_size, elapsed=self.elapsed, train=self.train,
            random_state=self.random_state,
        )

    def build(self, recording: Any) -> Any:
        import dynrnn as dr

        N = recording.sizes[recording.observed.dims[-1]]
        K = recording.sizes["input"] if "inputs" in recording else 0
        if self.model in RESERVOIRS:
            return self.solved(N, K)
        M = self.latent_dim if self.latent_dim is not None else max(N, DEFAULT_LATENT.get(self.model, N))
        shape: dict[str, dict[str, Any]] = {
            "plrnn": {"mean_centred": self.mean_centred},
            "shallow-plrnn": {"hidden_dim": self.hidden_dim, "clipped": self.clipped},
            "dendritic-plrnn": {"n_bases": self.n_bases, "clipped": self.clipped, "mean_centred": self.mean_centred},
            "alrnn": {"n_relu": self.n_relu},
            "ltc": {},
        }
        common = dict(observed_dim=N, input_dim=K, init=self.init, n_fits=self.fits, random_state=self.random_state)
        if self.model == "assembly":
            common |= {} if self.observation is None else {"observation": self.observation}
            return dr.Assembly(areas=self.areas, blocks=self.blocks, topology=self.topology, integrator=self.integrator, dt=self.step, **common)
        if self.model in WAVES:
            return self.waves(common)
        observation = self.observation or ("affine" if self.model == "ltc" else "identity")
        return dr.MODELS[self.model](latent_dim=M, observation=observation, **common, **shape[self.model])

    def solved(self, N: int, K: int) -> Any:
        import dynrnn as dr

        sizes = {name: getattr(self, name) for name in ("spectral_radius", "leak", "beta", "input_scaling", "bias_scaling")}
        given = {name: value for name, value in sizes.items() if value is not None}
        known = dr.MODELS[self.model].sizes                                     # pyright: ignore[reportAttributeAccessIssue]  # reservoirs have them
        if wrong := [name for name in given if name not in known]:
            raise dr.ArgumentError(f"{self.model} has no {', '.join(wrong)}; it takes {', '.join(known or ('n_delays', 'stride'))}.")
        shapes = {"deep-esn": (self.reservoir_dim, self.n_layers), "residual-memory-network": (self.reservoir_dim, self.memory_dim)}
        shape = shapes.get(self.model, (self.n_delays,) if not known else (self.reservoir_dim,))
        if not known:                                                           # next-generation reservoirs have no hyperparameters beside their shape
            given["stride"] = self.stride
        return dr.MODELS[self.model](N, *shape, input_dim=K, n_fits=self.fits, random_state=self.random_state, **given)

    def waves(self, common: dict[str, Any]) -> Any:
        import dynrnn as dr

        common |= {"observation": self.observation or "affine", "activation": self.activation, "decoder_bias": self.observation != "identity"}
        if self.model == "identity-rnn":
            return dr.IdentityRNN(latent_dim=40 if self.latent_dim is None else self.latent_dim, **common)
        if self.latent_dim is not None:
            raise dr.ArgumentError("wave-rnn has positions times ring channels latent units: give --positions and --ring-channels in place of --latent-dim.")
        return dr.WaveRNN(n_positions=self.positions, n_channels=self.ring_channels, kernel_size=self.kernel_size, velocity=self.velocity, **common)

    def forcing_scheme(self) -> Any:
        import dynrnn as dr

        if self.forcing == "sparse":
            return dr.SparseTeacherForcing(interval=self.interval)
        if self.forcing == "adaptive":
            return dr.AdaptiveTeacherForcing(norm=self.norm)
        if self.forcing == "free":
            return dr.FreeRunning()
        return dr.GeneralizedTeacherForcing(alpha=self.alpha if self.alpha_end is None else (self.alpha, self.alpha_end))


def option(name: str) -> str:
    """An argument's name as it is typed."""
    return "--" + name.replace("_", "-")


def is_file(source: str) -> bool:
    """Whether a recording's file is named, and not a dataset."""
    path = Path(source)
    return bool(path.suffix) and (path.exists() or len(path.parts) > 1 or ":" not in source)


def judge(model: Any, test: Any, reference: Any, training: Any, preset: Any) -> tuple[Any, Any]:
    """The orbit of a model or run along the test recording, and its scores with floors and nulls, which are printed."""
    import dynrnn as dr

    longest = int(test.n_time.max())
    transient = 0 if "inputs" in test or "elapsed" in test else round(preset.transient_fraction * longest)
    orbit = dr.generate(model, longest, initial=test, transient=transient)
    scores = dr.evaluate(model, test, reference=reference, preset=preset, training=training, generated=orbit)
    print(dr.score_table(scores))
    return orbit, scores


def load_source(
    source: str, *, steps: int, noise: float, dt: float | None, key: str | None, bin_size: float | None, elapsed: bool | None = None, train: float,
    random_state: int, n_references: int = 10,
) -> tuple[Any, Any, Any]:
    """Training and test recording of a dataset's name or a file, and a second true one where the system is known."""
    import dynrnn as dr

    if is_file(source):
        options = {"key": key, "dt": dt, "bin_size": bin_size, "elapsed": elapsed}
        recording = dr.read_recording(source, **{k: v for k, v in options.items() if v is not None})
    elif source.startswith("nitime"):
        recording = dr.load_dataset(source, **{} if bin_size is None else {"bin_size": bin_size})
    else:
        options = {"n_steps": steps, "dt": dt}
        training = dr.load_dataset(source, **options, noise=noise, random_state=random_state)
        test = dr.load_dataset(source, **options, random_state=random_state + 1_000_000)
        return training, test, dr.load_dataset(source, **options, n_trials=n_references, random_state=random_state + 2_000_000)
    return *dr.split(recording, train=train), None


@dataclass
class Learn:
    """Learn a shallow PLRNN from a stream, line by line, and keep the learner in a folder, from where it goes on."""

    source: tyro.conf.Positional[str]
    """A text file with a sample a line, or localhost:PORT, where a program of this machine sends such lines."""
    out: Path
    """Folder of the learner. If it is there, the learner in it goes on, and the options of its making are not looked at."""
    follow: bool = False
    """Wait at the end of the file for what is still to be written, until Ctrl-C."""
    hidden_dim: int = 50
    fits: int = 1
    gradient: str = "rtrl"
    alpha: float = 0.15
    """Strength of generalised teacher forcing."""
    learning_rate: float = 1e-3
    update_every: int = 1
    warmup: int = 1_000
    """Samples that only give each channel's mean and standard deviation."""
    on_bad: Literal["raise", "skip"] = "raise"
    delimiter: str = ","
    block: int = 1
    """Samples that are gathered before they are learned."""
    checkpoint_every: int = 100_000
    random_state: int = 0
    progress: bool = True

    def run(self) -> None:
        from itertools import chain

        import dynrnn as dr
        from dynrnn.online import rows_of_file, rows_of_socket

        host, _, port = self.source.rpartition(":")
        if host and port.isdigit():
            rows = rows_of_socket(int(port), host, delimiter=self.delimiter)
        else:
            rows = rows_of_file(self.source, delimiter=self.delimiter, follow=self.follow)
        if self.out.exists():
            learner = dr.OnlineLearner.load(self.out)
        else:
            first = next(rows, None)
            if first is None:
                raise dr.RecordingError(f"{self.source} holds no sample. Give a file with one a line, numbers separated by {self.delimiter!r}.")
            model = dr.ShallowPLRNN(len(first), len(first), self.hidden_dim, n_fits=self.fits, random_state=self.random_state)
            learner = dr.OnlineLearner(
                model, self.gradient, dr.GeneralizedTeacherForcing(self.alpha), self.learning_rate, update_every=self.update_every, warmup=self.warmup,
                on_bad=self.on_bad, random_state=self.random_state,
            )
            rows = chain([first], rows)
        try:
            learner.follow(rows, block=self.block, checkpoint=self.out, checkpoint_every=self.checkpoint_every, progress=self.progress)
        except KeyboardInterrupt:
            print("stopped")
        print(f"{learner.n_samples:,} samples in {self.out}; steps {learner.counts.sum('fit').values.tolist()} (taken, refused, restarted); "
              f"bad samples {learner.skipped or 'none'}; drift found at {learner.drift or 'no'} sample")


@dataclass
class Report:
    """Write report.html of a run's folder."""

    run_folder: tyro.conf.Positional[Path]

    def run(self) -> None:
        import dynrnn as dr

        print(dr.report(self.run_folder))


@dataclass
class Analyze:
    """Take the models of a run apart: fixed points, cycles, symbolic code and transition graphs, stored in its folder."""

    run_folder: tyro.conf.Positional[Path]
    max_period: int = 4
    """Longest period of the cycles that are looked for."""
    steps: int = 20_000
    """Samples of the free run whose regions are coded."""
    random_state: int = 0
    progress: bool = True

    def run(self) -> None:
        import dynrnn as dr

        found = dr.analyze(self.run_folder, max_period=self.max_period, n_steps=self.steps, random_state=self.random_state, progress=self.progress)
        print(dr.analysis.summary(found))


@dataclass
class Datasets:
    """List the known systems and packaged recordings."""

    def run(self) -> None:
        from dynrnn_datasets import available

        print(available().to_string())


Command = (
    Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Learn, tyro.conf.subcommand("learn")]
    | Annotated[Analyze, tyro.conf.subcommand("analyze")]
    | Annotated[Study, tyro.conf.subcommand("study")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Datasets, tyro.conf.subcommand("datasets")]
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: an error of ours is one message on stderr and exit code 2, without a traceback; a warning is one message."""
    short = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
    about = "Learn a dynamical system from time series, then take it apart."
    command: Any = tyro.cli(Command, prog="dynrnn", description=about, args=arguments, config=short)  # pyright: ignore
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"dynrnn: warning: {message}", file=sys.stderr)
            command.run()
    except DynrnnError as error:
        print(f"dynrnn: {type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except ImportError as error:
        print(f"dynrnn: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
