"""What each verb does. Each imports what it needs when it runs, so that looking costs little."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synobench import registry as registries
from synobench.entries import KINDS, Entry
from synobench.errors import BenchError, nearest
from synobench.params import NoParams, parse_spec, resolve, schema
from synobench.registry import Registered, Registry
from synobench.store import Store
from synobench.suite import Suite, parse

if TYPE_CHECKING:
    from synobench.runner import Plan, Settings


def find_suite(name: str, registry: Registry) -> Suite:
    """Return a suite by its registered name, or read from a TOML file.

    Raises:
        BenchError: there is none, or it is not well formed.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BenchError(f"suite file {name} does not exist")
        return parse(path.read_text(encoding="utf-8"), name)
    entry: Entry = registry.get("suite", name)
    return parse(entry.load()(), f"suite {name}")


def _load(arguments: Namespace, *, strangers: bool = True) -> Registry:
    return registries.load(arguments.plugin, strict=arguments.strict, strangers=strangers)


def _planned(arguments: Namespace, registry: Registry) -> Plan:
    from synobench.runner import plan

    suite = find_suite(arguments.suite, registry)
    suite = replace(suite, pruners=tuple(dict.fromkeys((*suite.pruners, *arguments.pruner))))
    made = plan(
        suite, registry, Store(arguments.leaderboards), arguments.only, again=getattr(arguments, "again", False)
    )
    if not made.cells:
        raise BenchError(f"no cell of suite {suite.name} has {' or '.join(arguments.only)} in its label")
    return made


def run(arguments: Namespace) -> int:
    """Run what is pending, then build the board and show it."""
    registry = _load(arguments)
    todo = _planned(arguments, registry)
    settings = _settings(arguments)
    if not arguments.again:
        _tell_changes(todo, registry, settings)
    failed = _execute(todo, registry, settings, arguments.executor) if todo.pending else []
    for label, error in failed:
        blamed = f" in plugin {error['plugin']}" if error.get("plugin") else ""
        print(f"synobench: failed: {label}: {error['stage']}{blamed}: {error['message']}", file=sys.stderr)
    from synobench import boards
    from synobench.boardtext import board_text

    built = boards.build(todo.suite, registry, arguments.leaderboards)
    print(board_text(built))
    for line in boards.write(built, registry, arguments.leaderboards, arguments.site):
        print(line)
    return 1 if failed else 0


def _settings(arguments: Namespace) -> Settings:
    from synobench.runner import Settings

    if arguments.device != "cpu" and not arguments.device.startswith("cuda"):
        raise BenchError(
            f"--device {arguments.device} is not cpu or cuda:N{nearest(arguments.device, ['cpu', 'cuda:0'])}"
        )
    cache = arguments.cache
    if arguments.again:
        import shutil

        cache = cache / "again"
        shutil.rmtree(cache, ignore_errors=True)
    files = tuple(str(Path(p).absolute()) for p in arguments.plugin)
    return Settings(
        root=arguments.leaderboards,
        cache=cache,
        data=str(Path(arguments.data).absolute()) if arguments.data else None,
        device=arguments.device,
        plugins=files,
        strict=arguments.strict,
        offline=arguments.offline,
        again=arguments.again,
    )


def _execute(todo: Plan, registry: Registry, settings: Settings, spec: str) -> list[tuple[str, dict[str, Any]]]:
    from synobench.progress import Progress
    from synobench.runner import Runner
    from synobench.worker import worker_command

    name, overrides = parse_spec(spec)
    entry = registry.get("executor", name)
    params = resolve(entry.params, overrides, f"executor {name}")
    executor = entry.load()(params, worker_command(settings.plugins, settings.strict))
    parents = todo.parents()
    missing = sum(not (settings.cache / "parents" / k[:2] / k / "parent.json").exists() for k in parents)
    with Progress(len(todo.pending) + missing) as progress:
        runner = Runner(todo, executor, settings, progress, registry)
        runner.run()
    return runner.failed


def _tell_changes(todo: Plan, registry: Registry, settings: Settings) -> None:
    from synobench.runner import changed_plugins

    for plugin, count in changed_plugins(todo, registry, Store(settings.root)).items():
        line = f"plugin {plugin!r} changed since {count} records were made, under the same revision"
        print(f"synobench: {line}; --again runs them once more", file=sys.stderr)


def plan(arguments: Namespace) -> int:
    """Show what of a suite is done and what is pending."""
    from synobench.runner import estimate

    todo = _planned(arguments, _load(arguments))
    store = Store(arguments.leaderboards)

    def cached(key: str) -> bool:
        return bool((arguments.cache / "parents" / key[:2] / key / "parent.json").exists())

    known = estimate(todo, store.records(todo.suite.name), cached)
    states = {c.label: _state(c.key, todo) for c in todo.cells}
    if arguments.json:
        facts = {"cells": states, "seconds": known.seconds, "unknown": known.unknown}
        print(json.dumps(facts, indent=1, sort_keys=True))
        return 0
    for label, state in states.items():
        print(f"{state:8} {label}")
    for skip in todo.skipped:
        print(f"{'skipped':8} {skip.label}: {skip.reason}")
    counts = [f"{n} {s}" for s in ("done", "pending", "failed") if (n := list(states.values()).count(s))]
    print(
        f"{todo.suite.name} {todo.suite.version}: {', '.join(counts)}; {_duration(known.seconds, known.unknown, todo)}"
    )
    return 0


def _state(key: str, todo: Plan) -> str:
    if key in todo.done:
        return "done"
    return "failed" if key in todo.failures else "pending"


def _duration(seconds: float, unknown: tuple[str, ...], todo: Plan) -> str:
    if not todo.pending:
        return "nothing to run"
    told = [f"about {seconds / 60:.1f} minutes on one slot, by the records of these networks"] if seconds else []
    told += [f"no record tells how long {', '.join(unknown)} takes"] if unknown else []
    return "; ".join(told)


def board(arguments: Namespace) -> int:
    """Build boards, or check the committed ones."""
    from synobench import boards
    from synobench.boardtext import board_text

    registry = _load(arguments, strangers=bool(arguments.more))
    store = Store(arguments.leaderboards)
    names = arguments.suite or store.suites()
    if arguments.check:
        return boards.check(names, registry, arguments.leaderboards)
    if not names:
        raise BenchError(f"no records lie below {arguments.leaderboards}; 'synobench run quickstart' makes some")
    for name in names:
        built = boards.build(find_suite(name, registry), registry, arguments.leaderboards, arguments.more)
        print(board_text(built))
        if not arguments.more:
            for line in boards.write(built, registry, arguments.leaderboards, arguments.site):
                print(line)
    return 0


def plugins(arguments: Namespace) -> int:
    """List plugins and entries, or show one."""
    registry = _load(arguments)
    if arguments.action == "show":
        return _show(arguments, registry)
    if arguments.json:
        print(json.dumps(_listing(registry), indent=1, sort_keys=True))
        return 0
    for kind in KINDS:
        for found in registry.all(kind):
            print(f"{kind:9} {found.entry.name:22} {found.origin.distribution:12} {found.entry.summary}")
    for failure in registry.failures:
        origin = failure.origin
        print(f"{'failed':9} {origin.plugin:22} {origin.distribution:12} at {failure.stage}: {failure.message}")
    return 0


def _listing(registry: Registry) -> dict[str, Any]:
    entries = [_card(found) for kind in KINDS for found in registry.all(kind)]
    failures = [
        {**vars(f.origin), "stage": f.stage, "message": f.message, "remedy": f.remedy} for f in registry.failures
    ]
    return {"entries": entries, "failures": failures}


def _card(found: Registered) -> dict[str, Any]:
    entry = found.entry
    plain = {k: v for k, v in vars(entry).items() if k not in ("run", "params")}
    made = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in plain.items()}
    card = {"kind": entry.kind, **made, "plugin": vars(found.origin)}
    if entry.params is not NoParams:
        card["params"] = schema(entry.params)
    return json.loads(json.dumps(card, default=str))  # type: ignore[no-any-return]


def _show(arguments: Namespace, registry: Registry) -> int:
    kind, _, name = arguments.name.rpartition("/")
    matches = [f for k in KINDS for f in registry.all(k) if f.entry.name == name and kind in ("", k)]
    if not matches:
        known = [f.entry.name for k in KINDS for f in registry.all(k)]
        raise BenchError(f"no entry is called {arguments.name!r}{nearest(name, known)}")
    cards = [_card(found) for found in matches]
    if arguments.json:
        print(json.dumps(cards, indent=1, sort_keys=True))
        return 0
    print("\n\n".join(_shown(card) for card in cards))
    return 0


def _shown(card: Mapping[str, Any]) -> str:
    origin = card["plugin"]
    lines = [
        f"{card['kind']} {card['name']}: {card['summary']}",
        f"  plugin {origin['plugin']} of {origin['distribution']} {origin['version']}".rstrip(),
    ]
    known = ("kind", "name", "summary", "plugin", "params")
    lines += [
        f"  {key}: {_told(value)}" for key, value in card.items() if key not in known and value not in ("", None, [])
    ]
    for name, facts in card.get("params", {}).get("properties", {}).items():
        bounds = [f"{facts['minimum']} or more"] if "minimum" in facts else []
        bounds += [f"{facts['maximum']} or less"] if "maximum" in facts else []
        bounds += ["one of " + ", ".join(map(str, facts["enum"]))] if "enum" in facts else []
        default = f"= {_told(facts['default'])}" if "default" in facts else "(required)"
        lines.append(f"  [{name}] {default}  {facts['description']}{'; ' if bounds else ''}{', '.join(bounds)}")
    return "\n".join(lines)


def _told(value: Any) -> str:
    return ", ".join(map(_told, value)) if isinstance(value, list) else str(value)


def data(arguments: Namespace) -> int:
    """List data sets, or fetch some."""
    from synobench.layouts import data_folder, describe

    registry = _load(arguments)
    folder = data_folder(arguments.data)
    if arguments.action == "list":
        print(f"data below {folder}")
        for found in registry.all("dataset"):
            print(f"{found.entry.name:16} {describe(found.entry, folder)}")  # type: ignore[arg-type]
        return 0
    from synobench.fetch import fetch

    for name in arguments.name:
        fetch(registry.get("dataset", name), folder, offline=arguments.offline)
    return 0


def verify(arguments: Namespace) -> int:
    """Check stored records and print one line a finding."""
    from synobench.verify import verify_suite

    registry = _load(arguments, strangers=False)
    store = Store(arguments.leaderboards)
    findings, checked = [], 0
    for name in arguments.suite or store.suites():
        seen, found = verify_suite(store, name, registry)
        checked += seen
        findings += found
    for finding in findings:
        print(finding)
    print(f"{checked} records checked, {len(findings)} findings")
    return 1 if findings else 0


VERBS: dict[str, Callable[[Namespace], int]] = {
    "run": run,
    "plan": plan,
    "board": board,
    "plugins": plugins,
    "data": data,
    "verify": verify,
}
"""Each verb by name."""
