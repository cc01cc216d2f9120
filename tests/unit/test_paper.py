"""The files of one evaluation section: what they say, that they compile, and that nobody else's file is overwritten."""

import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synobench import boards, registry
from synobench.board import sources
from synobench.citations import cite
from synobench.cli import main
from synobench.entries import RendererEntry
from synobench.errors import BenchError
from synobench.evaluation import Section
from synobench.paper import DIGESTS, MAIN, REFERENCES, SECTION, files, write
from synobench.registry import Origin, Registered
from synobench.suite import find_suite

ROOT = Path(__file__).parents[2] / "leaderboards"
MADE = {"a.tex": b"one\n", "b.pdf": b"%PDF"}


@pytest.fixture(scope="module")
def built_in() -> Any:
    return registry.load(strict=True, strangers=False)


@pytest.fixture(scope="module")
def section(built_in: Any) -> Any:
    suite = find_suite("sparsity", built_in)
    return Section(boards.build(suite, built_in, ROOT), suite, built_in, cite(suite, built_in))


@pytest.fixture(scope="module")
def made(section: Any) -> Any:
    return files(section.board, section.suite, section.registry, section.cited)


def test_a_section_has_tables_pictures_text_references_and_a_document(made: Any) -> None:
    assert made.keys() >= {
        *("accuracy-synops.pdf", "accuracy-sparsity.pdf", "pareto.pdf", "cost.pdf"),
        *("board.tex", SECTION, MAIN, REFERENCES),
    }
    text = made[SECTION].decode()
    assert re.findall(r"\\synobenchpicture\{\\synobenchdir/([\w.-]+)\}", text) == sorted(
        name for name in made if name.endswith(".pdf")
    )
    assert re.findall(r"\\input\{\\synobenchdir/([\w.-]+)\}", text) == sorted(
        name for name in made if name.endswith(".tex") and name not in (SECTION, MAIN)
    )
    assert rf"\input{{{SECTION}}}" in made[MAIN].decode()


def test_the_protocol_is_told_from_the_suites_facts(section: Any) -> None:
    told = re.sub(r"\\allowbreak\{\}", "", section.text([], {}).replace("\n", " "))

    for sentence in (
        "frozen suite sparsity 1.0 of synobench",
        r"On \texttt{fashion-mnist}~\cite{Xiao2017}, \texttt{mlp-300-150-10}~\cite{LeCun1998} is trained for 18 epochs "
        r"by \texttt{backprop[optimizer=sgd,rate=0.05,decay=0.0005]}~\cite{Rumelhart1986}, pruned and fine-tuned for "
        "6 epochs, in batches of 128 images, in float32.",
        r"\texttt{snn-conv}~\cite{Neftci2019}, with the neurons \texttt{fused}~\cite{Neftci2019}, is trained for 3 ",
        "mnist has 60,000 training images; one split, the same for all seeds, holds out 5,000 of them for validation. "
        "Its 10,000 test images are sealed until judging.",
        r"Entries: \texttt{magnitude[scope=global]}~\cite{Han2015}, \texttt{magnitude[scope=layer]}~\cite{Han2015}, "
        r"\texttt{random}.",
        r"Targets: sparsity 50\,\%, sparsity 80\,\%, sparsity 90\,\%, sparsity 95\,\%.",
        "Seeds: 0, 1, 2, 3, 4; entries are paired by seed.",
        r"half-width of its Student-t 95\,\% interval",
        f"{sources.made_at(section.board)}. Machines: ",
    ):
        assert sentence in told
    assert "with the neurons" not in told.split("On ")[1]
    assert "Planned runs without a record" not in told


def test_released_networks_gaps_and_failures_are_told(section: Any) -> None:
    one_shot = find_suite("one-shot", section.registry)
    network = next(n for n in one_shot.networks if n.checkpoint)
    rows = [dataclasses.replace(row, missing=(7, 8)) for row in section.board.networks[0].rows[:2]]
    first = dataclasses.replace(section.board.networks[0], rows=tuple(rows))
    board = dataclasses.replace(section.board, networks=(first,))
    cited = cite(one_shot, section.registry)
    told = Section(board, dataclasses.replace(one_shot, networks=(network,)), section.registry, cited).text([], {})

    assert f"The released network \\texttt{{{network.checkpoint}}}~\\cite{{" in told
    assert "is pruned and not fine-tuned" in told
    assert "Planned runs without a record: 4; of these, failed: 0." in told


def test_every_source_that_the_text_cites_is_among_the_references(made: Any) -> None:
    cited = set(re.findall(r"\\cite\{([^}]+)\}", made[SECTION].decode() + made["board.tex"].decode()))

    assert cited
    assert cited <= set(re.findall(r"^@\w+\{([^,]+),", made[REFERENCES].decode(), re.MULTILINE))


def test_a_board_without_runs_is_nothing_to_write_about(section: Any) -> None:
    bare = dataclasses.replace(section.board, networks=())
    with pytest.raises(BenchError, match=r"no run of sparsity 1\.0 is recorded: 'synobench run sparsity' makes some"):
        files(bare, section.suite, section.registry, section.cited)


def test_a_renderer_cannot_take_the_sections_own_names(section: Any) -> None:
    entry = RendererEntry("mine", summary="mine", file="main.tex", run=lambda _: "x\n")
    loaded = registry.load(strict=True, strangers=False)
    loaded._entries["renderer"]["mine"] = Registered(entry, Origin("mine", "local file", "", "mine.py"))

    with pytest.raises(BenchError, match=r"a renderer writes main\.tex, which is a file of the section itself"):
        files(section.board, section.suite, loaded, section.cited)


def test_files_are_written_with_their_digests(tmp_path: Any) -> None:
    folder = tmp_path / "deep" / "paper"

    assert [path.name for path in write(folder, MADE)] == ["a.tex", "b.pdf", DIGESTS]
    assert (folder / "a.tex").read_bytes() == b"one\n"
    lines = (folder / DIGESTS).read_text().splitlines()
    assert lines == [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in MADE.items()]


def test_own_files_are_written_anew_and_taken_away(tmp_path: Any) -> None:
    write(tmp_path, MADE)
    write(tmp_path, {"a.tex": b"two\n"})

    assert (tmp_path / "a.tex").read_bytes() == b"two\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tex", DIGESTS]


@pytest.mark.parametrize("before", [False, True])
def test_a_file_of_somebody_else_stays(tmp_path: Any, before: Any) -> None:
    if before:
        write(tmp_path, MADE)
    (tmp_path / "b.pdf").write_bytes(b"mine")
    with pytest.raises(BenchError, match=r"b\.pdf is not as synobench wrote it; move it away, or give --out another"):
        write(tmp_path, {"a.tex": b"new\n", "b.pdf": b"new"})

    assert (tmp_path / "b.pdf").read_bytes() == b"mine"
    assert (tmp_path / "a.tex").exists() == before
    assert not before or (tmp_path / "a.tex").read_bytes() == b"one\n"


def test_an_edited_file_that_is_made_no_more_stays(tmp_path: Any) -> None:
    write(tmp_path, MADE)
    (tmp_path / "b.pdf").write_bytes(b"mine")
    write(tmp_path, {"a.tex": b"one\n"})

    assert (tmp_path / "b.pdf").read_bytes() == b"mine"


def test_what_is_there_already_with_the_same_bytes_is_no_obstacle(tmp_path: Any) -> None:
    (tmp_path / "a.tex").write_bytes(b"one\n")

    assert write(tmp_path, MADE)


def test_a_folder_that_is_a_file_and_a_list_that_is_none_are_one_clear_line(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match=r"file is not a folder; give --out one"):
        write(tmp_path / "file", MADE)
    (tmp_path / DIGESTS).write_text("no list\n")
    with pytest.raises(BenchError, match=rf"{DIGESTS} is not as synobench wrote it"):
        write(tmp_path, MADE)


def test_digests_cannot_lead_out_of_the_folder(tmp_path: Any) -> None:
    outside, folder = tmp_path / "outside.txt", tmp_path / "paper"
    outside.write_text("x")
    folder.mkdir()
    (folder / DIGESTS).write_text(f"{hashlib.sha256(b'x').hexdigest()}  ../outside.txt\n")
    write(folder, MADE)

    assert outside.exists()


def test_a_folder_in_the_place_of_a_file_is_one_clear_line(tmp_path: Any) -> None:
    (tmp_path / "a.tex").mkdir()
    with pytest.raises(BenchError, match=r"a\.tex is not as synobench wrote it"):
        write(tmp_path, MADE)


@pytest.mark.slow
def test_the_same_bytes_under_another_hash_seed(made: Any, tmp_path: Any) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7", "LC_ALL": "C", "MPLCONFIGDIR": str(tmp_path)}
    command = [sys.executable, "-m", "synobench", "paper", "sparsity", "--leaderboards", str(ROOT), "--out", "paper"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)

    assert {path.name: path.read_bytes() for path in (tmp_path / "paper").iterdir() if path.name != DIGESTS} == made


def test_the_command_refuses_in_one_line(tmp_path: Any, capsys: Any) -> None:
    assert main(["paper", "sparsity", "--leaderboards", str(tmp_path), "--out", str(tmp_path / "paper")]) == 2
    assert capsys.readouterr().err.startswith("synobench: no run of sparsity 1.0 is recorded")
    assert not (tmp_path / "paper").exists()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex") or not shutil.which("bibtex"), reason="pdflatex or bibtex is missing")
@pytest.mark.parametrize("inside", [True, False])
def test_it_compiles_in_its_own_folder_and_from_another(made: Any, tmp_path: Any, inside: Any) -> None:
    write(tmp_path / "part", made)
    folder = tmp_path / "part" if inside else tmp_path
    if not inside:
        text = made[MAIN].decode().replace(r"\input{", "\\newcommand{\\synobenchdir}{part}\n\\input{part/")
        (tmp_path / MAIN).write_text(text.replace(r"\bibliography{", r"\bibliography{part/"))
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    logs = []
    for command in (latex, ["bibtex", "main"], latex, latex):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        logs.append(done.stdout.decode(errors="replace"))
        assert done.returncode == 0, logs[-1][-2000:]

    assert (folder / "main.pdf").stat().st_size > 50_000
    assert not re.search(r"Overfull|undefined|Missing character|Float too large", logs[-1])
    assert "Warning" not in logs[1]
