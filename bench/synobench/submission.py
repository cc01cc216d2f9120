"""What holds of a suite's records together: nothing strange lies among them, seeds are whole, nothing was changed."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from synobench.board.labels import full_text, target_text
from synobench.errors import BenchError
from synobench.registry import Registry
from synobench.store import HALF, Store, canonical
from synobench.suite import find_suite

Inputs = Mapping[str, Any]

APPEND_ONLY = ("records", "replays")


def strangers(store: Store, suite: str) -> Iterator[str]:
    """Name what lies among a suite's records and is none: no board reads it, so no reviewer would see it."""
    folder = store.root / "records" / suite
    records = set(store.paths(suite))
    for path in sorted(folder.rglob("*")):
        own = path in records or (path.suffix == ".ledger" and path.with_suffix(".json") in records)
        # What a kill left of a write, the next run sweeps away.
        half = HALF.fullmatch(path.name) is not None
        if path.is_symlink() or not (own or half or path.is_dir()):
            yield f"{path}: it is no record and no record's ledger; it does not belong here"


def missing_seeds(suite: str, inputs: Iterable[Inputs], registry: Registry) -> Iterator[str]:
    """Name each entry that lacks a seed of its suite: who may leave seeds out can choose among them.

    A suite that is not registered here asks for every seed that any of its records has.
    """
    held: dict[tuple[str, str], dict[int, Inputs]] = defaultdict(dict)
    for told in inputs:
        if told["pruner"]["params"].get("allocation"):
            continue  # a twin: each seed's host gives it an allocation of its own
        family = {k: v for k, v in told.items() if k not in ("seed", "parent")}
        held[told["suite"]["version"], canonical(family)][told["seed"]] = told
    for (version, _), found in sorted(held.items()):
        asked = _asked(suite, version, registry) or {s for (v, _), f in held.items() if v == version for s in f}
        if absent := sorted(asked - found.keys()):
            told = next(iter(found.values()))
            label = "/".join([told["dataset"]["name"], *(full_text(told[r]) for r in ("model", "pruner"))])
            seeds = ", ".join(map(str, absent))
            yield f"{label} at {target_text(told['target'])} lacks seed {seeds}; the suite asks for all of its seeds"


def _asked(suite: str, version: str, registry: Registry) -> set[int]:
    try:
        known = find_suite(suite, registry)
    except BenchError:
        return set()
    return set(known.seeds) if known.version == version else set()


def changed_since(root: Path, base: str) -> list[str]:
    """Name each record or replay that the merge base with `base` has and that is no more as it was.

    Args:
        root: the folder of records and boards, in a git work tree.
        base: a revision, as ``origin/main``.

    Raises:
        BenchError: there is no git work tree, or no such revision.
    """
    start = _git(root, "merge-base", base, "HEAD").strip()
    told = _git(root, "diff", "--name-status", "--no-renames", "-z", start, "--", *(f"./{n}" for n in APPEND_ONLY))
    fields = told.split("\0")
    done = {"D": "deleted", "M": "changed", "T": "replaced by something else"}
    return [
        f"{path}: it was {done[status]} since {start[:12]}; records are append-only, a second result is a replay"
        for status, path in zip(fields[::2], fields[1::2], strict=False)
        if status in done
    ]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise BenchError("git is not installed, so nothing can be held against a revision") from None
    except subprocess.CalledProcessError as error:
        told = " ".join(error.stderr.split()) or f"no commit is common to HEAD and {arguments[1]}"
        raise BenchError(f"git cannot compare {folder} with a revision: {told}") from None
    return done.stdout
