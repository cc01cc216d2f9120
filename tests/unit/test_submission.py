"""A suite's records together: strange files, missing seeds, and what was changed since the merge base."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from synobench import cli
from synobench.errors import BenchError
from synobench.registry import Registry
from synobench.store import Store
from synobench.submission import changed_since, missing_seeds, strangers
from synobench.testing.records import make_record


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a git work tree with two records of a suite and a replay, committed on main, and a branch."""
    git(tmp_path, "init", "-q", "-b", "main")
    store = Store(tmp_path / "leaderboards")
    for seed in (0, 1, 0):
        store.add(make_record(seed=seed), b"vectors")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "records")
    git(tmp_path, "checkout", "-q", "-b", "submission")
    return tmp_path


def records(repository: Path) -> list[Path]:
    return Store(repository / "leaderboards").paths("demo")


def inputs(**told: Any) -> dict[str, Any]:
    found: dict[str, Any] = make_record(**told)["inputs"]
    return found


def test_what_is_only_added_holds(repository: Path) -> None:
    Store(repository / "leaderboards").add(make_record(seed=2), b"vectors")
    assert changed_since(repository / "leaderboards", "main") == []
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "one more")
    assert changed_since(repository / "leaderboards", "main") == []


def test_what_was_changed_deleted_or_replaced_is_told_whether_committed_or_not(repository: Path) -> None:
    first, second = records(repository)
    first.write_text(first.read_text().replace('"hits": 150', '"hits": 151'))
    second.unlink()
    git(repository, "commit", "-q", "-a", "-m", "better figures")
    (replay,) = (repository / "leaderboards" / "replays").rglob("*.json")
    replay.unlink()
    replay.symlink_to(first)
    told = changed_since(repository / "leaderboards", "main")
    found = {line.split(": it was ")[0].rsplit("/", 1)[1]: line for line in told}
    assert found.keys() == {first.name, second.name, replay.name}
    assert "it was changed since" in found[first.name]
    assert "it was deleted since" in found[second.name]
    assert "it was replaced by something else since" in found[replay.name]


def test_a_moved_record_counts_as_deleted(repository: Path) -> None:
    first, _ = records(repository)
    git(repository, "mv", str(first), str(first.with_name("elsewhere.json")))
    (told,) = changed_since(repository / "leaderboards", "main")
    assert f"{first.name}: it was deleted" in told


def test_what_main_gained_meanwhile_is_nobody_s_deletion(repository: Path) -> None:
    git(repository, "checkout", "-q", "main")
    Store(repository / "leaderboards").add(make_record(seed=7), b"vectors")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "meanwhile")
    git(repository, "checkout", "-q", "submission")
    assert changed_since(repository / "leaderboards", "main") == []


def test_an_unknown_revision_and_a_folder_without_git_are_mistakes(repository: Path, tmp_path_factory: Any) -> None:
    with pytest.raises(BenchError, match=r"git cannot compare .* Not a valid object name nowhere"):
        changed_since(repository / "leaderboards", "nowhere")
    with pytest.raises(BenchError, match="not a git repository"):
        changed_since(tmp_path_factory.mktemp("bare"), "main")


def test_verify_tells_of_it_with_exit_code_1_and_of_a_wrong_revision_with_2(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records(repository)[0].with_suffix(".ledger").write_bytes(b"other")
    place = f"--leaderboards={repository / 'leaderboards'}"
    assert cli.main(["verify", place, "--base=main"]) == 1
    assert ".ledger: it was changed since" in capsys.readouterr().out
    assert cli.main(["verify", place, "--base=nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_lies_among_records_and_is_none_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.add(make_record(), b"vectors")
    assert list(strangers(store, "demo")) == []
    suite = tmp_path / "records" / "demo"
    (suite / "notes.txt").write_text("hello")
    shutil.copy(path, suite / path.name)
    (suite / "ab" / "cd").mkdir(parents=True)
    shutil.copy(path, suite / "ab" / "cd" / path.name)
    path.with_name("orphan.ledger").write_bytes(b"vectors")
    (suite / "link").symlink_to(tmp_path)
    told = [line.split(": ")[0] for line in strangers(store, "demo")]
    strange = ["notes.txt", path.name, f"ab/cd/{path.name}", f"{path.parent.name}/orphan.ledger", "link"]
    assert told == sorted(str(suite / name) for name in strange)


def test_each_entry_has_every_seed_of_its_suite(registry: Registry) -> None:
    whole = [inputs(seed=seed) for seed in range(5)]
    assert list(missing_seeds("sparsity", whole, registry)) == []
    (told,) = missing_seeds("sparsity", [*whole[:2], whole[4]], registry)
    assert told.startswith("digits/snn-conv")
    assert told.endswith("lacks seed 2, 3; the suite asks for all of its seeds")
    assert "magnitude" in told
    assert "90" in told


def test_each_target_pruner_and_budget_is_held_apart(registry: Registry) -> None:
    whole = [inputs(seed=seed) for seed in range(5)]
    other = [inputs(seed=seed, target=0.5) for seed in range(1, 5)]
    third = [inputs(seed=seed, pruner="random") for seed in range(4)]
    assert len(list(missing_seeds("sparsity", whole + other + third, registry))) == 2


def test_a_suite_that_nobody_registered_asks_for_the_seeds_that_it_has(registry: Registry) -> None:
    some = [inputs(seed=seed) for seed in (3, 9)]
    assert list(missing_seeds("mine", some, registry)) == []
    (told,) = missing_seeds("mine", [*some, inputs(seed=3, target=0.5)], registry)
    assert "lacks seed 9" in told


def test_twins_may_stand_at_one_seed_alone(registry: Registry) -> None:
    twin = inputs(pruner={"name": "random", "params": {"allocation": [3, 4]}})
    assert list(missing_seeds("sparsity", [twin], registry)) == []
