"""Where a record came from, and that it names nobody."""

from __future__ import annotations

import getpass
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import synobench
from synobench import provenance
from synobench.errors import BenchError

DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What is cached for a process is asked anew by each test."""
    for cached in (provenance._code, provenance._libraries):
        cached.cache_clear()
    yield
    for cached in (provenance._code, provenance._libraries):
        cached.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    identity = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.hooksPath=/nowhere",
    ]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a module that git tracks, one that it does not, and a file outside of both source roots."""
    for name in ("bench/pack/tracked.py", "plugins/other/__init__.py", "README"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_what_is_gathered_is_plain_and_complete() -> None:
    gathered = provenance.gather({"magnitude": ("synobench", "0.1", "sha256:ab")}, threads=2)
    assert json.loads(json.dumps(gathered)) == gathered
    assert set(gathered) == {"code", "plugins", "python", "libraries", "device", "threads", "allocator"}
    assert set(gathered["code"]) == {"version", "commit", "dirty"}
    assert gathered["plugins"] == {"magnitude": {"distribution": "synobench", "version": "0.1", "digest": "sha256:ab"}}
    assert gathered["python"] == platform.python_version()
    assert gathered["threads"] == 2
    import torch

    assert gathered["libraries"]["torch"] == torch.__version__
    assert "numpy" in gathered["libraries"]
    assert set(gathered["device"]) == {"cpu", "cores", "memory_gib", "kernel"}


def test_no_host_user_path_or_secret_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone-secret")
    monkeypatch.setenv("API_TOKEN", "token-secret")
    monkeypatch.setattr(platform, "node", lambda: "host-secret")
    plugins = {
        "mine": ("/home/someone-secret/mine.py", "", "sha256:ab"),
        "his": ("C:\\secret\\his.py", "", "sha256:ab"),
    }
    gathered = provenance.gather(plugins)
    text = json.dumps(gathered)
    for name in ("secret", str(Path(provenance.__file__).parent), sys.prefix):
        assert name not in text
    for name in (socket.gethostname(), os.uname().nodename, getpass.getuser()):
        assert f'"{name}"' not in text
    assert gathered["plugins"]["mine"]["distribution"] == "mine.py"
    assert gathered["plugins"]["his"]["distribution"] == "his.py"


def test_the_allocator_settings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "7")
    allocator = provenance.gather({})["allocator"]
    assert allocator["MALLOC_MMAP_THRESHOLD_"] == "7"
    assert "MALLOC_TRIM_THRESHOLD_" not in allocator


def test_a_library_that_is_absent_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "LIBRARIES", ("numpy", "no-such-library-of-all"))
    assert set(provenance.gather({})["libraries"]) == {"numpy"}


def test_a_clean_checkout_is_known_by_its_commit(checkout: Path) -> None:
    known = provenance._checkout(checkout / "bench/pack/tracked.py")
    assert known == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ("bench/pack/tracked.py", True),
        ("bench/pack/fresh.py", True),
        ("plugins/other/__init__.py", True),
        ("README", False),
        ("leaderboards/new.json", False),
    ],
)
def test_only_changed_source_is_dirty(checkout: Path, changed: str, dirty: bool) -> None:
    path = checkout / changed
    path.parent.mkdir(exist_ok=True)
    path.write_text("x = 2\n")
    assert provenance._checkout(checkout / "bench/pack/tracked.py")["dirty"] is dirty


def test_an_environment_inside_somebodys_repository_is_no_checkout(checkout: Path) -> None:
    installed = checkout / ".venv/lib/synobench/provenance.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert provenance._checkout(installed) == {"commit": None, "dirty": None}


def test_without_git_there_is_no_commit(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    assert provenance._checkout(checkout / "bench/pack/tracked.py") == {"commit": None, "dirty": None}


def test_asking_git_changes_nothing(checkout: Path) -> None:
    os.utime(checkout / "bench/pack/tracked.py", (1, 1))
    before = (checkout / ".git/index").read_bytes()
    provenance._checkout(checkout / "bench/pack/tracked.py")
    assert (checkout / ".git/index").read_bytes() == before


def test_a_hooks_environment_does_not_mislead_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert provenance._checkout(checkout / "bench/pack/tracked.py")["commit"] is not None


def test_the_version_is_the_installed_one() -> None:
    assert provenance.gather({})["code"]["version"] == importlib.metadata.version("synobench")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package with a module, a table and what is no source."""
    root = tmp_path / "digest_me"
    (root / "inner").mkdir(parents=True)
    for name, text in {"__init__.py": "", "inner/a.py": "a = 1", "suite.toml": "x = 1", "notes.md": "no"}.items():
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return root


def test_a_package_has_one_digest_however_it_is_named(package: Path) -> None:
    spec = importlib.util.find_spec("digest_me")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    digest = provenance.source_digest(package)
    assert DIGEST.match(digest)
    named = [provenance.source_digest(n) for n in ("digest_me", "digest_me.inner.a", str(package))]
    assert {digest, *named, provenance.source_digest(module)} == {digest}
    assert "digest_me" not in sys.modules


@pytest.mark.parametrize(
    ("name", "text", "moves"),
    [
        ("inner/a.py", "a = 2", True),
        ("suite.toml", "x = 2", True),
        ("inner/b.py", "", True),
        ("notes.md", "other", False),
        ("inner/a.pyc", "", False),
    ],
)
def test_the_digest_moves_with_source_alone(package: Path, name: str, text: str, moves: bool) -> None:
    before = provenance.source_digest(package)
    (package / name).write_text(text)
    assert (provenance.source_digest(package) != before) is moves


def test_a_renamed_file_moves_the_digest_and_another_folder_does_not(package: Path, tmp_path: Path) -> None:
    before = provenance.source_digest(package)
    moved = package.rename(tmp_path / "elsewhere")
    assert provenance.source_digest(moved) == before
    (moved / "inner/a.py").rename(moved / "inner/b.py")
    assert provenance.source_digest(moved) != before


def test_a_single_file_counts_alone(package: Path) -> None:
    before = provenance.source_digest(package / "inner/a.py")
    (package / "inner/b.py").write_text("b = 1")
    assert provenance.source_digest(str(package / "inner/a.py")) == before
    (package / "inner/a.py").write_text("a = 3")
    assert provenance.source_digest(package / "inner/a.py") != before


def test_a_module_of_the_bench_stands_for_the_bench() -> None:
    assert provenance.source_digest(provenance) == provenance.source_digest(Path(str(synobench.__file__)).parent)


@pytest.mark.parametrize("source", ["no_such_package_at_all", Path("/no/such/file.py"), "/no/such/folder"])
def test_what_is_not_there_has_no_digest(source: str | Path) -> None:
    with pytest.raises(BenchError, match="no source"):
        provenance.source_digest(source)


def test_nothing_here_imports_torch() -> None:
    code = """if True:
        import sys
        from synobench import provenance
        provenance.gather({}); provenance.source_digest("synobench"); provenance.source_digest("torch")
        print([m for m in ("torch", "numpy") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
