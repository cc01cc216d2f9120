"""Where a data set lies: the data folder, layouts, status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synobench import layouts
from synobench.entries import DatasetEntry, Layout, RemoteFile
from synobench.errors import BenchError

FILES = Layout("files", ("set/a", "set/b"))
TREE = Layout("tree", ("tree/list",), (("tree/*/x*.png", 3),))


def entry(**changes: object) -> DatasetEntry:
    facts: dict[str, object] = {
        "summary": "s",
        "shape": (1, 2, 2),
        "classes": 2,
        "train": 4,
        "test": 2,
        "validation": 1,
        "mean": (0.5,),
        "std": (0.5,),
        "digest": None,
        "split": "",
        "license": "MIT",
        "files": (RemoteFile("set/a", (), "", 2_000_000), RemoteFile("set/b", (), "", 1_500)),
        "layouts": (FILES, TREE),
    }
    return DatasetEntry("toy", **(facts | changes))  # type: ignore[arg-type]


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")


def test_argument_beats_environment_beats_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SYNOBENCH_DATA", raising=False)
    assert layouts.data_folder() == tmp_path / ".cache" / "synobench" / "data"
    assert layouts.data_folder("~/x") == tmp_path / "x"
    monkeypatch.setenv("SYNOBENCH_DATA", str(tmp_path / "env"))
    assert layouts.data_folder() == tmp_path / "env"
    assert layouts.data_folder(tmp_path / "arg") == tmp_path / "arg"
    monkeypatch.setenv("SYNOBENCH_DATA", "")
    assert layouts.data_folder() == tmp_path / ".cache" / "synobench" / "data"


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    put(tmp_path, "data")
    with pytest.raises(BenchError, match="is a file"):
        layouts.data_folder(tmp_path / "data")


def test_the_first_complete_layout_is_found(tmp_path: Path) -> None:
    put(tmp_path, "set/a", "tree/list", "tree/1/x1.png", "tree/1/x2.png")
    assert layouts.find_layout((FILES, TREE), tmp_path) is None
    assert layouts.missing_from(FILES, tmp_path) == ["set/b"]
    assert layouts.missing_from(TREE, tmp_path) == ["tree/*/x*.png (2 of 3)"]
    put(tmp_path, "tree/2/x1.png")
    assert layouts.find_layout((FILES, TREE), tmp_path) == TREE
    put(tmp_path, "set/b")
    assert layouts.find_layout((FILES, TREE), tmp_path) == FILES


def test_an_absent_set_is_told_with_its_files_and_command(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"toy is not in .* lacks set/a, set/b; .*data fetch toy --data ") as caught:
        layouts.need_layout("toy", (FILES, TREE), tmp_path)
    assert "\n" not in str(caught.value)


def test_command_names_only_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNOBENCH_DATA", str(tmp_path))
    assert layouts.fetch_command("toy", tmp_path) == "synobench data fetch toy"
    assert layouts.fetch_command("toy", tmp_path / "b") == f"synobench data fetch toy --data {tmp_path / 'b'}"


def test_downloads_are_the_layout_of_an_entry_without_one(tmp_path: Path) -> None:
    plain = entry(layouts=())
    assert [layout.files for layout in layouts.layouts_of(plain)] == [("set/a", "set/b")]
    assert layouts.status(entry(layouts=(), files=()), tmp_path).state == "present"


def test_status_goes_from_absent_over_partial_to_present(tmp_path: Path) -> None:
    assert layouts.describe(entry(), tmp_path) == "absent (download: 2.0 MB); licence: MIT"
    put(tmp_path, "set/a")
    assert layouts.status(entry(), tmp_path) == layouts.Status("partial", "files", 5, ("set/b",))
    assert layouts.describe(entry(), tmp_path) == "partial (files, 0.0 kB; lacks set/b); licence: MIT"
    put(tmp_path, "tree/list", "tree/1/x1.png", "tree/1/x2.png")
    assert layouts.status(entry(), tmp_path).layout == "tree"
    put(tmp_path, "tree/1/x3.png")
    assert layouts.status(entry(license=""), tmp_path) == layouts.Status("present", "tree", 20)
    assert layouts.describe(entry(license=""), tmp_path) == "present (tree, 0.0 kB); licence: not stated"


def test_a_broken_download_counts_as_partial(tmp_path: Path) -> None:
    put(tmp_path, "set/a.part")
    assert layouts.status(entry(), tmp_path) == layouts.Status("partial", "files", 5, ("set/a", "set/b"))


def test_status_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, numpy=None)\n"
        "from pathlib import Path; import synobench_datasets as plugin; from synobench.layouts import describe\n"
        "print(*(describe(e, Path('/nowhere')) for e in plugin.synobench_datasets()), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("absent") == 5
