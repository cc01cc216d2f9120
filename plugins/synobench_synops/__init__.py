"""SynOps counters: what one inference costs a network in synaptic operations, by five definitions, and in energy.

With x the input of a layer at one time step, w its weights and M(.) = 1 where non-zero, else 0, summed over layers and
steps and averaged over samples; biases, normalisation and neuron updates stand beside, never inside:

    dense      sum conv(1, 1)
    fanout     sum conv(M(x), 1)                     as SpikingJelly's accumulates (Fang et al. 2023)
    effective  sum conv(M(x), M(w))                  as NeuroBench's effective operations (Yik et al. 2025)
    nominal    dense, padding counted, x firing rate as most papers
    event      sum conv(a |x|, 1)                    as sinabs: values before average pooling of factor a
    energy     4.6 pJ MAC + 0.9 pJ AC                arithmetic only (Horowitz 2014)

Unit spikes (0, 1, -1) are accumulates. Graded and pooled spikes and analog values are multiply-accumulates in all but
`event`, which weighs spikes by their magnitude. The analog first layer is a column of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from synobench.entries import CounterEntry
from synobench.hookspecs import hookimpl
from synobench_synops.counters import COLUMNS, Arithmetic, Counting


@hookimpl
def synobench_counters() -> Iterable[CounterEntry]:
    """Register the five definitions and the energy."""
    told = {
        "dense": ("every weight at every position", "sum conv(1, 1); padding zeros do not count", "none: the ceiling"),
        "effective": ("non-zero inputs on non-zero weights", "sum conv(M(x), M(w))", "Yik2025"),
        "fanout": ("each event times its exact fan-out", "sum conv(M(x), 1)", "Fang2023"),
        "nominal": (
            "dense operations times the firing rate",
            "outputs x weights of one output x rate of non-zero spikes; without the rate for analog and graded inputs",
            "none: common practice",
        ),
        "event": (
            "spikes before average pooling, by magnitude, times their fan-out",
            "sum conv(a |x|, 1), a = values averaged into one",
            "none: as sinabs counts",
        ),
    }
    for name, (summary, definition, citation) in told.items():
        yield CounterEntry(
            name,
            summary=summary,
            definition=definition,
            citation=citation,
            params=Counting,
            run=f"synobench_synops.counters:{name}",
            columns=COLUMNS,
            headline="total",
        )
    yield CounterEntry(
        "energy",
        summary="energy of the arithmetic alone",
        definition="e_MAC (mac + first) + e_AC ac at 45 nm: fp32 4.6 and 0.9 pJ, fp16 1.5 and 0.4, int8 0.23 and 0.03",
        citation="Horowitz2014",
        params=Arithmetic,
        run="synobench_synops.counters:energy",
        columns=COLUMNS,
        headline="total",
        unit="pJ a sample, arithmetic only",
    )
