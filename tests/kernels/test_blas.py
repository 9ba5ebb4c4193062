"""BLAS threads are held by whoever asks, and given back when the last is done."""

from __future__ import annotations

from threadpoolctl import threadpool_info, threadpool_limits

from dynrnn_kernels.blas import one_blas_thread


def n_threads() -> dict[str, int]:
    """By library. A worker that has run for long may have one that stays at one thread, whoever asks for more; the other must show what is tested."""
    return {row["filepath"]: row["num_threads"] for row in threadpool_info() if row["user_api"] == "blas"}


def held() -> bool:
    return set(n_threads().values()) == {1}


def test_inner_holders_do_not_give_back_what_outer_ones_hold():
    with threadpool_limits(2, user_api="blas"):
        before = n_threads()
        assert max(before.values()) == 2
        with one_blas_thread():
            with one_blas_thread():
                assert held()
            assert held()
        assert n_threads() == before


def test_holders_may_leave_in_any_order():
    first, second = one_blas_thread(), one_blas_thread()
    with threadpool_limits(2, user_api="blas"):
        before = n_threads()
        assert max(before.values()) == 2
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert held()
        second.__exit__(None, None, None)
        assert n_threads() == before


def test_a_failure_within_gives_back():
    with threadpool_limits(2, user_api="blas"):
        before = n_threads()
        assert max(before.values()) == 2
        try:
            with one_blas_thread():
                raise ValueError
        except ValueError:
            pass
        assert n_threads() == before
