"""Follow one forward pass operation by operation: what feeds each layer, and which operations no layer accounts for."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from synobench.ledger.fanout import COUNTED

_PRODUCTS = re.compile(
    r"^_?(add|badd|sspadd)?b?(mm|mv)$|^_(int|scaled|grouped|sparse|weight|dyn)\w*mm\w*$|sparse_addmm|^v?dot$|^addr$"
    r"|^(matmul|tensordot|inner|outer|ger|kron|einsum|chain_matmul|linalg_multi_dot)$"
    r"|^(linear|mkldnn_linear|_trilinear|bilinear)$|convolution|^_?conv(_|\d)|attention|_rnn"
    r"|^_?(thnn_fused_)?(lstm|gru|rnn)(_|$)|embedding_bag|cdist|^_?fft_|grid_sampler"
)
_ELEMENTWISE = re.compile(r"^_?(foreach_)?(mul|addcmul|div|addcdiv|lerp)_?$")
_NORMALISING = re.compile(r"(batch|layer|group|instance|rms)_norm")
_FRESH = re.compile(r"(_like|^new_\w+|^empty\w*|^zeros|^ones|^full)$")
_POOLS = re.compile(r"(avg|max)_pool\dd")


Fired = tuple[str, int]
"""A neuron layer or activation by name, and the number of its call in the pass."""


@dataclass(frozen=True)
class Tag:
    """Where a tensor comes from.

    Args:
        origins: the counted layers whose output it is made of, or ``@input``.
        fired: the neuron or activation whose output it is (name, number of its call); None for none or for several.
        spiking: whether spikes are in it.
        pooling, area: what pooled it since; the area is None where it is no whole number.
    """

    origins: frozenset[str]
    fired: Fired | None = None
    spiking: bool = False
    pooling: str | None = None
    area: int | None = 1


def merge(tags: list[Tag]) -> Tag | None:
    """Return the tag of what is computed from tensors with `tags`."""
    if not tags or all(t == tags[0] for t in tags):
        return tags[0] if tags else None
    first, pooled = tags[0], {(t.pooling, t.area) for t in tags}
    pooling, area = pooled.pop() if len(pooled) == 1 else ("mixed", None)
    return Tag(
        frozenset().union(*(t.origins for t in tags)),
        first.fired if all(t.fired == first.fired for t in tags) else None,
        any(t.spiking for t in tags),
        pooling,
        area,
    )


def is_neuron(module: nn.Module) -> bool:
    """Whether a module says that it computes spikes, and holds no layer with weights."""
    return getattr(module, "spiking", False) is True and not any(isinstance(m, COUNTED) for m in module.modules())


def has_weights(module: nn.Module) -> bool:
    """Whether a module holds a matrix that it may multiply by."""
    return any(p.dim() > 1 for p in (*module.parameters(), *module.buffers()))


def is_activation(module: nn.Module) -> bool:
    """Whether a module is one of torch's activations."""
    return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)


class Tracer(TorchDispatchMode):
    """Watches the operations of one forward pass; `enter` and `leave` tell it of the modules around them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: Counter[tuple[str, str]] = Counter()
        self.normalised = self.neuron_updates = 0
        self._tags: dict[int, tuple[StorageWeakRef, Tag]] = {}
        self._stack: list[_Frame] = []
        self._calls: Counter[str] = Counter()

    def tag(self, value: Any) -> Tag | None:
        """Return the merged tag of the tensors in `value`; None where nothing is known of them."""
        found = [self._tags.get(t.untyped_storage()._cdata) for t in _tensors(value)]
        return merge([f[1] for f in found if f is not None])

    def mark(self, value: Any, tag: Tag | None) -> None:
        """Put `tag` on the tensors in `value`."""
        if tag is None:
            return
        for tensor in _tensors(value):
            storage = tensor.untyped_storage()
            # the weak reference keeps the address from being given to another storage
            self._tags[storage._cdata] = (StorageWeakRef(storage), tag)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Drop the tags; what was learnt stays."""
        self._tags.clear()
        self._stack.clear()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do not look at the operations inside."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            self.__enter__()  # type: ignore[no-untyped-call]

    def enter(self, name: str, module: nn.Module) -> None:
        """Note that `module` begins."""
        self._stack.append(_Frame(name, _role(module)))

    def leave(self, args: Any, out: Any, pool: int = 1) -> Fired | None:
        """Note that the innermost module ends (neurons pooling by `pool`); return what fired, if anything did."""
        frame = self._stack.pop()
        if frame.role == "layer":
            self.mark(out, Tag(frozenset({frame.name})))
        elif frame.role in ("neuron", "activation"):
            return self._fire(frame, args, out, pool)
        elif self.tag(out) is None:
            self.mark(out, self.tag(args))
        return None

    def _fire(self, frame: _Frame, args: Any, out: Any, pool: int) -> Fired:
        fired, spiking = (frame.name, self._calls[frame.name]), frame.role == "neuron"
        self._calls[frame.name] += 1
        tag = self.tag(args) or Tag(frozenset())
        pooling, area = ("avg", pool * pool) if pool > 1 else (None, 1)
        self.mark(out, replace(tag, fired=fired, spiking=spiking or tag.spiking, pooling=pooling, area=area))
        if spiking:
            self.neuron_updates += max(_numel(args), _numel(out) * area)
        return fired

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first pass imports the compiler, for two seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run the operation and note what it is and what it makes."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        kind, name = _classify(func)
        if kind != "product" and self._inside("neuron"):
            return out  # what a neuron layer does inside are its updates
        inputs = (args, {k: v for k, v in kwargs.items() if k != "out"})
        tag = self.tag(inputs)
        if kind == "product":
            self._product(name, tag)
        elif kind == "norm":
            self.normalised += _numel(out)
        elif kind == "unknown" or (kind == "elementwise" and not self._inside("norm") and self._mixes(inputs)):
            self._list(name.rstrip("_"))
        if tag is not None and kind != "fresh":
            self.mark(out, _pooled(tag, name, args, out))
        return out

    def _inside(self, role: str) -> bool:
        return any(frame.role == role for frame in self._stack)

    def _product(self, name: str, tag: Tag | None) -> None:
        frame = self._stack[-1] if self._stack else _Frame("", "")
        if frame.role != "layer" or (tag is not None and frame.accounted):
            self._list(name)
        elif tag is not None:
            frame.accounted = True  # without a tag, a layer makes its weights from other weights

    def _mixes(self, inputs: Any) -> bool:
        """Whether activations are multiplied by each other or by weights."""
        factors = [t for t in _tensors(inputs) if t.numel() > 1]
        tagged = [t for t in factors if self.tag(t) is not None]
        return len(tagged) > 1 or (len(tagged) == 1 and any(isinstance(t, nn.Parameter) for t in factors))

    def _list(self, op: str) -> None:
        self.uncounted[self._stack[-1].name if self._stack else "", op] += 1


@dataclass
class _Frame:
    """A module on the stack. `accounted`: a layer's own product was seen."""

    name: str
    role: str
    accounted: bool = False


def _role(module: nn.Module) -> str:
    if isinstance(module, COUNTED):
        return "layer"
    if is_neuron(module):
        return "neuron"
    if is_activation(module):
        return "activation"
    return "norm" if "Norm" in type(module).__name__ else ""


@functools.cache
def _classify(func: Any) -> tuple[str, str]:
    """Return what kind of operation it is, and its name."""
    name = func._schema.name.partition("::")[2]
    if func.namespace not in ("aten", "prim", "prims", "profiler"):
        return "unknown", func._schema.name
    kinds = {"norm": _NORMALISING, "product": _PRODUCTS, "elementwise": _ELEMENTWISE, "fresh": _FRESH}
    return next((kind for kind, pattern in kinds.items() if pattern.search(name)), ""), name


def _pooled(tag: Tag, name: str, args: tuple[Any, ...], out: Any) -> Tag:
    found = _POOLS.search(name)
    averages = name == "mean" and len(args) > 1 and _trailing(args[1], args[0].dim())
    if found is None and not averages:
        return tag
    kind = "max" if found is not None and found[1] == "max" else "avg"
    area = 1 if kind == "max" else _area(name, args, out)
    if kind == "avg" and area == 1:
        return tag
    pooling = kind if tag.pooling in (None, kind) else "mixed"
    return replace(tag, pooling=pooling, area=None if None in (area, tag.area) else area * tag.area)  # type: ignore[operator]


def _area(name: str, args: tuple[Any, ...], out: Any) -> int | None:
    if name == "mean" or "adaptive" in name:
        whole, rest = divmod(args[0].numel(), out.numel())
        return None if rest else whole
    divisor = args[6] if len(args) > 6 else None
    side = list(args[1])
    dims = int(name[name.index("pool") + 4])
    return int(divisor or math.prod(side if len(side) == dims else side * dims))


def _trailing(dims: Any, rank: int) -> bool:
    return bool(dims) and all(d % rank >= 2 for d in dims)


def _tensors(value: Any) -> Iterable[Tensor]:
    return (t for t in tree_leaves(value) if isinstance(t, torch.Tensor))


def _numel(value: Any) -> int:
    return next((t.numel() for t in _tensors(value)), 0)
