"""Dask workers on this machine, set up for fits: processes, threads that are stated, loopback only, one GPU each where there are GPUs."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from dynrnn.errors import ArgumentError, check_int

NUMBA = "NUMBA_NUM_THREADS"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", NUMBA)
LOOPBACK = "127.0.0.1"
QUIET = logging.ERROR
TTL = "5 minutes"             # without a sign of life Dask takes a worker for dead; compiled code lets signs of life through


def local_cluster(
    n_workers: int | None = None, threads_per_fit: int | None = None, *, memory_limit: int | str | None = None, dashboard: bool = False
) -> Any:
    """A Dask cluster of processes on this machine, for ``optimize(client=...)`` and ``map_fits(client=...)``: close it, or use it in a ``with`` block.

    n_workers : processes, at least 1; default one for each GPU, or for each core where there is none. Each runs one thing at a time.
    threads_per_fit : threads of compiled code and linear algebra in each process, at least 1; default its share of the cores. Results do not depend on it;
        Dask's own default is one, whatever the machine. It is kept with each trial (``threads`` in its config.json).
    memory_limit : bytes, or text such as "4 GB", at 95 % of which Dask kills a process; default its share of the memory.
    dashboard : also serve Dask's pages, on a free port of this machine's loopback (``cluster.dashboard_link``). They have no password.

    Returns a ``distributed.SpecCluster``; ``cluster.get_client()`` gives a client. Every socket listens on 127.0.0.1. Dask asks no password of who connects, so
    that other users of this machine could: on a shared one use ``LocalCluster(security=True)`` of Dask, whose clients work as well.
    Where there are GPUs, each process sees one (CUDA_VISIBLE_DEVICES), in turn.

    ArgumentError for arguments out of range and where Dask is not installed (``pip install 'dynrnn[distributed]'``).
    Cost: about three seconds, and one copy of torch in memory (0.3 GB) for each process. A script that calls it does so under ``if __name__ == "__main__":``,
    since processes are started anew and import it.

    >>> import dynrnn as dr
    >>> with dr.study.local_cluster(n_workers=1, threads_per_fit=1) as cluster, cluster.get_client() as client:
    ...     client.submit(sum, [1, 2, 3]).result()
    6
    """
    distributed = need_dask()
    import dask

    cores, devices = _cores(), _devices()
    n = check_int("n_workers", n_workers, low=1) if n_workers is not None else len(devices) or max(1, cores // (threads_per_fit or 1))
    threads = max(1, cores // n) if threads_per_fit is None else check_int("threads_per_fit", threads_per_fit, low=1)
    if memory_limit is None:
        memory_limit = distributed.system.MEMORY_LIMIT // n
    common = {
        "host": LOOPBACK, "protocol": "tcp://", "nthreads": 1, "memory_limit": memory_limit, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0",
        "death_timeout": "60s", "silence_logs": QUIET,
    }
    own = [{NUMBA: str(threads)} | ({"CUDA_VISIBLE_DEVICES": devices[i % len(devices)]} if devices else {}) for i in range(n)]
    workers = {i: {"cls": distributed.Nanny, "options": common | {"env": own[i]}} for i in range(n)}
    scheduler = {"cls": distributed.Scheduler, "options": {
        "host": LOOPBACK, "port": 0, "protocol": "tcp://", "dashboard": dashboard, "dashboard_address": f"{LOOPBACK}:0", "worker_ttl": TTL,
    }}
    # Those of BLAS must be there before a process begins: it imports the user's script, and with it numpy, before Dask could set them. Dask sets them in this
    # process too, also when it starts a lost worker again; of Numba's that must not be, which would then refuse to compile here.
    early = dict.fromkeys((name for name in THREAD_VARIABLES if name != NUMBA), str(threads))
    settings: dict[str, Any] = {
        "distributed.nanny.pre-spawn-environ": early, "distributed.worker.http.routes": [],
        "distributed.comm.timeouts.tcp": TTL, "distributed.comm.timeouts.connect": "60s",       # a process that is kept waiting for a core is not lost
    }
    if not dashboard:
        settings["distributed.scheduler.http.routes"] = []
    with dask.config.set(settings), _environment(early):
        return distributed.SpecCluster(workers=workers, scheduler=scheduler, name=f"dynrnn-{os.getpid()}", silence_logs=QUIET)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables while a cluster is made: Dask lets what the shell has set go before what it is told."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def need_dask() -> Any:
    """The module ``distributed``; ArgumentError with what to install where it is missing."""
    try:
        import distributed
    except ImportError:
        raise ArgumentError("this needs Dask, which is not installed. Run: pip install 'dynrnn[distributed]'") from None
    return distributed


def check_client(client: Any) -> None:
    """ArgumentError for what is not a client that we can wait for."""
    if not (callable(getattr(client, "submit", None)) and callable(getattr(client, "scheduler_info", None))):
        hint = " Give cluster.get_client()." if callable(getattr(client, "get_client", None)) else ""
        raise ArgumentError(f"client must be a dask.distributed.Client, got {type(client).__name__}.{hint}")
    if getattr(client, "asynchronous", False):
        raise ArgumentError("the client is asynchronous, and this call waits for its workers. Make it with Client(..., asynchronous=False).")


def _cores() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [device.strip() for device in named.split(",") if device.strip() not in ("", "-1")]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]
