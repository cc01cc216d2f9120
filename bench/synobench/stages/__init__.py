"""Networks as chains of stages, for rules that learn stage by stage and never call ``backward`` on the whole."""

from synobench.stages.chain import Chain, Link, Trace
from synobench.stages.stage import Stage, cut, stages_of

__all__ = ["Chain", "Link", "Stage", "Trace", "cut", "stages_of"]
