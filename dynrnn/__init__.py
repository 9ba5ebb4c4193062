"""dynrnn: learn a dynamical system from time series with recurrent networks, then take the learned system apart.

    import dynrnn as dr

    rec = dr.load_dataset("lorenz63", n_steps=100_000, noise=0.05, random_state=0)
    model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=50, clipped=True, n_fits=4, random_state=0)
    run = dr.fit(model, rec, forcing=dr.GeneralizedTeacherForcing(alpha=0.15), n_updates=50_000)
    print(dr.score_table(dr.evaluate(run, dr.load_dataset("lorenz63", random_state=1))))
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

# Every public name and where it lives; modules load on first use, so that importing dynrnn is quick.
_PUBLIC = {
    "ALRNN": "dynrnn.models",
    "PLRNN": "dynrnn.models",
    "ShallowPLRNN": "dynrnn.models",
    "DendriticPLRNN": "dynrnn.models",
    "ESN": "dynrnn.models",
    "LTC": "dynrnn.models",
    "ResidualESN": "dynrnn.models",
    "EulerStateNetwork": "dynrnn.models",
    "DeepESN": "dynrnn.models",
    "ResidualMemoryNetwork": "dynrnn.models",
    "NextGenerationReservoir": "dynrnn.models",
    "RecursiveLeastSquares": "dynrnn.models",
    "Assembly": "dynrnn.models",
    "WaveRNN": "dynrnn.models",
    "IdentityRNN": "dynrnn.models",
    "MODELS": "dynrnn.models",
    "average": "dynrnn.models",
    "generate": "dynrnn.models",
    "forecast": "dynrnn.models",
    "warmup": "dynrnn.models",
    "save": "dynrnn.models.storage",
    "load": "dynrnn.models.storage",
    "PRETRAINED": "dynrnn.models.pretrained",
    "load_pretrained": "dynrnn.models.pretrained",
    "OnlineLearner": "dynrnn.online",
    "AdaptiveTeacherForcing": "dynrnn.training",
    "FreeRunning": "dynrnn.training",
    "GeneralizedTeacherForcing": "dynrnn.training",
    "SparseTeacherForcing": "dynrnn.training",
    "Regularisation": "dynrnn.training",
    "Run": "dynrnn.training",
    "Status": "dynrnn.training",
    "TrainingState": "dynrnn.training",
    "concat": "dynrnn.training",
    "estimate_interval": "dynrnn.training",
    "fit": "dynrnn.training",
    "load_checkpoints": "dynrnn.training",
    "minimal_code": "dynrnn.training",
    "PUBLISHED": "dynrnn.training",
    "published": "dynrnn.training",
    "select": "dynrnn.training",
    "ColumnarLearner": "dynrnn.online",
    "ElementwiseLSTMLearner": "dynrnn.online",
    "as_recording": "dynrnn.data",
    "known_system": "dynrnn.data",
    "load_dataset": "dynrnn.data",
    "read_recording": "dynrnn.data",
    "reference_spectrum": "dynrnn.data",
    "split": "dynrnn.data",
    "evaluate": "dynrnn.analysis.reconstruction",
    "score_table": "dynrnn.analysis.reconstruction",
    "PRESETS": "dynrnn.analysis.reconstruction",
    "read_results": "dynrnn.results",
    "analyze": "dynrnn.analyzing",
    "report": "dynrnn.reporting",
    "DynrnnError": "dynrnn.errors",
    "ArgumentError": "dynrnn.errors",
    "CertificateError": "dynrnn.errors",
    "UnknownNameError": "dynrnn.errors",
    "RecordingError": "dynrnn.errors",
    "DatasetError": "dynrnn.errors",
    "FileFormatError": "dynrnn.errors",
    "RunFolderError": "dynrnn.errors",
    "StorageError": "dynrnn.errors",
    "StudyError": "dynrnn.errors",
}
_MODULES = ("analysis", "plot", "results", "study")

__version__ = "0.1.0"
__all__ = ["__version__", "analysis", "plot", "results", "study", *sorted(_PUBLIC)]

logging.getLogger("dynrnn").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"dynrnn.{name}")
    else:
        raise AttributeError(f"module 'dynrnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from dynrnn import analysis, plot, results, study
    from dynrnn.analysis.reconstruction import PRESETS, evaluate, score_table
    from dynrnn.analyzing import analyze
    from dynrnn.data import as_recording, known_system, load_dataset, read_recording, reference_spectrum, split
    from dynrnn.errors import (
        ArgumentError,
        CertificateError,
        DatasetError,
        DynrnnError,
        FileFormatError,
        RecordingError,
        RunFolderError,
        StorageError,
        StudyError,
        UnknownNameError,
    )
    from dynrnn.models import (
        ALRNN,
        ESN,
        LTC,
        MODELS,
        PLRNN,
        Assembly,
        DeepESN,
        DendriticPLRNN,
        EulerStateNetwork,
        IdentityRNN,
        NextGenerationReservoir,
        RecursiveLeastSquares,
        ResidualESN,
        ResidualMemoryNetwork,
        ShallowPLRNN,
        WaveRNN,
        average,
        forecast,
        generate,
        warmup,
    )
    from dynrnn.models.pretrained import PRETRAINED, load_pretrained
    from dynrnn.models.storage import load, save
    from dynrnn.online import ColumnarLearner, ElementwiseLSTMLearner, OnlineLearner
    from dynrnn.reporting import report
    from dynrnn.results import read_results
    from dynrnn.training import (
        PUBLISHED,
        AdaptiveTeacherForcing,
        FreeRunning,
        GeneralizedTeacherForcing,
        Regularisation,
        Run,
        SparseTeacherForcing,
        Status,
        TrainingState,
        concat,
        estimate_interval,
        fit,
        load_checkpoints,
        minimal_code,
        published,
        select,
    )
