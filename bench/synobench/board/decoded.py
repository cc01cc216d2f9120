"""Bytes of a record -> one Run, decoded at once into the parts that a run is made of.

This saves most of the time that `read_run` takes, and nothing else: it makes the same run, or none. What is in any way
out of the ordinary is left to `read_run`, which reads it or tells what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta, Raw, Struct

from synobench.board import reading
from synobench.board.comparable import OfSuite
from synobench.board.parts import Parts
from synobench.board.reading import LARGEST, MOST, NEEDED, SIZES, Counter, Metric
from synobench.board.runs import PHASES, Run, Score
from synobench.errors import BenchError
from synobench.store import SCHEMA, read_bytes

Json = Any
Figure = Annotated[float, Meta(gt=-LARGEST, lt=LARGEST)]

_NULL = Raw(b"null")


class _Hits(Struct, gc=False):
    hits: int
    total: int
    mask: str

    def score(self) -> Score:
        return reading.score_of(self.hits, self.total, self.mask, "record")


class _Test(Struct, gc=False):
    top1: _Hits
    top5: _Hits | None = None


class _Counted(Struct, gc=False):
    hits: int
    total: int


class _Layer(Struct, gc=False):
    total: int
    kept: int


class _Sizes(Struct, gc=False):
    prunable: int
    kept: int
    parameters: int
    parameters_kept: int
    layers: list[_Layer]


class _Outcome(Struct, gc=False):
    test: _Test
    sparsity: _Sizes
    ledger: dict[str, Any]
    validation: _Counted | None = None
    measurements: dict[str, Any] | None = None


class _Spent(TypedDict):
    seconds: Figure | None
    samples: Figure | None
    forward: Figure | None
    backward: Figure | None
    peak_bytes: Figure | None
    trials: Figure | None


class _Cost(TypedDict):
    train: _Spent
    prune: _Spent
    tune: _Spent
    judge: _Spent


class _Parent(Struct, gc=False):
    weights: str | None = None


class _Shared(Struct, gc=False):
    parent: _Parent | None = None


class _Origin(Struct, gc=False):
    device: Raw = _NULL
    yardstick: dict[str, Figure] | None = None
    code: Raw = _NULL
    libraries: Raw = _NULL
    shared: _Shared | None = None


class _Record(Struct, gc=False):
    schema: int
    status: str
    key: str
    inputs: dict[str, Raw]
    outcome: _Outcome
    cost: _Cost
    provenance: _Origin | None = None


_DECODER = msgspec.json.Decoder(_Record)


class _UnusualError(Exception):
    """A record that `read_run` must read."""


class Reader:
    """Makes runs of records for a board.

    Args:
        counters: name -> function of the ledger.
        metrics: name -> function of the record.
        read_ledger: makes of a record's ledger what counters take.
        parts: holds what the runs have in common.
    """

    def __init__(
        self,
        counters: Mapping[str, Counter],
        metrics: Mapping[str, Metric],
        read_ledger: Callable[[Mapping[str, Json]], Any],
        parts: Parts,
    ) -> None:
        self._counters, self._metrics = dict(sorted(counters.items())), dict(sorted(metrics.items()))
        self._ledger, self.parts = read_ledger, parts
        self._inputs: dict[tuple[str, bytes], tuple[str, Json]] = {}
        self._known: dict[tuple[str, bytes], Any] = {}

    def of(self, record: Mapping[str, Json], mark: bytes = b"") -> Run:
        """Return the run of an ``ok`` record.

        Raises:
            BenchError: it lacks a field or contradicts itself, or a counter or metric fails on it.
        """
        return reading.read_run(record, self._counters, self._metrics, self._ledger, self.parts, mark)

    def read(self, content: bytes, name: str, here: OfSuite, mark: bytes = b"") -> Run | None:
        """Return the run of a record in a file; None where that is no ``ok`` record of the suite.

        Args:
            content: the bytes of the file.
            name: of the file.
            here: tells the records of the suite.
            mark: tells the record from every other.

        Raises:
            BenchError: as for `of`, or the file holds no record, or one whose key was seen before.
        """
        run = self.quick(content, mark)
        if run is not None:
            return run if here.admits({"status": "ok", "key": run.key, "inputs": run.inputs}) else None
        record = read_bytes(content, name)
        return self.of(record, mark) if here.admits(record) else None

    def quick(self, content: bytes, mark: bytes = b"") -> Run | None:
        """Return the run of an ordinary ``ok`` record; None of any other."""
        try:
            if not content.isascii():
                content.decode()  # the parts that are passed over are not looked at
            told = _DECODER.decode(content)
            if told.schema != SCHEMA or told.status != "ok":
                return None
            return self._run(told, content, mark)
        except (msgspec.MsgspecError, ValueError, RecursionError, BenchError, _UnusualError):
            return None

    def _run(self, told: _Record, content: bytes, mark: bytes) -> Run:
        outcome, test, sizes = told.outcome, told.outcome.test, told.outcome.sparsity
        origin = told.provenance or _Origin()
        shared = origin.shared.parent if origin.shared else None
        whole = read_bytes(content, "record") if self._metrics else {}
        ledger = self._ledger(outcome.ledger)
        inputs = self._inputs_of(told)
        kept = [layer.kept for layer in sizes.layers]
        if sum(kept) != sizes.kept or sum([layer.total for layer in sizes.layers]) != sizes.prunable:
            raise _UnusualError
        held = {name: getattr(sizes, name) for name in SIZES}
        reading.check_sizes(held, "record")
        run = object.__new__(Run)
        # A frozen class sets its fields one by one, which thousands of runs wait for.
        run.__dict__.update(
            key=told.key,
            inputs=inputs,
            top1=test.top1.score(),
            top5=test.top5.score() if test.top5 else None,
            validation=_accuracy(outcome.validation),
            counts={n: reading.counted({}, n, c, ledger) for n, c in self._counters.items()},
            metrics={n: reading.measured(whole, n, m) for n, m in self._metrics.items()},
            cost=reading.cost_of({phase: told.cost[phase] for phase in PHASES}, inputs),  # type: ignore[literal-required]
            machine=self._once("machine", origin.device, self._machine),
            yardstick=dict(sorted((origin.yardstick or {}).items())),
            code=self._once("code", origin.code, self.parts.one),
            caveats=self.parts.one(tuple(getattr(ledger, "notes", ()))),
            weights=shared.weights if shared else None,
            kept_by_tensor=tuple(kept),
            libraries=self._once("libraries", origin.libraries, self._versions),
            training=reading.tables(outcome.measurements) if outcome.measurements else {},
            mark=mark,
            **reading.shape_of(outcome.ledger),
            **held,
        )
        return run

    def _machine(self, device: dict[str, Json]) -> Any:
        return self.parts.made(reading.machine_text, device)

    def _versions(self, libraries: dict[str, Json]) -> Any:
        return self.parts.made(reading.versions, libraries)

    def _inputs_of(self, told: _Record) -> dict[str, Json]:
        """Return the inputs, their parts held once; what no record had before is read as `read_run` does."""
        known = self._inputs
        texts = [(role, bytes(raw)) for role, raw in told.inputs.items()]
        try:
            held = dict([known[text] for text in texts])
        except KeyError:
            given = {role: msgspec.json.decode(text) for role, text in texts}
            held = reading.read_inputs({"key": told.key, "inputs": given}, self.parts)
            known.update({(role, text): (sys.intern(role), held[role]) for role, text in texts})
        if "seed" not in held or None in [held.get(role) for role in NEEDED]:
            raise _UnusualError
        return held

    def _once(self, name: str, raw: Raw, make: Callable[[dict[str, Json]], Any]) -> Any:
        """Return what is made of a part of the provenance, once for all that are spelled the same."""
        place = name, bytes(raw)
        if place not in self._known:
            part = msgspec.json.decode(raw)
            if part is not None and type(part) is not dict:
                raise _UnusualError
            self._known[place] = make(part or {})
        return self._known[place]


def _accuracy(told: _Counted | None) -> float | None:
    if told is None:
        return None
    if not 0 <= told.hits <= told.total <= MOST:
        raise _UnusualError
    return told.hits / told.total if told.total else None
