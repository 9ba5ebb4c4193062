"""Polygons of the plane, unbounded ones included, cut by switching planes and mapped: the sets of states with an admissible word.

A polygon is the cyclic list of rays (x, y, w) of a cone, w >= 0: a point (x/w, y/w), or a direction where w = 0. An affine map is linear on rays.
"""

from __future__ import annotations

import numba as nb
import numpy as np

CORNERS = 24                              # a polygon with more stays uncut, so that it contains the true one
REACH = 1e-8                              # a polygon that reaches no farther beyond a plane is not beyond it (as where many planes meet)
SLACK = 1e-10                             # planes are moved outwards by so much: room for rounding


@nb.njit(cache=True, nogil=True)
def cut(polygon, n, a, b, c, out):
    """The part with a x + b y + c w >= 0; its number of corners, -1 if they do not fit."""
    m = 0
    for i in range(n):
        p, q = polygon[i], polygon[(i + 1) % n]
        s, t = a * p[0] + b * p[1] + c * p[2], a * q[0] + b * q[1] + c * q[2]
        if s >= 0:
            if m == CORNERS:
                return -1
            out[m] = p
            m += 1
        if (s > 0 and t < 0) or (s < 0 and t > 0):
            if m == CORNERS:
                return -1
            for j in range(3):
                out[m, j] = p[j] * abs(t) + q[j] * abs(s)
            out[m, 2] = max(out[m, 2], 0.0)
            _normalise(out[m])
            m += 1
    return m


@nb.njit(cache=True, nogil=True)
def _normalise(ray):
    size = max(abs(ray[0]), abs(ray[1]), ray[2])
    if size > 0:
        ray /= size


@nb.njit(cache=True, nogil=True)
def split(A, W1, W2, h1, h2, polygons, corners, parents, words, images, n_images):
    """Cut polygons at every switching plane and map each part; fills parents, words, images. Returns how many, or -1 if they do not fit."""
    H = len(h2)
    found = 0
    stack = np.empty((H + 2, CORNERS, 3))
    sizes, units, bits = np.zeros(H + 2, np.int64), np.zeros(H + 2, np.int64), np.zeros((H + 2, H), np.bool_)
    part = np.empty((CORNERS, 3))
    for node in range(len(polygons)):
        stack[0], sizes[0], units[0] = polygons[node], corners[node], 0
        top = 1
        while top > 0:
            top -= 1
            unit, n, here, word = units[top], sizes[top], stack[top].copy(), bits[top].copy()
            if unit == H:
                if found == len(parents):
                    return -1
                parents[found], words[found] = node, word
                n_images[found] = n
                for i in range(n):
                    x, y, w = here[i]
                    u, v = A[0, 0] * x + A[0, 1] * y + h1[0] * w, A[1, 0] * x + A[1, 1] * y + h1[1] * w
                    for k in range(H):
                        if word[k]:
                            on = W2[k, 0] * x + W2[k, 1] * y + h2[k] * w
                            u += W1[0, k] * on
                            v += W1[1, k] * on
                    images[found, i, 0], images[found, i, 1], images[found, i, 2] = u, v, w
                    _normalise(images[found, i])
                found += 1
                continue
            a, b, c = W2[unit, 0], W2[unit, 1], h2[unit]
            size = abs(a) + abs(b) + abs(c)
            farthest, nearest = -np.inf, np.inf
            for i in range(n):
                beyond = a * here[i, 0] + b * here[i, 1] + c * here[i, 2]
                farthest, nearest = max(farthest, beyond), min(nearest, beyond)
            on = farthest > REACH * size
            off = nearest < -REACH * size or not on                                 # all of it on the plane: the unit is off
            if a == 0.0 and b == 0.0:
                on, off = c > 0, c <= 0
            for side in range(2):
                if not (on if side else off):
                    continue
                m = n
                if on and off:
                    sign = 1.0 if side else -1.0
                    m = cut(here, n, sign * a, sign * b, sign * c + SLACK * size, part)
                    if m == 0 or (m > 0 and part[:m, 2].max() == 0.0):              # directions alone are no states
                        continue
                else:
                    part[:n] = here[:n]
                stack[top] = here if m < 0 else part
                sizes[top] = n if m < 0 else m
                bits[top] = word
                bits[top, unit] = side == 1
                units[top] = unit + 1
                top += 1
    return found
