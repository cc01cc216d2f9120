r"""The backward half of the energy: what each state is expected to be by the state above it.

.. math:: d_l = x_l - g_l(x_{l+1}) - c_l, \qquad l = 1 \ldots L-1

g_l is linear: learned by an optimiser of its own, or the transposed weights of stage l + 1.  For a linear stage it is a
matrix; for a convolution a transposed convolution of the stage's shape, behind a nearest-neighbour upsampling where the
stage pools (no source states this form: it is a choice).  A stage with a skip connection has the identity in g as well.
``plain`` has c = 0; ``centred`` takes for c what is left at the feed-forward states, so that the half has curvature and
no pull there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench.errors import ContractError
from synobench.stages import Chain, Stage
from synobench.stages.stage import LAYERS

_aten: Any = torch.ops.aten


class Feedback:
    """The maps g_1 ... g_{L-1} of one network, with the centres of the present batch."""

    def __init__(
        self, chain: Chain, draws: torch.Generator, *, tied: bool, centred: bool, spiking: bool = False
    ) -> None:
        self._centred, self._spiking = centred, spiking
        self.maps = [map_of(link.stage, draws, tied=tied) for link in chain.links[1:]]
        self._centres: list[Tensor] | None = None

    @property
    def weights(self) -> list[Tensor]:
        """The learned weights, one tensor a map."""
        return [m.weight for m in self.maps]

    def centre(self, states: list[Tensor], guess: Tensor) -> None:
        """Take c from the feed-forward states x_1 ... x_{L-1} and output, where the energy is centred."""
        self._centres = None
        if self._centred:
            self._centres = self.errors(states, guess)

    def uncentred(self) -> None:
        """Take c for zero."""
        self._centres = None

    def errors(self, states: list[Tensor], top: Tensor) -> list[Tensor]:
        """Return d_1 ... d_{L-1}; `top` is x_L [N, classes]."""
        above = [*states[1:], self._held(top, states)]
        found = [x - g.forward(y, x) for g, x, y in zip(self.maps, states, above, strict=True)]
        if self._centres is None:
            return found
        return [d - c for d, c in zip(found, self._centres, strict=True)]

    def forces(self, states: list[Tensor], top: Tensor) -> list[Tensor]:
        """Return the half's derivative over alpha, d_l less the transposed g_{l-1} of d_{l-1}, for each state."""
        errors = self.errors(states, top)
        below = [None, *(g.pull(d, x) for g, d, x in zip(self.maps, errors, states[1:], strict=False))]
        return [d if b is None else d - b for d, b in zip(errors, below, strict=True)]

    def _held(self, top: Tensor, states: list[Tensor]) -> Tensor:
        """Hold the target [N, classes] for all steps of a spiking network."""
        return top.expand(states[-1].shape[0], *top.shape) if self._spiking else top

    def gradients(self, states: list[Tensor], top: Tensor) -> list[Tensor]:
        """Return those of the weights: less the mean over the batch of d_l x_{l+1}'."""
        above = [*states[1:], self._held(top, states)]
        found = self.errors(states, top)
        return [g.gradient(d, y).div_(-len(top)) for g, d, y in zip(self.maps, found, above, strict=True)]


class Map:
    """One g: linear in y, with one weight."""

    weight: Tensor

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip

    def forward(self, y: Tensor, like: Tensor) -> Tensor:
        """Return g(y), shaped like the state below."""
        found = self._map(y, like)
        return found + y if self._skip else found

    def pull(self, d: Tensor, like: Tensor) -> Tensor:
        """Return the transposed g of d, shaped like the state above."""
        found = self._back(d, like)
        return found + d if self._skip else found

    def gradient(self, d: Tensor, y: Tensor) -> Tensor:
        """Return the gradient by the weight of the sum of d times g(y)."""
        raise NotImplementedError

    def _map(self, y: Tensor, like: Tensor) -> Tensor:
        raise NotImplementedError

    def _back(self, d: Tensor, like: Tensor) -> Tensor:
        raise NotImplementedError


class LinearMap(Map):
    """A matrix V [below, above]."""

    def __init__(self, layer: nn.Linear, draws: torch.Generator, *, tied: bool, skip: bool) -> None:
        super().__init__(skip=skip)
        self._layer = layer if tied else None
        self._own = _drawn((layer.in_features, layer.out_features), layer.out_features, layer.weight, draws)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """V."""
        return self._own if self._layer is None else self._layer.weight.t()

    def gradient(self, d: Tensor, y: Tensor) -> Tensor:
        """Return the sum of d y'."""
        rows, columns = self.weight.shape
        return d.reshape(-1, rows).t() @ y.reshape(-1, columns)

    def _map(self, y: Tensor, like: Tensor) -> Tensor:
        return F.linear(y, self.weight).reshape(like.shape)

    def _back(self, d: Tensor, like: Tensor) -> Tensor:
        return d.reshape(*like.shape[:-1], self.weight.shape[0]) @ self.weight


class ConvMap(Map):
    """A transposed convolution of a convolution's shape, V [above, below, k, k], behind an upsampling."""

    def __init__(self, layer: nn.Conv2d, draws: torch.Generator, *, tied: bool, skip: bool) -> None:
        super().__init__(skip=skip)
        self._layer, self._tied = layer, tied
        self._own = _drawn(tuple(layer.weight.shape), layer.weight[:, 0].numel(), layer.weight, draws)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """V."""
        return self._layer.weight if self._tied else self._own

    def gradient(self, d: Tensor, y: Tensor) -> Tensor:
        """Return the weight's gradient of the convolution that g is the transposed of."""
        flat = _still(d)
        found: Tensor = self._convolved(self._raised(y, flat), flat, [False, True, False])[1]
        return found

    def _map(self, y: Tensor, like: Tensor) -> Tensor:
        flat = _still(like)
        found: Tensor = self._convolved(self._raised(y, flat), flat, [True, False, False])[0]
        return found.reshape(like.shape)

    def _back(self, d: Tensor, like: Tensor) -> Tensor:
        m = self._layer
        raised = F.conv2d(_still(d), self.weight, None, m.stride, m.padding, m.dilation, m.groups)
        return _down(raised, self._maps(like, raised).shape[-2:]).reshape(like.shape)

    def _raised(self, y: Tensor, below: Tensor) -> Tensor:
        """Return the state above as maps of the size of the convolution's own output."""
        h, w = self._size(below)
        return _up(self._maps(y, below.new_empty(1, 1, h, w)), (h, w))

    def _maps(self, y: Tensor, full: Tensor) -> Tensor:
        """Return a state above as maps [N, C, h, w], where the stage has flattened them; `full` has those before it."""
        flat = _still(y)
        if flat.dim() == 4:
            return flat
        channels = self._layer.out_channels
        flat = y.reshape(-1, channels, y.shape[-1] // channels)
        (h, w), held = full.shape[-2:], flat.shape[-1]
        side = next(s for s in range(1, h + 1) if (h // s) * (w // s) == held)
        return flat.reshape(*flat.shape[:2], h // side, w // side)

    def _size(self, below: Tensor) -> tuple[int, int]:
        """Return height and width of the convolution's own output on the state below."""
        m: Any = self._layer
        sides = zip(below.shape[-2:], m.padding, m.dilation, m.kernel_size, m.stride, strict=True)
        h, w = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in sides)
        return h, w

    def _convolved(self, e: Tensor, x: Tensor, wanted: list[bool]) -> tuple[Any, Any, Any]:
        m = self._layer
        told = (list(m.stride), list(m.padding), list(m.dilation), False, [0, 0], m.groups)
        found: tuple[Any, Any, Any] = _aten.convolution_backward(e, x, self.weight, None, *told, wanted)
        return found


def map_of(stage: Stage, draws: torch.Generator, *, tied: bool) -> Map:
    """Return g for a stage.

    Raises:
        ContractError: it is no single linear layer or convolution.
    """
    layers = [m for module in stage.modules for m in module.modules() if isinstance(m, LAYERS)]
    if len(layers) == 1 and isinstance(layers[0], nn.Linear):
        return LinearMap(layers[0], draws, tied=tied, skip=bool(stage.skip))
    if len(layers) == 1 and isinstance(layers[0], nn.Conv2d) and isinstance(layers[0].padding, tuple):
        return ConvMap(layers[0], draws, tied=tied, skip=bool(stage.skip))
    raise ContractError(
        f"stage {stage.name} is no single linear layer or convolution, so it has no backward map: give energy=off"
    )


def _drawn(shape: tuple[int, ...], fan_in: int, like: Tensor, draws: torch.Generator) -> Tensor:
    """Return weights drawn as torch draws a layer's."""
    bound = fan_in**-0.5
    return (torch.rand(shape, generator=draws).mul_(2 * bound).sub_(bound)).to(like.device, like.dtype)


def _still(x: Tensor) -> Tensor:
    """Fold the time of [T, N, C, H, W] into the batch."""
    return x.flatten(0, 1) if x.dim() == 5 else x


def _up(y: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeat each value over the window that it was pooled from; what no window covered is zero."""
    h, w = (full // own for full, own in zip(size, y.shape[-2:], strict=True))
    raised = y if (h, w) == (1, 1) else y.repeat_interleave(h, -2).repeat_interleave(w, -1)
    missing = (size[1] - raised.shape[-1], size[0] - raised.shape[-2])
    return F.pad(raised, (0, missing[0], 0, missing[1])) if any(missing) else raised


def _down(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Add up each window: the transposed of `_up`."""
    h, w = (full // own for full, own in zip(x.shape[-2:], size, strict=True))
    held = x[..., : size[0] * h, : size[1] * w]
    return held if (h, w) == (1, 1) else F.avg_pool2d(held, (h, w)) * (h * w)
