"""The command line as a user runs it: in processes of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent
SPY = SUPPORT / "spy_rule.py"
COUNTS = ("samples", "forward", "backward", "trials")


class Bench:
    """A folder with its own store and cache, and the command to run in it.

    Args:
        folder: where the command is run.
        command: what starts it; this interpreter's own where it is empty.
        environment: variables on top of the usual ones.
    """

    def __init__(self, folder: Path, command: Iterable[str] = (), **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.command = [*command] or [sys.executable, "-P", "-m", "synobench"]
        usual = {name: value for name, value in os.environ.items() if not name.startswith("SYNOBENCH_")}
        self.environment = {**usual, "SYNOBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", **environment}

    @property
    def store(self) -> Path:
        """Where records and boards lie."""
        return self.folder / "leaderboards"

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        told: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        line = [*self.command, *arguments]
        return subprocess.Popen(line, cwd=self.folder, env=self.environment, text=True, **told)

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be `code`."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=900)
        finally:
            process.kill()
        assert process.returncode == code, f"exit {process.returncode}, not {code}\n{out}\n{err}"
        assert "Traceback" not in out + err, out + err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def records(self, suite: str = "tiny") -> dict[str, dict[str, Any]]:
        """Return the records of a suite by key."""
        paths = sorted((self.store / "records" / suite).glob("??/*.json"))
        return {path.stem: json.loads(path.read_text()) for path in paths}

    def failures(self, suite: str = "tiny") -> dict[str, dict[str, Any]]:
        """Return the failures of a suite by the name of the pruner."""
        found = [json.loads(path.read_text()) for path in (self.store / "failures" / suite).glob("*.json")]
        return {failure["inputs"]["pruner"]["name"]: failure for failure in found}

    def ledgers(self, suite: str = "tiny") -> dict[str, bytes]:
        """Return the bytes of the ledgers' vectors by key."""
        return {path.stem: path.read_bytes() for path in (self.store / "records" / suite).glob("??/*.ledger")}


def lasting(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what two runs must have in common to the bit: everything but provenance and cost."""
    return {k: {n: v for n, v in r.items() if n not in ("provenance", "cost")} for k, r in records.items()}


def counts(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the part of the cost that no clock and no allocator decides."""
    return {k: {p: {n: c[n] for n in COUNTS} for p, c in r["cost"].items()} for k, r in records.items()}


class Spy:
    """Holds the training of a bench at an epoch, and reads what was trained and where (see spy_rule.py)."""

    def __init__(self, folder: Path) -> None:
        self.log, self._hold = folder / "epochs.log", folder / "hold"
        self.log.touch()

    @property
    def environment(self) -> dict[str, str]:
        """What tells the rule where to write and to look."""
        return {"SPY_LOG": str(self.log), "SPY_HOLD": str(self._hold)}

    def hold(self, phase: str, epoch: int, times: int = 1) -> None:
        """Let the process that comes to this epoch for the so many-th time stay in it for ever."""
        self._hold.write_text(f"{phase} {epoch} {times}")
        self.log.write_text("")

    def epochs(self) -> list[tuple[str, int]]:
        """Return phase and number of each epoch that was begun."""
        return [(phase, int(epoch)) for phase, epoch, _ in self._lines()]

    def wait(self, process: subprocess.Popen[str], patience: float = 600.0) -> int:
        """Wait until the held epoch has begun; return the number of the process that is in it."""
        end = time.monotonic() + patience
        while self._hold.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "the epoch to hold never began"
            time.sleep(0.02)
        return self.pids()[-1]

    def pids(self) -> list[int]:
        """Return the numbers of the processes that trained, in order."""
        return [int(pid) for _, _, pid in self._lines()]

    def _lines(self) -> Iterator[list[str]]:
        return (line.split() for line in self.log.read_text().splitlines())


def ended(pid: int, patience: float = 60.0) -> bool:
    """Say whether a process ends within a few seconds; one that nobody reaped has ended too."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False
