"""Twins: who has some, what they are, and that they are planned and run once their host is judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from synobench import registry as registries
from synobench.errors import BenchError
from synobench.registry import Registry
from synobench.runner import Plan, Runner, Settings, estimate, plan
from synobench.store import Store, read_json, write_atomically
from synobench.suite import Cell, Suite, cells, parse
from synobench.testing.records import make_record
from synobench.twins import KINDS, MARK, Twins, allocation_of, kept_counts

ON = "twins = true"
Kept = Callable[[str], list[int]]
LAYERS = ("conv1.weight", "fc.weight")


class Judge:
    """An executor that stores a record for each cell at once: `kept` says what its tensors keep, by label."""

    def __init__(self, store: Store, kept: Kept, failing: str = "nothing") -> None:
        self.jobs: list[dict[str, Any]] = []
        self._store, self._kept, self._failing = store, kept, failing
        self.most = 10**9

    def submit(self, job: Mapping[str, Any], notify: Callable[[dict[str, Any]], None] | None = None) -> Future[Any]:
        made = json.loads(json.dumps(dict(job)))
        future: Future[Any] = Future()
        if len(self.jobs) >= self.most:
            raise KeyboardInterrupt
        self.jobs.append(made)
        if self._failing in made["label"]:
            told = {"stage": "prune", "plugin": None, "kind": "ValueError", "message": "no", "traceback": ""}
            future.set_result({"status": "failed", "error": told})
            return future
        path = "" if made["job"] == "parent" else str(self._store.add(judged(made, self._kept(made["label"]))))
        future.set_result({"status": "ok", "key": made["key"], "path": path})
        return future

    def close(self, cancel: bool = False) -> None:
        """Nothing runs."""

    @property
    def cells(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs if job["job"] == "cell"]

    @property
    def twins(self) -> list[dict[str, Any]]:
        return [job for job in self.cells if MARK in job["label"]]


class Count:
    """A watcher that keeps the number of jobs still expected."""

    def __init__(self, todo: Plan) -> None:
        self.left = len(todo.pending) + len(todo.parents()) + sum(map(todo.coming, todo.pending))

    def started(self, job: Mapping[str, Any]) -> None:
        """Nothing to see."""

    def event(self, job: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Nothing to see."""

    def finished(self, job: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        self.left -= 1

    def fewer(self, jobs: int) -> None:
        assert jobs > 0
        self.left -= jobs


def judged(job: Mapping[str, Any], kept: list[int]) -> dict[str, Any]:
    # A weight that its mask keeps may be zero: what is kept counts.
    layers = [{"name": n, "total": 100, "kept": k, "nonzero": k - 1} for n, k in zip(LAYERS, kept, strict=True)]
    outcome = {"sparsity": {"layers": layers}}
    return {"schema": 1, "key": job["key"], "status": "ok", "inputs": job["inputs"], "outcome": outcome}


def by_pruner(label: str) -> list[int]:
    """Return counts that differ by pruner; those of a twin do not matter."""
    return [40, 10] if "scope=layer" in label else [30, 20]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "leaderboards")


@pytest.fixture
def suite(suite_text: Callable[..., str]) -> Suite:
    return parse(ON + suite_text(pruners=["none", "magnitude", "magnitude[scope=layer]"]))


Go = Callable[..., tuple[Judge, Plan]]


@pytest.fixture
def go(suite: Suite, tiny_registry: Registry, store: Store, tmp_path: Path) -> Go:
    def run(kept: Kept = by_pruner, failing: str = "nothing", most: int = 10**9, **more: Any) -> tuple[Judge, Plan]:
        todo = plan(more.pop("suite", suite), more.pop("registry", tiny_registry), store, **more)
        executor, count = Judge(store, kept, failing), Count(todo)
        executor.most = most
        settings = Settings(root=store.root, cache=tmp_path / "cache")
        Runner(todo, executor, settings, count).run()
        assert count.left == 0
        return executor, todo

    return run


def keys(todo: Plan) -> dict[str, str]:
    return {cell.label: cell.key for cell in todo.cells}


def test_twins_come_once_their_host_is_judged(go: Go, store: Store) -> None:
    executor, todo = go()
    hosts = [job for job in executor.cells if MARK not in job["label"]]
    assert (len(hosts), len(executor.twins), len(todo.pending)) == (3, 4, 7)
    for job in executor.twins:
        (host,) = [h for h in hosts if h["label"] == job["label"].rpartition(MARK)[0]]
        assert executor.jobs.index(host) < executor.jobs.index(job)
        pruner = job["inputs"]["pruner"]
        assert pruner["name"] == job["label"].rpartition("=")[2]
        assert pruner["params"]["allocation"] == kept_counts(read_json(store.record_path("tiny", host["key"])))
        apart = {role for role in job["inputs"] if job["inputs"][role] != host["inputs"][role]}
        assert apart - {"pruner"} == set()
        assert (job["parent"], job["parent_key"]) == (host["parent"], host["parent_key"])
    assert {job["label"].rpartition(MARK)[2] for job in executor.twins} == set(KINDS)


def test_a_finished_suite_is_finished(go: Go) -> None:
    _, before = go()
    again, after = go()
    assert (again.jobs, after.pending, keys(after)) == ([], [], keys(before))
    assert sum(map(after.coming, after.cells)) == 0


def test_an_allocation_that_hosts_share_is_run_once(go: Go, store: Store) -> None:
    executor, _ = go(lambda _: [25, 25])
    assert len(executor.twins) == 2
    assert len(store.paths("tiny")) == 5
    executor, todo = go(lambda _: [25, 25])
    assert (executor.jobs, len(todo.cells)) == ([], 5)


def test_a_twin_that_another_host_brought_before_is_not_run_again(go: Go) -> None:
    assert len(go(lambda _: [25, 25], only=["magnitude/sparsity"])[0].twins) == 2
    executor, todo = go(lambda _: [25, 25], only=["scope=layer"])
    assert (len(executor.cells), executor.twins) == (1, [])
    assert (len(todo.cells), len(todo.done)) == (3, 2)


@pytest.mark.parametrize("most", range(2, 8))
def test_a_run_cut_anywhere_goes_on(most: int, go: Go, store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(most=most)
    left = len(store.paths("tiny"))
    executor, _ = go()
    assert len(executor.cells) == 7 - left
    assert len(store.paths("tiny")) == 7
    assert go()[0].jobs == []


def test_a_plan_tells_known_twins_and_how_many_come(
    go: Go, suite: Suite, tiny_registry: Registry, store: Store
) -> None:
    todo = plan(suite, tiny_registry, store)
    assert (len(todo.cells), sum(map(todo.coming, todo.pending))) == (3, 4)
    records = [{**make_record(model="mlp-300-150-10"), "cost": {p: {"seconds": 1.0} for p in PHASES}}]
    assert estimate(todo, records, lambda _: True).seconds == pytest.approx(3.0 * 7)
    host = next(cell for cell in todo.cells if "scope=layer" in cell.label)
    store.add(judged({"key": host.key, "inputs": dict(host.inputs)}, [40, 10]))
    later = plan(suite, tiny_registry, store)
    assert [cell.label for cell in later.pending] == [
        *(cell.label for cell in todo.cells if cell is not host),
        *(f"{host.label}{MARK}{kind}" for kind in KINDS),
    ]
    assert sum(map(later.coming, later.pending)) == 2


PHASES = ("train", "prune", "tune", "judge")


def test_only_takes_twins_with_their_hosts_and_by_their_own_name(go: Go) -> None:
    executor, _ = go(only=["scope=layer"])
    assert [job["label"].rpartition("/")[2] for job in executor.cells] == ["seed=0", "twin=magnitude", "twin=random"]
    executor, _ = go(only=["magnitude/sparsity"], failing="twin=magnitude")
    assert len(executor.twins) == 2
    executor, todo = go(only=["twin=magnitude"])
    assert [job["label"].rpartition("/")[2] for job in executor.cells] == ["twin=magnitude"]
    assert [cell.label.rpartition("/")[2] for cell in todo.cells] == ["twin=magnitude"] * 2
    assert go(only=["*seed=0/twin=*"])[1].pending == []
    assert go(only=["=random"])[1].cells == []


def test_again_runs_twins_of_the_first_result_once_more(go: Go, store: Store) -> None:
    go()
    executor, todo = go(lambda _: [1, 49], again=True)
    assert len(executor.cells) == len(todo.cells) == 7
    assert {tuple(job["inputs"]["pruner"]["params"]["allocation"]) for job in executor.twins} == {(30, 20), (40, 10)}
    assert len(store.paths("tiny")) == 7
    assert len(list((store.root / "replays" / "tiny").glob("*.json"))) == 7


def test_a_host_that_fails_brings_no_twins_and_a_twin_that_fails_is_tried_again(go: Go) -> None:
    executor, _ = go(failing="scope=layer]/sparsity=0.5/seed=0")
    assert len(executor.twins) == 2
    executor, _ = go(failing="twin=random")
    assert len(executor.twins) == 2
    executor, _ = go()
    assert [job["label"].rpartition("/")[2] for job in executor.cells] == ["twin=random"]


def test_a_failed_parent_takes_its_twins_along(go: Go) -> None:
    executor, _ = go(failing="parent")
    assert (len(executor.jobs), executor.cells) == (1, [])


def test_a_twin_that_the_suite_lists_itself_is_run_once(go: Go, suite_text: Callable[..., str]) -> None:
    listed = parse(ON + suite_text(pruners=["magnitude", "random[allocation=30/20]"]))
    executor, todo = go(suite=listed)
    assert len(executor.cells) == len(todo.cells) == 3
    executor, todo = go(suite=listed)
    assert (executor.cells, len(todo.cells)) == ([], 3)


def test_a_new_seed_or_pruner_changes_no_twin(go: Go, suite_text: Callable[..., str]) -> None:
    _, before = go()
    wide = parse(ON + suite_text(pruners=["random", "magnitude", "magnitude[scope=layer]", "none"], seeds=[1, 0]))
    _, after = go(suite=wide)
    assert keys(before).items() <= keys(after).items()


def made(suite: Suite, registry: Registry, store: Store) -> tuple[list[Cell], Twins]:
    found = cells(suite, registry)[0]
    return found, Twins(found, registry, store)


def test_the_default_is_off_and_a_network_decides_for_itself(
    tiny_registry: Registry, store: Store, suite_text: Callable[..., str]
) -> None:
    off, other = suite_text(), suite_text(batch=64)
    network = other[other.index("[[networks]]") :]
    for top, own, expected in (("", "", 0), (ON, "", 4), (ON, "twins = false", 2), ("", ON, 2)):
        found, twins = made(parse(f"{top}\n{off}\n{network}\n{own}"), tiny_registry, store)
        assert sum(map(twins.expected, found)) == expected
        assert twins.skipped == []
        assert [c.key for c in found] == [c.key for c in cells(parse(f"{off}\n{network}"), tiny_registry)[0]]
        assert [c.label for c in found] == [c.label for c in cells(parse(f"{off}\n{network}"), tiny_registry)[0]]


@pytest.mark.parametrize("told", ['"yes"', "1", "[]"])
@pytest.mark.parametrize("where", ["the suite", "networks of the suite"])
def test_twins_are_true_or_false(told: str, where: str, suite_text: Callable[..., str]) -> None:
    line = f"twins = {told}\n"
    text = line + suite_text() if where == "the suite" else suite_text(more=line)
    with pytest.raises(BenchError, match=f"^{where} needs 'twins' as true or false, not "):
        parse(text)


def test_who_cannot_have_twins(tiny_registry: Registry, store: Store, suite_text: Callable[..., str]) -> None:
    text = suite_text(pruners=["none", "magnitude[allocation=30/20]", "magnitude-threshold", "early", "adjusting"])
    found, twins = made(parse(ON + text), tiny_registry, store)
    assert sum(map(twins.expected, found)) == 0
    told = [(skip.label.rpartition("/")[2], skip.reason) for skip in twins.skipped]
    why = "it acts before or in training, and twins stand on a parent that no pruner had a hand in"
    assert told == [("early", why), ("adjusting", why)]
    other = parse(ON + suite_text(target="parameters"))
    assert sum(map(made(other, tiny_registry, store)[1].expected, cells(other, tiny_registry)[0])) == 0


STRANGER = """
from dataclasses import dataclass
from synobench import PrunerEntry, hookimpl

@dataclass(frozen=True)
class Halves:
    def prune(self, bench):
        raise NotImplementedError

@hookimpl
def synobench_pruners():
    yield PrunerEntry("halves", summary="half of it", params=Halves, granularity="{granularity}", revision=7)
    {more}
"""


def strange(folder: Path, granularity: str = "weight", more: str = "") -> Registry:
    """Return a registry with a pruner of its own; without the built-in ones where SYNOBENCH_DISABLE says so."""
    file = folder / f"strange_{granularity}_{len(more)}.py"
    file.write_text(STRANGER.format(granularity=granularity, more=more))
    return registries.load([file], strict=True, strangers=False)


def test_channels_have_no_twins_of_weights(tmp_path: Path, suite_text: Callable[..., str], store: Store) -> None:
    found, twins = made(parse(ON + suite_text(pruners=["halves"])), strange(tmp_path, "channel"), store)
    assert sum(map(twins.expected, found)) == 0
    assert [skip.reason for skip in twins.skipped] == ["it prunes channels, and twins prune weights"]


def test_a_twin_has_the_revision_of_its_own_pruner(go: Go, tmp_path: Path, suite_text: Callable[..., str]) -> None:
    executor, _ = go(suite=parse(ON + suite_text(pruners=["halves"])), registry=strange(tmp_path, "weight", "pass"))
    assert [job["inputs"]["revisions"]["pruner"] for job in executor.cells] == [7, 1, 1]


def test_twins_that_nobody_can_make_are_skipped_with_the_reason(
    go: Go, tmp_path: Path, suite_text: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNOBENCH_DISABLE", "magnitude")
    registry = strange(tmp_path, more='yield PrunerEntry("random", summary="takes nothing", params=Halves)')
    executor, todo = go(suite=parse(ON + suite_text(pruners=["halves"])), registry=registry)
    assert len(executor.cells) == 1
    assert [skip.label for skip in todo.skipped] == ["twins by magnitude", "twins by random"]
    absent, other = (skip.reason for skip in todo.skipped)
    assert absent.startswith("no pruner is called 'magnitude'")
    assert other.startswith("pruner random has no parameter 'allocation'")


def test_a_record_that_tells_no_counts_is_named(go: Go, suite: Suite, tiny_registry: Registry, store: Store) -> None:
    go()
    host = next(cell for cell in plan(suite, tiny_registry, store).cells if "scope=layer" in cell.label)
    path = store.record_path("tiny", host.key)
    write_atomically(path, json.dumps({**read_json(path), "outcome": {}}).encode())
    with pytest.raises(BenchError, match=f"^record {host.key} does not tell what each of its tensors keeps$"):
        plan(suite, tiny_registry, store)


@pytest.mark.parametrize(
    ("pruner", "told"),
    [
        ({"name": "magnitude", "params": {"allocation": [1, 2]}}, [1, 2]),
        ({"name": "random", "params": {"allocation": []}}, []),
        ({"name": "random", "params": {}}, []),
        ({"name": "random"}, []),
        ({"name": "other", "params": {"allocation": [1]}}, []),
        ({"name": "random", "params": {"allocation": "1/2"}}, []),
    ],
)
def test_only_the_two_kinds_with_an_allocation_are_twins(pruner: dict[str, Any], told: list[int]) -> None:
    assert allocation_of(pruner) == told
