r"""Predictive coding with a bidirectional energy, skip connections and layer-adaptive learning rates.

A reconstruction: Chen et al. 2025 published no code, and only their abstract was at hand. The energy over the states
x_1 ... x_{L-1} of a network of stages f_1 ... f_L is

.. math::
    E = \tfrac12 \sum_{l<L} \|x_l - f_l(x_{l-1})\|^2 + \pi\,\ell(y, f_L(x_{L-1}))
        + \tfrac\alpha2 \sum_{l<L} \|x_l - g_l(x_{l+1}) - c_l\|^2 .

States descend it for T sweeps; then each stage's weights descend it, with nothing but what its neighbours hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synobench import RuleEntry, hookimpl, param

SOLVERS = ("state", "error", "zil")
ENERGIES = ("off", "plain", "centred")


@dataclass(frozen=True)
class PredictiveCoding:
    """Parameters of the rule; the schedule of the rate spans the phase's whole budget."""

    solver: str = param("state", choices=SOLVERS, doc="states, errors in their place (ePC), or exact backprop (Z-IL)")
    steps: int = param(8, low=1, doc="sweeps of inference T, at most")
    gamma: float = param(0.1, low=0.0, doc="inference rate of states or errors")
    energy: str = param("centred", choices=ENERGIES, doc="backward half: none, c = 0, or c as at feed-forward states")
    alpha: float = param(0.1, low=0.0, doc="weight of the backward half of the energy")
    backward: str = param("learned", choices=("learned", "tied"), doc="backward weights: their own, or the transposed")
    backward_rate: float = param(0.001, low=0.0, doc="of Adam on learned backward weights")
    fit: int = param(0, low=0, doc="Adam steps on learned backward weights before training, forward weights fixed")
    loss: str = param("cross-entropy", choices=("mse", "cross-entropy"), doc="of the output")
    output_precision: float = param(1.0, low=0.0, doc="pi, the weight of the output's part of the energy")
    nudge: float = param(1.0, low=0.0, high=1.0, doc="how far the output is moved to the target; 1 clamps it")
    nudging: str = param("positive", choices=("positive", "negative", "centred"), doc="sign of the nudge, or by turns")
    incremental: bool = param(False, doc="whether weights move after every sweep (iPC)")
    tolerance: float = param(0.0, low=0.0, doc="inference ends where a sweep lowers the energy by a smaller share")
    guard: bool = param(True, doc="whether a sweep that raises the energy is taken back and gamma halved")
    wavefront: bool = param(True, doc="whether stages that no error has reached are left out, which changes nothing")
    lalr: bool = param(True, doc="whether each stage's rate follows the norm of W over that of G (before SGD alone)")
    kappa: float = param(1e8, low=0.0, doc="bound of that ratio; as it stands it hardly binds")
    optimizer: str = param("sgd", choices=("sgd", "adamw"), doc="the optimiser")
    rate: float = param(0.005, low=0.0, doc="learning rate at the end of the warm-up")
    momentum: float = param(0.9, low=0.0, high=1.0, doc="of SGD")
    decay: float = param(0.0, low=0.0, doc="weight decay (decoupled in AdamW)")
    warmup: float = param(0.0, low=0.0, doc="epochs of linear warm-up")
    schedule: str = param("cosine", choices=("cosine", "constant"), doc="of the rate after the warm-up, to zero")
    augment: str = param("none", choices=("none", "crop", "crop-flip"), doc="random shifts by 4 pixels, and mirrors")
    compile: bool = param(
        False, doc="torch.compile (CUDA: a graph) of a batch; without guard, tolerance, backward half"
    )

    def __post_init__(self) -> None:
        if self.lalr and self.optimizer != "sgd":
            raise ValueError("lalr=true scales gradients, which AdamW undoes: give optimizer=sgd or lalr=false")
        if not self.nudge:
            raise ValueError("nudge must be above 0, up to 1: without it no error reaches the output")
        if self.compile and (self.guard or self.tolerance):
            raise ValueError("compile=true looks at no energy: give guard=false and tolerance=0")
        if self.incremental and (self.solver != "state" or self.compile):
            raise ValueError("incremental=true goes with solver=state and compile=false")

    @property
    def bidirectional(self) -> bool:
        """Whether the energy has a backward half."""
        return self.energy != "off" and self.alpha > 0 and self.solver != "zil"


@hookimpl
def synobench_rules() -> Iterator[RuleEntry]:
    """Register the rule."""
    yield RuleEntry(
        "predictive-coding",
        summary="local learning by inference on an energy of prediction errors; a reconstruction",
        citation="Chen2025",
        params=PredictiveCoding,
        run="synobench_predictive_coding.rule:PredictiveCodingRule",
        local=True,
    )
