"""Verification: every forged field is one clear line, and no file breaks it."""

from __future__ import annotations

import base64
import copy
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synobench.ledger import digest
from synobench.registry import Registry
from synobench.shape import LARGEST
from synobench.store import Store, document, key_of
from synobench.suite import Cell
from synobench.verify import LONGEST, verify_file, verify_suite

Record = dict[str, Any]
Edit = Callable[[Record], object]


@pytest.fixture(scope="module")
def honest(
    suite_cells: Callable[..., list[Cell]],
    job_in: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the file of a record that the engine made, its ledger beside it."""
    from synobench.engine import perform

    (cell,) = suite_cells()
    return Path(perform(job_in(cell, tmp_path_factory.mktemp("honest")))["path"])


def read(path: Path) -> Record:
    found: Record = json.loads(path.read_text())
    return found


Forge = Callable[..., list[str]]


@pytest.fixture
def forge(honest: Path, tmp_path: Path, registry: Registry) -> Forge:
    """Return what edits a copy of the honest record and verifies it."""

    def edit(change: Edit, rekey: bool = False, vectors: Callable[[bytes], bytes] | None = None) -> list[str]:
        record = read(honest)
        change(record)
        if rekey:
            record["key"] = key_of(record["inputs"])
        path = (
            tmp_path / str(record["key"])[:2] / f"{record['key']}.json"
            if rekey
            else tmp_path / honest.parent.name / honest.name
        )
        path.parent.mkdir(exist_ok=True)
        path.write_text(document(record))
        data = honest.with_suffix(".ledger").read_bytes()
        path.with_suffix(".ledger").write_bytes(vectors(data) if vectors else data)
        return verify_file(path, "tiny", registry)

    return edit


def test_an_honest_record_holds(forge: Forge, honest: Path, registry: Registry) -> None:
    assert forge(lambda _: None) == []
    store = Store(honest.parents[3])
    assert verify_suite(store, "tiny", registry) == (1, [])
    assert verify_suite(store, "other", registry) == (0, [])


def top1(record: Record) -> Record:
    found: Record = record["outcome"]["test"]["top1"]
    return found


def flip(record: Record, bit: int, score: str = "top1") -> None:
    told = record["outcome"]["test"][score]
    data = bytearray(base64.b64decode(told["mask"]))
    data[bit // 8] ^= 1 << (7 - bit % 8)
    told["mask"] = base64.b64encode(bytes(data)).decode()


def add(record: Record, path: str, more: float) -> None:
    *way, last = path.split(".")
    node: Any = record
    for part in way:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] += more


def put(record: Record, path: str, value: Any) -> None:
    *way, last = path.split(".")
    node: Any = record
    for part in way:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = value


def longer_mask(record: Record) -> None:
    told = top1(record)
    told["mask"] = base64.b64encode(base64.b64decode(told["mask"]) + b"\0").decode()


def shorter(record: Record) -> None:
    """Let both scores tell of four images less in as many bytes, and top5 still have hits among those."""
    for name, told in record["outcome"]["test"].items():
        bits = int.from_bytes(base64.b64decode(told["mask"]), "big")
        bits = bits & ~0b1111 if name == "top1" else bits | 1
        told.update(total=356, hits=bits.bit_count(), mask=base64.b64encode(bits.to_bytes(45, "big")).decode())


def disagree(record: Record) -> None:
    """Take from top5 an image that top1 has, and let it have another one."""
    one, five = (base64.b64decode(record["outcome"]["test"][s]["mask"]) for s in ("top1", "top5"))
    for bit in range(360):
        if one[bit // 8] >> (7 - bit % 8) & 1:
            break
    assert five[bit // 8] >> (7 - bit % 8) & 1
    flip(record, bit, "top5")
    record["outcome"]["test"]["top5"]["hits"] -= 1


def longest_layer(record: Record) -> None:
    record["outcome"]["sparsity"]["layers"][0]["name"] = "x\n" * 5000
    record["outcome"]["sparsity"]["layers"][0]["nonzero"] += 10**6
    record["outcome"]["sparsity"]["nonzero"] += 10**6


def norms(record: Record) -> Record:
    found: Record = record["outcome"]["measurements"]["train/update-norm"]
    return found


FORGERIES: dict[str, tuple[Edit, str]] = {
    "an update norm": (lambda r: norms(r)["values"][0].__setitem__(0, 99.0), "its largest update is"),
    "largest update": (lambda r: put(r, "outcome.measurements.train/largest-update", 1e-3), "its largest update is"),
    "a negative norm": (lambda r: norms(r)["values"][0].__setitem__(0, -1e-9), "its update norms are below zero"),
    "norms of another network": (lambda r: norms(r)["by"].__setitem__(0, "mine"), "its update norms are of 'mine'"),
    "more digits": (lambda r: norms(r)["values"][0].__setitem__(0, 1.23456789e-9), "has more digits than"),
    "a norm as text": (lambda r: norms(r)["values"][0].__setitem__(0, "0.1"), "holds '0.1' among its 'values'"),
    "a row too short": (lambda r: norms(r)["values"][0].pop(), "has 'values' that are not"),
    "updates that fall": (lambda r: norms(r)["at"].__setitem__(0, 10**6), "has an 'at' that is no list of rising"),
    "one name twice": (lambda r: norms(r).update(by=["fc1.weight"] * 2), "has a 'by' that is no list of different"),
    "half a table": (lambda r: norms(r).pop("by"), "is neither a number nor a table"),
    "a measurement as truth": (lambda r: put(r, "outcome.measurements.mine", True), "is neither a number nor a table"),
    "no room": (
        lambda r: put(r, "outcome.measurements.mine", {"by": ["x"], "at": [1], "values": [[0.5]] * 9000}),
        "its measurements take",
    ),
    "accuracy above one": (
        lambda r: r["outcome"]["measurements"]["train/validation"]["values"][0].__setitem__(1, 1.5),
        "holds what is no share of images",
    ),
    "hits": (lambda r: add(r, "outcome.test.top1.hits", 1), "top1 claims"),
    "hits as truth": (lambda r: put(r, "outcome.test.top5.hits", True), "outcome.test.top5.hits must be integer"),
    "mask": (lambda r: flip(r, 0), "top1 claims"),
    "mask length": (longer_mask, "the mask of top1 has 46 bytes, 360 images need 45"),
    "bits behind the end": (shorter, "the mask of top5 has bits behind its last image"),
    "total": (lambda r: add(r, "outcome.test.top1.total", -1), "top1 has 359 images, top5 has 360"),
    "top5": (disagree, "1 hits of top1 are none of top5"),
    "kept": (lambda r: add(r, "outcome.sparsity.kept", 1), "sparsity.kept is"),
    "kept of a layer": (lambda r: add(r, "outcome.sparsity.layers.0.kept", 1), "sparsity.kept is"),
    "prunable": (lambda r: add(r, "outcome.sparsity.prunable", -1), "sparsity.prunable is"),
    "nonzero": (lambda r: add(r, "outcome.sparsity.nonzero", 1), "sparsity.nonzero is"),
    "reached": (lambda r: add(r, "outcome.sparsity.reached", 0.01), "sparsity.reached is"),
    "asked": (lambda r: put(r, "outcome.sparsity.asked", 0.9), "sparsity.asked is 0.9, the target asks 0.5"),
    "parameters kept": (lambda r: add(r, "outcome.sparsity.parameters_kept", -1), "sparsity.parameters_kept is"),
    "a layer that keeps more than it has": (longest_layer, "layer x x x"),
    "effective": (lambda r: add(r, "outcome.ledger.layers.0.effective", -5), "layer fc1 of the ledger tells"),
    "fanout": (lambda r: add(r, "outcome.ledger.layers.1.fanout", -1), "layer fc2 of the ledger tells"),
    "events": (lambda r: add(r, "outcome.ledger.layers.1.events", 1), "layer fc2 of the ledger tells"),
    "ledger's weights": (lambda r: add(r, "outcome.ledger.layers.0.nonzero", -1), "weights by output"),
    "dense": (lambda r: put(r, "outcome.ledger.layers.0.dense", 1), "which must not fall"),
    "samples": (lambda r: put(r, "outcome.ledger.samples", 359), "its ledger counted 359 samples, the test has 360"),
    "ledger's digest": (
        lambda r: put(r, "outcome.ledger.digest", "sha256:0"),
        "the vectors are not those of the record",
    ),
    "validation": (lambda r: put(r, "outcome.validation.hits", 181), "validation claims 181 hits of 180"),
    "negative cost": (lambda r: put(r, "cost.tune.seconds", -1.0), "cost.tune.seconds is '-1.0'"),
    "cost as text": (lambda r: put(r, "cost.train.forward", "3"), "cost.train.forward is '3'"),
    "key": (lambda r: put(r, "key", "0" * 64), "its key is '000"),
    "inputs": (lambda r: put(r, "inputs.seed", 5), "not the one that it is stored under"),
    "status": (lambda r: put(r, "status", "failed"), "its status is 'failed'"),
    "schema": (lambda r: put(r, "schema", 99), "has schema 99"),
    "no cost": (lambda r: r.pop("cost"), "schema 1: a record must contain ['cost'] properties"),
    "a field of its own": (lambda r: put(r, "outcome.score", 1.0), "schema 1: outcome must not contain {'score'}"),
    "a measurement as text": (lambda r: put(r, "outcome.measurements.loss", "low"), "is neither a number nor a table"),
    "a measurement beyond floats": (lambda r: put(r, "outcome.measurements.loss", 10**400), "loss is no figure"),
    "a split as text": (lambda r: put(r, "provenance.plugins.magnitude", "mine"), "provenance.plugins.magnitude must"),
    "huge count": (lambda r: put(r, "outcome.test.top1.hits", 10**30), "is no count"),
    "a mask that is no base64": (lambda r: put(r, "outcome.test.top1.mask", "é!"), "outcome.test.top1.mask must match"),
}


@pytest.mark.parametrize(("change", "told"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_field_is_one_clear_line(change: Edit, told: str, forge: Forge) -> None:
    findings = forge(change)
    assert len(findings) == 1, findings
    assert told in findings[0]
    assert "\n" not in findings[0]
    assert len(findings[0]) <= LONGEST


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "<script>", "Mine", ""])
def test_a_name_that_is_a_path_or_markup_is_told(name: str, forge: Forge) -> None:
    (told,) = forge(lambda r: put(r, "inputs.pruner.name", name), rekey=True)
    assert told.startswith(f"{name!r} is no name of anything")


def rewritten(honest: Path, tmp_path: Path, change: Callable[[str], str]) -> Path:
    path = tmp_path / honest.parent.name / honest.name
    path.parent.mkdir()
    path.write_text(change(honest.read_text()))
    shutil.copy(honest.with_suffix(".ledger"), path.with_suffix(".ledger"))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"hits":', '"hits": 360,\n"hits":'),
        lambda text: text.replace("\n", ""),
        lambda text: text + "\n",
    ],
    ids=["a name twice", "on one line", "a line more"],
)
def test_what_the_bench_did_not_write_is_told(
    change: Callable[[str], str], honest: Path, tmp_path: Path, registry: Registry
) -> None:
    (told,) = verify_file(rewritten(honest, tmp_path, change), "tiny", registry)
    assert told.startswith("it is not written as the bench writes it")


def test_a_link_is_told(honest: Path, tmp_path: Path, registry: Registry) -> None:
    path = rewritten(honest, tmp_path, str)
    path.unlink()
    path.symlink_to(honest)
    assert verify_file(path, "tiny", registry) == ["it is a link; a record is a file of its own"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (" " * (LARGEST + 1), f"it has {LARGEST + 1:,} bytes; a record has at most {LARGEST:,}"),
        ("[" * 100_000, "cannot be read as a record"),
        ('{"schema": NaN}', "NaN is no JSON"),
        ('{"schema": ' + "9" * 10_000 + "}", "cannot be read as a record"),
        ("\0", "cannot be read as a record"),
        ("", "cannot be read as a record"),
    ],
    ids=["huge", "nested", "NaN", "a number of ten thousand digits", "NUL", "empty"],
)
def test_a_hostile_file_is_one_line(text: str, told: str, honest: Path, tmp_path: Path, registry: Registry) -> None:
    (found,) = verify_file(rewritten(honest, tmp_path, lambda _: text), "tiny", registry)
    assert told in found
    assert len(found) <= LONGEST


def test_another_suite_is_told(forge: Forge) -> None:
    (told,) = forge(lambda r: put(r, "inputs.suite.name", "mine"), rekey=True)
    assert told == "it belongs to suite 'mine', not 'tiny'"


@pytest.mark.parametrize(("field", "value"), [("digest", "sha256:other"), ("split", "sha256:other")])
def test_another_data_set_under_a_known_name_is_told(field: str, value: str, forge: Forge) -> None:
    (told,) = forge(lambda r: put(r, f"inputs.dataset.{field}", value), rekey=True)
    assert told.startswith(f"its data set's {field} is sha256:other, this bench knows sha256:")


def test_a_renamed_file_is_told(honest: Path, tmp_path: Path, registry: Registry) -> None:
    for place in ("00/" + "0" * 64, f"zz/{honest.stem}"):
        path = tmp_path / f"{place}.json"
        path.parent.mkdir()
        shutil.copy(honest, path)
        shutil.copy(honest.with_suffix(".ledger"), path.with_suffix(".ledger"))
        (told,) = verify_file(path, "tiny", registry)
        assert told.startswith(f"it lies under {place}.json, its inputs give {honest.parent.name}/{honest.name}")


def changed_vectors(data: bytes) -> bytes:
    vectors = json.loads(zlib.decompress(data))
    vectors["fc1"]["effective"][0] += 1
    return zlib.compress(json.dumps(vectors).encode())


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        (changed_vectors, "the vectors are not those of the record"),
        (lambda data: data[:-9], "the ledger's vectors are damaged"),
        (lambda _: b"", "the ledger's vectors are damaged"),
        (lambda _: zlib.compress(b"[" * 100_000), "it is not shaped like a record: RecursionError"),
        (lambda _: zlib.compress(bytes(65 * 2**20)), "the ledger's vectors are damaged: over 67,108,864 bytes"),
        (lambda _: zlib.compress(b"[]"), "the vectors are not those of the record"),
    ],
)
def test_forged_vectors_are_one_line(vectors: Callable[[bytes], bytes], told: str, forge: Forge) -> None:
    (found,) = forge(lambda _: None, vectors=vectors)
    assert found.startswith(told)


def test_vectors_and_digest_forged_alike_are_held_against_the_totals(forge: Forge, honest: Path) -> None:
    vectors = json.loads(zlib.decompress(changed_vectors(honest.with_suffix(".ledger").read_bytes())))
    (told,) = forge(lambda r: put(r, "outcome.ledger.digest", digest(vectors)), vectors=changed_vectors)
    assert told.startswith("layer fc1 of the ledger tells")


def test_missing_vectors_are_told(honest: Path, tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / honest.parent.name / honest.name
    path.parent.mkdir()
    shutil.copy(honest, path)
    assert verify_file(path, "tiny", registry) == [f"its ledger's vectors are missing: {honest.stem}.ledger"]


def test_findings_before_a_broken_field_are_kept(forge: Forge) -> None:
    def change(record: Record) -> None:
        add(record, "outcome.test.top1.hits", 1)
        put(record, "outcome.ledger.digest", "sha256:0")

    first, second = forge(change)
    assert first.startswith("top1 claims")
    assert second.startswith("the vectors are not")


def test_a_twin_that_does_not_keep_its_allocation_is_told(forge: Forge, honest: Path) -> None:
    kept = [layer["kept"] for layer in read(honest)["outcome"]["sparsity"]["layers"]]
    for asked, told in ((kept, []), ([kept[0] - 1, *kept[1:]], ["its allocation is "]), ([], [])):
        found = forge(lambda r, a=asked: r["inputs"]["pruner"]["params"].update(allocation=a), rekey=True)  # type: ignore[misc]
        assert [line[:18] for line in found] == told


def test_a_suite_tells_the_file_of_each_finding(honest: Path, tmp_path: Path, registry: Registry) -> None:
    shutil.copytree(honest.parents[3], tmp_path / "copy")
    path = tmp_path / "copy" / honest.relative_to(honest.parents[3])
    path.with_suffix(".ledger").unlink()
    bad = path.parent / "broken.json"
    bad.write_text("{")
    count, findings = verify_suite(Store(tmp_path / "copy"), "tiny", registry)
    assert count == 2
    assert [f.partition(".json: ")[0] + ".json" for f in findings] == [str(p) for p in sorted([path, bad])]


hostile = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text("ab\n=é", max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab\n", max_size=2), inner, max_size=2),
    max_leaves=4,
)


def places(node: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in items for place in [(*way, key), *places(value, (*way, key))]]


@given(data=st.data())
def test_hostile_json_never_raises_and_never_takes_two_lines(
    data: st.DataObject, honest: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    record = read(honest)
    checked = [p for p in places(record) if p[0] != "provenance"]
    for place in data.draw(st.lists(st.sampled_from(checked), min_size=1, max_size=2)):
        node: Any = record
        try:
            for part in place[:-1]:
                node = node[part]
            node[place[-1]] = data.draw(hostile)
        except (KeyError, IndexError, TypeError):
            continue
    path = tmp_path_factory.getbasetemp() / "hostile" / honest.parent.name / honest.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    shutil.copy(honest.with_suffix(".ledger"), path.with_suffix(".ledger"))
    for told in verify_file(path, "tiny", registry):
        assert told
        assert "\n" not in told
        assert len(told) <= LONGEST
    assert copy.copy(record) is not None


@given(value=hostile)
def test_a_file_of_anything_never_raises(
    value: Any, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.json"
    for told in (value, {"schema": 1, "inputs": value}, {"schema": 1, "inputs": {"suite": value}, "key": value}):
        path.write_text(json.dumps(told))
        assert verify_file(path, "tiny", registry)
