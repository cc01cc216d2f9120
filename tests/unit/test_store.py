"""The store: keys of plain data, files whole or not at all, results kept for ever."""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synobench import store as stores
from synobench.errors import BenchError
from synobench.store import SCHEMA, Store, canonical, document, key_of, pack_mask, read_json, write_atomically
from synobench.testing.records import make_failure, make_record

texts = st.text('abé☃🜁 "\\/\n\x00', max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
plain = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
tables = st.dictionaries(texts, plain, max_size=5)


def shuffled(value: Any) -> Any:
    """Return the same data with every mapping written backwards and lists as tuples."""
    if isinstance(value, dict):
        return {k: shuffled(value[k]) for k in reversed(list(value))}
    return tuple(shuffled(v) for v in value) if isinstance(value, list) else value


@given(tables)
def test_a_key_does_not_depend_on_order(value: dict[str, Any]) -> None:
    assert key_of(shuffled(value)) == key_of(value)


@given(tables)
def test_canonical_text_is_json_of_the_same_value_and_its_own_fixpoint(value: dict[str, Any]) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text == canonical(json.loads(document(value)))


@given(tables, tables)
def test_different_data_has_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (key_of(one) == key_of(other)) == (canonical(one) == canonical(other))


@given(
    st.recursive(st.just(0.0), lambda i: st.lists(i, min_size=1, max_size=2) | st.dictionaries(texts, i, min_size=1))
)
def test_the_two_zeros_are_one(value: Any) -> None:
    def negative(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: negative(v) for k, v in node.items()}
        return [negative(v) for v in node] if isinstance(node, list) else -0.0

    assert canonical(negative(value)) == canonical(value)
    assert document({"x": negative(value)}) == document({"x": value})


def test_a_key_is_the_sha256_of_frozen_text() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": "ü\n"}}
    assert canonical(value) == '{"a":{"é":"ü\\n"},"b":[1,2.5,null,true]}'
    assert key_of(value) == "d747e37fe3022d8295937efb2f7d593d2fe639d8536f14f7f6b3b2f10da02b6c"


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_a_key_is_the_same_in_another_process(seed: str) -> None:
    code = "from synobench.store import key_of; print(key_of({w: {w[::-1]: 1} for w in {'one', 'two', 'three'}}))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.strip() == key_of({"one": {"eno": 1}, "two": {"owt": 1}, "three": {"eerht": 1}})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        {"a": math.nan},
        {"a": [math.inf]},
        {1: "a"},
        {"a": {None: 1}},
        {"a": {1, 2}},
        {"a": object()},
        {"a": b"bytes"},
        {"a": Path("/x")},
        {"a": "\ud800"},
        {"a": nested(100_000)},
    ],
    ids=lambda v: type(next(iter(v.values()))).__name__,
)
def test_what_is_not_plain_data_is_refused_in_one_line(value: Any) -> None:
    for write in (canonical, document):
        with pytest.raises(BenchError, match=r"^not plain data: ") as caught:
            write(value)
        assert "\n" not in str(caught.value)


@given(st.lists(st.booleans(), max_size=70))
def test_masks_hold_the_first_image_in_the_highest_bit(hits: list[bool]) -> None:
    data = base64.b64decode(pack_mask(hits))
    bits = "".join(f"{byte:08b}" for byte in data)
    assert bits == "".join("1" if h else "0" for h in hits) + "0" * (len(bits) - len(hits))
    assert len(data) == (len(hits) + 7) // 8


@pytest.mark.parametrize("step", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")

    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, step, broken)
    with pytest.raises(type(error)):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_record_lies_under_suite_and_key(tmp_path: Path) -> None:
    store, record = Store(tmp_path), make_record()
    path = store.add(record, b"vectors")
    assert path == tmp_path / "records" / "demo" / record["key"][:2] / f"{record['key']}.json"
    assert path.with_suffix(".ledger").read_bytes() == b"vectors"
    assert read_json(path) == record
    assert path.read_text() == json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    assert store.has("demo", record["key"])
    assert not store.has("demo", "0" * 64)
    assert store.suites() == ["demo"]


def test_a_second_result_is_a_replay_and_the_first_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second, third = (make_record(hits=h) for h in (150, 160, 170))
    path = store.add(first, b"one")
    replays = [store.add(second, b"two"), store.add(third, b"three")]
    key = first["key"]
    assert [p.relative_to(tmp_path).as_posix() for p in replays] == [f"replays/demo/{key}-{n}.json" for n in (1, 2)]
    assert read_json(path) == first
    assert path.with_suffix(".ledger").read_bytes() == b"one"
    assert [read_json(p) for p in replays] == [second, third]
    assert replays[1].with_suffix(".ledger").read_bytes() == b"three"
    assert list(store.records("demo")) == [first]


def test_failures_lie_apart_are_overwritten_and_go_with_success(tmp_path: Path) -> None:
    store, failure = Store(tmp_path), make_failure()
    store.fail(failure)
    later = {**failure, "error": {**failure["error"], "message": "another"}}
    path = store.fail(later)
    assert store.failures("demo") == [later]
    assert store.suites() == []
    assert list(store.records("demo")) == []
    record = make_record()
    assert record["key"] == failure["key"]
    store.add(record)
    assert not path.exists()
    assert store.failures("demo") == []


def test_records_come_in_order_of_their_keys(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = [make_record(seed=s) for s in range(6)]
    for record in made:
        store.add(record)
    assert [r["key"] for r in store.records("demo")] == sorted(r["key"] for r in made)
    assert store.paths("other") == []


BAD_FILES = {
    "empty": b"",
    "truncated": b'{"schema": 1, "key": "ab',
    "array": b"[1]",
    "number": b"3",
    "binary": bytes(range(256)),
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "newer": b'{"schema": 2}',
    "older": b'{"schema": 0}',
    "bool": b'{"schema": true}',
    "text": b'{"schema": "1"}',
    "none": b"{}",
    "nan": b'{"schema": 1, "cost": NaN}',
    "digits": b'{"schema": 1, "x": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_no_record_is_one_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    with pytest.raises(BenchError) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(BenchError, match="cannot be read as a record"):
            read_json(path)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the schema be two above the present one, with a migration for each."""
    monkeypatch.setattr(stores, "SCHEMA", SCHEMA + 2)
    steps = {
        SCHEMA: lambda r: {**r, "schema": SCHEMA + 1, "first": True},
        SCHEMA + 1: lambda r: {**r, "schema": SCHEMA + 2, "second": r["first"]},
    }
    monkeypatch.setattr(stores, "MIGRATIONS", steps)
    return


@pytest.mark.usefixtures("newer")
def test_older_schemas_are_migrated_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"schema": SCHEMA, "kept": 1}))
    assert read_json(path) == {"schema": SCHEMA + 2, "kept": 1, "first": True, "second": True}
    assert json.loads(path.read_text())["schema"] == SCHEMA


def slowly(content: bytes) -> Any:
    """Read JSON as the standard library does."""
    return json.loads(content.decode(json.detect_encoding(content), "surrogatepass"))


numbers = st.integers() | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40])
plain_values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), plain_values), st.sampled_from([None, 1]), st.booleans())
def test_a_record_is_read_as_the_standard_library_reads_it(value: Any, indent: int | None, ascii_alone: bool) -> None:
    held = {**value, "schema": SCHEMA}
    content = json.dumps(held, indent=indent, ensure_ascii=ascii_alone).encode(errors="surrogatepass")
    assert repr(stores.read_bytes(content, "it")) == repr(slowly(content))


@pytest.mark.parametrize(
    "text",
    [
        b'{"schema": 1, "n": 18446744073709551616}',
        b'{"schema": 1, "n":-9223372036854775809}',
        b'{"schema": 1, "n": [\n123456789012345678901234567890]}',
        b'{"schema": 1, "n":18446744073709551616}',
        b'{"schema": 1, "n" :\t18446744073709551616}',
        b'{"schema":1,"n":{"m":[1,18446744073709551616]}}',
        b'{"schema": 1, "n": 1e999}',
        b'{"schema": 1, "n": "\\ud800"}',
        b'{"schema": 1, "n": 1, "n": 2}',
        b'\xef\xbb\xbf{"schema": 1}',
        b'{"schema": 1, "n": -0.0, "m": -0, "d": "1234567890123456789012345"}',
        '{"schema": 1, "n": 2}'.encode("utf-16"),
    ],
)
def test_what_parsers_differ_on_is_read_as_the_standard_library_reads_it(text: bytes) -> None:
    assert repr(stores.read_bytes(text, "it")) == repr(slowly(text))
