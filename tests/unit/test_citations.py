"""BibTeX of a suite: each source once, gaps told, references read without an import."""

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synobench import citations, registry
from synobench.citations import cite
from synobench.cli import main
from synobench.errors import BenchError
from synobench.protocol import Published
from synobench.references import Library, location, parse
from synobench.suite import find_suite
from synobench.testing.records import make_record

SUITES = ("quickstart", "sparsity", "one-shot")
ENTRY = """@article{{{key},
  author = {{Doe, Jane}},
  title  = {{{title}}},
  year   = {{2020}},
}}
"""
PLUGIN = """
from dataclasses import dataclass
from synobench import PrunerEntry, hookimpl

@dataclass(frozen=True)
class Mine:
    def prune(self, bench):
        return None

@hookimpl
def synobench_pruners():
    yield PrunerEntry("mine", params=Mine, summary="a method", citation={citation!r})
"""


@pytest.fixture(scope="module")
def built_in() -> Any:
    return registry.load(strict=True, strangers=False)


def with_mine(folder: Any, citation: Any, bib: Any = None) -> Any:
    (folder / "mine.py").write_text(PLUGIN.format(citation=citation))
    if bib is not None:
        (folder / "mine.bib").write_text(bib, encoding="utf-8")
    sys.modules.pop("mine", None)
    return registry.load([folder / "mine.py"], strict=True, strangers=False)


def suite_of(loaded: Any, *pruners: Any, **more: Any) -> Any:
    return dataclasses.replace(find_suite("sparsity", loaded), pruners=pruners or ("none", "magnitude"), **more)


@pytest.mark.parametrize("name", SUITES)
def test_every_built_in_suite_can_be_cited_whole(name: Any, built_in: Any) -> None:
    found = cite(find_suite(name, built_in), built_in)

    assert found.findings == ()
    keys = re.findall(r"^@\w+\{([^,]+),", found.text, re.MULTILINE)
    assert keys == sorted(set(keys))
    assert set(keys) == set(found.cited.values())
    assert parse(found.text).keys() == set(keys)


def test_methods_data_sets_networks_neurons_rules_and_counters_are_cited(built_in: Any) -> None:
    found = cite(find_suite("sparsity", built_in), built_in)

    assert found.cited == {
        ("counter", "effective"): "Yik2025",
        ("counter", "energy"): "Horowitz2014",
        ("counter", "fanout"): "Fang2023",
        ("dataset", "fashion-mnist"): "Xiao2017",
        ("dataset", "mnist"): "LeCun1998",
        ("model", "mlp-300-150-10"): "LeCun1998",
        ("model", "snn-conv"): "Neftci2019",
        ("neuron", "fused"): "Neftci2019",
        ("pruner", "magnitude"): "Han2015",
        ("rule", "backprop"): "Rumelhart1986",
    }
    assert "% pruner none: control\n" in found.text
    assert "% dataset mnist; model mlp-300-150-10\n@article{LeCun1998," in found.text


def test_each_built_in_entry_is_cited_in_its_own_plugin(built_in: Any) -> None:
    library = Library(built_in.origins)
    missing = [
        f"{kind} {found.entry.name}: {found.entry.citation}"
        for kind in registry.KINDS
        for found in built_in.all(kind)
        if not found.entry.citation.startswith(citations.NONE)
        and found.entry.citation not in library.of(found.origin.plugin)
    ]
    assert missing == []


def test_a_checkpoint_brings_its_data_and_its_network_and_published_figures_their_source(built_in: Any) -> None:
    found = cite(find_suite("one-shot", built_in), built_in)

    kinds = {kind for kind, _ in found.cited}
    assert {"checkpoint", "published", "dataset", "model"} <= kinds
    assert ("rule", "none") not in found.cited


def test_what_the_records_hold_besides_is_cited_too(built_in: Any) -> None:
    suite = suite_of(built_in, "none", name="demo", version="1.0")
    assert ("pruner", "magnitude") not in cite(suite, built_in).cited

    records = [make_record("magnitude", 0.9, 0)]
    assert cite(suite, built_in, records).cited["pruner", "magnitude"] == "Han2015"
    other = dataclasses.replace(suite, version="2.0")
    assert ("pruner", "magnitude") not in cite(other, built_in, records).cited
    records[0]["status"] = "failed"
    assert ("pruner", "magnitude") not in cite(suite, built_in, records).cited


def test_a_missing_key_is_a_finding_that_names_the_file(tmp_path: Any) -> None:
    for bib in (None, ENTRY.format(key="Roe2020", title="Other")):
        loaded = with_mine(tmp_path, "Doe2020", bib)
        (finding,) = cite(suite_of(loaded, "mine"), loaded).findings
        assert finding == (
            "pruner 'mine' cites 'Doe2020', which is not in the mine.bib of plugin 'mine'; "
            "add it there, or let the citation say 'none: why'"
        )


def test_a_plugin_of_one_file_keeps_its_references_beside_it(tmp_path: Any) -> None:
    loaded = with_mine(tmp_path, "Doe2020", ENTRY.format(key="Doe2020", title="A method"))
    found = cite(suite_of(loaded, "mine"), loaded)

    assert found.findings == ()
    assert "% pruner mine\n@article{Doe2020," in found.text


def test_a_citation_that_says_why_there_is_none_is_a_comment(tmp_path: Any) -> None:
    loaded = with_mine(tmp_path, "none: write to me@example.org\n@misc{x,}")
    found = cite(suite_of(loaded, "mine"), loaded)

    assert "% pruner mine: write to me(at)example.org (at)misc{x,}\n" in found.text
    assert "x" not in parse(found.text)


def test_what_nobody_registers_is_a_finding(built_in: Any) -> None:
    suite = suite_of(built_in, "none", name="demo", version="1.0")
    (finding,) = cite(suite, built_in, [make_record({"name": "<script>", "params": {}})]).findings

    assert finding.startswith("pruner '<script>' stands on the board and no plugin registers it")


def test_published_figures_without_a_source_are_a_finding(built_in: Any) -> None:
    figure = Published("Nobody1999", "digits/snn-conv", "magnitude", {"name": "none"}, 90.0)
    (finding,) = cite(suite_of(built_in, published=(figure,)), built_in).findings

    assert finding == "published figures come from 'Nobody1999', which no plugin has among its references"


def test_one_key_for_two_works_is_a_finding(tmp_path: Any) -> None:
    loaded = with_mine(tmp_path, "Han2015", ENTRY.format(key="Han2015", title="Another work"))
    found = cite(suite_of(loaded, "mine", "magnitude"), loaded)
    assert found.findings == ("plugins have different works as Han2015: 'mine' means another one than the first",)

    title = "{L}earning both weights and connections for efficient neural networks"
    loaded = with_mine(tmp_path, "Han2015", ENTRY.format(key="Han2015", title=title))
    assert cite(suite_of(loaded, "mine", "magnitude"), loaded).findings == ()


def test_entries_are_read_as_they_stand() -> None:
    text = """
    Anything may stand here.
    @comment{Old1999, title={no}}
    @string{jmlr, "Journal"}
    @Article { Doe2020 ,
      title = {A {B}raced \\} title @ {home}},
    }
    @misc{Roe2021, note = "x"} tail
    """
    found = parse(text)

    assert list(found) == ["Doe2020", "Roe2021"]
    assert found["Doe2020"].endswith("title = {A {B}raced \\} title @ {home}},\n    }")
    assert found["Roe2021"] == '@misc{Roe2021, note = "x"}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("@misc{a, title={x}", "the entry a of some.bib is not closed: a brace is missing"),
        ("@misc{a, x={1}}\n@misc{a, x={2}}", "some.bib has a twice; keep one of them"),
    ],
)
def test_broken_references_are_one_clear_line(text: Any, told: Any) -> None:
    with pytest.raises(BenchError, match=re.escape(told)):
        parse(text, "some.bib")


def test_references_that_are_no_text_are_one_clear_line(tmp_path: Any) -> None:
    loaded = with_mine(tmp_path, "Doe2020")
    (tmp_path / "mine.bib").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match=r"mine\.bib is not UTF-8 text"):
        cite(suite_of(loaded, "mine"), loaded)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: Any) -> None:
    try:
        found = parse(text)
    except BenchError:
        return
    assert all(entry.startswith("@") and entry.count("{") >= 1 for entry in found.values())


def test_a_package_keeps_its_references_inside(built_in: Any) -> None:
    (origin,) = [origin for origin in built_in.origins if origin.plugin == "magnitude"]

    path = location(origin)
    assert path is not None
    assert path.parts[-2:] == ("synobench_magnitude", "references.bib")
    assert location(dataclasses.replace(origin, module="nowhere.at.all")) is None


def test_the_command_prints_bibtex_and_exits_with_1_on_a_finding(tmp_path: Any, capsys: Any) -> None:
    folder = str(tmp_path / "leaderboards")
    assert main(["cite", "quickstart", "--leaderboards", folder]) == 0
    out, err = capsys.readouterr()
    assert "@article{Alpaydin1998," in out
    assert err == ""

    (tmp_path / "mine.py").write_text(PLUGIN.format(citation="Doe2020"))
    sys.modules.pop("mine", None)
    suite = Path(registry.__file__).parents[2] / "plugins/synobench_suites/quickstart.toml"
    (tmp_path / "mine.toml").write_text(suite.read_text().replace('"random"', '"mine"'))
    line = ["-p", str(tmp_path / "mine.py"), "cite", str(tmp_path / "mine.toml"), "--leaderboards", folder]
    assert main(line) == 1
    out, err = capsys.readouterr()
    assert "@article{Alpaydin1998," in out
    assert "pruner 'mine' cites 'Doe2020'" in err


def test_citing_imports_neither_torch_nor_matplotlib(tmp_path: Any) -> None:
    code = (
        "import sys; from synobench.cli import main; "
        f"assert main(['cite', 'sparsity', '--leaderboards', {str(tmp_path)!r}]) == 0; "
        "sys.exit(bool({'torch', 'matplotlib', 'pandas', 'snntorch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("bibtex") is None, reason="bibtex is not installed")
@pytest.mark.parametrize("name", SUITES)
def test_bibtex_reads_it_without_a_warning(name: Any, built_in: Any, tmp_path: Any) -> None:
    (tmp_path / "refs.bib").write_text(cite(find_suite(name, built_in), built_in).text, encoding="utf-8")
    (tmp_path / "x.aux").write_text("\\citation{*}\n\\bibstyle{plain}\n\\bibdata{refs}\n")
    done = subprocess.run(["bibtex", "x"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    assert "Warning" not in done.stdout
