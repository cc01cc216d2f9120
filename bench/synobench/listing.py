"""What is registered, told in lines or as JSON: every plugin and its entries, or one entry in full."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from synobench.entries import KINDS
from synobench.errors import BenchError, nearest
from synobench.params import NoParams, schema
from synobench.registry import Registered, Registry


def show(arguments: Namespace, registry: Registry) -> int:
    """List plugins and entries, or show one."""
    if arguments.action == "show":
        return _one(arguments, registry)
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


def _one(arguments: Namespace, registry: Registry) -> int:
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
