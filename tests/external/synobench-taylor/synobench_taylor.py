"""First-order Taylor criterion: drop the weights whose removal changes the loss least (Molchanov et al., ICLR 2017)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from synobench import PrunerEntry, hookimpl, param


@dataclass(frozen=True)
class Taylor:
    """Scores |w * dL/dw|, the first-order change of the loss L as the weight w goes to zero."""

    batches: int = param(8, low=1, doc="calibration batches of the training split")

    def prune(self, bench: Any) -> Any:
        gradients = bench.mean_gradients(self.batches)
        return bench.keep_highest({name: (w * gradients[name]).abs() for name, w in bench.prunable.items()})


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    summary = "largest |w * gradient| stay"
    yield PrunerEntry("taylor", params=Taylor, summary=summary, citation="Molchanov2017", needs={"gradients"})
