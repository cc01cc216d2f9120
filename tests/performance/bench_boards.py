"""How long a board of many records takes in every format, against reading and parsing their JSON alone.

    python tests/performance/bench_boards.py                       # 2,000, 6,000 and 20,000 records
    python tests/performance/bench_boards.py --records 2000 --profile

The records are made up, of the size of committed ones: 10,000 test images, inputs, a ledger whose counts no other has,
curves, provenance. Seconds of the processor (`_cpu`), of all processes that take part, stand beside those of the clock,
which others share. A board of N records has twelve entries at four targets and five seeds on as many networks as that
takes. Modules are compiled beforehand, as an installation has them. `--one` keeps a build to one process.

A board is built without a cache (`board`), with an empty one (`first`), then with what that kept: nothing changed
(`same`), and after ten records were added (`again`). The files of each are held against those of a build without.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import hashlib
import json
import os
import pstats
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synobench.store import Store, canonical, document, key_of
from synobench.testing import records
from synobench.testing.records import make_record

# A mask is drawn with care for tests, not for speed: few differ here, and each is drawn once.
records.hit_mask = functools.cache(records.hit_mask)

ROOT = Path(__file__).parents[2]
ENTRIES = [f"method-{i}" for i in range(10)] + ["magnitude", "random"]
TARGETS = (0.5, 0.8, 0.9, 0.95)
SEEDS = 5
IMAGES = 10_000
A_NETWORK = SEEDS * (1 + len(ENTRIES) * len(TARGETS))
SUITE = """
name = "demo"
version = "1.0"
question = "How long does a board take?"
counter = "effective"
counters = ["effective", "fanout", "dense", "energy"]
seeds = [0, 1, 2, 3, 4]
pruners = ["none", "magnitude", "random"]
[[targets]]
name = "sparsity"
values = [0.5, 0.8, 0.9, 0.95]
[[networks]]
dataset = "digits"
model = "snn-conv"
rule = "backprop"
train_epochs = 1
tune_epochs = 0
batch = 32
"""


def template() -> dict[str, Any]:
    """Return a committed record, for the parts that give a record its size."""
    for path in sorted((ROOT / "leaderboards" / "records" / "sparsity").glob("??/*.json")):
        record: dict[str, Any] = json.loads(path.read_text())
        if record["inputs"]["model"]["name"] == "snn-conv":
            return record
    raise SystemExit("no committed record to take the size from")


def made(count: int) -> Iterator[dict[str, Any]]:
    """Yield records, network by network."""
    real = template()
    for i in range(count):
        network, rest = divmod(i, A_NETWORK)
        place, seed = divmod(rest, SEEDS)
        entry, target = (divmod(place - 1, len(TARGETS))) if place else (-1, 0)
        asked = TARGETS[target] if place else None
        hits = 9000 - (0 if asked is None else int(40 / (1 - asked)) + 13 * entry) + (seed * 37 + entry * 11) % 29
        name = ENTRIES[entry] if place else "none"
        record = make_record(name, asked, seed, hits, IMAGES, dataset=f"data-{network % 7}", model=f"net-{network}")
        record["inputs"] = _inputs(real["inputs"], record["inputs"])
        record["key"] = key_of(record["inputs"])
        record["outcome"]["ledger"] = _ledger(real["outcome"]["ledger"], i)
        record["outcome"]["curves"] = real["outcome"]["curves"]
        record["cost"] = {
            phase: {**spent, "seconds": spent["seconds"] + i / 1000} for phase, spent in real["cost"].items()
        }
        record["provenance"] = real["provenance"]
        yield record


def _inputs(real: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Return inputs as large as committed ones, which name what was made up."""
    named = {role: {**(real[role] or {}), **made[role]} for role in ("dataset", "model", "parent")}
    return {**real, **named, **{role: made[role] for role in ("suite", "pruner", "target", "seed")}}


def _ledger(real: dict[str, Any], i: int) -> dict[str, Any]:
    """Return a ledger whose counts no other record has, as no two networks fire alike."""
    counted = ("events", "fanout", "effective")
    layers = [{**layer, **{name: layer[name] - i for name in counted}} for layer in real["layers"]]
    return {**real, "digest": f"sha256:{hashlib.sha256(str(i).encode()).hexdigest()}", "layers": layers}


def fill(root: Path, count: int) -> None:
    """Write so many records below a folder, without the care for crashes that a run takes."""
    for record in made(count):
        path = Store(root).record_path("demo", record["key"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document(record))


def parse(root: Path) -> dict[str, float]:
    """Return the seconds, and those of the processor, that reading and parsing every record takes."""
    start, busy = time.perf_counter(), time.process_time()
    for path in Store(root).paths("demo"):
        json.loads(path.read_bytes())
    return {"parse": time.perf_counter() - start, "parse_cpu": time.process_time() - busy}


def build(root: Path, cache: Path | None = None) -> dict[str, float]:
    """Build the board in every format in this process; return seconds and the peak of its memory in MiB."""
    from synobench import boards, registry
    from synobench.suite import parse as parse_suite

    start, busy = time.perf_counter(), spent()
    known = registry.load(strict=True, strangers=False)
    suite = parse_suite(SUITE)
    with boards.keeping(cache, suite, known, root) as kept:
        board = boards.build(suite, known, root, kept=kept)
        computed, middle = spent() - busy, time.perf_counter() - start
        boards.write(board, known, root, root / "site")
    cpu, total = spent() - busy, time.perf_counter() - start
    # What a copy has in common with this process is counted twice.
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    told = {"compute_cpu": computed, "render_cpu": cpu - computed, "board_cpu": cpu, "compute": middle, "board": total}
    return {**told, "MiB": peak, "runs": len(board.runs)}


def spent() -> float:
    """Return the seconds of the processor of this process and of the copies of it that ended."""
    return sum(os.times()[:4])


def touch(root: Path, count: int) -> None:
    """Add records of further seeds, as a submission does."""
    for record in made(count):
        record["inputs"] = {**record["inputs"], "seed": record["inputs"]["seed"] + SEEDS}
        record["key"] = key_of(json.loads(canonical(record["inputs"])))
        path = Store(root).record_path("demo", record["key"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document(record))


def child(root: Path, action: str) -> dict[str, float]:
    """Run one step in a process of its own, so that its memory is its own too; a build writes every file."""
    if action != "parse":
        shutil.rmtree(root / "boards", ignore_errors=True)
        shutil.rmtree(root / "site", ignore_errors=True)
    line = [sys.executable, __file__, "--child", action, "--root", str(root)]
    changed = {"PYTHONPYCACHEPREFIX": str(root / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(line, capture_output=True, text=True, check=True, env={**os.environ, **changed})
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def files(root: Path) -> dict[str, str]:
    """Return the digest of every file of the board below a folder."""
    found = [path for part in ("boards", "site") for path in sorted((root / part).rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def rebuilds(root: Path) -> dict[str, float]:
    """Return the seconds of the processor of builds with a cache, and their memory; their files must not differ."""
    plain, found = files(root), {}
    for name in ("first", "same", "again"):
        if name == "again":
            touch(root, 10)
            child(root, "build")
            plain = files(root)
        built = child(root, "rebuild")
        found |= {f"{name}_cpu": built["board_cpu"], name: built["board"], f"{name}_MiB": built["MiB"]}
        if files(root) != plain:
            raise SystemExit(f"{name}: with a cache the files differ from those without")
    return found


def measure(count: int, rounds: int) -> None:
    """Print the figures of one size: the median of some rounds, parsing and building in turn."""
    root = Path(tempfile.mkdtemp(prefix="boards-"))
    try:
        fill(root, count)
        child(root, "build")  # From here on the files lie in the page cache, and the modules are compiled.
        found = [{**child(root, "parse"), **child(root, "build")} for _ in range(rounds)]
        chosen = sorted(found, key=lambda row: row["board_cpu"] / row["parse_cpu"])[len(found) // 2]
        ratios = {f"ratio{of}": chosen[f"board{of}"] / chosen[f"parse{of}"] for of in ("", "_cpu")}
        row = {"records": count, **chosen, **ratios, **rebuilds(root)}
        print(json.dumps({name: round(value, 3) for name, value in row.items()}), flush=True)
    finally:
        shutil.rmtree(root)


def main() -> None:
    """Measure each size, or do one step of it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, nargs="+", default=[2_000, 6_000, 20_000])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--profile", action="store_true", help="profile one build in place of timing")
    options.add_argument("--child", choices=("parse", "build", "rebuild"), help=argparse.SUPPRESS)
    options.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--one", action="store_true", help="keep a build to one processor")
    given = options.parse_args()
    if given.one:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if given.child:
        cache = given.root / "cache" if given.child == "rebuild" else None
        print(json.dumps(parse(given.root) if given.child == "parse" else build(given.root, cache)))
        return
    if given.profile:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), given.records[0])
            profile = cProfile.Profile()
            profile.runcall(build, Path(folder))
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
        return
    for count in given.records:
        measure(count, given.rounds)


if __name__ == "__main__":
    main()
