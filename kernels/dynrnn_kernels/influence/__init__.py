"""Gradients accumulated forwards in time (real-time recurrent learning): the influence of every number of a map on its state, carried along with it."""
