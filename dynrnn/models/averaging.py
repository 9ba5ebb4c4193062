"""The mean of several fits' maps, as one model of the same family."""

from __future__ import annotations

from typing import Any

import torch

from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.alrnn import ALRNN
from dynrnn.models.base import Model
from dynrnn.models.ensemble import model_with
from dynrnn.models.plrnn import PLRNN
from dynrnn.models.shallow import ShallowPLRNN
from dynrnn.models.unwrap import model_of


def average(model: Any, size: int | None = None) -> Model:
    """Models whose maps are exactly the mean of the maps of ``size`` fits each: ``F(z) = (F_1(z) + ... + F_size(z)) / size``.

    Fits agree where the data lie and differ where there are none; there an average extrapolates with less scatter. On Lorenz-63 the
    learned stability of the wings' centres, which decides whether a free run is caught there, scatters half as much in averages of four.

    Parameters
    ----------
    model : a model of several fits, or the run of one, trained on one recording. The latent units must be the channels
        (latent_dim = observed_dim, observation="identity"): others may mean something else in each fit.
    size : fits in an average, taken in their order; it must divide their number. By default all.

    Returns a copy with n_fits / size fits, ready for ``generate``, ``evaluate``, analysis or more training. A shallow PLRNN gets
    ``size * hidden_dim`` hidden units, which are those of its members; PLRNN and AL-RNN are linear in their parameters and keep their size.

    Raises ArgumentError for a family without an exact average (dendritic), other latent units, or a size that does not divide.

    >>> model = ShallowPLRNN(3, 3, 10, n_fits=8, random_state=0)
    >>> (average(model, size=4).n_fits, average(model, size=4).hidden_dim)
    (2, 40)
    """
    model = model_of(model)
    F = model.n_fits
    size = F if size is None else check_int("size", size, low=1, high=F)
    if F % size:
        raise ArgumentError(f"size = {size} does not divide the {F} fits; leave some out with dr.select, or choose another size.")
    if model.observation != "identity" or model.latent_dim != model.observed_dim:
        raise ArgumentError(
            f"fits can be averaged where their latent units are the channels (latent_dim = observed_dim, observation='identity'); this model "
            f"has latent_dim = {model.latent_dim}, observed_dim = {model.observed_dim}, observation={model.observation!r}, so that a unit "
            "may mean something else in each fit."
        )
    groups = {name: value.reshape(F // size, size, *value.shape[1:]) for name, value in model.state_dict().items()}
    for name in ("data_mean", "data_scale"):
        if not bool((groups[name] == groups[name][:, :1]).all()):
            raise ArgumentError(f"fits that are averaged must be in the same units, but their {name} differs: they were trained on different recordings.")
        groups[name] = groups[name][:, 0]
    groups["fit_number"] = groups["fit_number"][:, 0]
    means = {name: value.mean(1) for name, value in groups.items() if name not in ("data_mean", "data_scale", "fit_number")}
    config = model.config()
    if isinstance(model, ShallowPLRNN):
        config["hidden_dim"] *= size
        W1, W2, h2 = groups["W1"] / size, groups["W2"], groups["h2"]
        means |= {"W1": W1.transpose(1, 2).flatten(2), "W2": W2.flatten(1, 2), "h2": h2.flatten(1, 2)}
    elif not isinstance(model, PLRNN | ALRNN):
        raise ArgumentError(f"the mean of maps of the family {model.family!r} is no map of that family; shallow-plrnn, plrnn and alrnn can be averaged.")
    with torch.no_grad():
        return model_with(model, config | {"n_fits": F // size}, groups | means)
