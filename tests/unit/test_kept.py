"""The cache of what was computed: it gives back what was put, or nothing, and never fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from synobench.kept import Kept

Open = Callable[..., Kept]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "boards" / "demo.sqlite"


def filled(path: Path, salt: str = "salt", **held: bytes) -> dict[str, bytes]:
    kept = Kept(path, salt)
    keys = {name: kept.key(name) for name in held}
    for name, data in held.items():
        kept.put(keys[name], data)
    kept.save()
    kept.close()
    return keys


def test_what_was_put_is_found_by_the_next(path: Path) -> None:
    keys = filled(path, a=b"one", b=b"")
    kept = Kept(path, "salt")
    assert (kept.find(keys["a"]), kept.find(keys["b"]), kept.find(kept.key("c"))) == (b"one", b"", None)


def test_what_was_put_is_found_before_it_is_saved(path: Path) -> None:
    kept = Kept(path, "salt")
    for i in range(5000):  # more than are held at once
        kept.put(kept.key(str(i)), b"%d" % i)
    assert [kept.find(kept.key(str(i))) for i in (0, 1999, 2000, 4999)] == [b"0", b"1999", b"2000", b"4999"]


def test_what_was_not_saved_is_lost(path: Path) -> None:
    kept = Kept(path, "salt")
    kept.put(kept.key("a"), b"one")
    kept.close()
    assert kept.find(kept.key("b")) is None
    assert Kept(path, "salt").find(kept.key("a")) is None


def test_a_key_tells_its_parts_and_its_salt_apart(path: Path) -> None:
    kept, other = Kept(path, "salt"), Kept(path, "pepper")
    keys = [kept.key("ab", "c"), kept.key("a", "bc"), kept.key("abc"), kept.key("abc", ""), other.key("abc")]
    assert len(set(keys)) == len(keys)
    assert kept.key("abc") == kept.key(b"abc")
    assert kept.key("\ud800")


def test_a_text_is_made_once(path: Path) -> None:
    made: list[str] = []

    def make() -> str:
        made.append("x")
        return "text \ud800 ü"

    for _ in range(3):
        kept = Kept(path, "salt")
        assert kept.text(kept.key("a"), make) == "text \ud800 ü"
        kept.save()
        kept.close()
    assert made == ["x"]


@pytest.mark.parametrize("damage", [b"", b"no database at all", b"SQLite format 3\x00" + bytes(500)])
def test_a_damaged_file_is_made_anew(path: Path, damage: bytes) -> None:
    filled(path, a=b"one")
    path.write_bytes(damage)
    kept = Kept(path, "salt")
    assert kept.find(kept.key("a")) is None
    kept.close()
    keys = filled(path, a=b"two")
    assert Kept(path, "salt").find(keys["a"]) == b"two"


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_no_byte_of_a_damaged_file_is_taken_for_sound(path: Path, place: float) -> None:
    held = {f"n{i}": bytes([i]) * 3000 for i in range(40)}
    keys = filled(path, **held)
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    data[start : start + 6000] = b"\xa5" * 6000
    path.write_bytes(bytes(data))
    kept = Kept(path, "salt")
    found = {name: kept.find(key) for name, key in keys.items()}
    assert all(data in (None, held[name]) for name, data in found.items())
    assert None in found.values()


def test_a_row_of_other_data_is_not_taken(path: Path) -> None:
    keys = filled(path, a=b"one")
    with sqlite3.connect(path) as file:
        file.execute("UPDATE kept SET data = ?", (b"two",))
    file.close()
    assert Kept(path, "salt").find(keys["a"]) is None
    with sqlite3.connect(path) as file:
        file.execute("UPDATE kept SET data = 'text'")
    file.close()
    assert Kept(path, "salt").find(keys["a"]) is None


def test_without_a_folder_to_write_in_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    kept = Kept(tmp_path / "cache" / "demo.sqlite", "salt")
    kept.put(kept.key("a"), b"one")
    kept.save()
    assert (tmp_path / "cache").read_text() == "a file"


def test_a_file_that_cannot_be_written_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = filled(path, a=b"one")
    before, connect = path.read_bytes(), sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda p, **k: connect(f"file:{p}?mode=ro", uri=True, **k))
    kept = Kept(path, "salt")
    kept.put(kept.key("b"), b"two")
    kept.save()
    assert kept.find(keys["a"]) == b"one"
    kept.close()
    assert path.read_bytes() == before


def test_while_another_writes_nothing_is_written_and_nothing_is_lost(path: Path) -> None:
    keys = filled(path, a=b"one")
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    kept = Kept(path, "salt")
    kept.put(kept.key("b"), b"two")
    kept.save()
    kept.close()
    other.rollback()
    other.close()
    assert Kept(path, "salt").find(keys["a"]) == b"one"


def test_two_at_a_time_both_find_what_they_had(path: Path) -> None:
    keys = filled(path, a=b"one")
    first, second = Kept(path, "salt"), Kept(path, "salt")
    first.put(first.key("b"), b"two")
    assert second.find(keys["a"]) == b"one"
    first.save()
    second.put(second.key("c"), b"three")
    second.save()
    kept = Kept(path, "salt")
    assert [kept.find(kept.key(name)) for name in "abc"] == [b"one", b"two", b"three"]


def test_what_nothing_asks_for_goes(path: Path) -> None:
    filled(path, **{f"old{i}": b"x" for i in range(3000)})
    keys = filled(path, "other salt", **{f"new{i}": b"y" for i in range(10)})
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM kept").fetchone()[0] == 10
    file.close()
    kept = Kept(path, "other salt")
    assert all(kept.find(key) == b"y" for key in keys.values())
