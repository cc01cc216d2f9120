"""The registry: plugins one by one, all or nothing; a broken one is named, and the rest go on."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from synobench import ModelEntry, PrunerEntry, hookimpl, registry
from synobench.errors import BenchError
from synobench.registry import HOME, Origin, Registry

ROOT = Path(__file__).parents[2]
BUILT_IN = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["synobench"]


def pruner(name: str, **more: Any) -> PrunerEntry:
    return PrunerEntry(name, summary="for tests", **more)


def plugin(*entries: Any, **hooks: Any) -> ModuleType:
    """Return a module that registers pruners, or has the given hooks."""

    def synobench_pruners() -> Iterator[Any]:
        yield from entries

    made = ModuleType("made_up")
    for name, hook in (hooks or {"synobench_pruners": synobench_pruners}).items():
        setattr(made, name, hookimpl(hook))
    return made


def origin(name: str, distribution: str = "strange") -> Origin:
    return Origin(name, distribution, "1.0", f"{distribution}_{name}")


def empty() -> tuple[Registry, list[str]]:
    told: list[str] = []
    return Registry(warn=told.append), told


def raising(error: BaseException) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


def names(found: Registry, kind: str = "pruner") -> list[str]:
    return [f.entry.name for f in found.all(kind)]


def hooks_of(found: Registry, name: str) -> Any:
    return found._manager.get_plugin(name)


def test_the_built_in_plugins_all_load(registry: Registry) -> None:
    assert registry.failures == []
    assert {o.plugin for o in registry.origins} == set(BUILT_IN)
    assert {o.distribution for o in registry.origins} == {HOME}
    for kind in ("dataset", "model", "neuron", "rule", "pruner", "counter", "metric", "suite", "renderer", "executor"):
        assert registry.all(kind), kind


def test_plugin_folders_and_entry_points_are_one_to_one() -> None:
    folders = {p.parent.name for p in (ROOT / "plugins").glob("*/__init__.py")}
    assert folders == set(BUILT_IN.values())
    assert all(module == f"synobench_{name.replace('-', '_')}" for name, module in BUILT_IN.items())


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", sorted((ROOT / "bench").rglob("*.py")), ids=lambda p: p.stem)
def test_the_bench_never_imports_from_plugins(path: Path) -> None:
    assert not [name for name in imported(path) if name.startswith("synobench_")]


def test_no_plugin_but_home_is_named_in_the_bench() -> None:
    families = "|".join(BUILT_IN.values())
    run = re.compile(rf"[\"'](?:{families})[.:]")
    assert not [p for p in (ROOT / "bench").rglob("*.py") if run.search(p.read_text())]


@pytest.mark.parametrize(
    ("load", "stage", "told"),
    [
        (raising(ImportError("no module\nnamed x")), "load", "ImportError: no module named x"),
        (raising(SystemExit(3)), "load", "SystemExit: 3"),
        (raising(RecursionError()), "load", "RecursionError: no message"),
        (lambda: ModuleType("idle"), "load", "it implements no hook of synobench"),
        (
            lambda: plugin(synobench_pruner=lambda: []),
            "load",
            "it implements synobench_pruner, which is no hook (did you mean 'synobench_pruners'?)",
        ),
        (lambda: plugin(pruners=lambda: []), "load", "it implements pruners, which is no hook"),
        (lambda: plugin(synobench_pruners=lambda extra: [extra]), "load", "extra"),
        (lambda: plugin(synobench_pruners=lambda: 3), "collect", "TypeError"),
        (lambda: plugin(pruner("a"), 3), "collect", "synobench_pruners yielded int, not PrunerEntry"),
        (
            lambda: plugin(ModelEntry("m", summary="s")),
            "collect",
            "synobench_pruners yielded ModelEntry, not PrunerEntry",
        ),
        (lambda: plugin(pruner("a"), pruner("a")), "collect", "yielded 'a' twice"),
        (
            lambda: plugin(synobench_pruners=lambda: [pruner("a", api=99)]),
            "collect",
            "written for api 99; this bench speaks 1",
        ),
    ],
)
def test_a_broken_plugin_is_named_and_leaves_nothing(load: Callable[[], Any], stage: str, told: str) -> None:
    found, lines = empty()
    found.add(origin("good", "kind"), lambda: plugin(pruner("before")))
    found.add(origin("broken"), load)
    found.add(origin("later", "kind"), lambda: plugin(pruner("after")))
    assert names(found) == ["after", "before"]
    (failure,) = found.failures
    assert (failure.origin.plugin, failure.stage) == ("broken", stage)
    assert told in failure.message
    assert lines == [str(failure)]
    assert "\n" not in lines[0]
    for part in ("'broken' of strange 1.0", f"failed to {stage}", "upgrade or uninstall strange", "DISABLE=broken"):
        assert part in lines[0]
    assert hooks_of(found, "broken") is None
    assert hooks_of(found, "good") is not None


def test_a_hook_that_raises_in_the_middle_leaves_no_entry() -> None:
    def synobench_pruners() -> Iterator[PrunerEntry]:
        yield pruner("first")
        raise ValueError("in the middle")

    def synobench_models() -> Iterator[ModelEntry]:
        yield ModelEntry("whole", summary="registered before")

    found, lines = empty()
    found.add(origin("half"), lambda: plugin(synobench_models=synobench_models, synobench_pruners=synobench_pruners))
    assert names(found) == names(found, "model") == []
    assert "ValueError: in the middle" in lines[0]
    assert found.origins == []
    assert found.notify("synobench_run_started", job={}) == []


def test_a_clash_names_both_and_the_first_stays() -> None:
    found, lines = empty()
    found.add(origin("one", "first-dist"), lambda: plugin(pruner("same", revision=1)))
    found.add(origin("two", "second-dist"), lambda: plugin(pruner("other"), pruner("same", revision=2)))
    assert names(found) == ["same"]
    assert found.get("pruner", "same").revision == 1
    assert "'two' of second-dist 1.0" in lines[0]
    assert "pruner 'same' is already registered by plugin 'one' of first-dist 1.0" in lines[0]


def test_one_name_in_two_kinds_is_no_clash() -> None:
    found, lines = empty()
    found.add(origin("one"), lambda: plugin(pruner("same")))
    found.add(origin("two"), lambda: plugin(synobench_models=lambda: [ModelEntry("same", summary="s")]))
    assert (names(found), names(found, "model"), lines) == (["same"], ["same"], [])


def test_two_plugins_of_one_name_leave_the_first_whole() -> None:
    seen: list[str] = []
    found, lines = empty()
    first = plugin(
        synobench_pruners=lambda: [pruner("kept")], synobench_run_started=lambda job: seen.append(job["key"])
    )
    found.add(origin("twin", "first-dist"), lambda: first)
    found.add(origin("twin", "second-dist"), lambda: plugin(pruner("never")))
    found.notify("synobench_run_started", job={"key": "k"})
    assert (names(found), seen) == (["kept"], ["k"])
    assert "'twin' of second-dist 1.0" in lines[0]
    assert "'twin' of first-dist 1.0" in lines[0]


def test_strict_raises_the_line() -> None:
    found = Registry(strict=True, warn=lambda _: pytest.fail("it raises in place of warning"))
    with pytest.raises(BenchError, match=r"plugin 'broken' of strange 1\.0 failed to load: KeyError"):
        found.add(origin("broken"), raising(KeyError("x")))


def test_an_interrupt_is_nobodys_failure() -> None:
    found, lines = empty()
    with pytest.raises(KeyboardInterrupt):
        found.add(origin("slow"), raising(KeyboardInterrupt()))
    assert lines == []


def test_an_unknown_name_is_told_with_the_nearest_and_the_broken_ones() -> None:
    found, _ = empty()
    found.add(origin("one"), lambda: plugin(pruner("magnitude")))
    with pytest.raises(BenchError, match=r"^no pruner is called 'magnitud' \(did you mean 'magnitude'\?\)$"):
        found.find("pruner", "magnitud")
    found.add(origin("broken"), raising(ImportError("x")))
    with pytest.raises(BenchError, match=r"1 plugin\(s\) failed to load$"):
        found.get("pruner", "magnitud")


def test_everything_is_told_in_order_with_its_origin() -> None:
    found, _ = empty()
    found.add(origin("one"), lambda: plugin(pruner("b"), pruner("a")))
    assert [(f.entry.name, f.origin.plugin) for f in found.all("pruner")] == [("a", "one"), ("b", "one")]


@pytest.mark.parametrize("error", [ValueError("broken\nwatch"), SystemExit(1)])
def test_a_watcher_that_raises_is_told_of_and_the_others_are_called(error: BaseException) -> None:
    seen: list[Any] = []

    def broken(job: Any) -> None:
        raise error

    found, lines = empty()
    found.add(origin("one"), lambda: plugin(synobench_run_started=lambda job: seen.append(job) or None))
    found.add(origin("bad"), lambda: plugin(synobench_run_started=broken))
    found.add(origin("two"), lambda: plugin(synobench_run_started=lambda job: seen.append(job) or "told"))
    results = found.notify("synobench_run_started", job={"key": 1})
    assert seen == [{"key": 1}] * 2
    assert ("two", "told") in results
    assert len(lines) == 1
    assert "'bad' failed in synobench_run_started" in lines[0]
    assert "\n" not in lines[0]


def test_a_watcher_may_take_fewer_arguments_than_the_hook_gives() -> None:
    found, lines = empty()
    found.add(origin("few"), lambda: plugin(synobench_run_progress=lambda event: event["done"]))
    assert found.notify("synobench_run_progress", job={}, event={"done": 3}) == [("few", 3)]
    assert lines == []


class FakeEntryPoint(SimpleNamespace):
    """An installed entry point of a distribution that is not there."""

    def load(self) -> Any:
        return self.loaded()


def installed(name: str, distribution: str | None, load: Callable[[], Any], value: str = "some_module") -> Any:
    dist = None if distribution is None else SimpleNamespace(metadata={"Name": distribution or None}, version="2.0")
    return FakeEntryPoint(name=name, value=value, dist=dist, loaded=load)


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(*points: Any) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: list(points))

    monkeypatch.delenv("SYNOBENCH_DISABLE", raising=False)
    return put


def test_built_in_ones_load_first_and_strangers_may_be_left_out(entry_points: Callable[..., None]) -> None:
    calls: list[str] = []

    def load(name: str) -> Callable[[], Any]:
        return lambda: calls.append(name) or plugin(pruner(name))

    entry_points(
        installed("z", "aardvark", load("z")), installed("b", HOME, load("b")), installed("a", HOME, load("a"))
    )
    assert [o.plugin for o in registry.load().origins] == calls == ["a", "b", "z"]
    calls.clear()
    assert [o.plugin for o in registry.load(strangers=False).origins] == calls == ["a", "b"]


def test_broken_strangers_leave_the_rest(entry_points: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    entry_points(
        installed("a", HOME, lambda: plugin(pruner("kept"))),
        installed("malformed", "strange", raising(AttributeError("no match")), value="my-plugin : x y"),
        installed("nameless", "", lambda: plugin(pruner("fine"))),
        installed("homeless", None, raising(ImportError("gone"))),
    )
    found = registry.load()
    assert names(found) == ["fine", "kept"]
    assert {f.origin.plugin for f in found.failures} == {"malformed", "homeless"}
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_an_entry_point_found_twice_on_the_path_is_one(entry_points: Callable[..., None]) -> None:
    once = installed("a", HOME, lambda: plugin(pruner("kept")))
    entry_points(once, installed("a", HOME, raising(ImportError("the same, shadowed"))))
    assert registry.load(strict=True).failures == []


def test_disabled_plugins_are_not_imported(
    entry_points: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local = tmp_path / "mine.py"
    local.write_text("raise SystemExit")
    entry_points(installed("bad", "strange", raising(ImportError("x"))), installed("worse", HOME, raising(OSError())))
    monkeypatch.setenv("SYNOBENCH_DISABLE", "bad, worse,mine")
    assert registry.load([local], strict=True).origins == []


GOOD = """
from synobench import PrunerEntry, hookimpl
@hookimpl
def synobench_pruners():
    yield PrunerEntry("local", summary="from a file")
"""


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Return what writes a plugin file; no module of it stays behind."""
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_local_file_is_a_plugin(entry_points: Callable[..., None], local: Callable[[str, str], Path]) -> None:
    entry_points()
    path = local("a_local_file.py", GOOD)
    for _ in range(2):  # the second time its module is known already
        found = registry.load([path], strict=True)
        assert [str(f.origin) for f in found.all("pruner")] == ["'a_local_file' of local file"]


@pytest.mark.parametrize("name", ["absent.py", "."])
def test_a_local_file_that_is_not_there_is_told(name: str, tmp_path: Path, entry_points: Callable[..., None]) -> None:
    entry_points()
    with pytest.raises(BenchError, match=r"^plugin file .* does not exist$"):
        registry.load([tmp_path / name])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("broken_one.py", "raise ValueError('at import')", "ValueError: at import"),
        ("broken_two.py", "def f(:", "SyntaxError"),
        ("broken_three.py", "import sys; sys.exit('bye')", "SystemExit: bye"),
        ("plugin.txt", GOOD, "is not a Python file"),
        ("random.py", GOOD, "another module is called random: rename the file"),
    ],
)
def test_a_broken_local_file_is_named_with_its_remedy(
    name: str,
    text: str,
    told: str,
    local: Callable[[str, str], Path],
    entry_points: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    import random

    entry_points()
    path = local(name, text)
    found = registry.load([path])
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert f"mend {path}, or set SYNOBENCH_DISABLE={path.stem}" in line
    assert found.all("pruner") == []
    assert sys.modules["random"] is random
    assert path.stem == "random" or path.stem not in sys.modules


BARRED = """
import sys

class Bar:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "snntorch", "spikingjelly"}:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Bar())
"""

LOOKING = """
import contextlib, io, sys
from pathlib import Path
import synobench
from synobench import registry, boards
from synobench.runner import changed_plugins, estimate, plan
from synobench.store import Store
from synobench.suite import cells, parse
from synobench.testing.records import make_records
from synobench.verify import verify_suite

found = registry.load(strict=True, strangers=False)
assert not found.failures
for suite in found.all("suite"):
    assert cells(parse(suite.entry.load()()), found)[0]
root = Path(sys.argv[1])
store = Store(root)
for record in make_records({"magnitude": [180, 170]}, targets=(0.5, 0.9)):
    store.add(record)
demo = parse(Path(sys.argv[2]).read_text())
todo = plan(demo, found, store)
changed_plugins(todo, found, store, root / 'cache')
assert estimate(todo, store.records("demo"), lambda key: False).unknown == ("digits/mlp-300-150-10",)
assert verify_suite(store, "demo", found)[0] == 15
built = boards.build(demo, found, root)
assert built.networks
with contextlib.redirect_stdout(io.StringIO()):
    assert boards.write(built, found, root, root / "site")
    assert boards.check.__name__
heavy = {"torch", "snntorch", "spikingjelly", "sklearn"} & set(sys.modules)
print("heavy:", sorted(heavy))
"""


@pytest.mark.parametrize("barred", [True, False])
def test_looking_needs_no_torch(barred: bool, tmp_path: Path, suite_text: Callable[..., str]) -> None:
    """Load, plan, verify, build and render, with torch unimportable and without anybody importing it."""
    suite = tmp_path / "demo.toml"
    suite.write_text(suite_text().replace('"tiny"', '"demo"'))
    code = (BARRED if barred else "") + LOOKING
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "leaderboards"), str(suite)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_the_bar_bars() -> None:
    done = subprocess.run([sys.executable, "-c", BARRED + "import torch"], capture_output=True, text=True, check=False)
    assert "torch must not be imported" in done.stderr
