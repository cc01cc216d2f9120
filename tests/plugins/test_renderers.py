"""The files of a board: what they say, that names cannot break them, and that their bytes never change."""

import csv
import io
import os
import subprocess
import sys
from typing import Any

import pytest
from markdown_it import MarkdownIt

import synobench_renderers
from synobench.board import SuiteFacts, build_board
from synobench.testing.records import make_failure, make_inputs, make_record, make_records

ENTRIES = {entry.name: entry for entry in synobench_renderers.synobench_renderers()}
RARE = ("ranks", "updates", "energy", "cosine")
"""Pictures that most boards do not have."""

PICTURES = {
    **{"sparsity": "accuracy-sparsity", "pareto": "pareto", "cost": "cost", "ranks": "ranks"},
    **{"updates": "update-norm", "energy": "energy", "cosine": "cosine"},
}
MEANS = {"magnitude[scope=global]": (188, 150), "magnitude[scope=layer]": (184, 140), "random": (170, 80)}
NETWORKS = [("digits", "snn-conv"), ("mnist", "mlp-300-150-10")]
HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    "_x_",
    "*y*",
    "[z](http://evil.example)",
    "`t`",
    "&lt;",
    "$m$",
    "\\",
    '"q"',
]

BUILD = """
import hashlib, random, sys
import synobench_renderers
from synobench.board import SuiteFacts, build_board
from synobench.testing.records import make_records
hits = {"b[k=1]": (188, 150), "b[k=2]": (184, 140)}
records = list(make_records({**hits, **{n: (170, 80) for n in "acdef"}}, (0.5, 0.9)))
plan = [r["inputs"] for r in records]
less = [r for r in records if (r["inputs"]["pruner"]["name"], r["inputs"]["seed"]) != ("c", 0)]
kept = less if sys.argv[2:] else records
random.Random(sys.argv[1]).shuffle(kept)
def count(ledger): return {n: sum(getattr(x, n) for x in ledger.layers) for n in {"effective", "dense", "fanout"}}
suite = SuiteFacts("demo", "1.0", "?", "c", {"c": "effective"}, {}, plan)
board = build_board(suite, kept, {"c": count}, {"m": lambda r: 1.0})
for entry in synobench_renderers.synobench_renderers():
    made = entry.load()(board)
    if made is not None:
        print(entry.file, hashlib.sha256(made if isinstance(made, bytes) else made.encode()).hexdigest())
"""


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def board_of(records: Any, plan: Any = (), question: Any = "Which weights?", **more: Any) -> Any:
    suite = SuiteFacts("demo", "1.0", question, "effective", {"effective": "total"}, {"effective": "sum of M(w)"}, plan)
    return build_board(suite, records, {"effective": effective, **more})


def rendered(name: Any, board: Any) -> Any:
    return ENTRIES[name].load()(board)


@pytest.fixture(scope="module")
def demo() -> Any:
    records = list(make_records(MEANS, (0.5, 0.9), networks=NETWORKS))
    records += [make_record("obd", 0.9, 0, 160, sparsity=0.8), make_failure("obd", 0.9, 1)]
    return board_of(records, [make_inputs("obd", 0.9, seed) for seed in (0, 1)], fanout=lambda _: {"acs": 12.5})


@pytest.fixture(scope="module")
def hostile() -> Any:
    entries = [{"name": name, "params": {"k": name}} for name in HOSTILE]
    records = [make_record(e, t, s, 150, model="m<i>|") for e in entries for t in (0.5, 0.9) for s in range(3)]
    failure = make_failure(entries[0], 0.8)
    failure["error"]["message"] = "<img src=x onerror=alert(1)> | `x\n# y"
    return board_of([*records, failure], question="<b>|_why_|</b>", **{"<u>|": lambda _: {"<s>": 1.0}})


def tables_of(text: Any) -> Any:
    """Return the cells of every table of a Markdown text, as it is read on GitHub."""
    tables, place = [], None
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("td_open", "th_open"):
            place = tables[-1][-1]
        elif token.type == "inline" and place is not None:
            place.append("".join(child.content for child in token.children))
        if token.type in ("td_close", "th_close"):
            place = None
    return tables


def test_the_files_of_a_board() -> None:
    assert {name: (entry.file, entry.committed) for name, entry in ENTRIES.items()} == {
        "markdown": ("README.md", True),
        "csv": ("board.csv", True),
        "runs": ("runs.csv", True),
        "latex": ("board.tex", True),
        "svg": ("accuracy-synops.svg", True),
        "pdf": ("accuracy-synops.pdf", False),
        **{
            f"{name}-{ending}": (f"{file}.{ending}", ending == "svg")
            for name, file in PICTURES.items()
            for ending in ("svg", "pdf")
        },
        "html": ("index.html", False),
    }


def test_markdown_holds_the_table(demo: Any) -> None:
    above, below, *_ = tables_of(rendered("markdown", demo))

    heads = ["target", "#", "entry", "top-1 %", "seeds", "to dense", "verdict", "SynOps", "ratio", "sparsity %"]
    assert above[0] == below[0] == [*heads, "remarks"]
    assert above[1][:5] == ["", "", "none", "94.90\xa0±\xa00.52", "5"]
    assert above[1][-1] == "dense\xa0control"
    assert [row[2] for row in above[2:]] == [*MEANS] * 2
    assert [row[0] for row in above[2:]] == ["sparsity\xa050\xa0%", "", "", "sparsity\xa090\xa0%", "", ""]
    assert above[2][7:10] == ["872", "0.500", "50.00"]
    assert below[1][1:5] == ["\N{EN DASH}", "obd", "80.00", "1\xa0of\xa02"]
    assert below[1][-1] == "few seeds, target missed (1 of 1)"


def test_markdown_says_what_is_missing_failed_and_how_to_build_it(demo: Any) -> None:
    text = rendered("markdown", demo).replace("\\", "")

    for told in (
        "- obd, sparsity 90 %: seed 1\n",
        "synobench_magnitude failed at prune: no finite score (key ",
        "- Sampling error: 200 test images alone give ± 3.05 points (95 %).\n",
        "- Smallest difference that it could have seen: ",
        " by the counter `effective`: sum of M(w); ",
        "![Top-1 accuracy against SynOps, one panel a network](accuracy-synops.svg)",
        "- name cpu, threads 1: 71 runs, 40.0 to 44.0 GFLOP/s, 5.0 GB/s\n",
        "```console\n$ synobench board demo\n```\n",
        "fanout.acs",
    ):
        assert told in text


def test_markdown_shows_names_as_they_are(hostile: Any) -> None:
    text = rendered("markdown", hostile)
    above = tables_of(text)[0]

    assert sorted({row[2] for row in above[1:]}) == sorted(HOSTILE)
    assert len({len(row) for row in above}) == 1
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in inline} <= {
        "text",
        "text_special",
        "softbreak",
        "image",
        "strong_open",
        "strong_close",
        "code_inline",
        "em_open",
        "em_close",
    }
    html_blocks = {token.content.split(">")[0] for token in tokens if token.type == "html_block"}
    assert html_blocks <= {"<details", "</details"}
    assert sum(token.type == "em_open" for token in inline) == 1
    assert [token.content for token in tokens if token.type == "inline" and token.level == 1][
        1
    ] == r"&lt;b&gt;\|\_why\_\|&lt;/b&gt;"


def test_board_csv_has_one_tidy_row_an_entry_network_and_target(demo: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(rendered("csv", demo))))

    assert len(rows) == 2 * (1 + 3 * 2) + 1
    places = {(r["dataset"], r["model"], r["entry"], r["target"]) for r in rows}
    assert len(places) == len(rows)
    row = next(r for r in rows if (r["dataset"], r["entry"], r["target"]) == ("mnist", "random", "sparsity 90 %"))
    expected = next(r for r in demo.networks[1].rows if (r.entry, r.target_label) == ("random", "sparsity 90 %"))
    assert float(row["top1_mean"]) == pytest.approx(expected.accuracy.mean)
    assert float(row["difference_half"]) == pytest.approx(expected.difference.half)
    assert (row["seeds"], row["rank"], row["best_group"], row["synops_mean"]) == ("5", "3", "false", "174")
    assert (row["target_kind"], row["target_value"], row["fanout.acs"]) == ("sparsity", "0.9", "12.5")
    assert (row["train_forward"], row["train_seconds"], row["train_peak_bytes"]) == ("1500", "1.5", "")
    few = next(r for r in rows if r["entry"] == "obd")
    assert (few["missing"], few["missed"], few["rank"], few["top1_half"]) == ("1", "0", "", "")


def test_seconds_of_several_machines_are_not_averaged() -> None:
    records = [make_record("obd", 0.9, seed, 150, machine=name) for seed, name in enumerate("ab")]
    (row,) = csv.DictReader(io.StringIO(rendered("csv", board_of(records))))

    assert (row["train_seconds"], row["train_forward"]) == ("", "1500")
    assert row["machines"] == "name a, threads 1 | name b, threads 1"
    text = rendered("markdown", board_of(records))
    assert text.count("Seconds of each phase on: name ") == 2


def test_runs_csv_has_one_row_a_record(demo: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(rendered("runs", demo))))

    assert {row["key"] for row in rows} == {run.key for run in demo.runs}
    assert len(rows) == len(demo.runs) == 71
    for row in rows:
        assert float(row["top1"]) == pytest.approx(int(row["hits"]) / int(row["images"]))
    assert {row["code_dirty"] for row in rows} == {"false"}
    assert {row["gflops"] for row in rows if row["seed"] == "3"} == {"43"}


@pytest.mark.parametrize("name", ENTRIES)
def test_boards_without_runs_and_without_synops_render(name: Any) -> None:
    empty = board_of([])
    gaps = board_of([], [make_inputs("obd", 0.9, 0)])
    suite = SuiteFacts("demo", "1.0", "?", "effective", {"effective": "total"})
    bare = build_board(suite, [make_record()], {"effective": lambda _: {"total": None}})

    for board in (empty, gaps, bare):
        text = rendered(name, board)
        if not isinstance(text, str):
            assert text is None if name.startswith(RARE) else text.startswith(b"%PDF-1.")
            continue
        assert text.endswith("\n")
        assert "None" not in text
        assert "nan" not in text.lower()


def test_bytes_do_not_depend_on_hashing_order_or_locale(tmp_path: Any) -> None:
    def build(seed: Any, *more: Any, **settings: Any) -> Any:
        home = tmp_path / f"home-{seed}"
        home.mkdir(exist_ok=True)
        if seed == "1":
            (home / "matplotlibrc").write_text("xtick.labelsize: 22\ngrid.linestyle: --\nsvg.fonttype: path\n")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "MPLCONFIGDIR": str(tmp_path / seed), **settings}
        command = [sys.executable, "-c", BUILD, seed, *more]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=home).stdout

    first = build("1", TZ="Asia/Tokyo")

    assert len(first.splitlines()) == len(ENTRIES) - 2 * len(RARE)  # no test across so few networks, no rules
    assert build("2", LC_ALL="C") == first
    assert all(a != b for a, b in zip(first.splitlines(), build("1", "one less").splitlines(), strict=True))


def test_rendering_twice_gives_the_same_bytes(demo: Any) -> None:
    for name in ENTRIES:
        assert rendered(name, demo) == rendered(name, demo)


@pytest.mark.parametrize("text", ["- a", "+ a", "1. a", "12) a", "# a", "> a", "~~a~~", "a `b` c`", "**a**", "&amp;"])
def test_markdown_lines_keep_their_text(text: Any) -> None:
    from synobench_renderers.markdown import escape

    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(escape(text))

    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in tokens[1].children) == text
    assert {child.type for child in tokens[1].children} <= {"text", "text_special"}


def test_code_spans_are_set_as_code(demo: Any) -> None:
    text = rendered("markdown", demo)

    assert "dense control `none`, which" in text
