"""One thread per worker: two pytest workers on two cores would fight over BLAS and Numba threads otherwise."""
