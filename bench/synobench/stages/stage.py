"""What a network shows of itself: the stages f_1 ... f_L whose composition it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from synobench.errors import ContractError

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
"""The modules that a stage of `cut` begins with."""


@dataclass(frozen=True)
class Stage:
    """One stage of a network: x_l = f_l(x_{l-1}).

    Args:
        name: of its layer, as ``named_modules`` has it.
        modules: applied one after the other; with `run`, those that it uses, for their weights and neurons.
        skip: s of f(x) = x + s modules(x); 0 where no skip connection goes around them.
        run: the whole map, differentiable, where it is no plain chain of modules: a residual block, a spiking layer.
    """

    name: str
    modules: tuple[nn.Module, ...]
    skip: float = 0.0
    run: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the stage as the network does."""
        if self.run is not None:
            return self.run(x)
        out = x
        for module in self.modules:
            out = module(out)
        return x + self.skip * out if self.skip else out

    def parameters(self) -> list[nn.Parameter]:
        """Return its parameters, each once."""
        return list(dict.fromkeys(p for module in self.modules for p in module.parameters()))


def stages_of(model: nn.Module, name: str = "") -> list[Stage]:
    """Return the stages that a network shows by its method ``stages()``, first to last.

    Raises:
        ContractError: it shows none, or a parameter of the network belongs to no stage or to two.
    """
    called = name or type(model).__name__
    show = getattr(model, "stages", None)
    found = list(show()) if callable(show) else []
    if not found:
        raise ContractError(
            f"model {called} shows no stages, so it cannot be trained stage by stage; give it a method stages() that "
            "returns them in order, or train it by backprop"
        )
    held = [parameter for stage in found for parameter in stage.parameters()]
    if len({id(p) for p in held}) != len(held) or {id(p) for p in held} != {id(p) for p in model.parameters()}:
        raise ContractError(f"the stages of model {called} must hold each of its parameters once")
    return found


def cut(named: Iterable[tuple[str, nn.Module]]) -> list[Stage]:
    """Cut a plain chain of modules into stages, each beginning with a linear layer or a convolution.

    Modules before the first layer belong to its stage.
    """
    stages: list[tuple[str, list[nn.Module]]] = [("", [])]
    for name, module in named:
        if isinstance(module, LAYERS):
            if stages[-1][0]:
                stages.append(("", []))
            stages[-1] = (name, stages[-1][1])
        stages[-1][1].append(module)
    return [Stage(name, tuple(modules)) for name, modules in stages]
