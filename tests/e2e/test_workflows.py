"""The commands of the public workflows, run as they stand there: each job in clones of this repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import Bench

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"

pytestmark = pytest.mark.slow


def commands(workflow: str) -> list[str]:
    """Return the commands of a workflow's steps, in order."""
    text = (WORKFLOWS / f"{workflow}.yml").read_text()
    return [line.strip() for line in re.findall(r"^ +(?:- )?run: (.+)$", text, re.MULTILINE)]


def clone(target: Path) -> Path:
    """Return a clone of what is committed, with the work tree's own sources and boards on top, committed too."""
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(target)], check=True)
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0"):
        source, copy = ROOT / name, target / name
        if name:
            copy.unlink(missing_ok=True)
        if name and source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    git(target, "add", "-A")
    git(target, "commit", "-q", "--allow-empty", "-m", "as it stands")
    return target


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the programs of an environment of its own, in which everything that the tests have is there already."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    inherited = "\n".join(path for path in sys.path if path.endswith("site-packages"))
    (site,) = (folder / "lib").glob("python3*/site-packages")
    (site / "inherited.pth").write_text(inherited + "\n")
    yield folder / "bin"
    shutil.rmtree(folder)


def shell(command: str, folder: Path, python: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a workflow does: bash, stopping at the first error."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("SYNOBENCH_", "PYTHONPATH"))}
    place = {"PATH": f"{python}:{usual['PATH']}", "SYNOBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    line = ["bash", "-eo", "pipefail", "-c", command]
    return subprocess.run(line, cwd=folder, env={**usual, **place, **more}, capture_output=True, text=True, check=False)


def through(workflow: str, folder: Path, python: Path, **more: str) -> list[subprocess.CompletedProcess[str]]:
    """Run every step of a workflow in turn; what installs must succeed."""
    done = []
    for command in commands(workflow):
        found = shell(command, folder, python, **more)
        assert "pip install" not in command or found.returncode == 0, found.stdout + found.stderr
        done.append(found)
    return done


def codes(done: list[subprocess.CompletedProcess[str]]) -> list[int]:
    return [found.returncode for found in done if "pip install" not in str(found.args)]


def test_every_workflow_is_run_here() -> None:
    assert {path.stem for path in WORKFLOWS.glob("*.yml")} == {"boards", "ci", "replay", "submission"}
    assert all(commands(path.stem) for path in WORKFLOWS.glob("*.yml"))


def test_the_token_can_read_and_no_more() -> None:
    for path in WORKFLOWS.glob("*.yml"):
        text = path.read_text()
        assert text.count("permissions:") == 1
        assert "permissions:\n  contents: read\n" in text
        assert "pull_request_target" not in text


def test_boards_that_are_not_what_their_records_give_fail(tmp_path: Path, python: Path) -> None:
    folder = clone(tmp_path / "clone")
    assert codes(through("boards", folder, python)) == [0, 0, 0]
    (board,) = (folder / "leaderboards" / "boards" / "sparsity").glob("board.csv")
    board.write_text(board.read_text().replace("magnitude", "magic", 1))
    check = commands("boards").index("synobench board --check")
    done = shell(commands("boards")[check], folder, python)
    assert done.returncode == 1
    assert "magic" in done.stdout


def test_a_submission_is_verified_by_the_bench_that_it_goes_into(tmp_path: Path, python: Path) -> None:
    trusted = clone(tmp_path / "trusted")
    git(trusted, "branch", "-M", "main")
    subprocess.run(["git", "clone", "-q", str(trusted), str(tmp_path / "submitted")], check=True)
    submitted = tmp_path / "submitted"
    summary = tmp_path / "summary.md"
    more = {"GITHUB_BASE_REF": "main", "GITHUB_STEP_SUMMARY": str(summary)}
    assert codes(through("submission", tmp_path, python, **more)) == [0, 0, 0]
    assert "195" in summary.read_text()
    assert "same" in summary.read_text()
    record = sorted((submitted / "leaderboards" / "records" / "sparsity").rglob("*.json"))[0]
    told = json.loads(record.read_text())
    told["outcome"]["test"]["top1"]["hits"] += 1
    record.write_text(json.dumps(told))
    # It could have silenced its own copy: that one is not asked.
    (submitted / "bench" / "synobench" / "verify.py").write_text("def verify_suite(*_):\n    return 1, []\n")
    verify = next(i for i, command in enumerate(commands("submission")) if command.startswith("synobench verify"))
    done = shell(commands("submission")[verify], tmp_path, python, **more)
    assert done.returncode == 1
    assert "top1 claims" in done.stdout
    assert "records are append-only" in done.stdout
    compared = shell(commands("submission")[-1], tmp_path, python, **more)
    assert compared.returncode == 2
    assert "its mask holds" in compared.stderr


def test_a_sample_is_replayed(tmp_path: Path, python: Path) -> None:
    folder = clone(tmp_path / "clone")
    # Records of a suite that needs no download, made by this bench a moment ago.
    made = Bench(tmp_path / "made")
    made(
        "run",
        "quickstart",
        "--executor",
        "inline",
        "--only",
        "*mlp*/none/*seed=0",
        "--only",
        "*mlp*/magnitude/*0.5/seed=0",
    )
    done = through("replay", folder, python, SYNOBENCH_LEADERBOARDS=str(made.store))
    assert codes(done) == [0], done[-1].stdout + done[-1].stderr
    assert done[-1].stdout.count("identical, image by image") == 2
