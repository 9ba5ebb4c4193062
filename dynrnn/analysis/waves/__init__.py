"""Travelling waves: how fast activity moves along units in order, and how much of it does."""

from dynrnn.analysis.waves.measure import wave_velocity

__all__ = ["wave_velocity"]
