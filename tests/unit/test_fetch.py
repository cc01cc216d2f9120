"""Downloads against a local server: mirrors, resume, kills, offline."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from synobench.data import open_dataset
from synobench.entries import DatasetEntry, Layout, RemoteFile
from synobench.errors import BenchError
from synobench.fetch import fetch, verified

BODY = bytes(range(256)) * 4096
HALF = len(BODY) // 2
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    """Answers ``/behaviour/name`` in the way named, and notes what was asked."""

    asked: list[tuple[str, str | None]]
    release: threading.Event

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        getattr(self, self.path.split("/")[1])()

    def log_message(self, *_: object) -> None:
        pass

    def send(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def good(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start >= len(BODY):
            self.send(b"", 416)
        elif start:
            self.send(BODY[start:], 206, Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        else:
            self.send(BODY)

    def rangeless(self) -> None:
        self.send(BODY)

    def shifted(self) -> None:
        self.send(BODY[7:], 206, Content_Range=f"bytes 7-{len(BODY) - 1}/{len(BODY)}")

    def missing(self) -> None:
        self.send(b"<html>not here</html>", 404)

    def page(self) -> None:
        self.send(b"<html>please log in</html>".ljust(len(BODY)), Content_Type="text/html; charset=utf-8")

    def bare_page(self) -> None:
        self.send(b"\n<!DOCTYPE html>please log in".ljust(len(BODY)), Content_Type="application/gzip")

    def wrong(self) -> None:
        self.send(b"x" * len(BODY))

    def short(self) -> None:
        self.send(BODY[:-1])

    def truncated(self) -> None:
        self.send(BODY[:HALF], length=len(BODY))

    def hangup(self) -> None:
        self.close_connection = True

    def halting(self) -> None:
        self.send(BODY[:HALF], length=len(BODY))
        self.release.wait(20)


Asked = Callable[[], list[tuple[str, str | None]]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Handler]]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("Fresh", (Handler,), {"asked": [], "release": threading.Event()})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}", handler
    handler.release.set()
    running.shutdown()
    thread.join()
    running.server_close()


def entry(*files: RemoteFile, layouts: tuple[Layout, ...] = ()) -> DatasetEntry:
    return DatasetEntry(
        "toy",
        summary="s",
        run=lambda _: None,
        shape=(1, 1, 1),
        classes=1,
        train=1,
        test=1,
        validation=0,
        mean=(0.5,),
        std=(0.5,),
        digest=None,
        split="",
        files=files,
        layouts=layouts,
        homepage="https://h",
    )


def remote(server: str, *behaviours: str, size: int | None = len(BODY), digest: str = DIGEST) -> RemoteFile:
    return RemoteFile("toy/file.gz", tuple(f"{server}/{b}/file.gz" for b in behaviours), digest, size)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def ranges(handler: type[Handler]) -> list[tuple[str, str | None]]:
    return [(path.split("/")[1], asked) for path, asked in handler.asked]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_is_fetched_and_verified(server: tuple[str, type[Handler]], tmp_path: Path, algorithm: str) -> None:
    digest = f"{algorithm}:{hashlib.new(algorithm, BODY).hexdigest()}"
    (path,) = fetch(entry(remote(server[0], "good", digest=digest)), tmp_path / "new", progress=quiet())
    assert path == tmp_path / "new" / "toy" / "file.gz"
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["file.gz"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("missing", "HTTP 404"),
        ("page", "sent an HTML page"),
        ("bare_page", "sent an HTML page"),
        ("wrong", "another digest"),
        ("short", f"offers {len(BODY) - 1} bytes, not {len(BODY)}"),
        ("truncated", f"broke off at {HALF} of {len(BODY)} bytes"),
        ("hangup", "closed connection without response"),
    ],
)
@pytest.mark.parametrize("size", [len(BODY), None])
def test_the_next_mirror_is_tried_after_any_failure(
    server: tuple[str, type[Handler]], tmp_path: Path, broken: str, reason: str, size: int | None
) -> None:
    console = quiet()
    (path,) = fetch(entry(remote(server[0], broken, "good", size=size)), tmp_path, progress=console)
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["file.gz"]
    if (broken, size) == ("short", None):
        reason = "another digest"
    assert reason in said(console)
    assert [name for name, _ in ranges(server[1])] == [broken, "good"]


def test_a_mirror_that_is_not_there_is_passed_over(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    file = RemoteFile("toy/file.gz", ("http://127.0.0.1:9/file.gz", "nonsense", f"{server[0]}/good/x"), DIGEST)
    assert fetch(entry(file), tmp_path, progress=quiet())[0].read_bytes() == BODY


def test_when_no_mirror_delivers_each_is_named_with_its_reason(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=r"no mirror delivered toy/file.gz \(.*HTTP 404; .*another digest\)") as caught:
        fetch(entry(remote(server[0], "missing", "wrong")), tmp_path, progress=quiet())
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "toy").iterdir()) == []


@pytest.mark.parametrize("size", [len(BODY), None])
def test_what_a_mirror_broke_off_is_resumed_from_the_next(
    server: tuple[str, type[Handler]], tmp_path: Path, size: int | None
) -> None:
    fetch(entry(remote(server[0], "truncated", "good", size=size)), tmp_path, progress=quiet())
    assert ranges(server[1]) == [("truncated", None), ("good", f"bytes={HALF}-")]


def part(folder: Path, content: bytes) -> Path:
    path = folder / "toy" / "file.gz.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_part_is_resumed_by_range(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    part(tmp_path, BODY[:1000])
    assert fetch(entry(remote(server[0], "good")), tmp_path, progress=quiet())[0].read_bytes() == BODY
    assert ranges(server[1]) == [("good", "bytes=1000-")]


def test_a_server_that_ignores_the_range_starts_again(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    part(tmp_path, BODY[:1000])
    assert fetch(entry(remote(server[0], "rangeless")), tmp_path, progress=quiet())[0].read_bytes() == BODY
    assert ranges(server[1]) == [("rangeless", "bytes=1000-")]


def test_a_server_that_sends_another_range_is_passed_over(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    part(tmp_path, BODY[:1000])
    console = quiet()
    fetch(entry(remote(server[0], "shifted", "good", size=None)), tmp_path, progress=console)
    assert "another range" in said(console)
    assert ranges(server[1])[1] == ("good", "bytes=1000-")


def test_a_resumed_file_that_proves_wrong_is_fetched_whole(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    part(tmp_path, b"y" * 1000)
    assert fetch(entry(remote(server[0], "good")), tmp_path, progress=quiet())[0].read_bytes() == BODY
    assert ranges(server[1]) == [("good", "bytes=1000-"), ("good", None)]


@pytest.mark.parametrize("content", [b"z" * len(BODY), b"z" * (len(BODY) + 5)])
def test_a_part_that_cannot_be_a_beginning_is_dropped(
    server: tuple[str, type[Handler]], tmp_path: Path, content: bytes
) -> None:
    part(tmp_path, content)
    assert fetch(entry(remote(server[0], "good")), tmp_path, progress=quiet())[0].read_bytes() == BODY
    assert ranges(server[1]) == [("good", None)]


def test_a_part_beyond_the_end_is_dropped_where_the_size_is_unknown(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    part(tmp_path, b"z" * (len(BODY) + 5))
    assert fetch(entry(remote(server[0], "good", size=None)), tmp_path, progress=quiet())[0].read_bytes() == BODY
    assert [asked for _, asked in ranges(server[1])] == [f"bytes={len(BODY) + 5}-", None]


def test_a_whole_part_is_only_renamed(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    part(tmp_path, BODY)
    assert fetch(entry(remote(server[0], "missing")), tmp_path, progress=quiet())[0].read_bytes() == BODY
    assert ranges(server[1]) == []


def test_a_kill_in_the_middle_loses_nothing(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    url, handler = server
    code = (
        "import sys, json; from pathlib import Path; from synobench.entries import RemoteFile\n"
        "from synobench import fetch; from rich.console import Console\n"
        "name, url, digest, size, folder = json.loads(sys.argv[1])\n"
        "fetch._file(RemoteFile(name, (url,), digest, size), Path(folder), fetch._Lines(Console(quiet=True)))"
    )
    job = json.dumps(["toy/file.gz", f"{url}/halting/file.gz", DIGEST, len(BODY), str(tmp_path)])
    killed = tmp_path / "toy" / "file.gz.part"
    with subprocess.Popen([sys.executable, "-c", code, job]) as process:
        deadline = time.monotonic() + 20
        while not (killed.exists() and killed.stat().st_size > HALF // 2):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    handler.release.set()
    kept = killed.stat().st_size
    assert not (tmp_path / "toy" / "file.gz").exists()
    assert killed.read_bytes() == BODY[:kept]
    assert fetch(entry(remote(url, "good")), tmp_path, progress=quiet())[0].read_bytes() == BODY
    assert ranges(handler)[-1] == ("good", f"bytes={kept}-")


def test_two_workers_download_once(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    file = entry(remote(server[0], "good"))
    threads = [threading.Thread(target=fetch, args=(file, tmp_path, False, quiet())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ranges(server[1]) == [("good", None)]
    assert verified(tmp_path / "toy" / "file.gz", DIGEST)


def test_a_damaged_file_is_fetched_again_and_a_sound_one_is_not(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    file = entry(remote(server[0], "good"))
    (path,) = fetch(file, tmp_path, progress=quiet())
    path.write_bytes(b"damaged")
    fetch(file, tmp_path, progress=quiet())
    assert path.read_bytes() == BODY
    fetch(file, tmp_path, progress=quiet())
    assert len(server[1].asked) == 2


def test_nothing_is_fetched_where_another_layout_is_complete(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    (tmp_path / "packed").touch()
    kept = (Layout("downloads", ("toy/file.gz",)), Layout("packed", ("packed",)))
    assert fetch(entry(remote(server[0], "good"), layouts=kept), tmp_path, progress=quiet()) == ()
    assert server[1].asked == []


def test_offline_fails_at_once_with_files_and_command(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    files = (remote(server[0], "good"), RemoteFile("toy/other", (), DIGEST))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "file.gz").touch()
    message = (
        r"offline, and toy is missing from \S+: toy/other \(downloads .*\); fetch it with: synobench data fetch toy"
    )
    for refused in (lambda: fetch(entry(*files), tmp_path, True), lambda: open_dataset(entry(*files), tmp_path, True)):
        with pytest.raises(BenchError, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert server[1].asked == []
    (tmp_path / "toy" / "other").touch()
    assert fetch(entry(*files), tmp_path, offline=True) == ()


def test_a_folder_that_cannot_be_written_is_one_line(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    (tmp_path / "toy").touch()
    with pytest.raises(BenchError, match=r"toy cannot be stored in .*: File exists"):
        fetch(entry(remote(server[0], "good")), tmp_path, progress=quiet())


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    fetch(entry(remote(server[0], "good")), tmp_path / "a", progress=terminal)
    assert "━" in said(terminal)
    assert "1.0/1.0 MB" in said(terminal)
    log = quiet()
    fetch(entry(remote(server[0], "missing", "good")), tmp_path / "b", progress=log)
    lines = said(log).splitlines()
    assert "\x1b" not in said(log)
    assert any("HTTP 404" in line for line in lines)
    assert lines[-1].startswith("toy/file.gz: 1.0 MB from 127.0.0.1")
