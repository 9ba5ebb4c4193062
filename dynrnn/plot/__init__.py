"""Results in, figure out: every plot takes stored results and returns a matplotlib ``Figure``; nothing is shown, no pyplot."""

from dynrnn.plot.attractor import plot_attractor
from dynrnn.plot.basins import plot_basins
from dynrnn.plot.objects import plot_bifurcations
from dynrnn.plot.penalties import plot_penalties
from dynrnn.plot.spectra import plot_spectra
from dynrnn.plot.studies import plot_study_front, plot_study_history, plot_study_importances, plot_study_slices
from dynrnn.plot.timeseries import plot_timeseries
from dynrnn.plot.training import plot_training
from dynrnn.plot.waves import plot_waves

__all__ = [
    "plot_attractor", "plot_basins", "plot_bifurcations", "plot_penalties", "plot_spectra", "plot_study_front", "plot_study_history", "plot_study_importances",
    "plot_study_slices", "plot_timeseries", "plot_training", "plot_waves",
]
