"""The worker's protocol, and that it never outlives its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synobench import worker

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(autouse=True)
def _find_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)


def job(name: str, **more: Any) -> dict[str, Any]:
    return {"perform": f"jobs_to_run:{name}", **more}


def talk(*lines: str, command: list[str] | None = None) -> tuple[list[dict[str, Any]], str]:
    """Give a worker these lines, close its stdin, and return what it said on stdout and on stderr."""
    environment = {**os.environ, **worker.worker_environment()}
    done = subprocess.run(
        command or worker.worker_command(),
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=20,
        env=environment,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def gone(pid: int, seconds: float) -> bool:
    """Tell whether a process ends in time; one that only waits to be reaped has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_jobs_are_answered_in_order_by_one_process() -> None:
    said, _ = talk(json.dumps(job("echo", key="a")), "", json.dumps(job("echo", key="b", threads=2)))
    assert [next(iter(m)) for m in said] == ["ready", "event", "result", "event", "result"]
    assert said[1] == {"event": {"phase": "train", "done": 1, "total": 2}}
    results = [m["result"] for m in said if "result" in m]
    assert [r["job"]["key"] for r in results] == ["a", "b"]
    assert {r["pid"] for r in results} == {said[0]["ready"]}
    assert [r["env"]["OMP_NUM_THREADS"] for r in results] == ["1", "2"]
    assert results[0]["env"]["MALLOC_MMAP_THRESHOLD_"] == "1073741824"
    assert results[0]["env"]["MALLOC_TRIM_THRESHOLD_"] == "4294967296"


def test_prints_never_reach_the_protocol_and_stdin_is_empty() -> None:
    said, stderr = talk(json.dumps(job("noisy")), json.dumps(job("echo")))
    assert said[1] == {"result": {"status": "ok", "read": ""}}
    assert said[-1]["result"]["status"] == "ok"
    for text in ("printed", "forged", "from C", "from a child"):
        assert text in stderr


def test_a_line_that_is_no_job_harms_no_other() -> None:
    said, _ = talk("{", "[1]", json.dumps(job("echo")))
    assert [m["result"]["status"] for m in said if "result" in m] == ["failed", "failed", "ok"]
    assert said[1]["result"]["error"]["kind"] == "BadJob"


def test_scalars_of_other_libraries_become_numbers() -> None:
    said, _ = talk(json.dumps(job("scalars")))
    assert said[1] == {"event": {"phase": "train", "loss": 0.5, "where": "a"}}


def test_plugins_of_the_command_are_lent_to_jobs_that_name_none() -> None:
    command = worker.worker_command(["a.py", "b.py"], strict=True)
    said, _ = talk(json.dumps(job("echo")), json.dumps(job("echo", plugins=["c.py"])), command=command)
    jobs = [m["result"]["job"] for m in said if "result" in m]
    assert jobs[0]["plugins"] == ["a.py", "b.py"]
    assert jobs[0]["strict"] is True
    assert jobs[1]["plugins"] == ["c.py"]


def test_a_worker_starts_without_torch_or_numpy() -> None:
    code = "import sys, synobench.worker; print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("how", "kind"), [("value", "ValueError"), ("exit", "SystemExit")])
def test_what_a_job_raises_is_a_failure_of_one_line(how: str, kind: str) -> None:
    result = worker.perform(job("fail", how=how))
    assert result["status"] == "failed"
    error = result["error"]
    assert (error["stage"], error["kind"], error["message"]) == ("worker", kind, "two lines")
    assert "jobs_to_run" in error["traceback"]


def test_ctrl_c_comes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        worker.perform(job("fail", how="interrupt"))


@pytest.mark.parametrize("how", ["list", "object"])
def test_a_result_that_is_no_plain_data_is_a_failure(how: str) -> None:
    assert worker.perform(job("wrong", how=how))["error"]["kind"] == "TypeError"


def test_an_unknown_callable_is_a_failure() -> None:
    assert worker.perform({"perform": "no_such_module:x"})["error"]["kind"] == "ModuleNotFoundError"


def test_a_job_is_lent_as_a_copy_and_its_result_is_json() -> None:
    given = job("echo", inputs={"seed": 0})
    result = worker.perform(given)
    assert result["pair"] == [1, 2]
    result["job"]["inputs"]["seed"] = 9
    assert given["inputs"] == {"seed": 0}


def test_a_broken_watcher_is_told_once_and_harms_nothing() -> None:
    calls = []

    def broken(event: dict[str, Any]) -> None:
        calls.append(event)
        raise ValueError("no")

    notifier = worker.Notifier(broken)
    with pytest.warns(RuntimeWarning, match="no longer watched: ValueError: no"):
        notifier({"phase": "train"})
    notifier({"phase": "tune"})
    assert calls == [{"phase": "train"}]


def test_a_late_event_of_a_finished_job_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    import jobs_to_run  # type: ignore[import-not-found]

    kept: list[Any] = []
    monkeypatch.setattr(jobs_to_run, "echo", lambda _, notify: kept.append(notify) or {"status": "ok"})
    heard: list[Any] = []
    worker.perform(job("echo"), heard.append)
    kept[0]({"phase": "late"})
    assert heard == []


@pytest.mark.parametrize(
    ("given", "threads"),
    [({}, 1), ({"threads": 3}, 3), ({"inputs": {"budget": {"threads": 2}}}, 2), ({"threads": 0, "inputs": None}, 1)],
)
def test_threads_of_a_job(given: dict[str, Any], threads: int) -> None:
    assert worker.threads_of(given) == threads


def test_the_allocator_settings_leave_no_page_faults() -> None:
    code = """
        import resource, numpy as np
        faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(2): np.empty(10_000_000, np.float32).fill(1)
        before = faults()
        for _ in range(5): np.empty(10_000_000, np.float32).fill(1)
        print(faults() - before)
    """
    environment = {**os.environ, **worker.worker_environment()}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50


@pytest.fixture
def orphan_maker() -> Iterator[Any]:
    """Start a parent whose worker sleeps in a job; yields both process numbers."""
    parents: list[subprocess.Popen[str]] = []

    def make(worker_code: str) -> tuple[int, int]:
        code = f"""
            import json, subprocess, sys, time
            child = subprocess.Popen([sys.executable, "-c", {worker_code!r}], stdin=-1, stdout=-1, text=True)
            child.stdin.write(json.dumps({job("sleep")!r}) + "\\n"); child.stdin.flush()
            while "event" not in (line := child.stdout.readline()): assert line
            print(child.pid, flush=True)
            time.sleep(60)
        """
        parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        parents.append(parent)
        assert parent.stdout is not None
        return parent.pid, int(parent.stdout.readline())

    yield make
    for parent in parents:
        parent.kill()
        parent.communicate()


WITH_PRCTL = "import synobench.worker as w; w._watch_parent = lambda *a: None; w.main([])"
WITH_WATCHER = "import synobench.worker as w; w._die_with_parent = lambda: None; w.main([])"


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
@pytest.mark.parametrize("code", [WITH_PRCTL, WITH_WATCHER], ids=["prctl", "watcher"])
def test_a_worker_dies_with_a_parent_that_was_killed(orphan_maker: Any, code: str) -> None:
    parent, child = orphan_maker(code)
    assert not gone(child, 0.2)
    os.kill(parent, signal.SIGKILL)
    assert gone(child, 2.0)


def test_a_worker_ignores_ctrl_c(orphan_maker: Any) -> None:
    _, child = orphan_maker("import synobench.worker as w; w.main([])")
    os.kill(child, signal.SIGINT)
    assert not gone(child, 0.5)
