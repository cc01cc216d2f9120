"""The recorder: gathers the facts of a ledger while the network is judged, for little more than one read of each input.

Every total is linear in C, the count of non-zero inputs by position over samples and steps: with the fan-out map F of
a layer, ``effective = sum C F(M(w))`` and ``fanout = sum C F(1)``. So a pass only adds to C, in whole numbers. What
feeds each layer, and what nobody counts, is learnt from the operations of the first pass.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from synobench.errors import BenchError
from synobench.ledger.facts import channels_of, events_before, facts
from synobench.ledger.fanout import COUNTED
from synobench.ledger.ledger import INPUT, Ledger
from synobench.ledger.sites import Emitter, Site
from synobench.ledger.tally import Tallier
from synobench.ledger.tracing import Fired, Tag, Tracer, has_weights, is_neuron

_log = logging.getLogger(__name__)


class Recorder:
    """Counts what happens inside ``with recorder:``, over any number of forward passes of one input shape.

    A module with ``spiking = True`` is a neuron layer. Its methods ``forward_*`` are watched like its call; an argument
    `pool` of theirs says that spikes were averaged over pool x pool windows that do not overlap and leave none out.
    Modules are watched through their ``forward``, not by hooks: a network may leave its shortcuts where it sees one.

    Args:
        model: the judged network; its first argument is a batch [N, ...].
        steps: time steps T of a spiking network; layers see [N, ...] (once, or T times), [T N, ...] or [T, N, ...].
        spikes: whether the network's own input is spikes, not an image.

    Raises:
        BenchError: a layer sees another shape from one pass to the next, or values that are not finite.
    """

    def __init__(self, model: nn.Module, steps: int = 1, *, spikes: bool = False) -> None:
        self._model, self._steps, self._spikes = model, steps, spikes
        self._tally = Tallier()
        self._sites: dict[str, Site] = {}
        self._emitters: list[Emitter] = []
        self._watched: dict[Fired, Emitter] = {}
        self._tracer: Tracer | None = None
        self._learnt: Tracer | None = None
        self._calls: Counter[str] = Counter()
        self._busy: set[str] = set()
        self._samples = self._batch = self._first = self._image = 0
        self._undo: list[Callable[[], Any]] = []

    def __enter__(self) -> Self:
        for name, module in _named(self._model):
            self._wrap(module, "forward", functools.partial(self._watch, name, module))
            if is_neuron(module):
                for shortcut in (n for n in dir(type(module)) if n.startswith("forward_")):
                    self._wrap(module, shortcut, functools.partial(self._watch, name, module))
        self._wrap(self._model, "forward", self._pass)
        return self

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def ledger(self) -> Ledger:
        """Return the facts of all passes so far.

        Raises:
            BenchError: no pass was recorded.
        """
        if self._learnt is None:
            raise BenchError("nothing was recorded: call the network inside `with recorder:` first")
        channels = {n: channels_of(s, self._sites, self._image) for n, s in self._sites.items()}
        sent = self._sent(channels)
        found = [
            facts(s, channels[n], events_before(s, channels, self._emitters), sent.get(n))
            for n, s in self._sites.items()
        ]
        layers = tuple(layer for layer, _ in found)
        told = tuple({"module": m, "op": o, "calls": c} for (m, o), c in sorted(self._learnt.uncounted.items()))
        for entry in told:
            _log.warning("uncounted: %s in %s, %d a pass", entry["op"], entry["module"], entry["calls"])
        beside = {
            "bias": sum(x.samples * x.calls * x.neurons for x in layers if x.bias),
            "normalisation": self._learnt.normalised * self._samples // self._first,
            "neuron": self._learnt.neuron_updates * self._samples // self._first,
        }
        return Ledger(self._steps, self._samples, layers, told, beside, {x.name: v for x, v in found})

    def _sent(self, channels: dict[str, int]) -> dict[str, Tensor]:
        """Return the events sent out, by the last layer that feeds their neurons."""
        order = list(self._sites)
        sent: dict[str, Tensor] = {}
        for emitter in self._emitters:
            owners = sorted((o for o in emitter.origins if o in self._sites), key=order.index)
            if owners:
                sent[owners[-1]] = emitter.counts(channels)
        return sent

    def _wrap(self, module: nn.Module, name: str, around: Callable[..., Any]) -> None:
        """Put `around(method, *args, **kwargs)` in the place of a method, until the recording ends."""
        method, own = getattr(module, name), vars(module)
        if not callable(method):
            return
        undo = functools.partial(own.__setitem__, name, method) if name in own else functools.partial(own.pop, name)
        own[name] = functools.partial(around, method)
        self._undo.append(undo)

    def _pass(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Record one pass through the network; one that breaks off leaves no trace."""
        batch = next((t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)), None)
        if batch is None or not len(batch):
            raise BenchError("the network was called without a batch: there is nothing to count")
        self._batch, self._calls = batch.shape[0], Counter()
        learning = self._learnt is None
        try:
            out = self._learn(method, *args, **kwargs) if learning else method(*args, **kwargs)
            for site in self._sites.values():
                site.finish(self._batch)
            for emitter in self._emitters:
                emitter.finish()
        except BaseException:
            self._break_off()
            raise
        if learning:
            self._link()
        self._samples += self._batch
        self._batch = 0
        return out

    def _learn(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the first pass, operation by operation."""
        tracer = self._tracer = Tracer()
        batch = next(t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        self._first, self._image = batch.shape[0], batch.shape[1] if batch.dim() > 1 else 1
        tracer.mark((args, kwargs), Tag(frozenset({INPUT}), spiking=self._spikes))
        with tracer:
            out = method(*args, **kwargs)
        self._tracer, self._learnt = None, tracer
        tracer.forget()
        return out

    def _break_off(self) -> None:
        self._batch, self._tracer = 0, None
        self._busy.clear()
        if not self._samples:
            self._sites, self._emitters, self._watched, self._learnt = {}, [], {}, None
        for site in self._sites.values():
            site.forget()
        for emitter in self._emitters:
            emitter.forget()

    def _watch(self, name: str, module: nn.Module, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a module's method, and count what went in or came out."""
        if name in self._busy or not self._batch:
            return method(*args, **kwargs)
        self._busy.add(name)
        if self._tracer is not None:
            self._tracer.enter(name, module)
        spiking = is_neuron(module)
        # what neurons do inside are their updates; looking at each operation would cost more than they do
        with self._unseen() if spiking and not has_weights(module) else nullcontext():
            out = method(*args, **kwargs)
        self._busy.discard(name)
        if isinstance(module, COUNTED):
            self._count_layer(name, module, args[0] if args else kwargs["input"], out)
        self._count_fired(name, (args, kwargs), out, _pool(method, args, kwargs) if spiking else 1, spiking)
        return out

    def _count_layer(self, name: str, layer: nn.Module, x: Tensor, out: Tensor) -> None:
        site = self._sites.setdefault(name, Site(name, layer, self._steps))
        if self._tracer is not None and site.tag is None:
            site.tag = self._tracer.tag(x)
        with self._unseen():
            site.add(x, out, self._batch, self._tally)

    def _count_fired(self, name: str, args: Any, out: Any, pool: int, spiking: bool) -> None:
        """Count what a neuron layer or an activation sent out; in the first pass, learn which they are."""
        if self._tracer is not None:
            fired = self._tracer.leave(args, out, pool)
            if fired is not None:
                self._watched[fired] = self._emitter(name, self._tracer.tag(out), pool * pool, spiking)
        else:
            fired = (name, self._calls[name])
            self._calls[name] += 1
        if fired in self._watched:
            spikes = next(t for t in tree_leaves(out) if isinstance(t, Tensor))
            with self._unseen():
                self._watched[fired].add(spikes, self._batch, self._steps, self._tally)

    def _unseen(self) -> AbstractContextManager[None]:
        return self._tracer.aside() if self._tracer is not None else nullcontext()

    def _emitter(self, name: str, tag: Tag | None, area: int, spiking: bool) -> Emitter:
        origins = tag.origins if tag is not None else frozenset()
        for emitter in self._emitters:
            if (emitter.name, emitter.origins, emitter.area) == (name, origins, area):
                return emitter
        self._emitters.append(Emitter(name, origins, area, spiking))
        return self._emitters[-1]

    def _link(self) -> None:
        """Stop watching what a layer reads whole: its input is counted anyway."""
        for site in self._sites.values():
            tag = site.tag
            emitter = self._watched.get(tag.fired) if tag is not None and tag.fired is not None else None
            if tag is None or emitter is None or emitter.linked is not None or emitter.numel != site.numel:
                continue
            if (tag.pooling, tag.area) == (("avg", emitter.area) if emitter.area > 1 else (None, 1)):
                emitter.linked = site
        self._watched = {f: e for f, e in self._watched.items() if e.linked is None}


def _pool(method: Callable[..., Any], args: Any, kwargs: Any) -> int:
    """Return the argument `pool` of a call, 1 without."""
    signature = inspect.signature(method)
    if "pool" not in signature.parameters:
        return 1
    told = signature.bind(*args, **kwargs)
    told.apply_defaults()
    return int(told.arguments["pool"])


def _named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules by name; the network itself, where it is a layer, goes by its class."""
    return [(name or type(model).__name__, module) for name, module in model.named_modules()]
