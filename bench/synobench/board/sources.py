"""Which code made a board's records, for captions and protocols."""

from __future__ import annotations

from synobench.board.build import Board

_SHORT = 10
_MOST = 3


def commits(board: Board) -> list[tuple[str, int]]:
    """Return each commit that made runs, with their number; ``unknown`` where none is told; most runs first."""
    held: dict[str, int] = {}
    for run in board.runs:
        name = str(run.code.get("commit") or "unknown")[:_SHORT]
        name += " with uncommitted changes" if run.code.get("dirty") else ""
        held[name] = held.get(name, 0) + 1
    return sorted(held.items(), key=lambda item: (-item[1], item[0]))


def made_at(board: Board) -> str:
    """Write the commits: ``195 runs at commit 5181e2cecc``, or how many there are and those of most runs."""
    found = commits(board)
    if not found:
        return "no run"
    runs = f"{len(board.runs):,} run{'s' if len(board.runs) > 1 else ''}"
    if len(found) == 1:
        return f"{runs} at commit {found[0][0]}"
    told = ", ".join(f"{name} ({count:,})" for name, count in found[:_MOST])
    return f"{runs} at {len(found)} commits: {told}{' and others' if len(found) > _MOST else ''}"
