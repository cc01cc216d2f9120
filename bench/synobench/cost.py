"""What a run costs, by phase: seconds, samples, forward and backward passes, peak memory and tuning trials.

Seconds pass on the clock; seconds of the processor, over all threads, say what a phase takes where others share it.

Passes are counted by hooks on the lent network, so that no method reports its own cost.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

PHASES = ("train", "prune", "tune", "judge")
COUNTS = ("samples", "forward", "backward", "trials")

_PEAK = re.compile(rb"^VmHWM:\s*(\d+) kB", re.MULTILINE)


class Phase:
    """The running sums of one phase. `peak` is None once a part of it could not be told, 0 while nothing ran.

    `processor` too is None once a part of it could not be told: parents of an older bench do not have it.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor: float | None = 0.0
        self.counts = dict.fromkeys(COUNTS, 0)
        self.peak: int | None = 0

    def add(self, cost: Mapping[str, Any]) -> None:
        """Add a stored cost; peaks are not added, the greater counts."""
        seconds = float(cost.get("seconds", 0.0))
        self.seconds += seconds
        for name in COUNTS:
            self.counts[name] += int(cost.get(name, 0))
        peak = cost.get("peak_bytes")
        idle = not seconds and not any(cost.get(name) for name in COUNTS)
        self.compute(0.0 if idle else cost.get("cpu_seconds"))
        self.see(0 if peak is None and idle else peak)

    def compute(self, seconds: float | None) -> None:
        """Add seconds of the processor; with some that nobody could tell, the sum cannot be told either."""
        self.processor = None if seconds is None or self.processor is None else self.processor + float(seconds)

    def see(self, peak: int | None) -> None:
        """Take note of a peak; with one that nobody could tell, the greatest cannot be told either."""
        self.peak = None if peak is None or self.peak is None else max(self.peak, int(peak))

    def as_dict(self) -> dict[str, Any]:
        """Return the sums as plain data."""
        told = None if self.processor is None else round(self.processor, 6)
        return {"seconds": round(self.seconds, 6), "cpu_seconds": told, **self.counts, "peak_bytes": self.peak or None}


class Meter:
    """Counts what a run costs. What happens outside of a phase is not counted.

    Args:
        device: where the run computes; tells which memory is watched: the process's resident set on ``cpu`` (Linux,
            what torch and the data hold included), what torch allocated on ``cuda``.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._memory: Cuda | Resident = Cuda(str(device)) if str(device).startswith("cuda") else Resident()
        self._phases = {name: Phase() for name in PHASES}
        self._open: list[str] = []
        self._since = self._computed = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what happens inside to one phase. It may be entered again; inside another, the inner one alone pays.

        Raises:
            ValueError: there is no such phase.
        """
        if name not in self._phases:
            raise ValueError(f"there is no phase {name!r}, only {', '.join(PHASES)}")
        self._settle()
        if self._phases[name].peak == 0:
            self._memory.release()
        self._open.append(name)
        self._start()
        try:
            yield
        finally:
            self._settle()
            self._open.pop()
            self._start()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Charge what happens inside to no phase at all, though it be inside of one."""
        self._settle()
        held, self._open = self._open, []
        try:
            yield
        finally:
            self._open = held
            self._start()

    @property
    def samples(self) -> int:
        """The samples counted in the present phase; 0 outside of any."""
        return self._phases[self._open[-1]].counts["samples"] if self._open else 0

    def watch(self, module: nn.Module) -> Watch:
        """Count the passes of `module` and of its deep copies until the returned watch is closed.

        Watching it, or a copy, again while a watch is open counts nothing twice.
        """
        return Watch(self, module)

    def count(self, *, samples: int = 0, forward: int = 0, backward: int = 0, trials: int = 0) -> None:
        """Add to the present phase what no hook can see."""
        if self._open:
            counts = self._phases[self._open[-1]].counts
            counts["samples"] += samples
            counts["forward"] += forward
            counts["backward"] += backward
            counts["trials"] += trials

    def charge(self, phase: str, cost: Mapping[str, Any]) -> None:
        """Add a stored cost of one phase, a parent's say, to a phase; the greater of the peaks counts."""
        self._phases[phase].add(cost)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the cost of each phase up to now; ``peak_bytes`` is None where nobody could tell."""
        self._settle()
        self._start()
        return {name: phase.as_dict() for name, phase in self._phases.items()}

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as plain data."""
        return self.as_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a stored state; what was counted here before is forgotten."""
        self._phases = {name: Phase() for name in PHASES}
        for name, cost in state.items():
            self._phases[name].add(cost)
        self._start()

    def _start(self) -> None:
        if self._open:
            self._memory.reset()
            self._since, self._computed = time.perf_counter(), time.process_time()

    def _settle(self) -> None:
        """Charge the time and the memory since the last switch to the phase that ran."""
        if self._open:
            phase = self._phases[self._open[-1]]
            phase.see(self._memory.peak())
            phase.seconds += time.perf_counter() - self._since
            phase.compute(time.process_time() - self._computed)


class Watch:
    """The hooks of a meter on one network; a context that closes itself, and the hook itself."""

    def __init__(self, meter: Meter, module: nn.Module) -> None:
        import torch

        self._tensor, self._meter, self._live = torch.Tensor, meter, True
        self._handle = None
        if not any(isinstance(h, Watch) and h.counts_for(meter) for h in module._forward_hooks.values()):
            self._handle = module.register_forward_hook(self, with_kwargs=True)

    def counts_for(self, meter: Meter) -> bool:
        """Tell whether it is open and counts for `meter`."""
        return self._live and self._meter is meter

    def close(self) -> None:
        """Count no more, on copies of the network neither."""
        self._live = False
        if self._handle is not None:
            self._handle.remove()

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Count one forward pass, and the backward passes through it to come."""
        if not self._live:
            return
        given = self._first((*args, *kwargs.values()))
        self._meter.count(samples=0 if given is None else _samples(given), forward=1)
        made = self._first(output if isinstance(output, (tuple, list)) else (output,))
        if made is not None and made.grad_fn is not None:
            # A hook on the node, not on the tensor: it runs once for each backward pass that goes through.
            made.grad_fn.register_prehook(self._backward)

    def _backward(self, _: Any) -> None:
        if self._live:
            self._meter.count(backward=1)

    def _first(self, values: tuple[Any, ...] | list[Any]) -> torch.Tensor | None:
        return next((v for v in values if isinstance(v, self._tensor)), None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        return self  # the copy of a network counts for the same meter

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _samples(x: torch.Tensor) -> int:
    """Return the samples of an input [N, ...], counting those that ``torch.vmap`` hides in its own dimensions."""
    if x.dim() == 0:
        return 1
    import torch

    if torch.compiler.is_compiling():
        return int(x.shape[0])
    whole, hidden = x, torch._C._functorch
    while hidden.is_functorch_wrapped_tensor(whole):
        whole = hidden.get_unwrapped(whole)
    return math.prod(whole.shape) // max(1, math.prod(x.shape[1:]))


class Resident:
    """The peak of this process's resident set, from Linux; None where the kernel does not tell."""

    def __init__(self) -> None:
        self._known = True

    def release(self) -> None:
        """Give the allocator's free memory back to the system: an earlier run in this process shall not be charged."""
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

    def reset(self) -> None:
        """Let the peak be what is resident now."""
        try:
            # Low-level calls: a pruner that acts after each update switches the phase twice an update.
            file = os.open("/proc/self/clear_refs", os.O_WRONLY)
            try:
                os.write(file, b"5")
            finally:
                os.close(file)
        except OSError:
            self._known = False

    def peak(self) -> int | None:
        """Return the most bytes resident since the reset."""
        if not self._known:
            return None
        try:
            file = os.open("/proc/self/status", os.O_RDONLY)
            try:
                text = os.read(file, 1 << 16)
            finally:
                os.close(file)
        except OSError:
            return None
        found = _PEAK.search(text)
        return int(found[1]) * 1024 if found else None


class Cuda:
    """The most bytes that torch allocated on one device. Each reading waits for the device: seconds are true."""

    def __init__(self, device: str) -> None:
        import torch

        self._cuda, self._device = torch.cuda, torch.device(device)

    def release(self) -> None:
        """Give what torch caches back to the device."""
        self._cuda.empty_cache()

    def reset(self) -> None:
        """Let the peak be what is allocated now."""
        self._cuda.synchronize(self._device)
        self._cuda.reset_peak_memory_stats(self._device)

    def peak(self) -> int | None:
        """Return the most bytes allocated since the reset."""
        self._cuda.synchronize(self._device)
        return int(self._cuda.max_memory_allocated(self._device))
