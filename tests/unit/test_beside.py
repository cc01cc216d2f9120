"""Work in a copy of the process: its result arrives or it does not, and no copy outlives its block."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from synobench import beside as module
from synobench.beside import Shares, able, streaming

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no copies are made elsewhere")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make copies whatever else this process has loaded."""
    monkeypatch.setattr(module, "able", lambda: True)


def gone() -> bool:
    """Say whether this process has no child left, not even a dead one."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_a_copy_works_while_the_process_goes_on(copies: None) -> None:
    seen: list[int] = []

    def work() -> Iterator[tuple[int, bytes]]:
        seen.append(os.getpid())
        yield seen[0], bytes(2**20)

    with streaming(work) as other:
        ((process, told),) = other.rest()
        assert other.whole
    assert process != os.getpid()
    assert len(told) == 2**20
    assert seen == []
    assert gone()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failing() -> None:
    raise ZeroDivisionError


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("work", [killed, failing, interrupted, threading.Lock])
def test_what_a_copy_could_not_do_is_not_there(copies: None, capfd: Any, work: Callable[[], Any]) -> None:
    with streaming(lambda: [work()]) as other:
        assert list(other.rest()) == []
        assert not other.whole
    assert gone()
    assert capfd.readouterr() == ("", "")


def test_a_result_that_was_cut_off_is_not_there(copies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.pickle, "dumps", lambda *_: Short(b"told"))
    with streaming(lambda: [None]) as other:
        assert list(other.rest()) == []
        assert not other.whole


class Short(bytes):
    """Bytes that are fewer than they say."""

    def __len__(self) -> int:
        return super().__len__() + 100


def test_parts_come_in_order_as_they_are_told(copies: None) -> None:
    def work() -> Iterator[bytes]:
        for i in range(5):
            yield bytes([i]) * 2**19

    with streaming(work) as other:
        found = []
        while not found:
            found += list(other.ready())
        found += other.rest()
        assert other.whole
        assert list(other.ready()) == list(other.rest()) == []
    assert [part[0] for part in found] == [0, 1, 2, 3, 4]


def test_parts_that_were_told_before_a_copy_failed_are_there(copies: None) -> None:
    def work() -> Iterator[int]:
        yield 1
        killed()

    with streaming(work) as other:
        assert list(other.rest()) == [1]
        assert not other.whole


def test_shares_are_taken_once_each_by_whoever_asks(copies: None) -> None:
    with Shares(Shares.MOST) as shares, streaming(lambda: [list(shares)]) as other:
        mine = list(shares)
        theirs = next(other.rest())
    assert sorted(mine + theirs) == list(range(Shares.MOST))
    assert mine == sorted(mine)
    assert theirs == sorted(theirs)


def test_no_copy_outlives_a_block_that_fails_or_does_not_ask(copies: None) -> None:
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), streaming(lambda: [time.sleep(600)]):
        raise ZeroDivisionError
    with streaming(lambda: [time.sleep(600)]):
        pass
    assert time.monotonic() - start < 300
    assert gone()


def test_where_no_copy_can_be_made_nothing_is_there(monkeypatch: pytest.MonkeyPatch, copies: None) -> None:
    def full() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", full)
    with streaming(lambda: [1]) as other:
        assert list(other.ready()) == list(other.rest()) == []
        assert not other.whole
    monkeypatch.setattr(module, "able", lambda: False)
    with streaming(lambda: [1]) as other:
        assert list(other.ready()) == list(other.rest()) == []
        assert not other.whole


def test_copies_need_two_processors_one_thread_and_a_system_that_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert able()
    for place, name, other in (
        (threading, "active_count", lambda: 2),
        (os, "sched_getaffinity", lambda _: {0}),
        (sys, "platform", "darwin"),
        (sys, "modules", {**sys.modules, "torch": None}),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(place, name, other)
            assert not able()
