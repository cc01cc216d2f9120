"""A step of predictive coding: the rule against the plain autograd loop in torch, pcx, jpc, and JAX by hand.

Run as a script; see PREDICTIVE_CODING.md beside it.  Every side is a process of its own on the same cores; the sides
take turns, and time themselves.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pc_problem import Problem

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
HERE = Path(__file__).parent
SETTINGS = {"mlp-8": Problem("mlp", 8), "mlp-20": Problem("mlp", 20), "vgg5-8": Problem("vgg5", 8)}
STEPS = {("mlp", "cpu"): 10, ("vgg5", "cpu"): 1, ("mlp", "cuda"): 100, ("vgg5", "cuda"): 25}
"""Steps a turn, by net and device."""

TOLERANCE = {"mlp": 1e-4, "vgg5": 2e-2}
"""Largest relative error of a gradient; winners of max pooling and kinks of relu flip with the order of a sum."""

REST = 0.06
"""Seconds before each turn: for so long the threads of the side before go on looking for work, on cores of this one."""

Times = dict[str, list[dict[str, float]]]


def main() -> None:
    """Measure each setting on each number of cores, and print one JSON object a side."""
    options = _options()
    for cores in [len(os.sched_getaffinity(0))] if options.device == "cuda" else options.cores:
        for contest in contests(cores, options):
            for row in contest.held():
                print(json.dumps(row), flush=True)


def contests(cores: int, options: argparse.Namespace) -> Iterable[Contest]:
    """Prepare each setting: on the CPU as its turn comes, on a device all at once and before anything is timed."""
    made = functools.partial(Contest, cores=cores, options=options)
    if options.device == "cpu":
        return map(made, options.settings)
    with ThreadPoolExecutor(len(options.settings)) as pool:
        return list(pool.map(made, options.settings))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="net and sweeps")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="cores that every side is pinned to")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="on cuda every core serves every side")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each side")
    parser.add_argument("--sides", nargs="+", help="these alone, and the plain loop")
    for peer, needs in (("jax", "a current jax and optax"), ("pcx", "pcx 0.6.3"), ("jpc", "jpc 1.0.0")):
        parser.add_argument(
            f"--{peer}", metavar="PYTHON", help=f"an interpreter with {needs}; left out where not given"
        )
    return parser.parse_args()


class Process:
    """One side, served by `pc_serve.py`."""

    def __init__(
        self, python: str, module: str, side: str, problem: Problem, cores: Sequence[int], device: str
    ) -> None:
        command = [python, str(HERE / "pc_serve.py"), module, side, problem.net, str(problem.sweeps)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(len(cores), device)
        )
        os.sched_setaffinity(self._child.pid, cores)
        self.side = side

    def ask(self, *words: Any) -> dict[str, Any]:
        """Send one command and return the answer."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(*words, file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"side {self.side} ended with code {self._child.wait()}; what it said stands above")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        self._child.communicate()


def _environment(cores: int, device: str) -> dict[str, str]:
    if device == "cuda":
        # All sides hold the device at once; JAX shall compute in float32 throughout, as torch's sides do.
        exact = {"JAX_DEFAULT_MATMUL_PRECISION": "highest", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return {**os.environ, **exact, "PC_DEVICE": device, "JAX_PLATFORMS": device}
    eigen = "false" if cores == 1 else "true"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={cores}"
    threads = {"OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores), "XLA_FLAGS": flags}
    return {**os.environ, **ALLOCATOR, **threads, "NPROC": str(cores), "JAX_PLATFORMS": "cpu"}


def sides_of(problem: Problem, options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Return Python, module and name of each side."""
    here, conv = sys.executable, problem.net == "vgg5"
    torch_sides = ["autograd", *(["autograd-innermost"] if conv else []), "backprop"]
    rule = ["rule", "rule-wavefront", "rule-guarded", "rule-compiled", "rule-compiled-wavefront"]
    jax = ["jax", "jax-wavefront"] if conv else ["jax", "jax-loop", "jax-gram", "jax-gram-loop"]
    found = [(here, "pc_autograd", s) for s in torch_sides] + [(here, "pc_rule", s) for s in rule]
    found += [(options.jax, "pc_jax", s) for s in jax] + [(options.pcx, "pc_pcx", "pcx")]
    found += [(options.jpc, "pc_jpc", s) for s in ("jpc", "jpc-fused")]
    chosen = {*(options.sides or [s for *_, s in found]), "autograd"}
    return [each for each in found if each[0] and each[2] in chosen]


class Contest:
    """All sides of one setting, ready to take steps.

    Args:
        name: of the setting.
        cores: that every side is pinned to.
        options: of the command line.
    """

    def __init__(self, name: str, cores: int, options: argparse.Namespace) -> None:
        pinned = sorted(os.sched_getaffinity(0))[-cores:]
        if len(pinned) < cores:
            raise SystemExit(f"{cores} cores were asked for and {len(pinned)} may be used; give --cores {len(pinned)}")
        self._problem, self._options = SETTINGS[name], options
        self._told = {"setting": name, "device": options.device, "cores": cores}
        asked = sides_of(self._problem, options)

        def begun(told: tuple[str, str, str]) -> tuple[Process, dict[str, Any]]:
            side = Process(*told, self._problem, pinned, options.device)
            return side, {"side": side.side, **begin(side, self._problem)}

        with ThreadPoolExecutor(len(asked) if options.device == "cuda" else 1) as pool:
            self._sides, self._rows = map(list, zip(*pool.map(begun, asked), strict=True))

    def held(self) -> list[dict[str, Any]]:
        """Check all sides against the plain loop, time them in turns, and return a row a side."""
        problem = self._problem
        floor = problem.bound * len(problem.labels) / self._sides[0].ask("peak")["peak"]
        rounds = take_turns(self._sides, STEPS[problem.net, self._options.device], self._options.rounds)
        for side in self._sides:
            side.close()
        check(self._rows, problem)
        bound = {"side": "bound", "products": problem.bound, "least_ms": round(1e3 * floor, 3)}
        rows = [bound, *({**_shown(row), **figures(row["side"], rounds)} for row in self._rows)]
        return [{**self._told, **row} for row in rows]


def begin(side: Process, problem: Problem) -> dict[str, Any]:
    """Return a side's gradients, the seconds until its first step was done, and the multiply-adds of one step."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gradients.npz"
        side.ask("gradients", file)
        with np.load(file) as found:
            gradients = [found[name] for name in found.files]
    side.ask("run", 1)
    told = {"gradients": gradients, "setup_s": round(time.perf_counter() - begun, 1)}
    if side.side in ("autograd", "rule", "rule-wavefront"):
        a_sample = side.ask("products")["products"] / len(problem.labels)
        told |= {"products": round(a_sample), "of_bound": round(a_sample / problem.bound, 4)}
    return told


def check(rows: list[dict[str, Any]], problem: Problem) -> None:
    """Stop unless every side has the plain loop's gradients; backprop, whose are others, must be found to differ."""
    plain = rows[0]["gradients"]
    for row in rows:
        pairs = zip(row["gradients"], plain, strict=True)
        row["error"] = max(float(np.linalg.norm(g - p) / np.linalg.norm(p)) for g, p in pairs)
        if (row["error"] < TOLERANCE[problem.net]) == (row["side"] == "backprop"):
            raise SystemExit(f"{row['side']}: gradients {row['error']:.1e} from the plain loop's")


def take_turns(sides: list[Process], steps: int, rounds: int) -> Times:
    """Let each side take `steps` steps in each round, after one round to warm up."""
    times: Times = {side.side: [] for side in sides}
    for turn in range(rounds + 1):
        for side in sides:
            time.sleep(REST)
            told = side.ask("run", steps)
            if turn:
                times[side.side].append({kind: 1e3 * seconds / steps for kind, seconds in told.items()})
    return times


def figures(side: str, times: Times) -> dict[str, Any]:
    """Return least and median milliseconds a step, and how many times faster than the plain loop within a round."""
    out: dict[str, Any] = {"load": round(os.getloadavg()[0], 1)}
    for kind in ("cpu", "wall"):
        own, plain = ([turn[kind] for turn in times[name]] for name in (side, "autograd"))
        out |= {f"{kind}_least_ms": round(min(own), 3), f"{kind}_median_ms": round(statistics.median(own), 3)}
        out[f"{kind}_faster"] = round(statistics.median(p / o for p, o in zip(plain, own, strict=True)), 2)
    return out


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in row.items() if k != "gradients"}, "error": f"{row['error']:.1e}"}


if __name__ == "__main__":
    main()
