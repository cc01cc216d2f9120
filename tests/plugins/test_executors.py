"""Both executors, and that a killed, crashing or leaking run harms no other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest

import synobench_executors
from synobench.errors import BenchError
from synobench.machine import cores
from synobench.params import resolve
from synobench.worker import worker_command
from synobench_executors.inline import Inline
from synobench_executors.slots import Slots

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(autouse=True)
def _find_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)


def job(name: str, **more: Any) -> dict[str, Any]:
    return {"perform": f"jobs_to_run:{name}", **more}


def slots(**params: Any) -> Slots:
    return Slots(resolve(synobench_executors.SlotsParams, params, "slots"), worker_command())


class Pids:
    """Hears events and lends the process numbers that they tell."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._told = threading.Condition()

    def __call__(self, event: dict[str, Any]) -> None:
        with self._told:
            self.events.append(event)
            self._told.notify_all()

    def wait(self, name: str = "pid", count: int = 1) -> int:
        """Return the process number told in the last of `count` events that tell one."""
        with self._told:
            assert self._told.wait_for(lambda: len(self._all(name)) >= count, timeout=10)
            return self._all(name)[-1]

    def _all(self, name: str) -> list[int]:
        return [event[name] for event in self.events if name in event]


def gone(pid: int, seconds: float = 2.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def pool() -> Iterator[Slots]:
    """One slot, one retry."""
    with slots(n=1, retries=1) as made:
        yield made


def test_both_are_registered_and_load() -> None:
    entries = {e.name: e for e in synobench_executors.synobench_executors()}
    assert set(entries) == {"inline", "slots"}
    for entry in entries.values():
        made = entry.load()(resolve(entry.params, {}, entry.name), worker_command())
        assert made.submit(job("echo")).result(timeout=20)["status"] == "ok"
        made.close()
        with pytest.raises(RuntimeError, match="closed"):
            made.submit(job("echo"))


def test_registering_imports_nothing_heavy() -> None:
    code = """
        import sys, synobench_executors
        list(synobench_executors.synobench_executors())
        print([m for m in ("torch", "numpy", "rich", "subprocess", "synobench_executors.slots") if m in sys.modules])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "value"), [("n", -1), ("retries", -1), ("n", "many")])
def test_wrong_parameters_are_one_line(name: str, value: Any) -> None:
    with pytest.raises(BenchError, match="slots"):
        slots(**{name: value})


def test_inline_runs_here_in_order_and_tells_the_start() -> None:
    heard: list[dict[str, Any]] = []
    with Inline() as inline:
        future = inline.submit(job("echo"), heard.append)
        assert future.done()
        assert future.result()["pid"] == os.getpid()
        assert inline.submit(job("fail", how="value")).result()["error"]["kind"] == "ValueError"
    assert [e["phase"] for e in heard] == ["start", "train"]


def test_ctrl_c_comes_out_of_inline() -> None:
    with Inline() as inline, pytest.raises(KeyboardInterrupt):
        inline.submit(job("fail", how="interrupt"))


def test_both_give_the_same_plain_result(pool: Slots) -> None:
    here = Inline().submit(job("echo", inputs={"seed": 1})).result()
    there = pool.submit(job("echo", inputs={"seed": 1})).result(timeout=20)
    assert here["pair"] == there["pair"] == [1, 2]
    assert here["job"]["inputs"] == there["job"]["inputs"]


def test_a_worker_is_reused_and_kept_from_the_terminal(pool: Slots, capfd: pytest.CaptureFixture[str]) -> None:
    results = [pool.submit(job(name)).result(timeout=20) for name in ("echo", "noisy", "echo")]
    assert results[0]["pid"] == results[2]["pid"] != os.getpid()
    assert results[0]["env"]["MALLOC_MMAP_THRESHOLD_"] == "1073741824"
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_job_that_is_no_plain_data_is_refused_at_once(pool: Slots) -> None:
    with pytest.raises(TypeError, match="JSON"):
        pool.submit({"perform": object()})


@pytest.mark.parametrize(("how", "told"), [("segfault", "exit -11 .SIGSEGV"), ("exit", "exit 7"), ("kill", "exit -9")])
def test_a_crash_is_tried_again_then_told(pool: Slots, tmp_path: Path, how: str, told: str) -> None:
    heard: list[dict[str, Any]] = []
    crash = pool.submit(job("crash", how=how, marks=str(tmp_path)), heard.append)
    after = pool.submit(job("echo"))
    error = crash.result(timeout=20)["error"]
    assert (error["stage"], error["kind"]) == ("worker", "WorkerDied")
    assert re.search(told, error["message"])
    assert error["message"].endswith("after 2 tries")
    assert "last words" in error["traceback"]
    assert len(list(tmp_path.iterdir())) == 2
    assert [e["attempt"] for e in heard] == [1, 2]
    assert after.result(timeout=20)["status"] == "ok"


def test_a_retried_job_can_succeed(pool: Slots, tmp_path: Path) -> None:
    result = pool.submit(job("crash", how="segfault", marks=str(tmp_path), heals_after=1)).result(timeout=20)
    assert result == {"status": "ok", "tries": 2}


def test_a_worker_killed_from_outside_takes_no_other_with_it() -> None:
    with slots(n=2, retries=2) as pool:
        killed, spared = Pids(), Pids()
        first = pool.submit(job("sleep", seconds=0.7), killed)
        second = pool.submit(job("sleep", seconds=1.5), spared)
        victim = killed.wait()
        os.kill(victim, signal.SIGKILL)
        assert first.result(timeout=20)["pid"] == killed.wait(count=2) != victim
        assert second.result(timeout=20)["pid"] == spared.wait()
        assert [e["attempt"] for e in spared.events if "attempt" in e] == [1]


def test_a_dead_worker_is_noticed_while_its_child_holds_the_pipe() -> None:
    with slots(n=1, retries=0) as pool:
        heard = Pids()
        start = time.monotonic()
        error = pool.submit(job("with_child", how="die"), heard).result(timeout=20)["error"]
        assert error["message"].endswith("exit 3 after 1 try")
        assert time.monotonic() - start < 5
        assert gone(heard.wait("child"))


def test_a_command_that_does_not_start_is_told() -> None:
    for command, told in ((["/no/such/python"], "could not be started"), ([sys.executable, "-c", ""], "exit 0")):
        with Slots(synobench_executors.SlotsParams(n=1, retries=0), command) as pool:
            assert told in pool.submit(job("echo")).result(timeout=20)["error"]["message"]


def test_each_device_gets_a_slot() -> None:
    with slots(devices="cuda:0/cuda:1") as pool:
        results = [pool.submit(job("sleep", seconds=1.0, device="cpu")) for _ in range(2)]
        wait(results, timeout=30)
        assert {r.result()["device"] for r in results} == {"cuda:0", "cuda:1"}
        assert len({r.result()["pid"] for r in results}) == 2


def test_one_slot_hands_out_its_device() -> None:
    with slots(devices="cuda:3") as pool:
        assert pool.submit(job("echo", device="cpu")).result(timeout=20)["job"]["device"] == "cuda:3"


def test_a_failure_on_an_accelerator_renews_the_worker_and_one_on_the_processor_does_not(pool: Slots) -> None:
    def pid(name: str, **more: Any) -> int:
        return int(pool.submit(job(name, **more)).result(timeout=20)["pid"])

    assert pid("failed", device="cpu") == pid("echo", device="cpu")
    assert pid("failed", device="cuda:0") != pid("echo", device="cuda:0")


@pytest.mark.parametrize("threads", [1, 10_000])
def test_there_are_as_many_slots_as_cores_hold(threads: int) -> None:
    with slots() as pool:
        jobs = [pool.submit(job("sleep", seconds=0.4, threads=threads)) for _ in range(cores() + 1)]
        workers = {j.result(timeout=30)["pid"] for j in jobs}
    assert len(workers) == max(1, cores() // threads)


def test_closing_waits_for_what_was_submitted() -> None:
    pool = slots(n=1)
    jobs = [pool.submit(job("sleep", seconds=0.1)) for _ in range(3)]
    pool.close()
    assert [j.result(timeout=0)["status"] for j in jobs] == ["ok"] * 3
    assert gone(jobs[0].result()["pid"], 0.1)


@pytest.mark.parametrize("retries", [0, 2])
def test_cancelling_kills_at_once_what_runs_and_all_that_it_started(retries: int) -> None:
    pool, heard = slots(n=1, retries=retries), Pids()
    running = pool.submit(job("with_child", how="sleep"), heard)
    waiting = pool.submit(job("echo"))
    pids = heard.wait(), heard.wait("child")
    start = time.monotonic()
    pool.close(cancel=True)
    assert time.monotonic() - start < 2
    assert all(gone(pid) for pid in pids)
    assert waiting.cancelled()
    assert not wait([running, waiting], timeout=1).not_done
    with pytest.raises(CancelledError):
        running.result()


def test_an_error_inside_the_context_cancels() -> None:
    heard, pool = Pids(), slots(n=1)
    running = pool.submit(job("sleep"), heard)
    pid = heard.wait()
    with pytest.raises(ZeroDivisionError), pool:
        raise ZeroDivisionError
    assert gone(pid)
    with pytest.raises(CancelledError):
        running.result(timeout=0)


def test_a_queued_job_can_be_cancelled_alone(pool: Slots) -> None:
    pool.submit(job("sleep", seconds=0.3))
    queued, last = pool.submit(job("echo")), pool.submit(job("echo"))
    assert queued.cancel()
    assert last.result(timeout=20)["status"] == "ok"


def test_workers_are_gone_two_seconds_after_their_parent_was_killed() -> None:
    code = """
        import os, time
        from synobench.worker import worker_command
        from synobench_executors import SlotsParams
        from synobench_executors.slots import Slots
        pool = Slots(SlotsParams(n=2), worker_command())
        for _ in range(2):
            # One write a line: two slots speak at once, and print writes its line end apart.
            pool.submit({"perform": "jobs_to_run:sleep"}, lambda e: "pid" in e and os.write(1, b"%d\\n" % e["pid"]))
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    assert not any(gone(pid, 0.05) for pid in pids)
    parent.kill()
    parent.communicate()
    assert all(gone(pid) for pid in pids)


def test_ctrl_c_reaches_the_parent_alone() -> None:
    code = """
        import time
        from synobench.worker import worker_command
        from synobench_executors import SlotsParams
        from synobench_executors.slots import Slots
        pool = Slots(SlotsParams(n=1), worker_command())
        job = {"perform": "jobs_to_run:sleep", "seconds": 1.0}
        future = pool.submit(job, lambda e: "pid" in e and print("running", flush=True))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print(future.result(timeout=20)["status"], flush=True)
        pool.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "running\n"
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.communicate(timeout=20)[0] == "ok\n"
