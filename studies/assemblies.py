"""RNNs of RNNs: what their certificates are worth, why the published check cannot fail, and what contracting networks can and cannot learn.

    python studies/assemblies.py                    # quarter of an hour on two cores
    python studies/assemblies.py --only identity published

Nothing is selected; "refuted" means that a pattern of gains was found which the statement forbids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import tyro

import dynrnn as dr
from dynrnn.models.assemblies import certify
from dynrnn.models.assemblies.blocks import drawn_sparse

KINDS, STEPS = ("sparse", "symmetric", "svd"), ("implicit-explicit", "euler")


@dataclass
class Settings:
    """Arguments of the study."""

    only: tuple[str, ...] = ("states", "updates", "gain", "step", "identity", "published", "driven", "lorenz")
    assemblies: int = 100
    states: int = 1_000
    area: int = 32
    nets: int = 40
    draws: int = 600
    training: int = 1_000


def states(settings: Settings) -> None:
    """Kinds and integrators in turn, one assembly of 4 areas each; states of sizes .1 to 100, Jacobians by the kernel."""
    print("random assemblies of 4 areas: Jacobians at random states that stretch a direction by more than the certificate says\n")
    print("| blocks | integrator | assemblies | certified, proven again | states | violations | rate per step, median (range) |\n|---|---|---|---|---|---|---|")
    cases = [(kind, step) for kind in KINDS for step in STEPS]
    for k, (kind, step) in enumerate(cases):
        count, proven, broken, rates = 0, 0, 0, []
        for seed in range(k, settings.assemblies, len(cases)):
            model = dr.Assembly(3, (settings.area,) * 4, blocks=kind, integrator=step, random_state=seed)
            rng = np.random.default_rng(seed)
            z = torch.tensor(rng.standard_normal((1, settings.states, model.latent_dim)) * 10 ** rng.uniform(-1, 2, (1, settings.states, 1)))
            found = model.certificate()
            count, proven, broken = count + 1, proven + int(found.check()[0]), broken + int(model.violations(z)[0])
            rates.append(found.rate[0])
        spread = f"{np.median(rates):.4f} ({min(rates):.4f} to {max(rates):.4f})" if rates else "-"
        print(f"| {kind} | {step} | {count} | {proven} | {count * settings.states:,} | {broken} | {spread} |", flush=True)


def updates() -> None:
    print("\nafter each of 100 arbitrary updates (Adam at 0.1; gradients: noise, noise of 10^6, uphill on the largest entries of the map), 3 areas of 8\n")
    print("| blocks | integrator | not certified | largest |P L + L'P| / |P L| | largest norm of the coupling |\n|---|---|---|---|---|")
    for kind in KINDS:
        for step in STEPS:
            model = dr.Assembly(2, (8, 8, 8), blocks=kind, integrator=step, density=0.15, random_state=0)
            optimiser = torch.optim.Adam(model.parameters(), 0.1)
            g, failed, skew, size = torch.Generator().manual_seed(0), 0, 0.0, 0.0
            for update in range(100):
                optimiser.zero_grad()
                if update % 2:
                    map = model.additive_map()
                    (-(torch.as_tensor(map.A).abs().amax() + torch.as_tensor(map.W1).abs().amax())).backward()
                else:
                    for p in model.parameters():
                        p.grad = torch.randn(p.shape, generator=g) * 10.0 ** (6 * (update % 4 == 0))
                optimiser.step()
                found = model.certificate()
                failed += not found.check()[0]
                PL = found.metric[0] @ found.coupling[0]
                skew, size = max(skew, np.abs(PL + PL.T).max() / np.linalg.norm(PL)), max(size, found.bounds().sigma)
            print(f"| {kind} | {step} | {failed} of 100 | {skew:.1e} | {size:.3g} |", flush=True)


def gain(settings: Settings) -> None:
    print("\ngain of the coupling B: largest certified step of Euler, and the implicit-explicit rate at dt = 0.1 (median of 10 assemblies of 4 areas)\n")
    print("| blocks | gain | norm of the coupling | Euler: largest dt | implicit-explicit: rate | its largest dt, least of 10 |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        found = [dr.Assembly(3, (settings.area // 2,) * 4, blocks=kind, density=1 / 15, random_state=s).certificate() for s in range(10)]
        for by in (0, 1, 10, 100):
            euler, implicit = ([_scaled(one, by, step) for one in found] for step in STEPS[::-1])
            size = np.median([one.bounds().sigma for one in euler])
            rate = np.median([one.rate[0] for one in implicit])
            longest = min(one.dt_max[0] for one in implicit)
            print(f"| {kind} | {by} | {size:.3g} | {np.median([one.dt_max[0] for one in euler]):.3g} | {rate:.6f} | {longest:.3g} |", flush=True)


def _scaled(found: dr.models.Certificate, by: float, step: str, dt: float = 0.1) -> dr.models.Certificate:  # pyright: ignore
    return certify(found.metric, found.weights, by * found.coupling, found.areas, dt=dt, integrator=step)


def step(settings: Settings) -> None:
    """Of 200 random patterns of gains, and that of all units off: the smallest dt at which one makes the step unstable, and, searched for in turns over
    states and patterns, at which one makes a distance in the metric grow."""
    print("\nEuler's largest certified step; the smallest found that does not contract in the metric, and that is unstable (spectral radius above 1)\n")
    print("| blocks | gain | certified | a distance grows | unstable | grows / certified | unstable / certified |\n|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for kind, bound in (("sparse", 0.95), ("symmetric", 0.95), ("svd", 0.95), ("symmetric", 0.4), ("svd", 0.4)):
        for by in (1, 10):
            certified, grows, unstable = [], [], []
            for seed in range(10):
                found = dr.Assembly(3, (16,) * 4, blocks=kind, bound=bound, density=1 / 15, random_state=seed).certificate()
                one = _scaled(found, by, "euler")
                P, W, L = one.metric[0], one.weights[0], one.coupling[0]
                patterns = np.concatenate([np.zeros((1, 64)), rng.random((200, 64)) < rng.random((200, 1))])
                ends = np.concatenate([np.linalg.eigvals(-np.eye(64) + W * d + L) for d in patterns])
                certified.append(one.dt_max[0])
                unstable.append((-2 * ends.real / np.abs(ends) ** 2).min())        # |1 + dt e| > 1 beyond -2 Re e / |e|^2
                grows.append(smallest_growing_step(P, W, L, rng))
            one, other = np.array(grows) / certified, np.array(unstable) / certified
            name = kind if kind == "sparse" else f"{kind}, bound {bound}"
            print(f"| {name} | {by} | {np.median(certified):.3g} | {np.median(grows):.3g} | {np.median(unstable):.3g} | "
                  f"{np.median(one):.3g} ({one.min():.3g} to {one.max():.3g}) | {np.median(other):.3g} |", flush=True)


def smallest_growing_step(P: np.ndarray, W: np.ndarray, L: np.ndarray, rng: np.random.Generator, starts: int = 6) -> float:
    """The smallest dt found at which |x + dt J x| > |x| in the metric for some x and D: 2 x'(-J)x / |J x|^2, by turns over x and D, units one by one."""
    n, root, best = len(P), np.linalg.cholesky(P).T, 1.0
    back = np.linalg.inv(root)
    excess = lambda J, dt: np.linalg.eigh((J + J.T) / 2 + dt / 2 * J.T @ J)  # noqa: E731
    for start in range(starts):
        d = (rng.random(n) < rng.random()).astype(float) * (start > 0)
        for _ in range(12):
            J = root @ (-np.eye(n) + W * d + L) @ back
            low, high = 0.0, best
            while excess(J, best)[0][-1] > 0 and high - low > 1e-4 * high:
                middle = (low + high) / 2
                low, high = (low, middle) if excess(J, middle)[0][-1] > 0 else (middle, high)
            best, before = high, d.copy()
            x = back @ excess(J, best)[1][:, -1]
            now, parts = root @ (x + best * (L @ x - x) + best * W @ (x * d)), best * (root @ W) * x
            for _ in range(3):
                for i in range(n):
                    without = now - parts[:, i] * d[i]
                    d[i] = float(np.linalg.norm(without + parts[:, i]) > np.linalg.norm(without))
                    now = without + parts[:, i] * d[i]
            if (before == d).all():
                break
    return best


def worst_log_norm(P: np.ndarray, W: np.ndarray, rng: np.random.Generator, starts: int = 20) -> float:
    """A large x' P W D x of |x| = 1 over D in [0, 1], by turns over x and D: a lower bound of the largest."""
    root = np.sqrt(P)
    N, best = W * root[:, None] / root, -np.inf
    for _ in range(starts):
        d = rng.integers(0, 2, len(P)).astype(float)
        for _ in range(30):
            values, vectors = np.linalg.eigh((N * d + (N * d).T) / 2)
            best, y = max(best, float(values[-1])), vectors[:, -1]
            new = ((N.T @ y) * y > 0).astype(float)
            if (new == d).all():
                break
            d = new
    return best


def identity(settings: Settings) -> None:
    n = settings.area
    print(f"\nnets of {n} units that Theorem 1 accepts (density 1/30, entries within +-s): which metric is refused, of {settings.nets}\n")
    print("| s | scaled afterwards | identity refused | of these refuted | identity, reference | constructed metric refused |\n|---|---|---|---|---|---|")
    reference = {(1.0, 1.0): "8", (6.0, 1.0): "40", (10.0, 1.0): "40", (6.0, 0.1): "0", (10.0, 0.1): "34 repaired"}
    for (s, by), known in reference.items():
        rng, refused, refuted, own = np.random.default_rng(0), 0, 0, 0
        for _ in range(settings.nets):
            W, P = drawn_sparse(rng, n, 1 / 30, s)
            arrays = by * W[None], np.zeros((1, n, n)), (n,)
            no = not certify(np.eye(n)[None], *arrays, dt=0.01, integrator="implicit-explicit").continuous_rate[0] > 0
            refused, refuted = refused + no, refuted + (no and worst_log_norm(np.ones(n), by * W, rng) >= 1)
            own += not certify(np.diag(P)[None], *arrays, dt=0.01, integrator="implicit-explicit").continuous_rate[0] > 0
        print(f"| {s:g} | {by:g} | {refused} | {refuted} | {known} | {own} |", flush=True)


def published(settings: Settings) -> None:
    """The published code takes M = I / 2 if the eigenvalues of M * A are negative, A = |W| - I, where * is elementwise: of A it sees the diagonal alone."""
    n, rng = settings.area, np.random.default_rng(0)
    passed, sparse, published, constructed = 0, 0, 0, 0
    for k in range(settings.draws):
        if k % 10 == 0:
            areas = [drawn_sparse(rng, n, 1 / 30, 10.0) for _ in range(4)]
            W, P = np.zeros((4 * n, 4 * n)), np.concatenate([P for _, P in areas])
            for i, (block, _) in enumerate(areas):
                W[i * n : (i + 1) * n, i * n : (i + 1) * n] = block
                A, M = np.abs(block) - np.eye(n), np.eye(n) / 2
                passed, sparse = passed + bool((np.linalg.eigvals(M * A).real < 0).all()), sparse + 1
        B = 0.3 * rng.standard_normal((4 * n, 4 * n)) * np.kron(np.tril(np.ones((4, 4)), -1), np.ones((n, n)))
        gains = (rng.random(4 * n) < 0.5).astype(float)
        J = -np.eye(4 * n) + W * gains
        published += np.linalg.eigvals(J + B - B.T).real.max() > 0
        L = B - B.T * P / P[:, None]
        root = np.sqrt(P)
        S = (J + L) * root[:, None] / root
        constructed += np.linalg.eigvalsh((S + S.T) / 2)[-1] >= 0
    print("\nthe published check, M * (|W| - I) with * elementwise and M = I / 2, sees the diagonal (|w_ii| - 1) / 2 alone, which is -1 / 2 whatever W is:")
    print(f"it passes {passed} of {sparse} areas. 4 of them coupled (s = 10, B ~ 0.3 N(0, 1)), random gains:")
    print(f"L = B - B', skew in that M: unstable at {published} of {settings.draws} (reference 590 of 600)")
    print(f"L = B - P^-1 B' P, P constructed: log-norm not negative at {constructed} of {settings.draws} (reference 0 of 600)", flush=True)


def oscillator(n: int, seed: int):
    """A damped oscillator pushed by random steps of 20 samples: x'' = -x - x' / 2 + u in steps of 0.1."""
    rng = np.random.default_rng(seed)
    u, x = np.repeat(rng.standard_normal(n // 20), 20), np.zeros((n, 2))
    for t in range(n - 1):
        v = x[t, 1] + 0.1 * (-x[t, 0] - 0.5 * x[t, 1] + u[t + 1])
        x[t + 1] = x[t, 0] + 0.1 * v, v
    return dr.as_recording(x[None], inputs=u[None, :, None], dt=0.1)


def driven(settings: Settings) -> None:
    training, test = oscillator(6_000, 0), oscillator(3_000, 1)
    truth = test.observed.values[0, 200:]
    print(f"\ndriven oscillator, from input alone, 3 areas of 16, 3 fits, {settings.training} updates: share of variance explained on test data\n")
    print("| blocks | integrator | median (range) | before training | certified | rate per step |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        for step in STEPS:
            model = dr.Assembly(2, (16,) * 3, blocks=kind, integrator=step, input_dim=1, dt=0.2, density=1 / 15, lowest=-1.0, n_fits=3, random_state=0)
            score = []
            for trained in (False, True):
                run = dr.fit(
                    model, training, forcing=dr.FreeRunning(), n_updates=settings.training if trained else 1, sequence_length=100, batch_size=16,
                    learning_rate=(1e-2, 1e-3), progress=False, random_state=0,
                )
                seen = dr.generate(run, 3_000, initial=test).observed.values[:, 0, 200:]
                score.append(1 - ((seen - truth) ** 2).mean((1, 2)) / truth.var(0).mean())
            found, r = model.certificate(), score[1]
            print(f"| {kind} | {step} | {np.median(r):.3f} ({r.min():.3f} to {r.max():.3f}) | {np.median(score[0]):.2f} | {int(found.check().sum())} of 3 | "
                  f"{np.median(found.rate):.4f} |", flush=True)


def lorenz(settings: Settings) -> None:
    """A map that contracts has one fixed point and no other recurrent state: what is left of the free run says how fast."""
    training, test = (dr.load_dataset("lorenz63", n_steps=20_000, random_state=s) for s in (0, 1))
    model = dr.Assembly(3, (16,) * 3, blocks="svd", n_fits=3, random_state=0)
    run = dr.fit(model, training, n_updates=settings.training, progress=False, random_state=0)
    orbit = dr.generate(model, 5_000, initial=test, transient=1_000)
    left = orbit.observed.values[:, 0].std(1).mean(-1) / test.observed.values[0].std(0).mean()
    loss = np.median(run.history.loss.values[:, -1])
    print(f"\nLorenz-63, svd, 3 areas of 16, {settings.training} updates with forcing 0.15: loss {loss:.3f} of the variance; after 1,000 free steps")
    print(f"the standard deviation is {np.median(left):.1e} of the system's, as it must be: all orbits end in one fixed point", flush=True)
    print(dr.score_table(dr.evaluate(run, test)))


def main(settings: Settings) -> None:
    parts = {"states": states, "gain": gain, "step": step, "identity": identity, "published": published, "driven": driven, "lorenz": lorenz}
    for name in settings.only:
        if name == "updates":
            updates()
        else:
            parts[name](settings)


if __name__ == "__main__":
    main(tyro.cli(Settings))
