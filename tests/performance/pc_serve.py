"""One side in a process of its own: reads commands line by line, answers each with one JSON object a line.

``gradients FILE`` writes them as .npz; ``run K`` takes K steps and tells CPU and wall seconds; ``products`` counts the
multiply-adds of a step and ``peak`` the multiply-adds a second of a matrix product (torch only). PC_DEVICE names the
device of torch's sides (``cpu``).
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pc_problem import DEVICE, Problem, Side


def main() -> None:
    """Serve the side that the command line names: MODULE SIDE NET SWEEPS."""
    module, name, net, sweeps = sys.argv[1:5]
    # What a library prints must not stand among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    side = importlib.import_module(module).SIDES[name](Problem(net, int(sweeps)))
    for line in sys.stdin:
        print(json.dumps(answer(side, *line.split())), file=answers, flush=True)


def answer(side: Side, command: str, argument: str = "") -> dict[str, Any]:
    """Carry out one command."""
    if command == "gradients":
        with Path(argument).open("wb") as file:
            np.savez(file, *side.gradients())
        return {}
    if command == "products":
        return {"products": products(side)}
    if command == "peak":
        return {"peak": peak()}
    return timed(lambda: side.run(int(argument)))


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Return CPU and wall seconds."""
    finish()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    finish()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def finish() -> None:
    """Wait for what torch launched on a CUDA device; a side of another library waits by itself."""
    torch = sys.modules.get("torch")
    if torch is not None and DEVICE != "cpu":
        torch.cuda.synchronize()


def peak() -> float:
    """Return the multiply-adds a second of a float32 matrix product, the best of ten; of CPU time on the CPU."""
    import torch

    kind, size = ("cpu", 1024) if DEVICE == "cpu" else ("wall", 8192)
    a, b = torch.rand(2, size, size, device=DEVICE)
    out = torch.empty_like(a)
    return size**3 / min(timed(lambda: torch.mm(a, b, out=out))[kind] for _ in range(10))


def products(side: Side) -> int:
    """Return the multiply-adds of one step, by the formulas of torch's FLOP counter.

    The counter itself is refused by ``autograd.grad`` at a leaf; and it does not know products in place.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):
        flops = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out, name = func(*args, **(kwargs or {})), func.overloadpacket.__name__.rstrip("_")
            formula = flop_registry.get(getattr(torch.ops.aten, name, None))
            # The formulas want shapes alone, and no tensor to write to.
            told = {k: v for k, v in (kwargs or {}).items() if k != "out"}
            self.flops += 0 if formula is None else formula(*args, **told, out_val=out)
            return out

    with Counter() as counter:
        side.run(1)
    return counter.flops // 2


if __name__ == "__main__":
    main()
