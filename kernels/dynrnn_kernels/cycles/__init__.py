"""Compiled loops of ``dynrnn.analysis.cycles``: solving words, walking from word to word, cutting polygons. References: plain formulas in its tests."""
