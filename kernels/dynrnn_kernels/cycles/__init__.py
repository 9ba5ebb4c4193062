"""Compiled loops of ``dynrnn.analysis._cycles``: solving words, walking from word to word, cutting polygons. References: plain formulas in its tests."""
