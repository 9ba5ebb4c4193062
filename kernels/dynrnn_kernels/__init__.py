"""Compiled code on plain tensors, beside the plain formulas that it must agree with.

A recurrence is a folder (``additive``) and a row in ``recurrences.py``; ``update`` has whole training updates on it, ``radam`` their step, ``cycles``
the loops of an analysis. ``backends.py`` says who computes.
"""
