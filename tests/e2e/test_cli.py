"""Every verb as a user types it: what it says, its exit code, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandline import Bench

from synobench.cli import main

Told = tuple[int, str, str]
Call = Callable[..., Told]

KNOWN = {"SYNOBENCH_DATA", "SYNOBENCH_LEADERBOARDS", "SYNOBENCH_DISABLE", "SYNOBENCH_CHECKPOINT_SECONDS"}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: str) -> Call:
    """Return what runs a command in this process, in a folder that holds the small suite alone."""
    monkeypatch.chdir(tmp_path)
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNOBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.toml").write_text(tiny)

    def run(*arguments: str) -> Told:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as error:  # as argparse ends
            code = int(str(error.code))
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def store(ran: Bench, tmp_path: Path) -> Path:
    """Return a copy of the store of the small suite's run, to be spoiled."""
    return Path(shutil.copytree(ran.store, tmp_path / "leaderboards"))


def one_line(told: Told) -> str:
    """Return the one line that a mistake is told in."""
    code, out, err = told
    assert (code, out) == (2, "")
    assert re.fullmatch(r"synobench: [^\n]+\n", err), err
    assert "Traceback" not in err
    return err.removeprefix("synobench: ").rstrip("\n")


MISTAKES = {
    "verb": (["rnu", "quickstart"], "'rnu' is no verb (did you mean 'run'?)"),
    "inner verb": (["plugins", "lst"], "'lst' is no verb (did you mean 'list'?)"),
    "no verb": (["data"], "the following arguments are required: VERB"),
    "option": (["plan", "quickstart", "--ony", "x"], "unrecognized arguments: --ony"),
    "suite": (["run", "quikstart"], "no suite is called 'quikstart' (did you mean 'quickstart'?)"),
    "suite of plan": (["plan", "sparsty"], "no suite is called 'sparsty' (did you mean 'sparsity'?)"),
    "suite of board": (["board", "quickstat"], "no suite is called 'quickstat' (did you mean 'quickstart'?)"),
    "suite file": (["run", "tyni.toml"], "suite file tyni.toml does not exist"),
    "only": (["run", "tiny.toml", "--only", "magnitde"], "has magnitde in its label (did you mean 'magnitude'?)"),
    "pruner": (["plan", "tiny.toml", "--pruner", "magnitud"], "no pruner is called 'magnitud' (did you mean 'magni"),
    "parameter": (
        ["plan", "tiny.toml", "--pruner", "magnitude[scop=layer]"],
        "pruner magnitude has no parameter 'scop' (did you mean 'scope'?)",
    ),
    "choice": (["plan", "tiny.toml", "--pruner", "magnitude[scope=all]"], "magnitude[scope]=all is not one of global"),
    "range": (["run", "tiny.toml", "--executor", "slots[n=-1]"], "executor slots[n]=-1 is below its least value, 0"),
    "executor": (["run", "tiny.toml", "--executor", "slot"], "no executor is called 'slot' (did you mean 'slots'?)"),
    "spec": (["run", "tiny.toml", "--executor", "slots[n=1"], "is not of the form name[key=value,key=value]"),
    "device": (["run", "tiny.toml", "--device", "tpu"], "--device tpu is not cpu or cuda:N (did you mean 'cpu'?)"),
    "device number": (["run", "tiny.toml", "--device", "cuda:x"], "--device cuda:x is not cpu or cuda:N"),
    "plugin file": (["plugins", "list", "-p", "no.py"], "plugin file no.py does not exist"),
    "entry": (["plugins", "show", "magnitud"], "no entry is called 'magnitud' (did you mean 'magnitude'?)"),
    "data set": (["data", "fetch", "minst"], "no dataset is called 'minst' (did you mean 'mnist'?)"),
    "data folder": (["data", "list", "--data", "tiny.toml"], "the data folder tiny.toml is a file"),
    "no data": (["data", "fetch", "mnist", "--offline", "--data", "d"], "offline, and mnist is missing from d: "),
    "no records": (["board"], "no records of a registered suite lie below leaderboards"),
    "suite of verify": (["verify", "tiny"], "suite tiny has no records below leaderboards"),
    "leaderboards": (["run", "tiny.toml", "--leaderboards", "tiny.toml"], "tiny.toml is a file, not a folder"),
    "cache": (["run", "tiny.toml", "--cache", "tiny.toml/below"], "tiny.toml is a file, not a folder"),
    "site": (["run", "tiny.toml", "--site", "tiny.toml"], "tiny.toml is a file, not a folder"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(name: str, call: Call, tmp_path: Path) -> None:
    arguments, told = MISTAKES[name]
    assert told in one_line(call(*arguments))
    assert not (tmp_path / "leaderboards" / "failures").exists()
    assert not (tmp_path / "cache" / "parents").exists()


SPOILT = {
    "data set": ('"digits"', '"digts"', "no dataset is called 'digts' (did you mean 'digits'?)"),
    "model": ("snn-conv[", "snn-covn[", "no model is called 'snn-covn' (did you mean 'snn-conv'?)"),
    "neuron": ("batch = 64", 'batch = 64\nneuron = "fusd"', "no neuron is called 'fusd' (did you mean 'fused'?)"),
    "rule": ("backprop[", "bakprop[", "no rule is called 'bakprop' (did you mean 'backprop'?)"),
    "pruner": ('"random"', '"randon"', "no pruner is called 'randon' (did you mean 'random'?)"),
    "parameter": ("rate=0.1", "raet=0.1", "rule backprop has no parameter 'raet' (did you mean 'rate'?)"),
    "type": ("rate=0.1", "rate=fast", "rule backprop[rate] must be of type float, not 'fast'"),
    "range": ("rate=0.1", "rate=-1", "rule backprop[rate]=-1.0 is below its least value, 0"),
    "counter": ('"effective"', '"efective"', "no counter is called 'efective' (did you mean 'effective'?)"),
    "field": ("batch = 64", "bach = 64", "has no field 'bach' (did you mean 'batch'?)"),
    "text": ("seeds = [0, 1]", 'seeds = "0"', "needs 'seeds' as a list, not '0'"),
    "nothing": ("seeds = [0, 1]", "seeds = []", "seeds"),
    "budget": ("batch = 64", "batch = 0", "must be a whole number of 1 or more, not 0"),
    "precision": ("batch = 64", 'batch = 64\nprecision = "float31"', "'float31' is not one of float32"),
    "target": ('name = "sparsity"', 'name = "sparsty"', "'sparsty' is not"),
    "share": ("values = [0.9]", "values = [1.9]", "1.9"),
    "name": ('name = "tiny"', 'name = "../tiny"', "is not made of letters, digits"),
    "TOML": ("version = ", "version ", "bad.toml is not valid TOML: "),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_mistake_in_a_suite_file_is_one_line(name: str, call: Call, tiny: str, tmp_path: Path) -> None:
    old, new, told = SPOILT[name]
    assert old in tiny
    (tmp_path / "bad.toml").write_text(tiny.replace(old, new))
    for verb in ("plan", "run"):
        assert told in one_line(call(verb, "bad.toml"))
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.toml", "bad.toml"}


def test_a_suite_that_is_no_text_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    assert one_line(call("run", "bad.toml")) == "suite file bad.toml is not UTF-8 text"


def test_absent_data_are_one_line_before_any_run(call: Call, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "absent.toml").write_text(tiny.replace('dataset = "digits"', 'dataset = "mnist"'))
    told = one_line(call("run", "absent.toml", "--offline", "--data", "nowhere"))
    assert told.startswith("offline, and mnist is missing from ")
    assert "synobench data fetch mnist" in told
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.toml", "absent.toml"}


@pytest.mark.slow
def test_an_absent_accelerator_is_one_line_before_any_run(call: Call, tmp_path: Path) -> None:
    told = one_line(call("run", "tiny.toml", "--device", "cuda:97"))
    assert told.startswith("--device cuda:97: torch sees ")
    assert told.endswith("; --device cpu works everywhere")
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.toml"}


def test_a_folder_without_permission_is_one_line(call: Call, tmp_path: Path) -> None:
    closed = Path("/proc") if os.geteuid() == 0 else tmp_path / "closed"
    if closed.name == "closed":
        closed.mkdir(mode=0o500)
    told = one_line(call("run", "tiny.toml", "--leaderboards", str(closed / "below")))
    assert told.startswith(f"--leaderboards {closed}/below cannot be written to: ")
    assert not (tmp_path / "cache" / "parents").exists()


def test_checkpoint_seconds_that_are_no_number_are_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("soon", "-1", "inf", "nan"):
        monkeypatch.setenv("SYNOBENCH_CHECKPOINT_SECONDS", wrong)
        told = one_line(call("run", "tiny.toml"))
        assert told == f"SYNOBENCH_CHECKPOINT_SECONDS={wrong} is not a number of seconds"


def test_a_counter_that_nobody_knows_is_one_line(call: Call, store: Path) -> None:
    told = one_line(call("board", "tiny.toml", "--with", "fanot"))
    assert told == "no counter is called 'fanot' (did you mean 'fanout'?)"


def test_an_unreadable_record_is_named_in_one_line(call: Call, store: Path, tmp_path: Path) -> None:
    path = next(iter((store / "records" / "tiny").glob("??/*.json")))
    path.write_text(path.read_text()[:500])
    named = path.relative_to(tmp_path)
    for arguments in (["plan", "tiny.toml"], ["board", "tiny.toml"], ["board", "tiny.toml", "--check"]):
        assert one_line(call(*arguments)).startswith(f"{named} cannot be read as a record: ")
    # One more seed is pending: nothing of it may run before the line is told.
    suite = tmp_path / "tiny.toml"
    suite.write_text(suite.read_text().replace("seeds = [0, 1]", "seeds = [0, 1, 2]"))
    assert one_line(call("run", "tiny.toml")).startswith(f"{named} cannot be read as a record: ")
    assert not (tmp_path / "cache" / "parents").exists()
    code, out, err = call("verify")
    finding, summary = out.splitlines()
    assert (code, err, summary) == (1, "", "12 records checked, 1 findings")
    assert finding.startswith(f"{named}: cannot be read as a record: ")


def test_a_figure_changed_by_hand_is_a_finding(call: Call, store: Path) -> None:
    path = next(iter((store / "records" / "tiny").glob("??/*.json")))
    record = json.loads(path.read_text())
    record["outcome"]["test"]["top1"]["hits"] += 1
    path.write_text(json.dumps(record))
    code, out, _ = call("verify", "tiny")
    assert code == 1
    assert "top1" in out.splitlines()[0]


def test_verify_finds_nothing_where_all_holds(call: Call, store: Path) -> None:
    assert call("verify") == (0, "12 records checked, 0 findings\n", "")
    assert call("verify", "tiny") == (0, "12 records checked, 0 findings\n", "")
    shutil.rmtree(store)
    assert call("verify") == (3, "0 records checked, 0 findings\n", "")


def test_check_tells_the_same_the_stale_and_the_absent(call: Call, store: Path) -> None:
    check = ("board", "tiny.toml", "--check")
    code, out, err = call(*check)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"\d+ files compared, 0 stale\n", out)
    readme = store / "boards" / "tiny" / "README.md"
    readme.write_text(readme.read_text().replace("magnitude", "magnificence", 1))
    code, out, _ = call(*check)
    assert code == 1
    assert re.search(r"^-.*magnificence", out, re.MULTILINE)
    assert re.search(r"^\+.*magnitude", out, re.MULTILINE)
    assert out.splitlines()[-1].endswith("1 stale: tiny/README.md")
    assert "magnificence" in readme.read_text()  # a check writes nothing
    call("board", "tiny.toml")
    assert call(*check)[0] == 0
    shutil.rmtree(store / "boards")
    code, out, _ = call(*check)
    assert (code, out) == (3, "0 files compared, 0 stale\n")


def test_boards_of_files_must_be_asked_for_by_file(call: Call, store: Path) -> None:
    code, _, err = call("board", "--check")
    assert (code, err) == (3, "synobench: suite tiny is not registered; its board needs its TOML file's name\n")


def test_one_more_counter_stands_on_the_board_that_is_shown_alone(call: Call, store: Path) -> None:
    before = {path: path.read_bytes() for path in (store / "boards").rglob("*") if path.is_file()}
    code, out, err = call("board", "tiny.toml", "--with", "fanout")
    assert (code, err) == (0, "")
    assert "fanout" in out
    assert {path: path.read_bytes() for path in (store / "boards").rglob("*") if path.is_file()} == before


def test_plan_tells_done_and_pending(call: Call, store: Path) -> None:
    code, out, err = call("plan", "tiny.toml")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "tiny 1.0: 12 done; nothing to run"
    for path in (store / "records" / "tiny").glob("??/*.json"):
        if '"snn-conv"' in path.read_text():
            path.unlink()
    lines = call("plan", "tiny.toml")[1].splitlines()
    assert lines[-1].startswith("tiny 1.0: 6 done, 6 pending; no record tells how long digits/snn-conv")
    only = call("plan", "tiny.toml", "--only", "*[widths=24]/*seed=0", "--json")[1]
    assert set(json.loads(only)["cells"].values()) == {"done"}
    assert len(json.loads(only)["cells"]) == 3


def test_entries_are_shown_with_parameters_and_bounds(call: Call) -> None:
    code, out, err = call("plugins", "show", "magnitude")
    assert (code, err) == (0, "")
    assert out.startswith("pruner magnitude: ")
    assert re.search(r"\[scope\] = global .*one of global, layer", out)
    assert json.loads(call("plugins", "show", "pruner/magnitude", "--json")[1])[0]["kind"] == "pruner"
    listing = json.loads(call("plugins", "list", "--json")[1])
    assert listing["failures"] == []
    assert {"pruner", "suite", "renderer", "executor"} <= {entry["kind"] for entry in listing["entries"]}


def test_data_are_listed_and_fetched(call: Call, tmp_path: Path) -> None:
    code, out, err = call("data", "list", "--data", "d")
    assert (code, err) == (0, "")
    states = {line.split()[0]: line.split()[1] for line in out.splitlines()[1:]}
    assert states["digits"] == "present"
    assert states["mnist"] == "absent"
    assert call("data", "fetch", "digits", "--data", "d") == (0, "", "")


def test_checkpoints_are_listed_found_and_told_of(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNOBENCH_CHECKPOINTS", "released")
    listed = call("data", "list", "--data", "d")[1].partition("checkpoints below released\n")[2]
    assert re.search(r"^mlpnet-mnist +absent \(download: 390.6 kB\); licence: none stated$", listed, re.MULTILINE)
    told = one_line(call("data", "fetch", "mlpnet-mnist", "--offline"))
    assert told.startswith(
        "offline, and checkpoint mlpnet-mnist is not in released: it lacks mnist_25_epoch_93.97.ckpt"
    )
    assert "SYNOBENCH_CHECKPOINTS" in told
    assert "https://" in told
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "mlpnet-mnist.safetensors").write_bytes(b"")
    assert "mlpnet-mnist           present (mlpnet-mnist.safetensors, 0.0 kB)" in call("data", "list", "--data", "d")[1]


def test_a_local_plugin_and_strict_may_stand_on_either_side_of_the_verb(call: Call, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            "from synobench import MetricEntry, hookimpl\n@hookimpl\ndef synobench_metrics():\n"
            f"    yield MetricEntry('{name}', summary='a metric', run=lambda record: 1.0)\n"
        )
    code, out, err = call("-p", "one.py", "plugins", "list", "-p", "two.py")
    assert (code, err) == (0, "")
    assert {"one", "two"} <= {line.split()[1] for line in out.splitlines() if "local file" in line}
    (tmp_path / "one.py").write_text("raise ImportError('no such library')")
    code, out, err = call("plugins", "list", "-p", "one.py")
    assert code == 0
    assert err.count("\n") == 1
    assert re.search(r"^failed +one +local file +at load: ImportError: no such library$", out, re.MULTILINE)
    for line in (["plugins", "list", "-p", "one.py", "--strict"], ["--strict", "-p", "one.py", "plugins", "list"]):
        assert one_line(call(*line)).startswith("plugin 'one' of local file failed to load: ImportError: no such lib")


LOOK = [["--help"], ["--version"], ["plugins", "list"], ["plugins", "show", "magnitude"], ["plan", "tiny.toml"]]
LOOK += [["board", "tiny.toml"], ["board", "tiny.toml", "--check"], ["verify"], ["data", "list"], ["run", "--help"]]

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from synobench.cli import main

for arguments in LOOK:
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 0, (arguments, code)
"""


@pytest.mark.slow
def test_looking_works_where_torch_is_absent(store: Path, tmp_path: Path, tiny: str) -> None:
    (tmp_path / "tiny.toml").write_text(tiny)
    bench = Bench(tmp_path, [sys.executable, "-P", "-c", WITHOUT_TORCH.replace("LOOK", repr(LOOK))])
    done = bench()
    assert done.stderr == ""
    assert "12 done; nothing to run" in done.stdout
    assert "12 records checked, 0 findings" in done.stdout


def cpu_seconds(line: list[str]) -> float:
    """Return the least processor time of a few runs of a command: how busy the machine is hardly matters."""
    spent = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(line, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"]])
def test_looking_costs_little(arguments: list[str]) -> None:
    bare = cpu_seconds([sys.executable, "-c", "import argparse, dataclasses, importlib.metadata, json, typing"])
    # 2 to 3 in practice; scipy alone would make it 8, torch 30.
    assert cpu_seconds([sys.executable, "-P", "-m", "synobench", *arguments]) < 6 * bare


def test_the_module_and_the_script_are_one_command(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    script = Bench(tmp_path, [str(Path(sys.executable).with_name("synobench"))])
    assert bench("--help").stdout == script("--help").stdout
    assert bench("--version").stdout.startswith("synobench ")
    assert bench(code=2).stdout.startswith("usage: synobench ")
    assert bench("rnu", code=2).stderr == "synobench: 'rnu' is no verb (did you mean 'run'?); see 'synobench --help'\n"


@pytest.mark.parametrize("arguments", [["plugins", "list"], ["plan", "tiny.toml"]])
def test_a_reader_who_leaves_early_gets_no_traceback(arguments: list[str], ran: Bench) -> None:
    process = ran.start(*arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait() == 141


def test_without_a_terminal_a_run_says_plain_lines(ran: Bench) -> None:
    out, err = ((ran.folder / name).read_text() for name in ("stdout", "stderr"))
    lines = err.splitlines()
    assert len(lines) == 16
    assert all(re.match(rf"\[ ?{i}/16\] ok     (parent )?digits/", line) for i, line in enumerate(lines, 1))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out + err)
    assert "board: leaderboards/boards/tiny/README.md" in out
    assert "page: site/tiny/index.html" in out


@pytest.mark.slow
def test_on_a_terminal_a_run_shows_bars(ran: Bench, store: Path, tmp_path: Path, tiny: str) -> None:
    (tmp_path / "tiny.toml").write_text(tiny)
    shutil.copytree(ran.folder / "cache", tmp_path / "cache")
    for path in (store / "records" / "tiny").glob("??/*.json"):
        if '"snn-conv"' not in path.read_text():
            path.unlink()
    bench = Bench(tmp_path, TERM="xterm-256color", COLUMNS="150", LINES="40")
    master, slave = pty.openpty()
    process = bench.start("run", "tiny.toml", "--executor", "inline", stderr=slave, stdout=subprocess.DEVNULL)
    os.close(slave)
    shown = b"".join(chunks(master)).decode()
    assert process.wait() == 0
    os.close(master)
    assert "\x1b[" in shown
    assert "━" in shown
    assert "6/6" in shown
    assert "digits/mlp-300-150-10[widths=24]/" in shown
    assert len(bench.records()) == 12


def chunks(file: int) -> Iterator[bytes]:
    """Yield what is written to a terminal until nobody holds its other end."""
    while True:
        try:
            data = os.read(file, 1 << 16)
        except OSError:
            return
        if not data:
            return
        yield data
