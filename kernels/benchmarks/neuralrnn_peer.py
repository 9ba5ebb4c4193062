"""How long does an update of a shallow PLRNN take, beside the package neuralrnn (PyPI, MIT) training the same model by its own Trainer?

The unclipped map (the clipped one is not among its models), identity observation, generalised teacher forcing at every step, RAdam, no
gradient clipping, both from the same parameters. neuralrnn draws its windows by its own dataset; its loop makes T + 1 steps for T
that count. Its log files and progress bar are off. Printed as well: its loss and ours on the same first batch. In turns, medians.

neuralrnn asks for gym, neurogym and jupyter, which this does not use; all that it needs here is

    pip install --no-deps neuralrnn gymnasium cloudpickle farama-notifications
    python kernels/benchmarks/neuralrnn_peer.py [--quick]
"""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from peers import ALPHA, RATE, draw, ours, series, start
from timing import Run, header, in_turns, number, ratio, row, title

SIZES = [(3, 50, 16, 200), (20, 100, 16, 200), (30, 500, 16, 200)]
QUICK = [(3, 50, 16, 20)]


@dataclass
class Settings:
    quick: bool = False
    """Small sizes and few repeats, to see that it runs."""
    seconds: float = 0.5
    """Time that one turn of one contestant takes, about."""
    turns: int = 7


def by_neuralrnn(M: int, H: int, B: int, T: int, x: np.ndarray) -> Run | None:
    try:
        import neuralrnn
    except ImportError:
        return None
    config = neuralrnn.AutoConfig.for_model("shallow_plrnn", input_dim=0, latent_dim=M, output_dim=M, hidden_dim=H, autonomous=True)
    model = neuralrnn.AutoModel.from_config(config)
    with torch.no_grad():
        for name, value in start(M, H, phi="relu").items():
            getattr(model, "A" if name == "a" else name).copy_(torch.tensor(value))
    data = neuralrnn.ReconstructionDataset.from_timeseries(x, sequence_length=T + 1, batch_size=B, normalize=False)
    objective = neuralrnn.TeacherForcingObjective(alpha=ALPHA)
    batch = {"activity": torch.tensor(x[draw(np.random.default_rng(1), x, T, B)[:, None] + np.arange(T + 1)])}
    first = float(objective.compute_loss(model, batch)[0].detach())
    arguments = neuralrnn.TrainingArguments(learning_rate=RATE, optimizer="radam", grad_clip_norm=None, log_every=0, disable_progress_bar=True)
    trainer = neuralrnn.Trainer(model, data, objective, arguments)

    def run(n: int) -> tuple[float, float]:
        arguments.max_steps = n
        began = time.perf_counter()
        trainer.train()
        return (time.perf_counter() - began) / n, first

    return run


def main(settings: Settings) -> None:
    try:
        version = importlib.metadata.version("neuralrnn")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    print(f"{header()}; neuralrnn {version}\n")
    print(title("M", "H", "batch", "T", "ours, update [ms]", "neuralrnn, update [ms]", "ratio", "first losses differ by"))
    for M, H, B, T in QUICK if settings.quick else SIZES:
        x = series(M)
        runs = {"ours": ours(M, H, B, T, x, phi="relu"), "neuralrnn": by_neuralrnn(M, H, B, T, x)}
        a, b = in_turns(runs, seconds=0.05 if settings.quick else settings.seconds, turns=2 if settings.quick else settings.turns).values()
        gap = abs(b.first_loss / a.first_loss - 1)
        print(row(M, H, B, T, number(a.ms), number(b.ms), ratio(b.ms, a.ms), "-" if gap != gap else f"{gap:.0e}"), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
