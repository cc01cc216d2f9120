"""CHITA's solvers against the authors' own code: seconds, and the objective that each reaches.

Run as a script; see CHITA.md beside it. Both sides get the same gradients, each as its own gradient code leaves them:
ours weight by weight with rows sorted by norm, theirs sample by sample. Objectives are computed here, in float64 over
all rows, from the weights that each side returns.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 500
"""Weights in a block, as in every script that the authors ship."""

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass
class Case:
    """Gradients as either side holds them, the weights, and what is asked."""

    matrix: Any
    rows: Any
    squares: Any
    weights: Any
    lengths: list[int]
    ridge: float
    kept: int


def main() -> None:
    """Measure our solvers, and theirs where their code is given, and print one JSON object a line."""
    options = _options()
    if not os.environ.get("BENCH_CHITA"):
        # What numba compiled for a module that no import knows cannot be read again: each run has a cache of its own.
        pools = dict.fromkeys(POOLS, str(options.threads)) | {"NUMBA_CACHE_DIR": tempfile.mkdtemp()}
        # -P: a script beside this one is called like a package that numba imports.
        os.execve(sys.executable, [sys.executable, "-P", *sys.argv], {**os.environ, **pools, "BENCH_CHITA": "1"})
    import torch

    torch.set_num_threads(options.threads)
    for weights in options.sizes or [0]:
        case = synthetic(weights, options) if weights else gradients_of(options)
        if options.facts:
            print(json.dumps(facts(case, options)), flush=True)
        found = {}
        for name, solver in _sides(case, options).items():
            found[name] = _measured(name, solver, case, options.repeats)
            print(json.dumps({"weights": len(case.weights), "rows": case.matrix.shape[1], **found[name]}), flush=True)
        for line in _ratios(found):
            print(json.dumps(line), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, help="a clone of github.com/mazumder-lab/CHITA, used as it is")
    parser.add_argument("--gradients", type=Path, default="gradients.safetensors", help="kept here, made once")
    parser.add_argument("--checkpoint", default="resnet20-cifar10-mfac", help="whose gradients they are")
    parser.add_argument("--sizes", type=int, nargs="*", help="numbers of weights of synthetic problems, in its place")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--ridge", type=float, default=1e-4)
    parser.add_argument("--drop", type=float, default=0.01)
    parser.add_argument("--facts", action="store_true", help="tell of the problem too: condition, magnitude, exactness")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=[], help="sides to leave out, by name")
    return parser.parse_args()


def synthetic(weights: int, options: argparse.Namespace) -> Case:
    """Return gradients whose norms are as skewed as a trained network's: a few rows hold nearly all of the trace."""
    import torch

    draws = torch.Generator().manual_seed(0)
    scale = 10.0 ** torch.linspace(1.0, -4.0, options.samples)
    matrix = torch.empty(weights, options.samples)
    for part in torch.arange(weights).split(8192):
        matrix[part] = torch.randn(len(part), options.samples, generator=draws) * scale / 100
    dense = 0.1 * torch.randn(weights, generator=draws)
    return _case(matrix, dense, [weights], options)


def gradients_of(options: argparse.Namespace) -> Case:
    """Return the gradients that the file keeps, taken at the checkpoint's weights where it is not there yet."""
    from safetensors.torch import load_file, save_file

    if not options.gradients.exists():
        save_file(trained(options), options.gradients)
    found = load_file(options.gradients)
    return _case(found["matrix"], found["weights"], found["lengths"].tolist(), options)


def trained(options: argparse.Namespace) -> dict[str, Any]:
    """Return gradients [p, n], weights [p] and tensors' lengths of a checkpoint, its batch norm rebuilt."""
    import torch

    from synobench import adoption, checkpoints, data, networks
    from synobench import registry as registries
    from synobench.feed import Feed
    from synobench.gradients.collect import Collector
    from synobench.gradients.plan import Ask, plan
    from synobench.gradients.ways import Problem
    from synobench.params import as_dict, parse_spec, resolve

    registry = registries.load(strict=True, strangers=False)
    entry = registry.get("checkpoint", options.checkpoint)
    name, given = parse_spec(entry.model)
    chosen = registry.get("model", name)
    params = as_dict(resolve(chosen.params, given, name))
    inputs = {"dataset": {"name": entry.dataset}, "model": {"name": name, "params": params}, "neuron": None, "seed": 0}
    model = networks.build(inputs, registry)
    adoption.fill(model, adoption.read(entry, checkpoints.bring(entry)), entry.name)
    train = data.open_dataset(registry.get("dataset", entry.dataset)).train
    feed = Feed(train.images, train.labels, entry.mean, entry.std)
    if entry.rebuild:
        adoption.rebuild(model, feed, entry.rebuild, [-m / s for m, s in zip(entry.mean, entry.std, strict=True)])
    problem = Problem(model.eval(), networks.prunable(model, chosen.prunable))
    drawn = torch.randperm(len(feed), generator=torch.Generator().manual_seed(0))[: options.samples]
    collector = Collector(problem, feed, plan(problem, len(drawn)))
    collector.add(drawn)
    found = collector.result(Ask(len(drawn)), drawn, 1.0, None)
    lengths = torch.tensor([span.stop - span.start for span in found.spans])
    return {"matrix": found.matrix.contiguous(), "weights": found.weights, "lengths": lengths}


def _case(matrix: Any, weights: Any, lengths: list[int], options: argparse.Namespace) -> Case:
    import torch

    squares = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for part in matrix.split(8192):
        squares += part.square().sum(0, dtype=torch.float64)
    order = squares.argsort(descending=True)
    matrix = matrix[:, order].contiguous()
    rows = matrix.T.contiguous().numpy()
    kept = int((1 - options.sparsity) * len(weights))
    return Case(matrix, rows, squares[order], weights, lengths, matrix.shape[1] * options.ridge, kept)


def _sides(case: Case, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    sides = {
        f"ours {name}": _ours(case, name, options.drop) for name in ("bso", "bso-block", "bso-swaps", "active-set")
    }
    if options.reference:
        sides |= _theirs(case, options.reference)
    return {name: side for name, side in sides.items() if name not in options.skip}


def facts(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the problem is like: how stiff, what magnitude pruning reaches, how near ``bso`` is to float64."""
    import torch

    from synobench.fisher import gram, joint_step

    rows = _rows(case, options.drop)
    keep = torch.zeros(len(case.weights), dtype=torch.bool)
    keep[case.weights.abs().argsort(descending=True)[: case.kept]] = True
    ours = _ours(case, "bso", options.drop)()
    step = joint_step(case.matrix[:, :rows], case.weights, ours != 0, case.matrix.shape[1], options.ridge)
    exact = case.weights.double() + step
    return {
        "rows_solved_with": rows,
        "largest_eigenvalue_over_ridge": float(torch.linalg.eigvalsh(gram(case.matrix))[-1]) / case.ridge,
        "objective_of_magnitude": objective(case, torch.where(keep, case.weights, 0.0)),
        "bso_from_float64": float((ours - exact).norm() / exact.norm()),
    }


def _rows(case: Case, drop: float) -> int:
    """Return how many rows the certificate leaves (see ``synobench.gradients.drop_rows``)."""
    tails = case.squares.flip(0).cumsum(0)
    return case.matrix.shape[1] - int((tails <= drop * case.ridge).sum())


def _ours(case: Case, variant: str, drop: float) -> Callable[[], Any]:
    import torch

    from synobench_chita.quadratic import Quadratic
    from synobench_chita.solve import Settings, solve

    def run() -> Any:
        dense = case.weights.double()
        problem = Quadratic(case.matrix[:, : _rows(case, drop)], dense, case.ridge, torch.zeros_like(dense))
        return solve(problem, case.kept, Settings(variant, block=BLOCK, drop=drop, lengths=case.lengths)).weights

    return run


def _theirs(case: Case, folder: Path) -> dict[str, Callable[[], Any]]:
    """Return the authors' solvers, called as their pruner calls them."""
    import numpy as np

    from synobench_chita.blocks import partition

    spec = importlib.util.spec_from_file_location("reference", folder / "CHITA_opt" / "L0_card_const.py")
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    single, single_weights = case.rows, case.weights.numpy()
    half, zeros = case.ridge / 2, np.zeros(len(single_weights), dtype=np.float32)
    edges = [0, *(block.stop for block in partition(case.lengths, BLOCK))]

    def iterative() -> Any:
        rows, weights = single.astype(np.float64), single_weights.astype(np.float64)
        return code.Active_IHTCDLS_PP(
            rows @ weights,
            rows,
            weights,
            case.kept,
            alpha=zeros.astype(np.float64),
            lambda1=0,
            lambda2=half,
            beta_tilde1=weights,
            beta_tilde2=weights,
            iht_max_itr=20,
            ftol=1e-7,
            act_max_itr=20,
            kimp=1.5,
        )[0]

    def backsolve() -> Any:
        both = (single_weights, single_weights)
        return code.Heuristic_LS(single @ single_weights, single, single_weights, case.kept, zeros, 0, half, *both)[0]

    def block() -> Any:
        return code.Heuristic_LSBlock(
            single_weights,
            single,
            single_weights,
            case.kept,
            alpha=zeros,
            lambda1=0,
            lambda2=half,
            beta_tilde1=single_weights,
            beta_tilde2=single_weights,
            block_list=edges,
            split_type=1,
        )[0]

    return {"their Active_IHTCDLS": iterative, "their Heuristic_LS": backsolve, "their Heuristic_LSBlock": block}


def _measured(name: str, solver: Callable[[], Any], case: Case, repeats: int) -> dict[str, Any]:
    """Time a solver after one run that is thrown away (it compiles, and touches the memory); the least time counts."""
    seconds, wall = [], []
    with contextlib.redirect_stdout(io.StringIO()):
        weights = solver()
        for _ in range(repeats):
            before, began = time.process_time(), time.perf_counter()
            weights = solver()
            seconds.append(time.process_time() - before)
            wall.append(time.perf_counter() - began)
    told = {"cpu_seconds": min(seconds), "wall_seconds": min(wall), "objective": objective(case, weights)}
    return {"side": name, **{key: float(f"{value:.6g}") for key, value in told.items()}}


def objective(case: Case, weights: Any) -> float:
    """Return Q in float64 over all rows."""
    import torch

    change = torch.as_tensor(weights).double() - case.weights.double()
    image = torch.zeros(case.matrix.shape[1], dtype=torch.float64)
    for part in torch.arange(len(change)).split(8192):
        image += change[part] @ case.matrix[part].double()
    return 0.5 * float(image @ image) + 0.5 * case.ridge * float(change @ change)


def _ratios(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    pairs = [
        ("ours bso", "their Active_IHTCDLS"),
        ("ours bso-swaps", "their Active_IHTCDLS"),
        ("ours active-set", "their Active_IHTCDLS"),
        ("ours bso", "their Heuristic_LS"),
        ("ours bso-block", "their Heuristic_LSBlock"),
    ]
    return [
        {
            "pair": f"{ours} over {theirs}",
            "times_faster": round(found[theirs]["cpu_seconds"] / found[ours]["cpu_seconds"], 2),
            "objective_no_worse": found[ours]["objective"] <= found[theirs]["objective"] * (1 + 1e-4),
        }
        for ours, theirs in pairs
        if ours in found and theirs in found
    ]


if __name__ == "__main__":
    main()
