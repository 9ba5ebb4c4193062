"""Training: forcing, regularisers, the loop, and what comes out of it."""

from dynrnn.training.checkpoints import load_checkpoints
from dynrnn.training.fit import fit
from dynrnn.training.forcing import AdaptiveTeacherForcing, Forcing, FreeRunning, GeneralizedTeacherForcing, SparseTeacherForcing
from dynrnn.training.interval import estimate_interval
from dynrnn.training.loop import Progress
from dynrnn.training.minimal import minimal_code
from dynrnn.training.published import PUBLISHED, published
from dynrnn.training.regularisation import Regularisation
from dynrnn.training.run import Run, concat, select
from dynrnn.training.state import TrainingState
from dynrnn.training.status import Status

__all__ = [
    "PUBLISHED", "AdaptiveTeacherForcing", "Forcing", "FreeRunning", "GeneralizedTeacherForcing", "Progress", "Regularisation", "Run", "SparseTeacherForcing",
    "Status", "TrainingState",
    "concat", "estimate_interval", "fit", "load_checkpoints", "minimal_code", "published", "select",
]
