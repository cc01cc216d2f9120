"""The parameters of CHITA and CHITA++, light to import."""

from __future__ import annotations

import math
from dataclasses import dataclass

from synobench import param

VARIANTS = ("auto", "iht", "active-set", "cd", "bso", "bso-swaps", "bso-block")
SUPPORTS = ("magnitude", "step", "newton")
SCHEDULES = ("exp", "poly", "linear", "const", "mfac")

VARIANT = "algorithm of the paper; auto: bso-block for networks with convolutions, bso-swaps for others"
SUPPORT = "which weights a backsolve starts from: the largest, those after one move of Algorithm 2, or one Newton step"
SIZE = "images a row of gradients: with more than one, a row is the gradient of their mean loss"
SCREEN = "share of the trace of the Fisher matrix to reach, by images of largest softmax residual; 1 takes all images"
LOOK = "validation images, of the first half, on which the ridges of the grid are compared by their loss"
MEMORY = "GB of gradients at once, 0: half of the machine's; bso-block goes through groups of tensors that fit it"
DROP = "rows of gradients go while this share of the ridge outweighs them; 0 keeps all that are not zero"
STRIDES = "multiples of the first-order part tried at each stage; the one of least loss stays, 1 is the published form"


@dataclass(frozen=True)
class Chita:
    """One stage."""

    variant: str = param("auto", choices=VARIANTS, doc=VARIANT)
    samples: int = param(2500, low=1, doc="images drawn for gradients, at most the whole training split")
    screen: float = param(0.99, low=0.0, high=1.0, doc=SCREEN)
    size: int = param(1, low=1, doc=SIZE)
    ridge: str = param("auto", doc="lambda, above 0, or auto: of the grid, the best on half of the validation split")
    grid: tuple[float, ...] = param((1e-5, 1e-4), doc="ridges that auto chooses from")
    alpha: float = param(
        0.0, low=0.0, doc="weight of the first-order term: 0 leaves it out, 1 is the local model's own"
    )
    support: str = param("magnitude", choices=SUPPORTS, doc=SUPPORT)
    block: int = param(2000, low=1, doc="weights in a block of bso-block, at most")
    iterations: int = param(50, low=1, doc="steps of iterative hard thresholding, at most")
    sweeps: int = param(5, low=0, doc="rounds of coordinate descent over the support, for cd")
    swaps: int = param(50, low=0, doc="rounds of exchanges, at most, for bso-swaps")
    drop: float = param(0.01, low=0.0, doc=DROP)
    look: int = param(256, low=1, doc=LOOK)
    memory: float = param(0.0, low=0.0, doc=MEMORY)

    def __post_init__(self) -> None:
        # One ridge, however it is written, is one run.
        if self.ridge != "auto":
            object.__setattr__(self, "ridge", repr(_ridge(self.ridge)))
        if not self.grid or min(self.grid) <= 0:
            raise ValueError("grid needs one ridge or more, each above 0")

    @property
    def ridges(self) -> tuple[float, ...]:
        """The ridges to choose from: one, where it was given."""
        return self.grid if self.ridge == "auto" else (float(self.ridge),)


@dataclass(frozen=True)
class ChitaStages:
    """Several stages, Algorithm 1."""

    variant: str = param("bso", choices=VARIANTS, doc=VARIANT)
    stages: int = param(11, low=1, doc="how often gradients are taken and the problem is solved")
    schedule: str = param("exp", choices=SCHEDULES, doc="how sparsity rises from stage to stage")
    start: float = param(
        0.7, low=0.0, high=1.0, doc="sparsity of the first stage, s0 of the schedule, at most the target"
    )
    settle: int = param(0, low=0, doc="stages at the end that all lie at the target, the schedule before them")
    samples: int = param(2000, low=1, doc="images drawn for gradients at each stage, at most the whole training split")
    size: int = param(1, low=1, doc=SIZE)
    ridge: float = param(0.1, low=1e-12, doc="lambda")
    alpha: float = param(
        1.0, low=0.0, doc="weight of the first-order term: 0 leaves it out, 1 is the local model's own"
    )
    support: str = param("magnitude", choices=SUPPORTS, doc=SUPPORT)
    block: int = param(500, low=1, doc="weights in a block of bso-block, at most")
    iterations: int = param(50, low=1, doc="steps of iterative hard thresholding, at most")
    sweeps: int = param(5, low=0, doc="rounds of coordinate descent over the support, for cd")
    swaps: int = param(50, low=0, doc="rounds of exchanges, at most, for bso-swaps")
    drop: float = param(0.01, low=0.0, doc=DROP)
    strides: tuple[float, ...] = param((0.5, 1.0, 2.0), low=0.0, doc=STRIDES)
    look: int = param(256, low=1, doc="training images on which strides are compared")

    def __post_init__(self) -> None:
        if not self.strides:
            raise ValueError("strides needs one multiple or more; 1 is the published algorithm")


def _ridge(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"ridge must be a number above 0 or auto, not {text!r}")
    return value
