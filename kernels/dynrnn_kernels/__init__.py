"""Recurrences on plain tensors, one folder each: a reference in torch that is the truth, and fast kernels that must agree with it."""
