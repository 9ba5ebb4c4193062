"""How good is a reconstruction? Scores of long-term statistics and of forecasts, each beside its floor and its nulls."""

from dynrnn.analysis.reconstruction.evaluate import check_test, evaluate
from dynrnn.analysis.reconstruction.floors import floor_pairs
from dynrnn.analysis.reconstruction.histogram import binned_divergence, d_stsp_binned
from dynrnn.analysis.reconstruction.linear import VectorAutoregression, fit_vector_autoregression
from dynrnn.analysis.reconstruction.mixture import d_stsp_gmm
from dynrnn.analysis.reconstruction.prediction import prediction_error, valid_prediction_time, valid_times
from dynrnn.analysis.reconstruction.presets import PRESETS, Preset, get_preset
from dynrnn.analysis.reconstruction.published import PUBLISHED, published_scores
from dynrnn.analysis.reconstruction.spectrum import d_hellinger
from dynrnn.analysis.reconstruction.statistics import d_stsp, score_orbits
from dynrnn.analysis.reconstruction.surrogates import phase_surrogate
from dynrnn.analysis.reconstruction.table import score_table

__all__ = [
    "PRESETS",
    "PUBLISHED",
    "Preset",
    "VectorAutoregression",
    "binned_divergence",
    "check_test",
    "d_hellinger",
    "d_stsp",
    "d_stsp_binned",
    "d_stsp_gmm",
    "evaluate",
    "fit_vector_autoregression",
    "floor_pairs",
    "get_preset",
    "phase_surrogate",
    "prediction_error",
    "published_scores",
    "score_orbits",
    "score_table",
    "valid_prediction_time",
    "valid_times",
]
