"""The same network in plain numpy, one fit, gate by gate and parameter by parameter as the equations have it: the truth beside the kernel, slow."""

from __future__ import annotations

import numpy as np

from dynrnn_kernels.columnar.arrays import CLASSIFICATION, TD, Settings, State, by_gate


def sigmoid(x: np.ndarray | float) -> np.ndarray | float:
    return 1 / (1 + np.exp(-x))


def column(W: np.ndarray, v: np.ndarray, h: float, c: float, C: np.ndarray, H: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
    """h, c and their derivatives C, H [4, n] with respect to W [4, n], one sample on; v [n] is (h, 1, inputs)."""
    i, f, g, o = sigmoid(W[0] @ v), sigmoid(W[1] @ v), np.tanh(W[2] @ v), sigmoid(W[3] @ v)
    d = {}
    for gate, (name, slope) in enumerate(zip("ifgo", (i * (1 - i), f * (1 - f), 1 - g**2, o * (1 - o)), strict=True)):
        own = np.zeros_like(W)
        own[gate] = v
        d[name] = slope * (W[gate, 0] * H + own)
    new_c = f * c + i * g
    new_C = f * C + c * d["f"] + i * d["g"] + g * d["i"]
    return o * np.tanh(new_c), new_c, new_C, o * (1 - np.tanh(new_c) ** 2) * new_C + np.tanh(new_c) * d["o"]


def run(state: State, settings: Settings, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions [T, P] and losses [T] of fit 0 on x [T, D] with target [T, P] at every sample; the state is changed."""
    W, h, c, C, H, E, V, mean, var, w, e, v2 = (a[0] for a in state[:12])
    D, (P, _) = x.shape[1], w.shape
    td, predictions, losses = settings.kind == TD, [], []

    def normal(values: np.ndarray, at: slice, learns: bool) -> np.ndarray:
        if learns:
            mean[at] = settings.decay * mean[at] + (1 - settings.decay) * values
            var[at] = settings.decay * var[at] + (1 - settings.decay) * (values - mean[at]) ** 2
        return (values - mean[at]) / np.sqrt(np.maximum(var[at], settings.floor))

    def move(weights: np.ndarray, squares: np.ndarray, change: np.ndarray, step: float) -> None:
        squares[:] = settings.beta * squares + (1 - settings.beta) * change**2
        weights += step * change / (np.sqrt(squares) + 1e-8)

    for t in range(len(x)):
        now = state.seen[0]
        s = min(int(np.searchsorted(settings.ends, now, side="right")), len(settings.ends) - 1)
        grows = now < settings.ends[s]
        if s and now == settings.ends[s - 1]:
            C[:], H[:], E[:], V[:] = 0, 0, 0, 1
        seen, features = normal(x[t], slice(0, D), s == 0 and grows), np.zeros(0)
        first, end, n = 0, 0, 0
        for stage in range(s + 1):
            first, end = settings.bounds[stage : stage + 2]
            n, own = 2 + D + first, stage == s
            for k in range(first, end):
                q = k - first
                inputs = np.concatenate([[h[k], 1.0], seen, features])
                there = (by_gate(C[q], n), by_gate(H[q], n)) if own else (np.zeros((4, n)), np.zeros((4, n)))
                h[k], c[k], new_C, new_H = column(by_gate(W[k], n), inputs, h[k], c[k], *there)
                if own and grows:
                    there[0][:], there[1][:] = new_C, new_H
            features = np.concatenate([features, normal(h[first:end], slice(D + first, D + end), own and grows)])
        phi = np.append(features, 1.0)
        active = np.append(np.arange(end), w.shape[1] - 1)
        y = w[:, active] @ phi
        learns = bool(state.pending[0]) if td else True
        if td:
            err = np.array([target[t, 0] + settings.gamma * y[0] - state.last[0]]) if learns else np.zeros(1)
            loss, state.last[0] = 0.5 * float(err[0]) ** 2, y[0]
        elif settings.kind == CLASSIFICATION:
            y = np.exp(y - y.max()) / np.exp(y - y.max()).sum()
            err, loss = target[t] - y, -float(np.sum(target[t] * np.log(y)))
        else:
            err = target[t] - y
            loss = 0.5 * float(err @ err)
        if grows:
            for q, k in enumerate(range(first, end)):
                credit = (w[0, k] if td else err @ w[:, k]) / np.sqrt(max(var[D + k], settings.floor))
                if learns:
                    move(W[k, : 4 * n], V[q, : 4 * n], (err[0] * E[q] if td else credit * H[q])[: 4 * n], settings.rate[0])
                if td:
                    E[q] = settings.trace_decay * E[q] + credit * H[q]
        if learns:
            for p in range(P):
                fresh_w, fresh_v = w[p, active], v2[p, active]
                move(fresh_w, fresh_v, err[p] * (e[active] if td else phi), settings.readout[0] / end)
                w[p, active], v2[p, active] = fresh_w, fresh_v
        if td:
            e[active] = settings.trace_decay * e[active] + phi
        state.pending[0], state.seen[0] = 1, now + 1
        predictions.append(y)
        losses.append(loss if learns else np.nan)
    return np.array(predictions), np.array(losses)
