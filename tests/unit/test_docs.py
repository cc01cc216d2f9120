"""What is not documented fails here; what the documentation shows is run here."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from synobench import cli, hookspecs, registry
from synobench.entries import KINDS, Entry
from synobench.ledger import Layer
from synobench.protocol import Network, Suite
from synobench.suite import cells, find_suite

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")])
HOOKS = [name for name in vars(hookspecs) if name.startswith("synobench_")]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>\n]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)

TINY = """
name = "tiny"
version = "1.0"
question = "Does it run?"
counter = "effective"
seeds = [0]
pruners = ["none"]
[[targets]]
name = "sparsity"
values = [0.5]
[[networks]]
dataset = "digits"
model = "mlp-300-150-10[widths=8]"
rule = "backprop"
train_epochs = 1
tune_epochs = 1
batch = 128
"""


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert heading, f"there is no heading {title!r}"
    rest = text[heading.end() :]
    after = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: after.start()] if after else rest


def rows(text: str) -> set[str]:
    """Return the names in backticks of the first column of every table."""
    return {
        name for line in text.splitlines() if line.startswith("|") for name in ticked(re.split(r"(?<!\\)\|", line)[1])
    }


def ticked(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", BLOCK.sub("", text)))


def marked(kind: str) -> list[tuple[Path, str, str]]:
    """Return page, name and text of every block that is marked as ``<!-- kind: name -->``."""
    found = []
    for path in PAGES:
        for block in BLOCK.finditer(path.read_text(encoding="utf-8")):
            label, _, name = (block["mark"] or "").partition(": ")
            if label == kind:
                found.append((path, name, block["text"]))
    return found


def parsers(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return every verb's parser by its words, ``data fetch``, and the outermost by the empty text."""
    found = {"": top}
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found |= {f"{name} {more}".strip(): each for more, each in parsers(inner).items()}
    return found


PARSERS = parsers(cli.parser())


@pytest.fixture(scope="module")
def built_in() -> registry.Registry:
    return registry.load(strict=True, strangers=False)


# What exists is documented.


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_documented_with_its_signature(name: str) -> None:
    hook = getattr(hookspecs, name)
    written = f"{name}{inspect.signature(hook)}".replace("'", "")
    assert written in {line.replace("\\|", "|") for line in ticked(page("plugins"))}


def test_no_other_hook_is_documented() -> None:
    assert {name.partition("(")[0] for name in rows(page("plugins")) if name.startswith("synobench_")} == set(HOOKS)


@pytest.mark.parametrize("kind", [Entry, *KINDS.values()])
def test_every_field_of_an_entry_is_documented(kind: type[Entry]) -> None:
    inherited = {f.name for f in dataclasses.fields(Entry)} if kind is not Entry else set()
    own = {f.name for f in dataclasses.fields(kind)} - inherited - {"_"}
    assert rows(section(page("plugins"), kind.__name__)) == own


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_entry_is_named(kind: str, built_in: registry.Registry) -> None:
    names = {found.entry.name for found in built_in.all(kind)}
    assert names <= ticked(section(page("plugins"), KINDS[kind].__name__))


def test_every_built_in_suite_and_counter_has_a_row(built_in: registry.Registry) -> None:
    assert {f.entry.name for f in built_in.all("suite")} == rows(section(page("suites"), "Built in"))
    assert {f.entry.name for f in built_in.all("counter")} <= rows(page("synops"))


def test_columns_and_parameters_of_the_counters_are_documented(built_in: registry.Registry) -> None:
    entries = [found.entry for found in built_in.all("counter")]
    columns = {column for entry in entries for column in entry.columns}  # type: ignore[attr-defined]
    assert columns == rows(section(page("synops"), "Columns"))
    parameters = {f.name for entry in entries for f in dataclasses.fields(entry.params)}
    assert parameters == rows(section(page("synops"), "Parameters"))


@pytest.mark.parametrize("words", [words for words in PARSERS if words])
def test_verb_and_its_options_are_documented(words: str) -> None:
    told = section(page("cli"), words.split(maxsplit=1)[0])
    assert f"`synobench {words}" in told
    shared = {"-h", "--help", "--strict", "-p", "--plugin"}
    options = {o for action in PARSERS[words]._actions for o in action.option_strings}
    assert options - shared <= ticked(told)


def test_options_of_the_command_itself_are_documented() -> None:
    told = page("cli").partition("\n## ")[0]
    assert {o for action in PARSERS[""]._actions for o in action.option_strings} == {
        name for name in rows(told) if name.startswith("-")
    }


def test_no_option_is_documented_that_does_not_exist() -> None:
    known = {o for each in PARSERS.values() for action in each._actions for o in action.option_strings}
    assert {name for name in ticked(page("cli")) if re.fullmatch(r"--?[a-z-]+", name)} <= known


def test_every_environment_variable_is_documented() -> None:
    sources = [path for root in ("bench", "plugins") for path in (ROOT / root).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r"SYNOBENCH_[A-Z_]+", path.read_text(encoding="utf-8"))}
    assert used == rows(section(page("cli"), "Environment"))


def test_exit_codes_are_documented() -> None:
    codes = set(map(int, re.findall(r"^\| (\d+) \|", section(page("cli"), "Exit codes"), re.MULTILINE)))
    assert codes == set(map(int, re.findall(r"\b(\d+) [A-Za-z]", inspect.getdoc(cli.main) or "")))


def test_every_workbench_method_is_documented_with_its_signature() -> None:
    from synobench.workbench import Workbench

    told = ticked(section(page("pruner"), "The Workbench"))
    for name, value in vars(Workbench).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(value):
            parameters = list(inspect.signature(value).parameters.values())[1:]
            bare = ", ".join(str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters)
            assert f"{name}({bare})" in told
        else:
            assert name in told
    assert {"model", "state"} <= told


def test_no_workbench_method_is_documented_that_does_not_exist() -> None:
    from synobench.workbench import Workbench

    names = {name.partition("(")[0] for name in rows(section(page("pruner"), "The Workbench"))}
    assert all(hasattr(Workbench, name) or name in {f.name for f in dataclasses.fields(Workbench)} for name in names)


def test_every_point_of_the_timeline_and_target_is_documented() -> None:
    from synobench.entries import NEEDS, TARGETS, WHEN

    assert rows(section(page("pruner"), "When it acts")) == set(WHEN)
    assert rows(section(page("pruner"), "What it aims at")) == set(TARGETS)
    assert ticked(section(page("pruner"), "What the entry declares")) >= NEEDS


def test_fields_of_suites_are_documented() -> None:
    told = rows(section(page("suites"), "Fields"))
    # `rules` are read as a network each, called by its `entry`.
    assert told == {f.name for kind in (Suite, Network) for f in dataclasses.fields(kind)} - {"entry"} | {"rules"}


def test_facts_of_the_ledger_are_documented() -> None:
    assert rows(section(page("records"), "The ledger")) == {f.name for f in dataclasses.fields(Layer)}


# What is documented holds.


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if "boards" in file.parts and not (ROOT / "leaderboards" / "records" / file.parent.name).exists():
            continue  # the board comes with its records
        assert file.is_file(), f"{path.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}


def commands() -> list[str]:
    blocks = (b for path in PAGES for b in BLOCK.finditer(path.read_text(encoding="utf-8")))
    lines = (line for block in blocks if block["language"] == "bash" for line in block["text"].splitlines())
    parts = (part.strip() for line in lines for part in line.split("&&"))
    return sorted({part for part in parts if "synobench" in part.split()[0]})


@pytest.mark.parametrize("line", commands())
def test_every_command_shown_is_one(line: str, built_in: registry.Registry) -> None:
    arguments = cli.parser().parse_args(shlex.split(line)[1:])
    suites = getattr(arguments, "suite", None) or []
    for name in [suites] if isinstance(suites, str) else suites:
        built_in.get("suite", name)


@pytest.mark.parametrize(("path", "name", "text"), marked("suite"), ids=lambda value: str(value)[-20:])
def test_every_suite_shown_is_one(
    path: Path, name: str, text: str, tmp_path: Path, built_in: registry.Registry
) -> None:
    del path
    (tmp_path / name).write_text(text, encoding="utf-8")
    made, skipped = cells(find_suite(str(tmp_path / name), built_in), built_in)
    assert made
    assert not skipped


def test_the_pruner_of_the_readme_has_twenty_lines_at_most() -> None:
    (text,) = (text for path, _, text in marked("plugin") if path.name == "README.md")
    assert len([line for line in text.splitlines() if line.strip()]) <= 20
    assert ("pruner.md", text) in {(path.name, text) for path, _, text in marked("plugin")}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    named = [f"--{name}={folder / name}" for name in ("leaderboards", "cache", "site")]
    return [str(folder / "tiny.toml"), *named]


EXAMPLES = sorted({(name, text) for _, name, text in marked("plugin")})


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_every_plugin_shown_runs(
    name: str, text: str, tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    loaded = registry.load([file], strict=True, strangers=False)
    mine = [f.entry for kind in KINDS for f in loaded.all(kind) if f.origin.distribution == "local file"]
    pruners = [f"--pruner={entry.name}" for entry in mine if entry.kind == "pruner"]
    suite, board, cache, site = places
    run = ["--strict", "-p", str(file), "run", suite, *pruners, "--executor=inline", board, cache, site]
    assert cli.main(run) == 0
    shown = capsys.readouterr().out
    assert mine
    for entry in mine:
        if entry.kind == "counter":
            assert cli.main(["-p", str(file), "board", suite, "--with", entry.name, board, site]) == 0
            shown = capsys.readouterr().out
        assert entry.name in shown


# The files beside them.


def test_the_test_command_is_one_line_that_the_check_can_read() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for mark, last in (("quickstart", "synobench run quickstart"), ("tests", "pytest")):
        (text,) = (b["text"] for b in BLOCK.finditer(readme) if b["mark"] == mark)
        assert text.count("\n") == 1
        assert "-c constraints.txt" in text
        assert text.strip().endswith(last)
    check = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "<!-- tests -->" in check


def test_every_requirement_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    wanted = {re.split(r"[\[<>=;! ]", requirement)[0].lower() for requirement in named} - {project["name"]}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert wanted <= pinned
    assert "torchvision" in pinned, "spikingjelly's open requirement would pull another torch"


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
