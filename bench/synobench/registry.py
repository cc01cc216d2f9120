"""Plugins: loaded and collected one by one, all or nothing, so that a broken one is named and the rest go on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from synobench import hookspecs
from synobench.entries import KINDS, Entry
from synobench.errors import BenchError, ContractError, nearest
from synobench.hookspecs import PROJECT

REGISTER_HOOKS = {kind: f"{PROJECT}_{kind}s" for kind in KINDS}
HOME = "synobench"
"""The distribution that carries the built-in plugins."""


@dataclass(frozen=True)
class Origin:
    """Where a plugin came from: its name, distribution and version, and the module that it is."""

    plugin: str
    distribution: str
    version: str
    module: str

    def __str__(self) -> str:
        return f"{self.plugin!r} of {self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be used: at which stage, why, and what would mend it."""

    origin: Origin
    stage: str
    message: str

    @property
    def remedy(self) -> str:
        """What the user can do about it."""
        name, where = self.origin.plugin, self.origin.distribution
        mend = f"mend {self.origin.module}" if where == "local file" else f"upgrade or uninstall {where}"
        return f"{mend}, or set SYNOBENCH_DISABLE={name}"

    def __str__(self) -> str:
        return f"plugin {self.origin} failed to {self.stage}: {self.message}; {self.remedy}"


@dataclass(frozen=True)
class Registered:
    """An entry with the plugin that it came from."""

    entry: Entry
    origin: Origin


@dataclass
class Registry:
    """Everything that the loaded plugins registered.

    Args:
        strict: raise at the first broken plugin in place of naming it and going on.
        warn: told each failure in one line.
    """

    strict: bool = False
    warn: Callable[[str], None] = lambda line: print(f"{PROJECT}: {line}", file=sys.stderr)
    failures: list[Failure] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._entries: dict[str, dict[str, Registered]] = {kind: {} for kind in KINDS}

    def add(self, origin: Origin, load: Callable[[], Any]) -> None:
        """Load and collect one plugin, all or nothing.

        Raises:
            BenchError: it is broken and the registry is strict.
        """
        stage, plugin = "load", None
        try:
            self._refuse_known_name(origin)
            plugin = load()
            self._manager.register(plugin, name=origin.plugin)
            self._refuse_unknown_hooks(plugin)
            if not self._manager.get_hookcallers(plugin):
                raise ContractError("it implements no hook of synobench; mark its functions with @hookimpl")
            stage = "collect"
            for found in list(self._collect(plugin, origin)):
                self._entries[found.entry.kind][found.entry.name] = found
            self.origins.append(origin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything
            if plugin is not None and self._manager.get_plugin(origin.plugin) is plugin:
                self._manager.unregister(name=origin.plugin)
            self._fail(Failure(origin, stage, f"{type(error).__name__}: {_line(error)}"))

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        if self.strict:
            raise BenchError(str(failure))
        self.warn(str(failure))

    def _refuse_known_name(self, origin: Origin) -> None:
        for other in self.origins:
            if other.plugin == origin.plugin:
                raise ContractError(f"a plugin of this name is loaded already: {other}")

    def _refuse_unknown_hooks(self, plugin: Any) -> None:
        known = [n for n in dir(hookspecs) if n.startswith(f"{PROJECT}_")]
        for attribute in dir(plugin):
            found = getattr(plugin, attribute)
            marked = getattr(found, f"{PROJECT}_impl", None) if inspect.isroutine(found) else None
            if marked is not None:
                name = marked.get("specname") or attribute
                if name not in known:
                    raise ContractError(f"it implements {name}, which is no hook{nearest(name, known)}")

    def _collect(self, plugin: Any, origin: Origin) -> Iterator[Registered]:
        fresh: set[tuple[str, str]] = set()
        for kind, hook in REGISTER_HOOKS.items():
            for impl in getattr(self._manager.hook, hook).get_hookimpls():
                if impl.plugin is not plugin:
                    continue
                for entry in impl.function() or ():
                    self._check(entry, kind, hook, fresh)
                    fresh.add((kind, entry.name))
                    yield Registered(entry, origin)

    def _check(self, entry: Any, kind: str, hook: str, fresh: set[tuple[str, str]]) -> None:
        if not isinstance(entry, KINDS[kind]):
            raise ContractError(f"{hook} yielded {type(entry).__name__}, not {KINDS[kind].__name__}")
        if (kind, entry.name) in fresh:
            raise ContractError(f"{hook} yielded {entry.name!r} twice")
        other = self._entries[kind].get(entry.name)
        if other is not None:
            raise ContractError(f"{kind} {entry.name!r} is already registered by plugin {other.origin}")

    def find(self, kind: str, name: str) -> Registered:
        """Return what is registered under a name.

        Raises:
            BenchError: nothing is; the nearest name, and the plugins that failed, are told.
        """
        found = self._entries[kind].get(name)
        if found is None:
            broken = f"; {len(self.failures)} plugin(s) failed to load" if self.failures else ""
            raise BenchError(f"no {kind} is called {name!r}{nearest(name, self._entries[kind])}{broken}")
        return found

    def get(self, kind: str, name: str) -> Any:
        """Return the entry registered under a name (see `find`)."""
        return self.find(kind, name).entry

    def all(self, kind: str) -> list[Registered]:
        """Return every entry of a kind, sorted by name."""
        return [self._entries[kind][name] for name in sorted(self._entries[kind])]

    def notify(self, hook: str, **facts: Any) -> list[Any]:
        """Call an event hook on each plugin alone: one that raises is told of, and nothing else happens."""
        results = []
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                results.append((impl.plugin_name, impl.function(**{n: facts[n] for n in impl.argnames})))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a watcher must not stop what it watches
                self.warn(f"plugin {impl.plugin_name!r} failed in {hook}: {type(error).__name__}: {_line(error)}")
        return results


def load(
    files: Iterable[str | Path] = (), *, strict: bool = False, strangers: bool = True, quiet: bool = False
) -> Registry:
    """Load the installed plugins, the built-in ones first, then local files.

    Args:
        files: plugin files (`-p`).
        strict: raise at the first broken plugin.
        strangers: whether plugins of other distributions are imported at all.
        quiet: do not tell of broken plugins; whoever asked for the run has been told.

    Raises:
        BenchError: a file does not exist, or a plugin is broken and `strict` holds.
    """
    registry = Registry(strict=strict)
    aloud = registry.warn
    if quiet:
        registry.warn = lambda _: None
    disabled = {name.strip() for name in os.environ.get("SYNOBENCH_DISABLE", "").split(",")}
    for origin, entry_point in _installed():
        if origin.plugin not in disabled and (strangers or origin.distribution == HOME):
            registry.add(origin, entry_point.load)
    for file in files:
        path = Path(file)
        if not path.is_file():
            raise BenchError(f"plugin file {file} does not exist")
        if path.stem not in disabled:
            registry.add(Origin(path.stem, "local file", "", str(file)), partial(_import_file, path))
    registry.warn = aloud
    return registry


def _installed() -> list[tuple[Origin, importlib.metadata.EntryPoint]]:
    found: dict[tuple[bool, str, str], tuple[Origin, importlib.metadata.EntryPoint]] = {}
    for entry_point in importlib.metadata.entry_points(group=PROJECT):
        dist = entry_point.dist
        name, version = (dist.metadata["Name"], dist.version) if dist is not None else (None, None)
        module = entry_point.value.partition(":")[0].strip()
        origin = Origin(entry_point.name, name or "unknown", version or "", module)
        found.setdefault((name != HOME, origin.distribution, entry_point.name), (origin, entry_point))
    return [found[key] for key in sorted(found)]


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    other = None if "." in path.stem else importlib.util.find_spec(path.stem)
    if other is not None and not (other.origin and Path(other.origin).absolute() == path.absolute()):
        raise ImportError(f"another module is called {path.stem}: rename the file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no message"
