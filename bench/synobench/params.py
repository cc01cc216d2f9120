"""Parameters of an entry: a frozen dataclass <-> its JSON Schema <-> the text ``name[key=value]``."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from synobench.errors import BenchError, nearest

Json = Any
"""Plain data: None, bool, int, float, str, and lists and string-keyed mappings of them."""

_SPEC = re.compile(r"^(?P<name>[^\[\]]+?)(?:\[(?P<body>.*)\])?$")


@dataclass(frozen=True)
class NoParams:
    """The parameters of an entry that has none."""


def param(
    default: Any = MISSING,
    *,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """Declare one field of a parameter dataclass, with its inclusive bounds or its choices and one line of doc."""
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Split ``name[key=value,key=value]`` into its name and its raw overrides.

    Raises:
        BenchError: the text is not of that form.
    """
    match = _SPEC.match(text.strip())
    if match is None:
        raise BenchError(f"{text!r} is not of the form name[key=value,key=value]")
    overrides: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in (match["body"] or "").split(","))):
        key, found, value = item.partition("=")
        if not found or key.strip() in overrides:
            raise BenchError(f"{item!r} in {text!r} is not a single key=value")
        overrides[key.strip()] = value.strip()
    return match["name"].strip(), overrides


def resolve(kind: type, overrides: Mapping[str, Any], owner: str) -> Any:
    """Build the parameter dataclass `kind` from its defaults and `overrides` (text or typed values).

    Raises:
        BenchError: a name is unknown, a value has the wrong type or is out of range, or a needed one is missing.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    types = typing.get_type_hints(kind)
    for name in overrides:
        if name not in fields:
            raise BenchError(f"{owner} has no parameter {name!r}{nearest(name, fields)}")
    for name, field in fields.items():
        if name not in overrides and field.default is MISSING and field.default_factory is MISSING:
            raise BenchError(f"{owner} needs a value for {name!r}: {field.metadata.get('doc', '')}")
    # Defaults are brought to their type too: a default of 0 and a given 0.0 must give one key.
    given = {n: overrides.get(n, f.default) for n, f in fields.items() if n in overrides or f.default is not MISSING}
    values = {n: _coerce(types[n], v, f"{owner}[{n}]") for n, v in given.items()}
    try:
        built = kind(**values)
    except (TypeError, ValueError) as error:
        raise BenchError(f"{owner} cannot be made: {' '.join(str(error).split())}") from None
    for name, field in fields.items():
        _check(field, getattr(built, name), f"{owner}[{name}]")
    return built


def as_dict(built: Any) -> dict[str, Json]:
    """Return the resolved parameters as plain data, defaults included."""
    return {f.name: _plain(getattr(built, f.name)) for f in dataclasses.fields(built)}


def as_text(name: str, kind: type, values: Mapping[str, Json]) -> str:
    """Write an entry as ``name[key=value]``, leaving out what equals its default."""
    defaults = {f.name: f.default for f in dataclasses.fields(kind)}
    told = [f"{k}={_text(v)}" for k, v in values.items() if k not in defaults or _plain(defaults[k]) != v]
    return f"{name}[{','.join(told)}]" if told else name


def schema(kind: type) -> dict[str, Json]:
    """Return the JSON Schema of a parameter dataclass."""
    types = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    needed = [f.name for f in fields if f.default is MISSING and f.default_factory is MISSING]
    properties = {f.name: _field_schema(f, types[f.name]) for f in fields}
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _field_schema(field: dataclasses.Field[Any], kind: Any) -> dict[str, Json]:
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    out: dict[str, Json] = {"type": names.get(_base(kind)[0], "array")}
    if field.default is not MISSING:
        out["default"] = _plain(field.default)
    bounds = {"minimum": "low", "maximum": "high", "enum": "choices", "description": "doc"}
    for target, source in bounds.items():
        if field.metadata.get(source) is not None:
            out[target] = _plain(field.metadata[source])
    return out


def _base(kind: Any) -> tuple[Any, bool]:
    """Return the type inside ``X | None`` and whether None is allowed."""
    options = [o for o in typing.get_args(kind) if o is not type(None)]
    optional = type(None) in typing.get_args(kind)
    return (options[0], True) if optional and len(options) == 1 else (kind, False)


def _coerce(kind: Any, value: Any, owner: str) -> Any:
    base, optional = _base(kind)
    if optional and (value is None or value == "none"):
        return None
    if typing.get_origin(base) is tuple:
        if not isinstance(value, (str, list, tuple)):
            raise BenchError(f"{owner} must be a list like 1/2/3, not {value!r}")
        parts = [p for p in value.split("/") if p] if isinstance(value, str) else value
        return tuple(_coerce(typing.get_args(base)[0], p, owner) for p in parts)
    try:
        return _scalar(base, value)
    except (TypeError, ValueError, OverflowError):
        raise BenchError(f"{owner} must be of type {getattr(base, '__name__', base)}, not {value!r}") from None


def _scalar(base: Any, value: Any) -> Any:
    if base is bool:
        truth = {"true": True, "false": False}.get(str(value).lower())
        if truth is None:
            raise ValueError(value)
        return truth
    if base is str and not isinstance(value, str):
        raise ValueError(value)
    if isinstance(value, bool) or (base is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    made = base(value)
    if base is float and not math.isfinite(made):
        raise ValueError(value)
    return made


def _check(field: dataclasses.Field[Any], value: Any, owner: str) -> None:
    meta = field.metadata
    for item in value if isinstance(value, tuple) else (value,):
        if item is None:
            continue
        if meta.get("choices") is not None and item not in meta["choices"]:
            choices = [str(c) for c in meta["choices"]]
            raise BenchError(f"{owner}={item} is not one of {', '.join(choices)}")
        if meta.get("low") is not None and item < meta["low"]:
            raise BenchError(f"{owner}={item} is below its least value, {meta['low']}")
        if meta.get("high") is not None and item > meta["high"]:
            raise BenchError(f"{owner}={item} is above its greatest value, {meta['high']}")


def _plain(value: Any) -> Json:
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _text(value: Json) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return "/".join(_text(v) for v in value) if isinstance(value, list) else str(value)
