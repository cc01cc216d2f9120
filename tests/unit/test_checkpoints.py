"""Where checkpoints are looked for, and what is said where one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import released

from synobench import checkpoints
from synobench.errors import BenchError, ContractError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the variable names; the cache lies beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNOBENCH_CHECKPOINTS", str(tmp_path / "named"))
    return tmp_path / "named"


def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".cache" / "synobench" / "checkpoints"


def test_the_variable_names_the_folder_and_the_cache_stands_in(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpoints.folder() == folder
    monkeypatch.delenv("SYNOBENCH_CHECKPOINTS")
    assert checkpoints.folder() == cache(tmp_path)


def test_a_file_is_found_by_each_of_its_names_the_named_folder_first(folder: Path, tmp_path: Path) -> None:
    entry = released.entry()
    assert checkpoints.find(entry) is None
    kept = released.write(cache(tmp_path))
    assert checkpoints.find(entry) == checkpoints.bring(entry, offline=True) == kept
    other = released.write(folder)
    assert checkpoints.find(entry) == other
    public = released.write(folder, "tiny.pth.tar")
    assert checkpoints.find(entry) == public


def test_offline_a_missing_file_is_one_line_with_variable_and_address(folder: Path) -> None:
    with pytest.raises(BenchError) as told:
        checkpoints.bring(released.entry(), offline=True)
    assert str(told.value) == (
        f"offline, and checkpoint tiny is not in {folder}: it lacks tiny.pth.tar; "
        f"let SYNOBENCH_CHECKPOINTS name the folder that holds it, or get it at {released.ADDRESS}"
    )


def test_where_no_address_delivers_the_line_names_them_all(folder: Path) -> None:
    with pytest.raises(BenchError) as told:
        checkpoints.bring(released.entry())
    line = str(told.value)
    assert "\n" not in line
    assert line.startswith("no mirror delivered tiny.pth.tar")
    assert line.endswith(f"its addresses: {released.ADDRESS}; SYNOBENCH_CHECKPOINTS may name another folder")


def test_a_file_where_the_folder_should_be_is_told(folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(BenchError, match=r"is a file; let SYNOBENCH_CHECKPOINTS name a folder$"):
        checkpoints.folder()


def test_the_line_of_a_list_says_what_is_here_and_under_which_licence(folder: Path) -> None:
    assert checkpoints.describe(released.entry()) == "absent (download: 10.0 kB); licence: not stated"
    size = released.write(folder).stat().st_size
    said = checkpoints.describe(released.entry(license="MIT"))
    assert said == f"present (tiny.safetensors, {size / 1e3:.1f} kB); licence: MIT"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"mean": (0.1, 0.2)}, "needs as many of mean as of std"),
        ({"mean": (), "std": ()}, "needs as many of mean as of std"),
        ({"std": (0.0,)}, "each std above 0"),
        ({"digest": "3b5a"}, "must be sha256:hex, not '3b5a'"),
    ],
)
def test_an_entry_that_cannot_be_right_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ContractError, match=told):
        released.entry(**fields)
