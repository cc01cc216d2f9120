"""Which pictures of what was measured in training a board has: those of rules alone, and only what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from synobench.board import Board
from synobench.protocol import RULE


@dataclass(frozen=True)
class Picture:
    """One picture: the measurement's name, its file without the ending, and what it shows in words."""

    table: str
    file: str
    title: str


PICTURES = {
    "updates": Picture("update-norm", "update-norm", "Update norms by depth"),
    "energy": Picture("energy", "energy", "Energy over inference"),
    "cosine": Picture("cosine-to-backprop", "cosine", "Cosine to backprop by depth"),
}


def pictures(board: Board) -> list[str]:
    """Return the names of the pictures that a board has."""
    if board.suite.versus != RULE:
        return []
    runs = [run for network in board.networks for row in network.rows if row.unpruned for run in row.runs]
    held = {table for run in runs for table in run.training}
    return [name for name, picture in PICTURES.items() if picture.table in held]
