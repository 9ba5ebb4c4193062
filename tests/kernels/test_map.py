"""An additive map refuses tensors that do not fit each other: kernels go by its sizes, and would read past the end of one."""

from __future__ import annotations

import pytest
import torch

from dynrnn_kernels.additive import PHI_KINDS, W2_KINDS, AdditiveMap, cpu_cells
from dynrnn_kernels.errors import KernelError

F, M, H, K, N = 2, 4, 6, 3, 5                                                   # all different, so that no axis passes for another
SHAPES = {
    "a": (F, M), "W1": (F, M, H), "h1": (F, M), "A": (F, M, M), "W2": (F, H, M), "h2": (F, H), "C": (F, M, K), "D": (F, H, K),
    "slope": (F, N), "threshold": (F, H, N),
}
WRONG = [(name, axis, change) for name, shape in SHAPES.items() for axis in range(len(shape)) for change in (-1, 1)]


def tensors(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(shape) for name, shape in (SHAPES | shapes).items()}


@pytest.mark.parametrize(("name", "axis", "change"), WRONG)
def test_every_axis_of_every_tensor_is_checked(name, axis, change):
    """One axis longer or shorter by one; the others then disagree with it, or it with them."""
    shape = list(SHAPES[name])
    shape[axis] += change
    with pytest.raises(KernelError, match="must have shape"):
        AdditiveMap(phi="basis", **tensors(**{name: tuple(shape)}))


@pytest.mark.parametrize("name", SHAPES)
def test_no_axis_is_broadcast_left_out_or_added(name):
    for shape in ((1, *SHAPES[name][1:]), SHAPES[name][1:], (*SHAPES[name], 1)):
        with pytest.raises(KernelError, match="must have shape"):
            AdditiveMap(phi="basis", **tensors(**{name: shape}))


def test_the_message_names_the_tensor_and_the_sizes():
    with pytest.raises(KernelError, match=r"^h2 must have shape \(fit, hidden\) with fit = 2, hidden = 6 .* got \(2, 4\)$"):
        AdditiveMap(phi="basis", **tensors(h2=(F, M)))


@pytest.mark.parametrize("name", ["slope", "threshold"])
def test_bases_come_with_their_phi_alone(name):
    given = {key: value for key, value in tensors().items() if key not in ("slope", "threshold")}
    with pytest.raises(KernelError, match="exactly when phi is a basis"):
        AdditiveMap(phi="relu", **given | {name: torch.zeros(SHAPES[name])})


def test_no_more_units_are_selected_than_there_are():
    def selection(H: int) -> AdditiveMap:
        return AdditiveMap(a=torch.zeros(1, 3), W1=torch.zeros(1, 3, H), h1=torch.zeros(1, 3), w2="selection")

    assert selection(3).hidden_dim == 3
    with pytest.raises(KernelError, match="'selection' .* cannot take 4 of 3"):
        selection(4)


def test_tags_of_compiled_code_are_places_in_the_tables_of_names():
    """The CPU kernels write them down, since Numba takes them as constants."""
    assert [getattr(cpu_cells, name.upper()) for name in PHI_KINDS] == list(range(len(PHI_KINDS)))
    assert [getattr(cpu_cells, f"W2_{name.upper()}") for name in W2_KINDS] == list(range(len(W2_KINDS)))
