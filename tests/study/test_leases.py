"""Leases: one of several takers succeeds, a generation only grows, and time is each watcher's own."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynrnn.study import open_storage
from dynrnn.study.storage import Lease
from dynrnn.study.storage.leases import Watch
from dynrnn.study.storage.owners import known_dead, new_owner

TRIAL = 1_000_007  # far from the numbers of other tests on the same server


@pytest.fixture
def leases(source):
    storage = open_storage(source)
    yield storage.leases
    storage.leases.drop(1, TRIAL)
    storage.close()


def test_a_lease_goes_from_generation_to_generation(leases):
    assert leases.read(1) == {}
    assert leases.take(1, TRIAL, 0, "a", 0)
    assert not leases.take(1, TRIAL, 0, "b", 0)
    assert leases.renew(1, TRIAL, 1, "a")
    assert leases.read(1)[TRIAL] == Lease(TRIAL, 1, "a", beat=1, losses=0)
    assert leases.take(1, TRIAL, 1, "b", 1)
    assert leases.read(1)[TRIAL] == Lease(TRIAL, 2, "b", beat=0, losses=1)
    # the first owner, whatever it does now, comes too late
    assert not leases.renew(1, TRIAL, 1, "a")
    assert not leases.release(1, TRIAL, 1, "a")
    assert not leases.take(1, TRIAL, 1, "c", 1)
    assert leases.release(1, TRIAL, 2, "b")
    assert leases.read(1)[TRIAL].owner == ""
    assert not leases.renew(1, TRIAL, 2, "b")
    assert leases.take(1, TRIAL, 2, "c", 1)
    assert leases.read(2) == {}
    leases.drop(1, TRIAL)
    assert leases.read(1) == {}
    assert not leases.renew(1, TRIAL, 3, "c")


@pytest.mark.parametrize("generation", [0, 1])
def test_one_of_eight_takers_succeeds(leases, generation):
    if generation:
        assert leases.take(1, TRIAL, 0, "first", 0)
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            won = [step.result() for step in [pool.submit(leases.take, 1, TRIAL, generation, f"worker {i}", 0) for i in range(8)]]
        assert sum(won) == 1
        assert leases.read(1)[TRIAL].owner == f"worker {won.index(True)}"
        generation += 1


def test_a_watch_counts_its_own_time_since_it_saw_the_last_beat():
    now = [100.0]
    watch = Watch(10.0, clock=lambda: now[0])
    lease = Lease(3, 1, "another machine|1|1|x", beat=0)
    assert not watch.dead(lease)
    now[0] += 9.0
    assert not watch.dead(lease)
    beaten = Lease(3, 1, lease.owner, beat=1)
    now[0] += 9.0
    assert not watch.dead(beaten)  # 18 s after it was first seen, but it has beaten since
    now[0] += 10.5
    assert watch.dead(beaten)
    assert not watch.dead(Lease(3, 2, "another machine|2|2|y"))  # the next generation starts anew
    assert watch.dead(Lease(4, 1, ""))  # given back: at once


def test_an_ended_process_of_this_machine_is_known_dead():
    """Also before its parent has asked for its end, and when its number belongs to another process by now."""
    owner = new_owner()
    place, pid, start, name = owner.split("|")
    assert pid == str(os.getpid())
    assert not known_dead(owner)
    assert known_dead(f"{place}|{pid}|{int(start) + 1}|{name}")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    with open(f"/proc/{child.pid}/stat") as stat:
        started = stat.read().rpartition(")")[2].split()[19]
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert known_dead(f"{place}|{child.pid}|{started}|x")
    child.wait()
    assert known_dead(f"{place}|{child.pid}|{started}|x")
    assert not known_dead(f"elsewhere|{child.pid}|{started}|x")
