"""Cells found again: features that hold their own cell's number, cut, rolled, padded and merged."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lookalike.ops.cell_index import NO_CELL, CellIndex, cells_of, set_cells
from lookalike.ops.frozen import FrozenForward

H, W, C = 4, 6, 5


def numbered(layout="last"):
    """A map whose value at each cell is the cell's number, with its index: (1, H, W, C) or (1, C, H, W)."""
    x = torch.arange(H * W, dtype=torch.float32).reshape(1, 1, H, W).expand(1, C, H, W).clone()
    set_cells(x, CellIndex.of_map(x))
    if layout == "map":
        return x
    with torch.enable_grad(), FrozenForward():
        return x.permute(0, 2, 3, 1)


def swin_windows(x):
    """Windows of 2 x 3 after a shift, as Swin cuts them: (4, 6, C)."""
    x = torch.roll(x, shifts=(-1, -2), dims=(1, 2))
    return x.view(1, 2, 2, 2, 3, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 6, C)


def swin_back(x):
    x = x.view(-1, 2, 2, 2, 3, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, H, W, C)
    return torch.roll(x, shifts=(1, 2), dims=(1, 2))


def maxvit_grid(x):
    """Groups of cells that lie far apart, as MaxViT's grid attention takes them."""
    return x.view(1, 2, H // 2, 3, W // 3, C).permute(0, 2, 4, 1, 3, 5).contiguous().view(-1, 2, 3, C)


def hiera_unroll(x):
    """Tokens in which the four of each 2 x 2 stand far apart: (1, H W, C)."""
    x = x.view(1, H // 2, 2, W // 2, 2, C).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    return x.reshape(-1, H * W, C)


def heads(x):
    """Queries of two heads from tokens, as attention reshapes them."""
    q, _ = torch.cat([x] * 4, -1).flatten(1, 2).reshape(1, H * W, 2, 2, C).permute(2, 0, 3, 1, 4).unbind(0)
    return q.transpose(1, 2).reshape(1, H * W, 2 * C)


MOVES = {
    "windows": swin_windows,
    "windows and back": lambda x: swin_back(swin_windows(x)),
    "grid": maxvit_grid,
    "unrolled": hiera_unroll,
    "heads": heads,
    "part": lambda x: x[:, 1:3, ::2].squeeze(0).unsqueeze(1),
    "chunks": lambda x: x.chunk(2, dim=2)[1],
    "computed": lambda x: swin_windows(x * 1.0 + 0.0),
}


@pytest.mark.parametrize("name", MOVES)
def test_features_and_their_cells_move_alike(name):
    x = numbered()
    with torch.enable_grad(), FrozenForward():
        output = MOVES[name](x)
    cells = cells_of(output)
    assert cells.grid == (H, W)
    assert torch.equal(cells.numbers.float(), output)


@pytest.mark.parametrize("name", ["windows and back", "part"])
def test_a_constant_added_in_windows_lies_at_its_cell(name):
    """The target asks for one cell of the output, so one position of the constant has a share."""
    layer = nn.Linear(C, C).requires_grad_(False)
    x = numbered().requires_grad_()
    with torch.enable_grad(), FrozenForward() as frozen:
        moved = swin_windows(x) if name == "windows and back" else MOVES["part"](x)
        output = layer(moved)
        output = swin_back(output) if name == "windows and back" else output
    (constant,) = frozen.constants
    at = (0, 1, 4) if name == "windows and back" else (1, 0, 2)  # row 1, column 4; row 1 + 1, column 2 · 2
    (gradient,) = torch.autograd.grad(output[at].sum(), constant.factors)
    by_cell, prefix, rest = constant.cells.totals(gradient.squeeze(-1)[None], 0)
    cell = 1 * W + 4 if name == "windows and back" else 2 * W + 4
    assert by_cell[0].nonzero().tolist() == [[cell]] and not rest.any() and prefix.shape == (1, 0)
    torch.testing.assert_close(by_cell[0, cell], layer.bias.sum())


def test_padding_lies_nowhere():
    with torch.enable_grad(), FrozenForward():
        padded = F.pad(numbered(), (0, 0, 0, 1, 2, 0))  # one column after, two rows before
    cells = cells_of(padded)
    assert (cells.numbers[:, :2] == NO_CELL).all() and (cells.numbers[:, :, -1] == NO_CELL).all()
    by_cell, _, rest = cells.totals(torch.ones(1, *padded.shape), 0)
    assert (by_cell == C).all() and rest.tolist() == [(6 * 7 - 24) * C]


def test_tokens_that_join_the_cells_are_numbered_below_zero():
    cls, registers = torch.zeros(1, 1, C), torch.zeros(1, 2, C)
    with torch.enable_grad(), FrozenForward() as frozen:
        tokens = torch.cat([cls, registers, numbered().flatten(1, 2).requires_grad_()], dim=1)
    cells = cells_of(tokens)
    assert cells.numbers[0, :, 0].tolist() == [-1, -2, -3, *range(H * W)]
    assert [each.cells.numbers.flatten().tolist() for each in frozen.constants] == [[-1], [-2, -3]]
    by_cell, prefix, rest = cells.totals(torch.ones(1, *tokens.shape), 3)
    assert prefix.tolist() == [[C] * 3] and (by_cell == C).all() and rest.tolist() == [0]


def test_cells_merge_where_they_fill_one_of_a_coarser_grid():
    """Swin joins 2 x 2 cells in the channels, Hiera takes their maximum: half the grid, in order."""
    with torch.enable_grad(), FrozenForward():
        x = numbered()
        joined = x.reshape(1, H // 2, 2, W // 2, 2, C).permute(0, 1, 3, 4, 2, 5).flatten(3)
        reduced = F.linear(joined, torch.ones(3, 4 * C))
        pooled = hiera_unroll(x).view(1, 4, -1, C).amax(dim=1)
        everywhere = F.linear(x.flatten(1, 2).transpose(1, 2), torch.ones(7, H * W))
    for output in (reduced, pooled):
        cells = cells_of(output)
        assert cells.grid == (2, 3) and cells.numbers.shape == output.shape
        assert cells.numbers[..., 0].flatten().tolist() == list(range(6))
    assert cells_of(everywhere).grid == (1, 1) and not cells_of(everywhere).numbers.any()


def test_cells_that_fill_no_coarser_cell_do_not_merge():
    cells = CellIndex.of_map(torch.zeros(1, C, H, W))
    assert CellIndex(cells.numbers[..., :5], (H, W)).merged(-1) is None  # five of six columns
    assert CellIndex(cells.numbers - 1, (H, W)).merged(-1) is None  # the first lies at no cell
    merged = cells.merged(1)
    assert merged.grid == (H, W) and merged.numbers.shape == (1, 1, H, W)
