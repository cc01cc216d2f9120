"""What the user sees: live lines on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from rich.console import Console

from synobench import progress
from synobench.progress import Progress, duration

OK = {
    "status": "ok",
    "outcome": {"test": {"top1": {"hits": 987, "total": 1000}}},
    "cost": {"train": {"seconds": 100.0}, "prune": {"seconds": 20.0}},
}
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def job(i: int, label: str = "") -> dict[str, Any]:
    return {"key": f"key{i}", "label": label or f"mnist/magnitude[scope=global]/{i}"}


def failed(message: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"stage": "prune", "kind": "ValueError", "message": message}}


class Time:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(progress.time, "monotonic", made)
    return made


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=120, height=30, _environ={"TERM": "xterm"}), stream


def test_without_a_terminal_each_finished_job_is_one_plain_line(clock: Time) -> None:
    shown, stream = console(terminal=False)
    with Progress(10, shown) as bars:
        for i in range(3):
            bars.started(job(i))
            bars.event(job(i), {"phase": "train", "done": 1, "total": 2, "loss": 0.5})
        clock.now += 60
        bars.finished(job(1), OK)
        clock.now += 60
        bars.finished(job(0), failed("a\nb \x1b[31mred\x07"))
        assert stream.getvalue().splitlines() == [
            "[ 1/10] ok     mnist/magnitude[scope=global]/1  98.70 %, 2 min of work  about 9 min left",
            "[ 2/10] failed mnist/magnitude[scope=global]/0  in prune: ValueError: a b [31mred"
            "  1 failed, about 8 min left",
        ]
        bars.finished(job(2), {"status": "ok"})
    assert stream.getvalue().splitlines()[2].startswith("[ 3/10] ok     mnist/magnitude[scope=global]/2")


def test_long_lines_are_not_folded() -> None:
    shown, stream = console(terminal=False)
    with Progress(1, shown) as bars:
        bars.finished(job(0, "x" * 300), failed("y" * 1000))
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().count("y") < 300


def test_the_last_line_promises_nothing(clock: Time) -> None:
    shown, stream = console(terminal=False)
    with Progress(1, shown) as bars:
        clock.now += 5
        bars.finished(job(0), OK)
        assert bars.remaining() == 0
    assert "left" not in stream.getvalue()


def test_the_estimate_is_the_pace_so_far(clock: Time) -> None:
    bars = Progress(5, console(terminal=False)[0])
    clock.now += 1000
    with bars:
        assert bars.remaining() is None
        clock.now += 10
        bars.finished(job(0), OK)
        assert bars.remaining() == pytest.approx(40)
        clock.now += 2
        bars.finished(job(1), OK)
        assert bars.remaining() == pytest.approx(18)


def test_jobs_that_will_not_come_are_no_longer_counted(clock: Time) -> None:
    for terminal in (False, True):
        shown, stream = console(terminal=terminal)
        with Progress(5, shown) as bars:
            clock.now += 10
            bars.finished(job(0), OK)
            bars.fewer(3)
            assert bars.remaining() == pytest.approx(10)
            bars.finished(job(1), failed("bad"))
        assert "[2/2] failed" in CODES.sub("", stream.getvalue())
        assert not terminal or "2/2, 1 failed" in screen(stream)[0]


def screen(stream: io.StringIO) -> list[str]:
    """Return the lines of the last picture that was drawn."""
    last = stream.getvalue().rpartition("\x1b[2K")[2]
    return [line.rstrip() for line in CODES.sub("", last).splitlines()]


def test_on_a_terminal_each_running_job_has_a_line_and_all_have_one() -> None:
    shown, stream = console(terminal=True)
    with Progress(3, shown) as bars:
        bars.started(job(0))
        bars.event(job(0), {"phase": "train", "done": 3, "total": 10, "loss": 0.25})
        bars.event(job(1), {"phase": "start", "done": 0, "total": 0, "attempt": 2})
        assert isinstance(bars._view, progress.Live)
        bars._view._bars.refresh()
        drawn = screen(stream)
        assert drawn[0].startswith("runs")
        assert "0/3" in drawn[0]
        assert re.match(r"mnist/magnitude\[scope=global\]/0 .* train 3/10 loss 0.25 +\d s", drawn[1])
        assert re.match(r"mnist/magnitude\[scope=global\]/1 .* start \(try 2\) +\d s", drawn[2])
        bars.finished(job(0), OK)
        bars._view._bars.refresh()
        assert [line.split()[0] for line in screen(stream)] == ["runs", "mnist/magnitude[scope=global]/1"]
        bars.finished(job(1), failed("bad [bold]markup[/]"))
    assert "[2/3] failed mnist/magnitude[scope=global]/1  in prune: ValueError: bad [bold]markup[/]" in CODES.sub(
        "", stream.getvalue()
    )
    drawn = screen(stream)
    assert "2/3, 1 failed" in drawn[0]
    assert len(drawn) == 1
    assert stream.getvalue().endswith("\x1b[?25h")


def test_a_new_phase_begins_a_new_bar() -> None:
    shown, _ = console(terminal=True)
    with Progress(1, shown) as bars:
        view = bars._view
        assert isinstance(view, progress.Live)
        places = []
        for event in ({"done": 4, "total": 4}, {"done": 0, "total": 0}, {"done": 1, "total": 8}, {"phase": "judge"}):
            bars.event(job(0), event)
            task = view._bars.tasks[1]
            places.append((task.completed, task.total))
    assert places == [(4, 4), (0, 1), (1, 8), (0, 1)]


@pytest.mark.parametrize(
    "event", [{}, {"done": True, "total": "many"}, {"loss": None, "phase": None}, {"phase": "a\x1b"}]
)
def test_odd_events_break_nothing(event: dict[str, Any]) -> None:
    shown, stream = console(terminal=True)
    with Progress(1, shown) as bars:
        bars.event({}, event)
        bars.finished({}, {})
    assert "1/1" in screen(stream)[0]


def test_events_from_many_threads_are_all_shown() -> None:
    shown, stream = console(terminal=True)

    def work(i: int) -> None:
        bars.started(job(i))
        for done in range(20):
            bars.event(job(i), {"phase": "train", "done": done, "total": 20})
        bars.finished(job(i), OK)

    with Progress(8, shown) as bars:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bars.finished_jobs == 8
    assert "8/8" in screen(stream)[0]


def test_a_dumb_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    shown = Console(file=stream, force_terminal=True, _environ={"TERM": "dumb"})
    with Progress(1, shown) as bars:
        bars.started(job(0))
        bars.finished(job(0), OK)
    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_a_log_is_written_to_stderr_without_rich() -> None:
    code = """if True:
        import sys
        from synobench.progress import Progress
        with Progress(1) as bars:
            bars.started({"key": "a"})
            bars.finished({"key": "a"}, {"status": "ok"})
        print([m for m in ("rich", "torch") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == "[1/1] ok     a\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_event_costs_little() -> None:
    shown, _ = console(terminal=True)
    with Progress(1, shown) as bars:
        bars.started(job(0))
        start = time.process_time()
        for done in range(200):
            bars.event(job(0), {"phase": "train", "done": done, "total": 200, "loss": 0.5})
        assert (time.process_time() - start) / 200 < 2e-3
