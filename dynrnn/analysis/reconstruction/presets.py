"""Named, versioned definitions of the scores: published codes disagree, so a score without its preset means nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from dynrnn.analysis.reconstruction.histogram import BinRange
from dynrnn.analysis.reconstruction.mixture import Underflow
from dynrnn.errors import ArgumentError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that fixes a score but the data. A preset of a name never changes; a better one gets a new name.

    D_stsp is binned (:func:`d_stsp_binned`) up to ``max_binned_dim`` channels and a Gaussian mixture (:func:`d_stsp_gmm`) above.
    The free run has the length of the test recording, after a transient of ``transient_fraction`` of it.
    """

    name: str
    reference: str
    n_bins: int = 30
    bin_range: BinRange = "padded"
    overflow_cell: bool = False
    drop_edges: bool = False
    laplace: float = 1e-5
    max_binned_dim: int = 5
    gmm_variance: float = 1.0
    gmm_components: int = 10_000
    gmm_choice: Literal["even", "first"] = "first"
    gmm_samples: int = 1_000
    gmm_underflow: Underflow = "drop"
    smoothing_sigma: float = 20.0
    smoothing_boundary: Literal["mirror", "reflect"] = "mirror"
    hellinger_form: Literal["difference", "overlap"] = "difference"
    transient_fraction: float = 0.25
    prediction_steps: int = 20
    validity_threshold: float = 0.4
    comparable_to: tuple[str, ...] = ()
    """presets whose published figures may be shown beside this one's scores"""

    def derive(self, **changes: Any) -> Preset:
        """This preset with some fields changed, and a name that says so; no published figure applies to it.

        >>> PRESETS["alrnn-2024"].derive(n_bins=8).name
        'alrnn-2024(n_bins=8)'
        """
        known = {field.name for field in dataclasses.fields(self)} - {"name", "reference", "comparable_to"}
        for name in changes:
            if name not in known:
                raise unknown_name("field of a preset", name, known)
        listed = ", ".join(f"{name}={value}" for name, value in changes.items())
        return dataclasses.replace(self, name=f"{self.name}({listed})", comparable_to=(), **changes)


_ALL = (
    Preset(
        name="dynrnn-1",
        reference="range, bins and smoothing of gtf-2023; samples outside the box in an overflow cell, exact mixture over the whole orbit",
        overflow_cell=True,
        gmm_choice="even",
        gmm_underflow="exact",
        comparable_to=("gtf-2023",),
    ),
    Preset(name="gtf-2023", reference="Hess et al. 2023 (ICML), code DurstewitzLab/GTF-shPLRNN"),
    Preset(name="alrnn-2024", reference="Brenner et al. 2024 (NeurIPS), Julia code DurstewitzLab/ALRNN-DSR", max_binned_dim=10),
    Preset(
        name="cns-2023",
        reference="tutorial code DurstewitzLab/CNS-2023 (Python); its free run has no stated transient",
        bin_range="min-max",
        drop_edges=True,
        gmm_underflow="epsilon",
        smoothing_boundary="reflect",
        hellinger_form="overlap",
        transient_fraction=0.0,
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}


def get_preset(preset: str | Preset) -> Preset:
    """The preset of a name; a Preset passes through. UnknownNameError with the nearest name otherwise.

    >>> get_preset("gtf-2023").n_bins
    30
    """
    if isinstance(preset, Preset):
        if preset.name in PRESETS and preset != PRESETS[preset.name]:
            raise ArgumentError(f"this is not the preset that {preset.name!r} names; make variants with PRESETS[...].derive(...).")
        return preset
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    return PRESETS[preset]
