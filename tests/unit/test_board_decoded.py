"""Records that are decoded at once: the run that reading step by step makes, or none."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synobench.board import decoded
from synobench.board.comparable import OfSuite
from synobench.board.decoded import Reader
from synobench.board.parts import Parts
from synobench.board.reading import read_run
from synobench.board.runs import COST, PHASES, Run
from synobench.errors import BenchError
from synobench.ledger import Ledger
from synobench.store import document, read_bytes
from synobench.testing.records import make_record

COUNTERS = {
    "c": lambda ledger: {"total": float(ledger.layers[0].effective), "b": 1.0},
    "a": lambda ledger: {"x": ledger.layers[-1].event},
}
COMMITTED = Path(__file__).parents[2] / "leaderboards" / "records"


def ledger(facts: Any) -> Ledger:
    return Ledger.from_record(facts, None)


def reader(**metrics: Any) -> Reader:
    return Reader(COUNTERS, metrics, ledger, Parts())


def slowly(content: bytes, **metrics: Any) -> Run | None:
    """Read a record step by step; None where it is refused."""
    try:
        record = read_bytes(content, "it")
        return read_run(record, COUNTERS, metrics, ledger) if record.get("status") == "ok" else None
    except BenchError:
        return None


def told(run: Run) -> dict[str, str]:
    """Return what tells a run from any other, the kinds of its numbers too."""
    return {name: repr(sorted(value.items()) if isinstance(value, dict) else value) for name, value in facts(run)}


def facts(run: Run) -> Iterator[tuple[str, Any]]:
    for name, value in vars(run).items():
        if name == "cost":
            yield from ((f"cost.{phase}", spent) for phase, spent in value.items())
        else:
            yield name, value


def test_committed_records_are_ordinary() -> None:
    paths = sorted(COMMITTED.glob("*/?[0-3]/*.json"))
    assert len(paths) > 100
    made = reader()
    for path in paths:
        content = path.read_bytes()
        quick, slow = made.quick(content), slowly(content)
        assert quick is not None
        assert slow is not None
        assert told(quick) == told(slow), path


def test_metrics_see_the_whole_record() -> None:
    content = document(make_record(seed=3)).encode()
    metrics = {"m": lambda record: record["inputs"]["seed"] + 0.5, "none": lambda _: None}
    quick, slow = reader(**metrics).quick(content), slowly(content, **metrics)
    assert quick is not None
    assert slow is not None
    assert quick.metrics == {"m": 3.5, "none": None}
    assert told(quick) == told(slow)


def spots(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands in plain data."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from spots(part, (*at, key))


RECORD = {**make_record("magnitude", 0.9, 1), "note": "\N{EN DASH}"}
RECORD["provenance"] |= {
    "device": {"cpu": "x", "cores": 2},
    "code": {"version": "1", "commit": "a" * 40, "dirty": False},
    "libraries": {"torch": "2"},
    "yardstick": {"gflops": 1.5, "gbps": 20},
    "shared": {"parent": {"weights": "sha256:1"}},
}
RECORD["outcome"]["measurements"] = {"train/norms": {"by": ["a"], "at": [1, 2], "values": [[1.0], [None]]}, "n": 1}
SPOTS = list(spots(RECORD))
odd = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2**63, 2**64, 10**40, -1])
    | st.floats(allow_nan=False)
    | st.sampled_from([1e99, 1e100, -1e100, 1.0, -0.0])
    | st.text(max_size=5)
    | st.sampled_from(["", "ok", "checkpoint", "none", "sparsity", [], {}, [1], {"name": "x"}, {"a": None}])
)


@given(st.lists(st.tuples(st.sampled_from(SPOTS), odd, st.booleans()), min_size=1, max_size=2))
def test_a_changed_record_is_read_as_step_by_step_or_not_at_all(
    changes: list[tuple[tuple[Any, ...], Any, bool]],
) -> None:
    record: Any = copy.deepcopy(RECORD)
    for spot, value, gone in changes:
        held = record
        try:
            for key in spot[:-1]:
                held = held[key]
            if gone:
                del held[spot[-1]]
            else:
                held[spot[-1]] = value
        except (LookupError, TypeError):
            continue  # the other change took the place away
    content = json.dumps(record, ensure_ascii=False).encode(errors="surrogatepass")
    quick = reader().quick(content)
    if quick is not None:
        slow = slowly(content)
        assert slow is not None
        assert told(quick) == told(slow)


def test_the_record_that_is_changed_is_ordinary() -> None:
    content = json.dumps(RECORD).encode()
    quick, slow = reader().quick(content), slowly(content)
    assert quick is not None
    assert slow is not None
    assert told(quick) == told(slow)
    assert quick.training
    assert quick.weights == "sha256:1"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"note": "', b'"note": "\xff'),
        (b'"schema": 1', b'"schema": 2'),
        (b'"status": "ok"', b'"status": "failed"'),
        (b'"status": "ok"', b'"status": NaN'),
        (b'"note": "', b'"note": "\x01'),
        (b'"note": ', b'"note": ' + b"[" * 100_000),
        (b"}", b""),
    ],
)
def test_what_is_no_ok_record_is_left_alone(old: bytes, new: bytes) -> None:
    content = json.dumps(RECORD).encode()
    assert old in content
    assert reader().quick(content.replace(old, new)) is None


@pytest.mark.parametrize(
    ("spot", "value"),
    [
        (("outcome", "sparsity", "kept"), 1),
        (("outcome", "sparsity", "prunable"), 10**6),
        (("outcome", "sparsity", "parameters_kept"), 10**9),
        (("outcome", "sparsity", "parameters"), 2**63),
        (("outcome", "validation"), {"hits": 3, "total": 2}),
        (("outcome", "validation"), {"hits": -1, "total": 2}),
        (("outcome", "test", "top1", "hits"), 1),
        (("outcome", "test", "top1", "mask"), "!"),
        (("outcome", "ledger", "samples"), "many"),
        (("inputs", "seed"), None),
        (("inputs", "tune"), None),
        (("inputs", "target", "value"), "much"),
        (("provenance", "device"), [1]),
        (("provenance", "code"), "new"),
        (("provenance", "libraries"), 3),
    ],
)
def test_what_is_refused_step_by_step_is_not_read_at_once(spot: tuple[str, ...], value: Any) -> None:
    made, record = reader(), copy.deepcopy(RECORD)
    assert made.quick(json.dumps(record).encode()) is not None  # from here on its parts are known
    held = record
    for key in spot[:-1]:
        held = held[key]
    if value is None:
        del held[spot[-1]]
    else:
        held[spot[-1]] = value
    content = json.dumps(record).encode()
    assert slowly(content) is None
    assert made.quick(content) is None


def test_a_record_out_of_the_ordinary_is_read_step_by_step() -> None:
    record = copy.deepcopy(RECORD)
    record["cost"]["train"]["seconds"] = "long"
    content = json.dumps(record).encode()
    made, here = reader(), OfSuite("demo", "1.0")
    assert made.quick(content) is None
    run = made.read(content, "it", here)
    assert run is not None
    assert run.cost["train"]["seconds"] is None
    with pytest.raises(BenchError, match="two records have the key"):
        made.read(content, "it", here)
    record["outcome"]["test"]["top1"]["hits"] += 1
    with pytest.raises(BenchError, match="hits says"):
        made.read(json.dumps(record).encode(), "it", OfSuite("demo", "1.0"))


def test_a_record_of_another_suite_is_none_of_the_boards() -> None:
    here = OfSuite("other", "1.0")
    assert reader().read(json.dumps(RECORD).encode(), "it", here) is None
    assert here.others == 1


def test_what_is_decoded_of_the_cost_is_what_a_run_tells() -> None:
    assert tuple(get_type_hints(decoded._Cost)) == PHASES
    assert tuple(get_type_hints(decoded._Spent)) == COST
