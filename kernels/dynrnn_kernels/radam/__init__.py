"""RAdam for an ensemble: step count, learning rate, clipping and refusal per fit (Liu et al. 2020, arXiv:1908.03265)."""

from dynrnn_kernels.radam.cpu import BETA1, BETA2, EPSILON, radam_step

__all__ = ["BETA1", "BETA2", "EPSILON", "radam_step"]
