r"""Zero-divergence inference learning (Z-IL; Salvatori et al. 2022): backprop's gradients from local errors.

With feed-forward states, :math:`\gamma = 1` and no backward half, the error that first arrives at stage l is
:math:`J_{f_{l+1}}^T e_{l+1}`, and the weights that are read as it arrives get the gradient of backprop, exactly, at the
cost of one backprop.
"""

from __future__ import annotations

from synobench_predictive_coding.inference import Inferred, Task


def infer(task: Task) -> Inferred:
    """Return the errors as they first arrive, at the feed-forward traces."""
    errors = [task.output.error(task.traces[-1].y)]
    for link, trace in zip(task.chain.links[:0:-1], task.traces[:0:-1], strict=True):
        errors.append(link.pull(trace, errors[-1]))
    errors.reverse()
    states = [trace.y for trace in task.traces[:-1]]
    return Inferred(errors, list(task.traces), states, task.top)
