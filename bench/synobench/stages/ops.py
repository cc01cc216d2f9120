"""Products of single modules in closed form: forward, transposed Jacobian, gradient of the parameters.

Nothing here records a graph. What a product needs of the forward pass lies in a tape, a tuple of tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench.stages.products import affine

Tape = Any
"""What an operation keeps of its forward pass."""

Gradients = list[tuple[Tensor, Tensor]]
"""Parameters, each with its gradient."""

Call = Callable[[], object]
"""Something to be done again and again in the same tensors."""

_aten: Any = torch.ops.aten


class Op:
    """One module of a stage; as it stands, one without parameters.

    `macs` are the multiply-adds of the last forward pass (a pull and the gradients take as many each); `learns` says
    whether it has parameters.
    """

    macs = 0
    learns = False

    def renew(self) -> None:
        """Take statistics anew at the next forward pass: it is the feed-forward pass of a batch."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y and the tape."""
        raise NotImplementedError

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return the transposed Jacobian at the tape's input, applied to e (shaped like y)."""
        raise NotImplementedError

    def pulled(self, base: Tensor, tape: Tape, e: Tensor, share: float, scale: float) -> Tensor:
        """Return `share` times a tensor of the input's shape plus `scale` times the pull of e."""
        held = base * share if share != 1.0 else base
        return torch.add(held, self.pull(tape, e), alpha=scale)

    def gradients(self, tape: Tape, e: Tensor, scale: float) -> Gradients:
        """Return each parameter with `scale` times the gradient of the sum of e times y."""
        return []


class Linear(Op):
    """A linear layer on the last dimension."""

    learns = True

    def __init__(self, module: nn.Linear) -> None:
        self.module, self.macs = module, 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return x W' + b; both sides are the tape."""
        whole = torch.compiler.is_compiling() and x.dim() == 2
        y = (affine if whole else F.linear)(x, self.module.weight, self.module.bias)
        self.macs = x.numel() * y.shape[-1]
        return y, (x, y)

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e W."""
        return e @ self.module.weight

    def pulled(self, base: Tensor, tape: Tape, e: Tensor, share: float, scale: float) -> Tensor:
        """Return `share` base + `scale` e W, in one product."""
        if base.dim() == 2 and e.dtype == base.dtype:
            return torch.addmm(base, e, self.module.weight, beta=share, alpha=scale)
        return super().pulled(base, tape, e, share, scale)

    def gradients(self, tape: Tape, e: Tensor, scale: float) -> Gradients:
        """Return those of weight and bias."""
        e, x = e.reshape(-1, e.shape[-1]), tape[0].reshape(-1, tape[0].shape[-1])
        weight = self.module.weight
        found: Gradients = [(weight, torch.addmm(weight, e.t(), x, beta=0, alpha=scale))]
        if self.module.bias is not None:
            found.append((self.module.bias, e.sum(0).mul_(scale)))
        return found


class Conv(Op):
    """A convolution without padding modes of its own."""

    learns = True

    def __init__(self, module: nn.Conv2d) -> None:
        self.module, self.macs = module, 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return the convolution of x [N, C, H, W]."""
        m = self.module
        y = F.conv2d(x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)
        self.macs = y.numel() * m.weight[0].numel()
        return y, x

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return the transposed convolution of e, of the input's size."""
        found: Tensor = self._backward(tape, e, inputs=True, weights=False)[0]
        return found

    def gradients(self, tape: Tape, e: Tensor, scale: float) -> Gradients:
        """Return those of weight and bias."""
        _, weight, bias = self._backward(tape, e, inputs=False, weights=True)
        found: Gradients = [(self.module.weight, weight.mul_(scale))]
        if self.module.bias is not None:
            found.append((self.module.bias, bias.mul_(scale)))
        return found

    def _backward(self, x: Tensor, e: Tensor, *, inputs: bool, weights: bool) -> tuple[Any, Any, Any]:
        m = self.module
        sizes = None if m.bias is None else list(m.bias.shape)
        wanted = [inputs, weights, weights and m.bias is not None]
        told = (list(m.stride), list(m.padding), list(m.dilation), False, [0, 0], m.groups)
        found: tuple[Any, Any, Any] = _aten.convolution_backward(e, x, m.weight, sizes, *told, wanted)
        return found


class Norm(Op):
    """Batch norm whose statistics are those of the last feed-forward pass; they are constants for every product."""

    learns = True

    def __init__(self, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        self.module, self.macs = module, 0
        self._held: tuple[Tensor, Tensor] | None = None

    def renew(self) -> None:
        """Forget the statistics."""
        self._held = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return the normalised x [N, C, ...]."""
        if self._held is None:
            self._held = statistics(self.module, x)
        mean, inverse = self._held
        m = self.module
        scale = inverse if m.weight is None else inverse * m.weight
        shift = -mean * scale if m.bias is None else m.bias - mean * scale
        y = x * _by_channel(scale, x) + _by_channel(shift, x)
        return y, (x, scale)

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e times the scale."""
        return e * _by_channel(tape[1], e)

    def gradients(self, tape: Tape, e: Tensor, scale: float) -> Gradients:
        """Return those of the affine parameters, where there are any."""
        if self.module.weight is None or self._held is None:
            return []
        (mean, inverse), x = self._held, tape[0]
        others = [d for d in range(e.dim()) if d != 1]
        normal = (x - _by_channel(mean, x)) * _by_channel(inverse, x)
        weight, bias = (e * normal).sum(others), e.sum(others)
        return [(self.module.weight, weight.mul_(scale)), (self.module.bias, bias.mul_(scale))]


def statistics(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and 1 / deviation by channel: of the batch in training (the running ones move), else the running."""
    m: Any = module
    if not m.training and m.running_mean is not None:
        return m.running_mean.clone(), torch.rsqrt(m.running_var + m.eps)
    held = x.detach()
    variance, mean = torch.var_mean(held, [d for d in range(x.dim()) if d != 1], correction=0)
    if m.running_mean is not None and m.training:
        m.num_batches_tracked += 1
        weight = 1.0 / float(m.num_batches_tracked) if m.momentum is None else m.momentum
        count = held.numel() / held.shape[1]
        m.running_mean.lerp_(mean.to(m.running_mean.dtype), weight)
        m.running_var.lerp_((variance * (count / max(1.0, count - 1))).to(m.running_var.dtype), weight)
    return mean, torch.rsqrt(variance + m.eps)


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.dim() - 2))


class Elementwise(Op):
    """A function of each number by itself; it also works in tensors that are there, where calls are bound to them."""

    def into(self, x: Tensor, y: Tensor) -> Call:
        """Return a call that leaves the function of x in y."""
        raise NotImplementedError

    def pull_into(self, x: Tensor, y: Tensor, e: Tensor, d: Tensor) -> Call:
        """Return a call that leaves e times the derivative at x, where y is the function of it, in d."""
        raise NotImplementedError

    def tape(self, x: Tensor, y: Tensor) -> Tape:
        """Return the tape of a forward pass from x to y."""
        return x


class ReLU(Elementwise):
    """max(x, 0); its derivative at 0 is 0."""

    def __init__(self, module: nn.ReLU) -> None:
        """Take no more from the module than its kind."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y, which is the tape."""
        y = torch.relu(x)
        return y, y

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e where y is above 0."""
        found: Tensor = _aten.threshold_backward(e, tape, 0)
        return found

    def into(self, x: Tensor, y: Tensor) -> Call:
        """Clamp x."""
        return partial(torch.clamp_min, x, 0, out=y)

    def pull_into(self, x: Tensor, y: Tensor, e: Tensor, d: Tensor) -> Call:
        """Take e where y is above 0."""
        return partial(_aten.threshold_backward.grad_input, e, y, 0, grad_input=d)

    def tape(self, x: Tensor, y: Tensor) -> Tape:
        """Return y."""
        return y


class LeakyReLU(Elementwise):
    """X, or a fraction of it below 0."""

    def __init__(self, module: nn.LeakyReLU) -> None:
        self._slope = module.negative_slope

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y; x is the tape."""
        return F.leaky_relu(x, self._slope), x

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e times the slope at x."""
        found: Tensor = _aten.leaky_relu_backward(e, tape, self._slope, False)
        return found

    def into(self, x: Tensor, y: Tensor) -> Call:
        """Scale x below 0."""
        return partial(_aten.leaky_relu.out, x, self._slope, out=y)

    def pull_into(self, x: Tensor, y: Tensor, e: Tensor, d: Tensor) -> Call:
        """Scale e where x is below 0."""
        return partial(_aten.leaky_relu_backward.grad_input, e, x, self._slope, False, grad_input=d)


class GELU(Elementwise):
    """The Gaussian error linear unit."""

    def __init__(self, module: nn.GELU) -> None:
        self._form = module.approximate

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y; x is the tape."""
        return F.gelu(x, approximate=self._form), x

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e times the derivative at x."""
        found: Tensor = _aten.gelu_backward(e, tape, approximate=self._form)
        return found

    def into(self, x: Tensor, y: Tensor) -> Call:
        """Take the unit of x."""
        return partial(_aten.gelu.out, x, approximate=self._form, out=y)

    def pull_into(self, x: Tensor, y: Tensor, e: Tensor, d: Tensor) -> Call:
        """Take e times the derivative at x."""
        return partial(_aten.gelu_backward.grad_input, e, x, approximate=self._form, grad_input=d)


class Tanh(Elementwise):
    """The hyperbolic tangent."""

    def __init__(self, module: nn.Tanh) -> None:
        """Take no more from the module than its kind."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y, which is the tape."""
        y = torch.tanh(x)
        return y, y

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e (1 - y²)."""
        found: Tensor = _aten.tanh_backward(e, tape)
        return found

    def into(self, x: Tensor, y: Tensor) -> Call:
        """Take the tangent of x."""
        return partial(torch.tanh, x, out=y)

    def pull_into(self, x: Tensor, y: Tensor, e: Tensor, d: Tensor) -> Call:
        """Take e (1 - y²)."""
        return partial(_aten.tanh_backward.grad_input, e, y, grad_input=d)

    def tape(self, x: Tensor, y: Tensor) -> Tape:
        """Return y."""
        return y


class Identity(Op):
    """What changes nothing."""

    def __init__(self, module: nn.Identity) -> None:
        """Take no more from the module than its kind."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return x."""
        return x, None

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e."""
        return e


class Flatten(Op):
    """[N, ...] laid out as [N, features]."""

    def __init__(self, module: nn.Flatten) -> None:
        self._from = module.start_dim

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y; the shape is the tape."""
        return x.flatten(self._from), x.shape

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e in the shape of x."""
        return e.reshape(tape)


class MaxPool(Op):
    """The largest of each window."""

    def __init__(self, module: nn.MaxPool2d) -> None:
        self._told = [_pair(v) for v in (module.kernel_size, module.stride, module.padding, module.dilation)]
        self._ceil = module.ceil_mode

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y; x and the places of the largest are the tape."""
        y, places = _aten.max_pool2d_with_indices(x, *self._told, self._ceil)
        return y, (x, places)

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e at the places of the largest."""
        found: Tensor = _aten.max_pool2d_with_indices_backward(e, tape[0], *self._told, self._ceil, tape[1])
        return found


class AvgPool(Op):
    """The mean of each window."""

    def __init__(self, module: nn.AvgPool2d) -> None:
        self._told = [_pair(v) for v in (module.kernel_size, module.stride, module.padding)]
        self._more = (module.ceil_mode, module.count_include_pad, module.divisor_override)

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y; x is the tape, for its shape."""
        return _aten.avg_pool2d(x, *self._told, *self._more), x

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e spread over each window."""
        found: Tensor = _aten.avg_pool2d_backward(e, tape, *self._told, *self._more)
        return found


class MeanPool(Op):
    """The mean of each map, [N, C, 1, 1]."""

    def __init__(self, module: nn.AdaptiveAvgPool2d) -> None:
        """Take no more from the module than its kind."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y; the shape of x is the tape."""
        return x.mean((2, 3), keepdim=True), x.shape

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return e spread over each map."""
        spread: Tensor = (e / (tape[2] * tape[3])).expand(tape)
        return spread


OPS: dict[type[nn.Module], Any] = {
    nn.Linear: Linear,
    nn.Conv2d: Conv,
    nn.BatchNorm1d: Norm,
    nn.BatchNorm2d: Norm,
    nn.ReLU: ReLU,
    nn.LeakyReLU: LeakyReLU,
    nn.GELU: GELU,
    nn.Tanh: Tanh,
    nn.Identity: Identity,
    nn.Flatten: Flatten,
    nn.MaxPool2d: MaxPool,
    nn.AvgPool2d: AvgPool,
    nn.AdaptiveAvgPool2d: MeanPool,
}


def op_of(module: nn.Module) -> Op | None:
    """Return the closed form of a module; None where there is none."""
    kind = OPS.get(type(module))
    plain = _PLAIN.get(type(module), lambda _: True)
    made: Op | None = kind(module) if kind is not None and plain(module) else None
    return made


_PLAIN: dict[type[nn.Module], Any] = {
    nn.Conv2d: lambda m: m.padding_mode == "zeros" and not isinstance(m.padding, str),
    nn.Flatten: lambda m: m.start_dim == 1 and m.end_dim == -1,
    nn.MaxPool2d: lambda m: not m.return_indices,
    nn.AdaptiveAvgPool2d: lambda m: m.output_size in (1, (1, 1)),
}


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
