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
from contextlib import nullcontext
from typing import Any, Self

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from synobench.errors import BenchError
from synobench.facts import channels_of, events_before, facts
from synobench.fanout import COUNTED
from synobench.ledger import INPUT, Ledger
from synobench.sites import Emitter, Site
from synobench.tally import Tallier
from synobench.tracing import Fired, Tag, Tracer, is_neuron

_log = logging.getLogger(__name__)


class Recorder:
    """Counts what happens inside ``with recorder:``, over any number of forward passes of one input shape.

    A module with ``spiking = True`` is a neuron layer. Its methods ``forward_*`` are watched like its call; an argument
    `pool` of theirs says that spikes were averaged over pool x pool windows that do not overlap and leave none out.

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
        self._keep(self._model.register_forward_pre_hook(self._on_start, with_kwargs=True))
        for name, module in _named(self._model):
            self._keep(module.register_forward_pre_hook(functools.partial(self._on_enter, name)))
            if isinstance(module, COUNTED):
                hook = functools.partial(self._on_layer, name)
                self._keep(module.register_forward_hook(hook, with_kwargs=True))
            self._keep(module.register_forward_hook(functools.partial(self._on_leave, name)))
            if is_neuron(module):
                self._wrap_shortcuts(name, module)
        self._keep(self._model.register_forward_hook(self._on_end, always_call=True))
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
        told = tuple(
            {"module": m or "model", "op": o, "calls": c} for (m, o), c in sorted(self._learnt.uncounted.items())
        )
        for entry in told:
            _log.warning("uncounted: %s in %s, %d a pass", entry["op"], entry["module"], entry["calls"])
        beside = {
            "bias": sum(x.samples * x.calls * x.neurons for x in layers if x.bias),
            "normalisation": self._learnt.normalised * self._samples // self._first,
            "neuron": self._learnt.neuron_updates * self._samples // self._first,
        }
        return Ledger(self._steps, self._samples, layers, told, beside, {x.name: v for x, v in found})

    def _sent(self, channels: dict[str, int]) -> dict[str, Tensor | None]:
        """Return the events sent out, by the last layer that feeds their neurons."""
        order = list(self._sites)
        sent: dict[str, Tensor | None] = {}
        for emitter in self._emitters:
            owners = sorted((o for o in emitter.origins if o in self._sites), key=order.index)
            if owners:
                sent[owners[-1]] = emitter.counts(channels)
        return sent

    def _keep(self, handle: Any) -> None:
        self._undo.append(handle.remove)

    def _on_start(self, _: nn.Module, args: Any, kwargs: Any) -> None:
        batch = next((t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)), None)
        if batch is None:
            raise BenchError("the network was called without a tensor: there is no batch to count")
        self._batch, self._calls = batch.shape[0], Counter()
        self._image = batch.shape[1] if batch.dim() > 1 else 1
        if self._learnt is None:
            self._first, self._tracer = self._batch, Tracer()
            self._tracer.mark((args, kwargs), Tag(frozenset({INPUT}), spiking=self._spikes))
            self._tracer.__enter__()  # type: ignore[no-untyped-call]

    def _on_end(self, _: nn.Module, __: Any, out: Any) -> None:
        tracer, self._tracer = self._tracer, None
        if tracer is not None:
            tracer.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if out is None:  # the pass was broken off
            self._break_off()
            return
        for site in self._sites.values():
            site.finish(self._batch)
        self._samples, self._batch = self._samples + self._batch, 0
        if tracer is not None:
            self._learnt = tracer
            tracer.forget()
            self._link()

    def _break_off(self) -> None:
        self._batch = 0
        self._busy.clear()
        if self._learnt is None:
            self._sites, self._emitters, self._watched = {}, [], {}
        for site in self._sites.values():
            site.forget()

    def _on_enter(self, name: str, module: nn.Module, _: Any) -> None:
        self._busy.add(name)
        if self._tracer is not None:
            self._tracer.enter(name, module)

    def _on_leave(self, name: str, _: nn.Module, args: Any, out: Any) -> None:
        self._busy.discard(name)
        self._after(name, args, out, 1)

    def _on_layer(self, name: str, module: nn.Module, args: Any, kwargs: Any, out: Tensor) -> None:
        x = args[0] if args else kwargs["input"]
        site = self._sites.setdefault(name, Site(name, module, self._steps))
        with self._tracer.muted() if self._tracer is not None else nullcontext():
            if self._tracer is not None and site.tag is None:
                site.tag = self._tracer.tag(x)
            site.add(x, out, self._batch, self._tally)

    def _after(self, name: str, args: Any, out: Any, pool: int) -> None:
        """Count what a neuron layer or an activation sent out; in the first pass, learn which they are."""
        if self._tracer is not None:
            fired = self._tracer.leave(args, out, pool)
            if fired is not None:
                self._watch(fired, self._tracer.tag(out), pool)
        else:
            fired = (name, self._calls[name])
            self._calls[name] += 1
        if fired in self._watched:
            spikes = next(t for t in tree_leaves(out) if isinstance(t, Tensor))
            with self._tracer.muted() if self._tracer is not None else nullcontext():
                self._watched[fired].add(spikes, self._batch, self._steps, self._tally)

    def _watch(self, fired: Fired, tag: Tag | None, pool: int) -> None:
        origins = tag.origins if tag is not None else frozenset()
        same = [e for e in self._emitters if (e.name, e.origins, e.area) == (fired[0], origins, pool * pool)]
        if not same:
            same = [Emitter(fired[0], origins, pool * pool)]
            self._emitters += same
        self._watched[fired] = same[0]

    def _link(self) -> None:
        """Stop watching what a layer reads whole: its input is counted anyway."""
        for site in self._sites.values():
            emitter = self._watched.get(site.tag.fired) if site.tag is not None and site.tag.fired is not None else None
            if emitter is None or emitter.linked is not None or emitter.numel != site.numel:
                continue
            inside = ("avg", emitter.area) if emitter.area > 1 else (None, 1)
            if (site.tag.pooling, site.tag.area) == inside:  # type: ignore[union-attr]
                emitter.linked = site
        self._watched = {f: e for f, e in self._watched.items() if e.linked is None}

    def _wrap_shortcuts(self, name: str, module: nn.Module) -> None:
        for shortcut in (n for n in dir(type(module)) if n.startswith("forward_")):
            method = getattr(module, shortcut)
            if not inspect.ismethod(method) or shortcut in vars(module):
                continue
            object.__setattr__(module, shortcut, functools.partial(self._call_shortcut, name, module, method))
            self._undo.append(functools.partial(object.__delattr__, module, shortcut))

    def _call_shortcut(
        self, name: str, module: nn.Module, method: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        if name in self._busy or not self._batch:
            return method(*args, **kwargs)
        told = inspect.signature(method).bind(*args, **kwargs)
        told.apply_defaults()
        self._on_enter(name, module, args)
        out = method(*args, **kwargs)
        self._busy.discard(name)
        self._after(name, (args, kwargs), out, int(told.arguments.get("pool", 1)))
        return out


def _named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules by name; the network itself, where it is a layer, goes by its class."""
    return [(name or type(model).__name__, module) for name, module in model.named_modules()]
