"""A board as LaTeX: its tables, its marks, names that would break it, and that pdflatex sets it."""

import dataclasses
import re
import shutil
import subprocess
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.board.twins import Twin
from synobench.protocol import Published
from synobench.stats import Estimate
from synobench.testing.records import make_inputs, make_record, make_records
from synobench_renderers.latex import board_tex, number

TARGETS = (0.5, 0.9)
MEANS = {"magnitude[scope=global]": (188, 150), "magnitude[scope=layer]": (188, 140), "random": (170, 80)}
HOSTILE = [
    "<script>",
    "50%_off",
    "a&b",
    "[z]",
    "*",
    r"\input{/etc/passwd}",
    "^^M~",
    "{",
    "}",
    "$m$",
    "#1",
    "`t'",
    "'中'",
]
WRAPPER = r"""
\documentclass{article}
\usepackage{booktabs,array}
\begin{document}
\input{board.tex}
\end{document}
"""


def board_of(records: Any, plan: Any = (), **more: Any) -> Any:
    def effective(ledger: Any) -> Any:
        return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}

    suite = SuiteFacts("demo", "1.0", "?", "effective", {"effective": "total"}, {"effective": "sum of M(w)"}, plan)
    return build_board(suite, records, {"effective": effective}, **more)


def rows_of(text: Any) -> Any:
    """Return the cells of every row of figures."""
    return [
        [cell.strip() for cell in line.removesuffix(r" \\").split(" & ")] for line in text.splitlines() if " & " in line
    ]


@pytest.fixture(scope="module")
def demo() -> Any:
    records = [*make_records(MEANS, TARGETS), make_record("obd", 0.9, 0, 160, sparsity=0.8)]
    return board_of(records, [make_inputs("obd", 0.9, seed) for seed in (0, 1)])


@pytest.fixture(scope="module")
def hostile() -> Any:
    entries = [{"name": name, "params": {"k": name}} for name in HOSTILE]
    return board_of([make_record(e, t, s, 150, model="m_%<i>") for e in entries for t in TARGETS for s in range(3)])


def test_figures_stand_by_entry_and_target(demo: Any) -> None:
    rows = rows_of(board_tex(demo))
    network = demo.networks[0]

    assert rows[0] == ["Entry", r"50\,\%", r"90\,\%"]
    assert rows[1] == ["dense control", r"\multicolumn{2}{c@{}}{$94.90 \pm 0.52$}"]
    for label in MEANS:
        name, *cells = next(row for row in rows if row[0].replace(r"\allowbreak{}", "") == label)
        expected = [
            r
            for t in ("sparsity 50 %", "sparsity 90 %")
            for r in network.rows
            if (r.label, r.target_label) == (label, t)
        ]
        figures = [re.sub(r"\\mathbf\{([\d.]+)\}", r"\1", cell).strip("$").split(r" \pm ") for cell in cells]
        assert figures == [[f"{100 * r.accuracy.mean:.2f}", f"{100 * r.accuracy.half:.2f}"] for r in expected]
        ratios = [row for row in rows if row[0] == name][1][1:]
        assert ratios == [rf"${r.synops_ratio.mean:.3f} \pm {r.synops_ratio.half:.3f}$" for r in expected]


def test_bold_is_the_best_group_and_not_the_best_mean(demo: Any) -> None:
    told = {
        row[0].replace(r"\allowbreak{}", ""): ["mathbf" in cell for cell in row[1:]]
        for row in reversed(rows_of(board_tex(demo)))
    }
    best = {(r.label, r.target_label): bool(r.best) for r in demo.networks[0].rows}

    for label in MEANS:
        assert told[label] == [best[label, "sparsity 50 %"], best[label, "sparsity 90 %"]]
    assert [sum(column) for column in zip(*(told[label] for label in MEANS), strict=True)] == [2, 1]


def test_few_incomplete_and_missed_are_marked_and_explained(demo: Any) -> None:
    text = board_tex(demo)

    assert ["obd", "--", r"$80.00^{\ddag\circ\ast}$"] in rows_of(text)
    (notes,) = [line for line in text.splitlines() if line.startswith(r"\par")]
    assert notes.endswith(
        r"$^{\ddag}$ fewer than 3 seeds, not ranked; $^{\circ}$ planned seeds are missing; "
        r"$^{\ast}$ the target was missed."
    )
    assert r"\dag$" not in notes


def test_the_caption_tells_suite_version_commit_counter_and_what_the_figures_mean(demo: Any) -> None:
    (caption,) = re.findall(r"\\caption\{(.*)\}\n", board_tex(demo))

    for told in (
        "digits with snn-conv: top-1 accuracy in per cent on 200 test images, mean over 1 to 5 seeds",
        r"$\pm$ half-width of the Student-t 95\,\% interval",
        r"by the counter \texttt{effective}: sum of M(w).",
        "Suite demo 1.0, 36 runs at commit 0000000000.",
        "Bold: ",
    ):
        assert told in caption


def test_several_commits_are_told() -> None:
    def told(*commits: Any) -> Any:
        records = [make_record("obd", 0.9, seed, 150) for seed in range(len(commits))]
        for commit, record in zip(commits, records, strict=True):
            record["provenance"]["code"] = {"commit": commit, "dirty": commit == "dd"}
        return re.findall(r"Suite demo 1.0, (.*)\.\}\n", board_tex(board_of(records)))

    assert told("aa") == ["1 run at commit aa"]
    assert told("aa", "cc", "cc") == ["3 runs at 2 commits: cc (2), aa (1)"]
    assert told(None, "aa", "aa", "bb", "bb", "dd", "dd") == [
        "7 runs at 4 commits: aa (2), bb (2), dd with uncommitted changes (2) and others"
    ]
    assert told(None) == ["1 run at commit unknown"]


def test_many_targets_go_on_in_further_floats() -> None:
    text = board_tex(board_of(make_records({"obd": range(180, 173, -1)}, (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98))))

    assert re.findall(r"& \\multicolumn\{(\d)\}\{c\}\{sparsity\}", text) == ["4", "3"]
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert text.count(r"\label{") == 1
    assert r"\caption{Table~\ref{tab:demo-digits-snn-conv}, continued: digits / snn-conv.}" in text


def test_an_entry_stands_only_where_it_has_figures() -> None:
    records = [*make_records({"obd": range(180, 173, -1)}, (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98))]
    first, second = board_tex(board_of([*records, make_record("early", 0.3, 0, 190)])).split("continued")

    assert "early" in first
    assert "early" not in second


def test_kinds_of_targets_stand_above_their_values() -> None:
    aims = [{"name": "sparsity", "value": 0.5}, {"name": "synops", "value": 0.25, "counter": "effective"}]
    text = board_tex(board_of([make_record("obd", aim, seed, 150) for aim in aims for seed in range(3)]))

    assert r"& \multicolumn{1}{c}{sparsity} & \multicolumn{1}{c}{SynOps (effective)} \\" in text
    assert r"\cmidrule(l){2-2}\cmidrule(l){3-3}" in text
    assert r"Entry & 50\,\% & 25\,\% \\" in text
    assert r"\emph{Sparsity reached, \%}" in text


def test_gains_over_twins_stand_in_blocks_of_their_own(demo: Any) -> None:
    (network,) = demo.networks
    gain = Estimate(5, 0.0123, 0.002, 0.0034, 0.01, 0.015)

    def twinned(row: Any) -> Any:
        if row.label not in ("random", "obd"):
            return {}
        twin = Twin("magnitude", row.label, (), (), dict)
        vars(twin).update(gain=gain, same=row.label == "obd")  # told, in place of computed
        return {"magnitude": twin}

    rows = tuple(dataclasses.replace(row, twins=twinned(row)) for row in network.rows)
    text = board_tex(dataclasses.replace(demo, networks=(dataclasses.replace(network, rows=rows),)))
    _, block = text.split(r"\emph{Gain over its magnitude twin, points}} \\")

    assert rows_of(block.split(r"\bottomrule")[0]) == [
        ["obd", "--", "same"],
        ["random", r"$+1.23 \pm 0.34$", r"$+1.23 \pm 0.34$"],
    ]
    assert "random twin" not in text


def test_published_figures_are_marked_cited_and_never_bold(demo: Any) -> None:
    (network,) = demo.networks
    aims = [{"name": "sparsity", "value": value} for value in (0.5, 0.98)]
    figures = (
        Published("Doe2020", network.label, "chita++", aims[0], 91.5, 0.25),
        Published("Doe2020", network.label, "chita++", aims[1], 88.125),
        Published("a b%", network.label, "obd", aims[0], 90.0),
        Published("Doe2020", network.label, "none", {"name": "none"}, 93.0),
    )
    text = board_tex(dataclasses.replace(demo, networks=(dataclasses.replace(network, published=figures),)))
    _, block = text.split(r"\emph{Published by others ($\pm$ standard error), top-1 \%, not ranked}} \\")

    assert rows_of(text)[0] == ["Entry", r"50\,\%", r"90\,\%", r"98\,\%"]
    assert rows_of(block.split(r"\bottomrule")[0]) == [
        [r"chita++ \cite{Doe2020}", r"$91.50 \pm 0.25$", "--", "$88.12$"],
        [r"obd (a b\%)", "$90.00$", "--", "--"],
    ]


def test_boards_without_runs_say_so() -> None:
    for board in (board_of([]), board_of([], [make_inputs("obd", 0.9, 0)])):
        text = board_tex(board)
        assert text.endswith("% No run has been recorded.\n")
        assert r"\begin" not in text


def test_groups_and_braces_are_balanced_whatever_the_names(hostile: Any) -> None:
    text = board_tex(hostile)
    bare = re.sub(r"\\[\\{}%]", "", "\n".join(line for line in text.splitlines() if not line.startswith("%")))

    assert text.isascii()
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == text.count(r"\$") % 2
    assert len({line.count(" & ") for line in text.splitlines() if r"\pm" in line and "caption" not in line}) == 1
    assert r"\input{" not in text


def test_a_number_keeps_its_sign_and_its_gap() -> None:
    assert number(None) == "--"
    (row,) = board_of([make_record("obd", 0.9, 0, 150)]).networks[0].rows
    assert number(row.accuracy, scale=-100) == "$-75.00$"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("name", ["demo", "hostile"])
def test_pdflatex_sets_it_without_a_warning_of_width(name: Any, request: Any, tmp_path: Any) -> None:
    (tmp_path / "board.tex").write_text(board_tex(request.getfixturevalue(name)))
    (tmp_path / "main.tex").write_text(WRAPPER)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    log = done.stdout.decode(errors="replace")

    assert done.returncode == 0, log[-2000:]
    assert (tmp_path / "main.pdf").is_file()
    assert not re.search(r"Overfull|Missing character|! ", log)
