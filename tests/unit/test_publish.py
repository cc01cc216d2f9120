"""Writing a board's files, and finding the committed ones stale."""

from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.board.publish import Drift, check, publish, render, slug
from synobench.entries import RendererEntry
from synobench.errors import BenchError
from synobench.testing.records import make_record


def first(board: Any) -> Any:
    return f"{board.suite.name} {len(board.runs)}\nsecond line\n"


def listed(board: Any) -> Any:
    return "".join(f"{network.label}\n" for network in board.networks)


def broken(board: Any) -> None:
    raise ZeroDivisionError("no\nnetwork")


def renderer(name: Any, run: Any = first, file: Any = None, **more: Any) -> Any:
    return RendererEntry(name, summary="a file", file=file or f"{name}.txt", run=run, **more)


def board_of(*records: Any, name: Any = "demo") -> Any:
    suite = SuiteFacts(name, "1.0", "?", "c", {"c": "n"})
    return build_board(suite, records, {"c": lambda _: {"n": 1.0}})


BOARD = board_of(make_record(), make_record(dataset="mnist"))
PAIR = [renderer("a"), renderer("page", committed=False)]


def test_files_go_where_they_belong(tmp_path: Any) -> None:
    written = publish(BOARD, PAIR, tmp_path / "boards", tmp_path / "site")

    assert written == [tmp_path / "boards/demo/a.txt", tmp_path / "site/demo/page.txt"]
    assert written[0].read_bytes() == b"demo 2\nsecond line\n"
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.txt", "page.txt"]


def test_without_a_site_nothing_is_built_there(tmp_path: Any) -> None:
    assert publish(BOARD, PAIR, tmp_path) == [tmp_path / "demo/a.txt"]


def test_the_same_bytes_are_not_written_again(tmp_path: Any) -> None:
    publish(BOARD, PAIR, tmp_path)
    before = (tmp_path / "demo/a.txt").stat().st_mtime_ns

    assert publish(BOARD, PAIR, tmp_path) == []
    assert (tmp_path / "demo/a.txt").stat().st_mtime_ns == before


def test_a_fresh_board_is_not_stale(tmp_path: Any) -> None:
    publish(BOARD, PAIR, tmp_path)
    drift = check(BOARD, PAIR, tmp_path)

    assert (drift.compared, drift.stale, drift.code) == (1, (), 0)


def test_a_changed_file_is_stale_with_its_diff(tmp_path: Any) -> None:
    publish(BOARD, PAIR, tmp_path)
    (tmp_path / "demo/a.txt").write_text("demo 3\nsecond line\n")
    drift = check(BOARD, PAIR, tmp_path)

    assert drift.code == 1
    ((name, diff),) = drift.stale
    assert name == "a.txt"
    assert diff.splitlines() == [
        "--- committed/a.txt",
        "+++ rebuilt/a.txt",
        "@@ -1,2 +1,2 @@",
        "-demo 3",
        "+demo 2",
        " second line",
    ]


@pytest.mark.parametrize("data", [b"demo 2\r\nsecond line\r\n", b"demo 2\nsecond line"])
def test_line_ends_alone_make_a_file_stale(tmp_path: Any, data: Any) -> None:
    publish(BOARD, PAIR, tmp_path)
    (tmp_path / "demo/a.txt").write_bytes(data)

    assert check(BOARD, PAIR, tmp_path).code == 1


def test_a_missing_file_is_stale(tmp_path: Any) -> None:
    publish(BOARD, PAIR, tmp_path)
    drift = check(BOARD, [*PAIR, renderer("b")], tmp_path)

    assert (drift.compared, drift.code, [name for name, _ in drift.stale]) == (2, 1, ["b.txt"])
    assert "--- /dev/null" in drift.stale[0][1]


def test_nothing_committed_or_nothing_run_compares_nothing(tmp_path: Any) -> None:
    assert check(BOARD, PAIR, tmp_path).code == 3
    publish(BOARD, PAIR, tmp_path)
    assert check(board_of(), PAIR, tmp_path).code == 3
    assert check(BOARD, [PAIR[1]], tmp_path).code == 3


def test_a_file_a_network() -> None:
    files = render(BOARD, [renderer("net", listed, "net-{network}.txt")])

    assert [(file.name, file.data.decode()) for file in files] == [
        ("net-digits-snn-conv.txt", "digits / snn-conv\n"),
        ("net-mnist-snn-conv.txt", "mnist / snn-conv\n"),
    ]


@pytest.mark.parametrize("file", ["../up.txt", "a/b.txt", ".hidden", "/etc/x"])
def test_files_stay_in_their_folder(tmp_path: Any, file: Any) -> None:
    with pytest.raises(BenchError, match="not a plain file name"):
        publish(BOARD, [renderer("bad", file=file)], tmp_path)
    with pytest.raises(BenchError, match="no name for a folder"):
        publish(board_of(name=file), PAIR, tmp_path)


def test_two_renderers_may_not_write_one_file() -> None:
    with pytest.raises(BenchError, match=r"'a' and 'b' both write same\.txt"):
        render(BOARD, [renderer("b", file="same.txt"), renderer("a", file="same.txt")])


def test_a_broken_renderer_is_named_and_leaves_no_file(tmp_path: Any) -> None:
    with pytest.raises(BenchError, match="renderer 'z' fails on the board of demo: ZeroDivisionError: no network"):
        publish(BOARD, [renderer("a"), renderer("z", broken)], tmp_path)
    with pytest.raises(BenchError, match="returns a int, not text"):
        render(BOARD, [renderer("number", lambda board: len(board.runs))])
    assert list(tmp_path.iterdir()) == []


def test_slugs() -> None:
    assert [slug(text) for text in ("mnist / snn-conv[a=1]", "../..", "A.B")] == [
        "mnist-snn-conv-a-1",
        "unnamed",
        "a.b",
    ]


def test_a_picture_may_be_bytes_where_it_is_built(tmp_path: Any) -> None:
    entry = renderer("plot", lambda _: b"%PDF\xff", "plot.pdf", committed=False)

    (path,) = publish(BOARD, [entry], tmp_path / "boards", tmp_path / "site")
    assert path.read_bytes() == b"%PDF\xff"
    with pytest.raises(BenchError, match="'plot' returns bytes; what is committed is text"):
        render(BOARD, [renderer("plot", lambda _: b"%PDF", "plot.pdf")])


def test_a_file_that_a_board_has_no_more_is_taken_away(tmp_path: Any) -> None:
    pair = [renderer("a"), renderer("gone", lambda _: None)]
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/gone.txt").write_text("old\n")

    drift = check(BOARD, pair, tmp_path)
    assert [name for name, _ in drift.stale] == ["a.txt", "gone.txt"]
    assert drift.stale[1][1].splitlines()[:2] == ["--- committed/gone.txt", "+++ /dev/null"]
    assert publish(BOARD, pair, tmp_path) == [tmp_path / "demo/a.txt"]
    assert not (tmp_path / "demo/gone.txt").exists()
    assert check(BOARD, pair, tmp_path) == Drift(1, ())
