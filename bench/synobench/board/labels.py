"""Names for what a board compares: shortest texts that tell its entries, networks and settings apart.

They come from the records alone, so a board reads the same whether or not the plugins behind it are installed: a
parameter is told where it differs between two things of one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from synobench.params import NoParams, as_text
from synobench.protocol import PRUNER, RULE
from synobench.store import canonical

Json = Any

SETTING = ("rule", "tune", "neuron", "parent", "export", "budget")
"""What stands around a pruner: rows that differ in one of these are different rows."""

_ROLES = (*(role for role in SETTING if role != "parent"), "pruner", "target")
_ALL_PRUNABLE = ("prunable", ["*"])
_KINDS = ("none", "sparsity", "parameters", "synops")


def full_text(part: Mapping[str, Json]) -> str:
    """Write a named object with everything that it holds, as ``name[key=value]``."""
    return as_text(str(part["name"]), NoParams, _flat(part))


def short_labels(parts: Iterable[Mapping[str, Json]]) -> dict[str, str]:
    """Return canonical text -> label for distinct named objects, telling only the fields that differ within a name."""
    once = {id(part): part for part in parts}  # thousands of runs hold few parts, each as one object
    held = {canonical(part): part for part in once.values()}
    families: dict[str, list[dict[str, Json]]] = {}
    for part in held.values():
        families.setdefault(str(part["name"]), []).append(_flat(part))
    telling = {name: _telling(family) for name, family in families.items()}
    return {key: _label(part, telling[str(part["name"])]) for key, part in held.items()}


def _label(part: Mapping[str, Json], telling: set[str]) -> str:
    return as_text(str(part["name"]), NoParams, {k: v for k, v in _flat(part).items() if k in telling})


def _telling(family: list[dict[str, Json]]) -> set[str]:
    keys = {key for values in family for key in values}
    return {key for key in keys if len({canonical(values.get(key)) for values in family}) > 1}


def _flat(part: Mapping[str, Json]) -> dict[str, Json]:
    rest = {k: v for k, v in part.items() if k not in ("name", "params") and (k, v) != _ALL_PRUNABLE}
    return dict(sorted({**rest, **(part.get("params") or {})}.items()))


class Texts:
    """Canonical texts of parts of inputs, each written once where runs hold equal parts as one object."""

    def __init__(self, versus: str = PRUNER) -> None:
        self._versus = versus
        self._known: dict[int, tuple[Json, str]] = {}
        self._settings: dict[tuple[str, ...], str] = {}
        self._rows: dict[tuple[Json, ...], tuple[str, str, str]] = {}

    def of(self, part: Json) -> str:
        """Return the canonical text of a part, which must not change from here on."""
        held = self._known.get(id(part))
        if held is None:  # the part is held too, lest another take its place in memory
            held = self._known[id(part)] = part, canonical(part)
        return held[1]

    def row(self, inputs: Mapping[str, Json]) -> tuple[str, str, str]:
        """Return what makes a row of its own on a network: setting, target and entry."""
        parent = inputs.get("parent") or {}
        place = (*map(id, map(inputs.get, _ROLES)), parent.get("name"), parent.get("checkpoint"))
        if place not in self._rows:  # all parts are held from then on, so no other takes the place of one
            self._rows[place] = self._row(inputs, parent)
        return self._rows[place]

    def _row(self, inputs: Mapping[str, Json], parent: Mapping[str, Json]) -> tuple[str, str, str]:
        for role in _ROLES:
            self.of(inputs.get(role))
        around = [self.of(inputs.get(role)) for role in SETTING if role != "parent"]
        told = (*around, *(f"{key} {parent[key]}" for key in ("name", "checkpoint") if key in parent))
        if told not in self._settings:
            self._settings[told] = canonical(setting_of(inputs, self._versus))
        entry = [self.of(inputs[role]) for role in ("pruner", *((RULE,) if self._versus == RULE else ()))]
        return self._settings[told], self.of(inputs["target"]), " ".join(entry)


def setting_of(inputs: Mapping[str, Json], versus: str = PRUNER) -> dict[str, Json]:
    """Return what stands around the entry, role by role, as named objects; a parent by name or checkpoint.

    Where rules are the entries, a rule is no setting, and fine-tuning is one only where it is by another rule.
    """
    found = {role: inputs.get(role) or {"name": "none"} for role in SETTING}
    parent = found["parent"]
    found["parent"] = {key: parent[key] for key in ("name", "checkpoint") if key in parent}
    found["budget"] = {"name": "budget", "params": inputs.get("budget") or {}}
    if versus == RULE:
        own = {"name": "as trained"}
        found |= {"rule": own, "tune": own if found["tune"] == found["rule"] else found["tune"]}
    return found


def setting_labels(settings: Iterable[Mapping[str, Json]]) -> dict[str, str]:
    """Return canonical text -> what tells a setting from the others, empty where there is one only."""
    held = {canonical(setting): setting for setting in settings}
    labels = {role: short_labels(s[role] for s in held.values()) for role in SETTING}
    told = [role for role in SETTING if len(labels[role]) > 1]
    return {key: ", ".join(_told(setting, told, labels)) for key, setting in held.items()}


def _told(setting: Mapping[str, Json], roles: list[str], labels: Mapping[str, Mapping[str, str]]) -> list[str]:
    same = setting["tune"] == setting["rule"] and "rule" in roles
    texts = {role: labels[role][canonical(setting[role])] for role in roles if not (role == "tune" and same)}
    return [text if role == "budget" else f"{role}={text}" for role, text in texts.items()]


def target_text(target: Mapping[str, Json]) -> str:
    """Write a target for people: ``dense``, ``sparsity 90 %``, ``parameters 10 %``, ``SynOps 50 % (effective)``."""
    kind, value = str(target["name"]), target.get("value")
    if kind == "none" or not isinstance(value, int | float):
        return "no target" if kind == "none" else kind
    name = "SynOps" if kind == "synops" else kind
    counter = f" ({target['counter']})" if "counter" in target else ""
    return f"{name} {100 * value:.6g} %{counter}"


def target_order(target: Mapping[str, Json]) -> tuple[int, str, float]:
    """Return a sort key: no target first, then kind by kind, the gentlest target first."""
    kind, value = str(target["name"]), float(target.get("value") or 0.0)
    place = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
    return place, kind + str(target.get("counter", "")), value if kind == "sparsity" else -value
