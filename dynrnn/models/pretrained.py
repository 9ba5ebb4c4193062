"""Trained models that come with the package, for people who want to analyse at once; each with a card that says how good it is and how it was chosen.

They lie in ``dynrnn/pretrained/<name>/``: ``model/`` as ``dr.save`` writes it, and ``card.json``. ``studies/pretrained.py`` makes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from dynrnn.errors import unknown_name
from dynrnn.models.base import Model
from dynrnn.models.storage import load

FOLDER = Path(__file__).parents[1] / "pretrained"


class Card(NamedTuple):
    """What is known of a shipped model.

    d_stsp : of the shipped fit, median of free runs from many starts, on data that neither training nor choice saw (nat). d_stsp_floor : median of what true
    trajectories score against each other. d_stsp_of_all : median, min, max and n over every seed that was trained; the shipped one was *chosen* among them, on
    validation data. exponents : Lyapunov exponents per unit of time, and those of the system. about : the whole card.
    """

    name: str
    system: str
    family: str
    command: str
    d_stsp: float
    d_stsp_floor: float
    d_stsp_of_all: dict[str, Any]
    exponents: list[float]
    exponents_of_the_system: list[float]
    size_bytes: int
    licence: str
    about: dict[str, Any]

    def __str__(self) -> str:
        every = self.d_stsp_of_all
        lost = self.about["d_stsp"]["starts_lost"]
        left = f"; {lost} of {self.about['d_stsp']['n_starts']} starts lost" if lost else ""
        exponents, true = (", ".join(f"{value:.3g}" for value in values) for values in (self.exponents, self.exponents_of_the_system))
        return (
            f"{self.name}: {self.family} on {self.system}, D_stsp {self.d_stsp:.3g} (floor {self.d_stsp_floor:.3g}; all {every['n']} that were trained: median "
            f"{every['median']:.3g}, {every['min']:.3g} to {every['max']:.3g}{left}), exponents {exponents} (the system's {true}), {self.size_bytes:,} bytes"
        )


def _card(path: Path) -> Card:
    about = json.loads(path.read_text(encoding="utf-8"))
    d_stsp, exponents = about["d_stsp"], about["exponents"]
    return Card(
        about["name"], about["system"], about["family"], about["command"], d_stsp["value"], d_stsp["floor"]["median"], about["d_stsp_of_all"],
        exponents["value"], exponents["of_the_system"], about["size_bytes"], about["licence"], about,
    )


PRETRAINED: dict[str, Card] = {path.parent.name: _card(path) for path in sorted(FOLDER.glob("*/card.json"))}


def load_pretrained(name: str) -> Model:
    """A trained model that comes with the package: one fit, ready for ``generate``, ``evaluate`` and every analysis.

    name : a row of ``dr.PRETRAINED``, whose card (``print(dr.PRETRAINED[name])``) says how it was trained, how good it is beside its floor, and how good the
        seeds were that were *not* chosen: the shipped one is never typical.

    All are trained on simulated systems. UnknownNameError, with the nearest name, for another one; FileFormatError where the file is damaged.
    Cost: a few milliseconds; each model has at most some hundred thousand bytes.

    >>> model = load_pretrained("lorenz63-alrnn")
    >>> model.n_fits, model.n_relu, PRETRAINED["lorenz63-alrnn"].system
    (1, 2, 'lorenz63')
    """
    if name not in PRETRAINED:
        raise unknown_name("pretrained model", name, PRETRAINED)
    return load(FOLDER / name / "model")
