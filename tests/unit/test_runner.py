"""Plans against the store, and a runner that needs no memory but the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from synobench import hookimpl
from synobench.registry import Origin, Registry
from synobench.runner import Plan, Runner, Settings, changed_plugins, estimate, parent_path, plan
from synobench.store import Store, read_json, write_atomically
from synobench.suite import Cell, Suite, parse
from synobench.testing.records import make_record


class Done:
    """An executor that answers at once, as told."""

    def __init__(self, store: Store, answers: Mapping[str, Any] | None = None) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.closed: list[bool] = []
        self._store, self._answers = store, answers or {}

    def submit(self, job: Mapping[str, Any], notify: Callable[[dict[str, Any]], None] | None = None) -> Future[Any]:
        made = json.loads(json.dumps(dict(job)))
        self.jobs.append(made)
        assert notify is not None
        notify({"phase": "start", "done": 0, "total": 0})
        future: Future[Any] = Future()
        found = next((a for text, a in self._answers.items() if text in made["label"]), None)
        if isinstance(found, BaseException):
            future.set_exception(found)
        elif found is not None:
            future.set_result({"status": "failed", "error": dict(found)})
        else:
            notify({"phase": "train", "done": 1, "total": 2})
            future.set_result({"status": "ok", "key": made["key"], **self._stored(made)})
        return future

    def _stored(self, job: Mapping[str, Any]) -> dict[str, str]:
        if job["job"] == "parent":
            return {}
        record = {"schema": 1, "key": job["key"], "status": "ok", "inputs": job["inputs"]}
        return {"path": str(self._store.add(record))}

    def close(self, cancel: bool = False) -> None:
        self.closed.append(cancel)


class Watch:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def started(self, job: Mapping[str, Any]) -> None:
        self.told.append(("started", job["label"]))

    def event(self, job: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        self.told.append(("event", job["label"]))

    def finished(self, job: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        self.told.append((result["status"], job["label"]))

    def fewer(self, jobs: int) -> None:
        self.told.append(("fewer", str(jobs)))


@pytest.fixture
def suite(suite_text: Callable[..., str]) -> Suite:
    return parse(suite_text(pruners=["none", "magnitude", "early"], seeds=[0, 1], values=[0.5, 0.9]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "leaderboards")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path / "leaderboards", cache=tmp_path / "cache", plugins=("/p.py",), offline=True)


Go = Callable[..., tuple[Runner, Done, Watch]]


@pytest.fixture
def go(suite: Suite, tiny_registry: Registry, store: Store, settings: Settings) -> Go:
    def run(answers: Mapping[str, Any] | None = None, registry: Registry | None = None, **more: Any) -> Any:
        todo = plan(suite, tiny_registry, store, **more)
        executor, watch = Done(store, answers), Watch()
        runner = Runner(todo, executor, settings, watch, registry)
        runner.run()
        return runner, executor, watch

    return run


def store_ok(store: Store, cell: Cell) -> None:
    store.add({"schema": 1, "key": cell.key, "status": "ok", "inputs": dict(cell.inputs)})


BROKEN = {"stage": "prune", "plugin": "'x' of y", "kind": "ValueError", "message": "no", "traceback": ""}
DIED = {"stage": "worker", "plugin": None, "kind": "WorkerDied", "message": "killed", "traceback": ""}


def test_a_plan_knows_what_is_done_and_what_failed(suite: Suite, tiny_registry: Registry, store: Store) -> None:
    todo = plan(suite, tiny_registry, store)
    assert (len(todo.cells), todo.pending, todo.done, todo.skipped) == (10, todo.cells, set(), [])
    store_ok(store, todo.cells[0])
    store.fail({"schema": 1, "key": todo.cells[1].key, "inputs": dict(todo.cells[1].inputs), "status": "failed"})
    later = plan(suite, tiny_registry, store)
    assert later.done == {todo.cells[0].key}
    assert [c.key for c in later.pending] == [c.key for c in todo.cells[1:]]
    assert set(later.failures) == {todo.cells[1].key}
    again = plan(suite, tiny_registry, store, again=True)
    assert (again.done, len(again.pending)) == (set(), 10)


def test_a_failure_without_a_key_stops_no_plan(suite: Suite, tiny_registry: Registry, store: Store) -> None:
    write_atomically(store.failure_path("tiny", "0" * 64), b'{"schema": 1}')
    assert len(plan(suite, tiny_registry, store).pending) == 10


@pytest.mark.parametrize(
    ("only", "count"),
    [(["magnitude"], 4), (["seed=0"], 5), (["none", "early"], 6), (["*magnitude*seed=1"], 2), (["nothing"], 0)],
)
def test_only_keeps_labels_with_a_text_or_a_pattern(
    only: list[str], count: int, suite: Suite, tiny_registry: Registry, store: Store
) -> None:
    assert len(plan(suite, tiny_registry, store, only).cells) == count


def test_parents_come_first_and_once(go: Go) -> None:
    runner, executor, watch = go()
    parents = [j for j in executor.jobs if j["job"] == "parent"]
    assert len(parents) == 2 + 4
    assert len({j["key"] for j in parents}) == 6
    assert executor.jobs[:6] == parents
    for cell in (j for j in executor.jobs if j["job"] == "cell"):
        assert cell["parent_key"] in {p["key"] for p in parents}
    labels = {j["label"] for j in parents}
    assert "parent digits/mlp-300-150-10[widths=12]/seed=0" in labels
    assert "parent digits/mlp-300-150-10[widths=12]/early/sparsity=0.9/seed=1" in labels
    assert (runner.finished, runner.failed, executor.closed) == (10, [], [False])
    assert sum(kind == "ok" for kind, _ in watch.told) == 16


def test_a_job_is_plain_data_with_all_that_a_worker_needs(go: Go, settings: Settings) -> None:
    _, executor, _ = go(only=["magnitude/sparsity=0.5/seed=0"])
    parent, cell = executor.jobs
    for job in (parent, cell):
        assert job["root"] == str(settings.root)
        assert job["cache"] == str(settings.cache)
        assert (job["plugins"], job["offline"], job["device"], job["suite"]) == (["/p.py"], True, "cpu", "tiny")
        assert job["inputs"]["parent"]["key"] == job["parent_key"] == parent["key"]
    assert (parent["job"], cell["job"]) == ("parent", "cell")


def test_a_kept_parent_is_not_asked_for(
    go: Go, settings: Settings, suite: Suite, tiny_registry: Registry, store: Store
) -> None:
    todo = plan(suite, tiny_registry, store, ["magnitude"])
    for key in todo.parents():
        write_atomically(parent_path(settings.cache, key), b"{}")
    _, executor, _ = go(only=["magnitude"])
    assert [j["job"] for j in executor.jobs] == ["cell"] * 4


def test_what_is_done_is_not_run_again(go: Go) -> None:
    go()
    runner, executor, _ = go()
    assert (executor.jobs, runner.finished, executor.closed) == ([], 0, [False])


def test_a_failed_cell_is_told_and_the_rest_goes_on(go: Go) -> None:
    runner, executor, _ = go({"magnitude/sparsity=0.5/seed=0": BROKEN})
    assert [label.rpartition("]/")[2] for label, _ in runner.failed] == ["magnitude/sparsity=0.5/seed=0"]
    assert (runner.finished, executor.closed) == (9, [False])
    runner, executor, _ = go()
    assert [j["job"] for j in executor.jobs] == ["parent", "cell"]


def test_a_failed_parent_fails_all_that_stand_on_it_and_nothing_else(go: Go, store: Store) -> None:
    runner, executor, watch = go({"parent digits/mlp-300-150-10[widths=12]/seed=0": BROKEN})
    assert runner.finished == 7
    assert len(runner.failed) == 3
    assert all("seed=0" in label and "early" not in label for label, _ in runner.failed)
    failures = store.failures("tiny")
    assert [f["error"] for f in failures] == [BROKEN] * 3
    assert {f["key"] for f in failures}.isdisjoint({j["key"] for j in executor.jobs})
    assert sum(kind == "failed" for kind, _ in watch.told) == 4


def test_the_failure_of_an_earlier_try_is_overwritten(go: Go, store: Store) -> None:
    go({"parent": BROKEN})
    go({"parent": {**BROKEN, "message": "today"}})
    assert {f["error"]["message"] for f in store.failures("tiny")} == {"today"}
    runner, _, _ = go()
    assert (runner.failed, store.failures("tiny")) == ([], [])


def test_a_worker_that_died_leaves_a_failure_by_the_runner(go: Go, store: Store) -> None:
    runner, _, _ = go({"none/none/seed=1": DIED})
    ((label, error),) = runner.failed
    (failure,) = store.failures("tiny")
    assert "none/none/seed=1" in label
    assert failure["error"]["kind"] == error["kind"] == "WorkerDied"
    assert failure["inputs"]["seed"] == 1


def test_a_failure_that_the_engine_stored_is_left_as_it_is(
    go: Go, store: Store, suite: Suite, tiny_registry: Registry
) -> None:
    cell = next(c for c in plan(suite, tiny_registry, store).cells if "none/none/seed=1" in c.label)
    facts = {"schema": 1, "key": cell.key, "status": "failed", "inputs": dict(cell.inputs), "error": BROKEN}
    store.fail({**facts, "provenance": {"started": "now"}})
    go({"none/none/seed=1": BROKEN})
    (failure,) = store.failures("tiny")
    assert failure["provenance"] == {"started": "now"}


def test_an_interrupt_kills_what_runs(suite: Suite, tiny_registry: Registry, store: Store, settings: Settings) -> None:
    executor = Done(store, {"early/sparsity=0.9/seed=1": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        Runner(plan(suite, tiny_registry, store), executor, settings, Watch()).run()
    assert executor.closed == [True]


def test_event_hooks_are_called_for_each_cell(go: Go) -> None:
    seen: list[tuple[str, Any]] = []
    watcher = ModuleType("watcher")
    hooks: dict[str, Callable[..., Any]] = {
        "run_started": lambda job: seen.append(("started", job)),
        "run_progress": lambda event: seen.append(("progress", event["done"])),
        "run_finished": lambda record: seen.append((record["status"], record["key"])),
    }
    for name, hook in hooks.items():
        setattr(watcher, f"synobench_{name}", hookimpl(hook))
    registry = Registry(strict=True)
    registry.add(Origin("watcher", "strange", "1", "watcher"), lambda: watcher)
    answers = {"magnitude/sparsity=0.9/seed=0": DIED, "parent digits/mlp-300-150-10[widths=12]/seed=1": BROKEN}
    _, executor, _ = go(answers, registry, only=["none", "magnitude"])
    keys = {j["label"]: j["key"] for j in executor.jobs if j["job"] == "cell"}
    assert len(keys) == 3
    assert [job for kind, job in seen if kind == "started"] == [
        {"key": key, "suite": "tiny", "label": label} for label, key in keys.items()
    ]
    assert [done for kind, done in seen if kind == "progress"] == [1, 1]
    ended = [kind for kind, _ in seen if kind in ("ok", "failed")]
    assert (ended.count("ok"), ended.count("failed")) == (2, 1 + 3)


def with_cost(record: dict[str, Any], train: float, rest: float) -> dict[str, Any]:
    told = {p: {"seconds": s} for p, s in zip(("train", "prune", "tune", "judge"), (train, rest, 0, 0), strict=True)}
    return {**record, "cost": told}


def test_an_estimate_adds_cells_and_parents_that_are_not_kept(
    suite: Suite, tiny_registry: Registry, store: Store
) -> None:
    todo = plan(suite, tiny_registry, store)
    model = "mlp-300-150-10"
    records = [with_cost(make_record(model=model, seed=s), 10.0, 1.0 + s) for s in (0, 1)]
    told = estimate(todo, records, lambda _: False)
    assert told.seconds == pytest.approx(10 * 1.5 + 6 * 10.0)
    assert told.unknown == ()
    assert estimate(todo, records, lambda _: True).seconds == pytest.approx(15.0)
    assert estimate(todo, [], lambda _: False).unknown == ("digits/mlp-300-150-10",)


@pytest.mark.parametrize("broken", [{}, {"cost": None}, {"cost": {"train": {"seconds": None}}}, {"inputs": []}])
def test_a_record_without_cost_says_nothing(
    broken: dict[str, Any], suite: Suite, tiny_registry: Registry, store: Store
) -> None:
    record = {"inputs": make_record()["inputs"], **broken}
    todo = plan(suite, tiny_registry, store)
    assert estimate(todo, [record], lambda _: False).unknown == ("digits/mlp-300-150-10",)


def test_a_changed_plugin_is_pointed_out_under_its_done_records(
    go: Go, suite: Suite, tiny_registry: Registry, store: Store, tmp_path: Path
) -> None:
    from synobench.provenance import source_digest

    origin = tiny_registry.find("pruner", "magnitude").origin
    go(only=["seed=0"])
    for n, path in enumerate(store.paths("tiny")):
        record = read_json(path)
        digest = source_digest(origin.module) if n < 2 else "sha256:old"
        told = {"plugins": {"magnitude": {"digest": digest}, "gone": {"digest": "x"}}}
        write_atomically(path, json.dumps({**record, "provenance": told}).encode())
    todo: Plan = plan(suite, tiny_registry, store)
    assert changed_plugins(todo, tiny_registry, store, tmp_path / "cache") == {"magnitude": (3, 0)}
    for key in list(todo.parents())[:2]:
        facts = {"plugins": {"magnitude": {"digest": "sha256:old"}}}
        write_atomically(parent_path(tmp_path / "cache", key), json.dumps(facts).encode())
    assert changed_plugins(todo, tiny_registry, store, tmp_path / "cache") == {"magnitude": (3, 2)}
