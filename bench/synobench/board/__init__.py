"""The board: records -> rows -> tables, texts and files. Pure functions of records, without torch."""

from synobench.board.build import Board, Failure, Machine, Network, SuiteFacts, build_board

__all__ = ["Board", "Failure", "Machine", "Network", "SuiteFacts", "build_board"]
