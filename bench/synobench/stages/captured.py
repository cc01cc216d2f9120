"""A function of tensors on a CUDA device, recorded as a graph of kernels and replayed from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the recording, in which libraries choose their kernels and take their memory."""


class Captured:
    """Replays what a function of tensors of one shape launched, without the processor's part in it.

    What it returns stands until it is called again. The function must not look at a figure on the way.

    Args:
        step: the function. It may write to tensors of its own, which must last as long as this does.
        moved: tells the tensors that the function moves along, which warming up shall leave as they are.
    """

    def __init__(self, step: Callable[..., Any], moved: Callable[[], Sequence[Tensor]] = tuple) -> None:
        self._step, self._moved = step, moved
        self._held: tuple[torch.cuda.CUDAGraph, list[Tensor], Any] | None = None

    def __call__(self, *tensors: Tensor) -> Any:
        """Do what the function does with these tensors; the first call records it."""
        if self._held is None:
            self._held = self._recorded(tensors)
        graph, given, out = self._held
        for held, new in zip(given, tensors, strict=True):
            held.copy_(new)
        graph.replay()
        return out

    def _recorded(self, tensors: Sequence[Tensor]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Any]:
        given = [tensor.clone() for tensor in tensors]
        before = [(tensor, tensor.clone()) for tensor in self._moved()]
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._step(*given)
        torch.cuda.current_stream().wait_stream(aside)
        for tensor, value in before:
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = self._step(*given)
        return graph, given, out
