"""Foreign distributions, installed by pip into a clean environment: a pruner on a board, and one that is broken."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from commandline import Bench

ROOT = Path(__file__).parents[2]
FOREIGN = Path(__file__).parents[1] / "external"

SUITE = """
name = "abroad"
version = "1.0"
question = "Do strangers stand on the board?"
counter = "effective"
seeds = [0]
pruners = ["none", "magnitude", "taylor", "taylor[batches=1]"]
[[targets]]
name = "sparsity"
values = [0.9]
[[networks]]
dataset = "digits"
model = "mlp-300-150-10[widths=24]"
rule = "backprop[rate=0.1]"
train_epochs = 3
tune_epochs = 1
batch = 64
"""


def install(python: Path, source: Path, *options: str) -> None:
    """Install a source tree by pip; its build leaves nothing in the checkout."""
    isolated = [] if importlib.util.find_spec("setuptools") else ["--build-isolation"]
    line = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", *options]
    line += isolated or ["--no-build-isolation"]
    done = subprocess.run([*line, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def copied(source: Path, target: Path, *names: str) -> Path:
    """Copy a source tree, or the named parts of it, without what was built in it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in names or [path.name for path in source.iterdir()]:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=ignored)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / name)
    return target


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a new environment with synobench and synobench-taylor; torch and the like are lent to it."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home / "env", with_pip=True)
    places = {"base": str(home / "env"), "platbase": str(home / "env")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=places))
    lent = sysconfig.get_path("purelib")
    # A folder's own .pth files are read by addsitedir alone. What is installed here stands before what is lent.
    (site / "lent.pth").write_text(f"import site; site.addsitedir({lent!r})\n")
    python = home / "env" / "bin" / "python"
    # Older interpreters put an older setuptools beside pip, which must not hide the lent one.
    subprocess.run(
        [python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"], capture_output=True, check=True
    )
    install(python, copied(ROOT, home / "synobench", "bench", "plugins", "pyproject.toml", "README.md", "LICENSE"))
    install(python, copied(FOREIGN / "synobench-taylor", home / "taylor"))
    return home


@pytest.fixture(scope="module")
def abroad(clean: Path) -> Bench:
    """Return the command of the clean environment in a folder with a suite that asks for the foreign pruner."""
    bench = Bench(clean / "work", [str(clean / "env" / "bin" / "synobench")])
    (bench.folder / "abroad.toml").write_text(SUITE)
    return bench


@pytest.fixture(scope="module")
def broken(clean: Path, abroad: Bench) -> Bench:
    """Return the same command with a broken distribution installed beside."""
    target = clean / "broken-site"
    install(
        clean / "env" / "bin" / "python",
        copied(FOREIGN / "synobench-broken", clean / "broken"),
        "--target",
        str(target),
    )
    return Bench(abroad.folder, abroad.command, PYTHONPATH=str(target))


def test_the_foreign_pruner_is_twenty_lines_and_knows_the_public_names_alone() -> None:
    text = (FOREIGN / "synobench-taylor" / "synobench_taylor.py").read_text()
    tree = ast.parse(text)
    told: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            told.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code = [line for i, line in enumerate(text.splitlines(), 1) if line.strip() and i not in told]
    assert len(code) <= 20
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {m for m in modules if m and m.partition(".")[0] not in sys.stdlib_module_names} == {"synobench"}


@pytest.mark.slow
def test_a_foreign_distribution_is_found_and_named(abroad: Bench, clean: Path) -> None:
    listed = abroad("plugins", "list").stdout
    assert any(line.split()[:3] == ["pruner", "taylor", "synobench-taylor"] for line in listed.splitlines())
    assert any(line.split()[:3] == ["suite", "quickstart", "synobench"] for line in listed.splitlines())
    (card,) = json.loads(abroad("plugins", "show", "taylor", "--json").stdout)
    assert card["plugin"] == {
        "plugin": "taylor",
        "distribution": "synobench-taylor",
        "version": "0.3.0",
        "module": "synobench_taylor",
    }
    where = [str(clean / "env" / "bin" / "python"), "-P", "-c", "import synobench; print(synobench.__file__)"]
    assert subprocess.check_output(where, text=True).startswith(str(clean / "env"))


@pytest.mark.slow
def test_a_foreign_pruner_stands_on_the_board(abroad: Bench) -> None:
    done = abroad("run", "abroad.toml", "--executor", "slots[n=1]")
    assert done.stderr.count(" ok ") == 5
    folder = abroad.store / "boards" / "abroad"
    with (folder / "board.csv").open() as file:
        rows = {row["entry"]: row for row in csv.DictReader(file)}
    assert {"none", "magnitude", "taylor[batches=8]", "taylor[batches=1]"} == set(rows)
    page = (folder / "README.md").read_text()
    assert "taylor\\[batches=8\\]" in page
    record = next(r for r in abroad.records("abroad").values() if r["inputs"]["pruner"]["name"] == "taylor")
    assert record["provenance"]["plugins"]["taylor"]["distribution"] == "synobench-taylor"
    assert record["cost"]["prune"]["backward"] == record["inputs"]["pruner"]["params"]["batches"]
    assert abroad("verify").stdout.splitlines()[-1] == "4 records checked, 0 findings"
    assert abroad("board", "abroad.toml", "--check").returncode == 0


@pytest.mark.slow
def test_a_broken_distribution_is_named_in_one_line_and_the_rest_goes_on(broken: Bench) -> None:
    told = (
        "synobench: plugin 'broken' of synobench-broken 0.0.7 failed to load: RuntimeError: it was built for another "
        "bench; upgrade or uninstall synobench-broken, or set SYNOBENCH_DISABLE=broken\n"
    )
    listed = broken("plugins", "list")
    assert listed.stderr == told
    assert any(line.split()[:2] == ["pruner", "taylor"] for line in listed.stdout.splitlines())
    (failed,) = (line for line in listed.stdout.splitlines() if line.startswith("failed"))
    assert failed.split()[:3] == ["failed", "broken", "synobench-broken"]
    shutil.rmtree(broken.store, ignore_errors=True)
    ran = broken("run", "abroad.toml", "--executor", "inline", "--only", "taylor[batches=1]")
    assert ran.stderr.count(told) == 1
    assert ran.stderr.count("failed to load") == 1
    assert "taylor[batches=1]" in ran.stdout
    for verb in (["board", "abroad.toml"], ["verify"]):
        assert broken(*verb).stderr in ("", told)


def test_strict_stops_at_the_broken_distribution(broken: Bench) -> None:
    done = broken("--strict", "plugins", "list", code=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "'broken' of synobench-broken 0.0.7 failed to load" in line
    disabled = Bench(
        broken.folder, broken.command, SYNOBENCH_DISABLE="broken", PYTHONPATH=broken.environment["PYTHONPATH"]
    )
    assert disabled("--strict", "plugins", "list").stderr == ""


@pytest.mark.slow
def test_a_plugin_file_reaches_the_workers(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    shutil.copy(FOREIGN / "synobench-taylor" / "synobench_taylor.py", tmp_path / "mine.py")
    (tmp_path / "abroad.toml").write_text(SUITE)
    bench("run", "abroad.toml", "-p", "mine.py", "--executor", "slots[n=1]", "--only", "taylor[batches=1]")
    (record,) = bench.records("abroad").values()
    assert record["provenance"]["plugins"]["mine"]["distribution"] == "local file"
    assert record["outcome"]["sparsity"]["reached"] >= 0.9
