"""BLAS threads are held by whoever asks, and given back when the last is done."""

from __future__ import annotations

from threadpoolctl import threadpool_info, threadpool_limits

from dynrnn_kernels.blas import one_blas_thread


def n_threads() -> set[int]:
    return {row["num_threads"] for row in threadpool_info() if row["user_api"] == "blas"}


def test_inner_holders_do_not_give_back_what_outer_ones_hold():
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            with one_blas_thread():
                assert n_threads() == {1}
            assert n_threads() == {1}
        assert n_threads() == {2}


def test_holders_may_leave_in_any_order():
    first, second = one_blas_thread(), one_blas_thread()
    with threadpool_limits(2, user_api="blas"):
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert n_threads() == {1}
        second.__exit__(None, None, None)
        assert n_threads() == {2}


def test_a_failure_within_gives_back():
    with threadpool_limits(2, user_api="blas"):
        try:
            with one_blas_thread():
                raise ValueError
        except ValueError:
            pass
        assert n_threads() == {2}
