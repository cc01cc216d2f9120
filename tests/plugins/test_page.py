"""The page of a board: what it holds without a browser, that names cannot break it, and the index of a site."""

import base64
import hashlib
import html.parser
import itertools
import json
import re
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.protocol import Published
from synobench.store import key_of
from synobench.testing.records import hit_mask, make_failure, make_inputs, make_record, make_records
from synobench.twins import kept_counts
from synobench_renderers.page import facts, page
from synobench_renderers.page.chart import SHAPES
from synobench_renderers.page.columns import columns, families
from synobench_renderers.page.index import write_index
from synobench_renderers.styles import MARKERS

MEANS = {"magnitude[scope=global]": (188, 150), "magnitude[scope=layer]": (184, 140), "random": (170, 80)}
NETWORKS = [("digits", "snn-conv"), ("mnist", "mlp-300-150-10")]
HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    "[z](http://evil.example)",
    "&lt;",
    '"q" onload="alert(2)',
    "</style>",
    "'",
]
SHOWN = ["#", "entry", "target", "top-1 %", "to dense", "sparsity %", "SynOps", "ratio", "seeds", "remarks"]


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def board_of(records: Any, plan: Any = (), question: Any = "Which weights?", **more: Any) -> Any:
    suite = SuiteFacts("demo", "1.0", question, "effective", {"effective": "total"}, {"effective": "sum of M(w)"}, plan)
    return build_board(suite, records, {"effective": effective, **more})


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


class Page(html.parser.HTMLParser):
    """The tags, the text by tag, and the addresses of a page."""

    void = frozenset({"meta", "link", "br", "wbr", "img", "input", "path"})

    def __init__(self, text: Any) -> None:
        super().__init__()
        self.tags, self.cells, self.links, self.ids, self.open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag: Any, attributes: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        held = dict(attributes)
        self.ids += [held["id"]] if "id" in held else []
        self.links += [held[name] for name in ("href", "src", "xlink:href", "action") if name in held]
        assert not any(name.startswith("on") for name in held)
        assert "style" not in held
        if tag in ("td", "th"):
            self.cells.append("")
        if tag in self.void:
            self.open.pop()

    def handle_startendtag(self, tag: Any, attributes: Any) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: Any) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: Any) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def test_a_page_holds_the_tables_and_the_charts(demo: Any) -> None:
    text = page(demo)
    found = Page(text)

    assert text.count('<svg class="chart"') == 4
    assert found.tags.count("caption") == found.tags.count("table") >= 3
    assert {"94.90 ± 0.52", "magnitude[scope=layer]", "sparsity 90 %", "few seeds, target missed (1 of 1)"} <= set(
        found.cells
    )
    assert text.count("<title>") == 1 + 2 * sum(len(network.rows) for network in demo.networks)
    assert not found.open


def test_a_page_asks_no_network_and_runs_its_own_script_alone(demo: Any) -> None:
    text = page(demo)
    links = Page(text).links
    outside = [link for link in links if not link.startswith("#") and link != "data:,"]

    assert outside
    assert all(link.startswith("../") for link in outside)
    assert not re.search(r"@import|url\(|https?:", text.replace("http://www.w3.org/2000/svg", ""))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    told = dict(part.split(" ", 1) for part in policy.replace("&#39;", "'").split("; "))
    assert told["default-src"] == told["base-uri"] == told["form-action"] == "'none'"
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert told[name] == f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"


def test_a_page_has_unique_ids_and_every_reference_leads_somewhere(demo: Any) -> None:
    text = page(demo)
    found = Page(text)
    wanted = {link[1:] for link in found.links if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text))

    assert wanted <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    rows = {name for name in found.ids if re.fullmatch(r"r\d+", name)}
    assert {f"r{place}" for place in re.findall(r'data-r="(\d+)"', text)} <= rows


def test_a_page_shows_names_as_they_are(hostile: Any) -> None:
    found = Page(page(hostile))

    assert set(HOSTILE) <= set(found.cells)
    assert found.tags.count("script") == found.tags.count("style") == 1
    assert not {"b", "i", "u", "s", "img"} & set(found.tags)


def test_records_are_linked_where_the_store_keeps_them(demo: Any) -> None:
    run = demo.networks[0].rows[0].runs[2]

    assert f'<a href="../../leaderboards/records/demo/{run.key[:2]}/{run.key}.json">2</a>' in page(demo)


def test_columns_that_say_nothing_are_left_out(demo: Any) -> None:
    heads = columns(demo)

    assert [column.head for column in heads if column.shown] == SHOWN
    assert {"family", "records", "parameters kept", "fanout.acs", "prune passes", "train s"} <= {c.head for c in heads}
    several = board_of([make_record("obd", 0.9, seed, 150, machine=name) for seed, name in enumerate("ab")])
    assert "train s" not in {column.head for column in columns(several)}
    assert page(several).count("Seconds of each phase on: name ") == 4


def test_a_family_is_the_shortest_name_that_another_begins_with() -> None:
    names = ["chita", "chita++[k=1]", "chita-mp", "magnitude-threshold", "m-fac", "random", "randomised", "random-1"]
    found = families(names)

    assert [found[name] for name in names] == [
        "chita", "chita", "chita", "magnitude-threshold", "m-fac", "random", "randomised", "random",
    ]  # fmt: skip


def test_points_stand_by_their_figures(demo: Any) -> None:
    """More accuracy stands higher up, and a higher sparsity further right, within the frame."""
    rows = [row for network in demo.networks for row in network.rows]
    spots = re.findall(r'<use href="#m\d+" x="([\d.]+)" y="([\d.]+)" data-r="(\d+)"', page(demo))

    assert len(spots) == 2 * len(rows)
    for network in demo.networks:
        held = [(float(x), float(y), rows[int(r)]) for x, y, r in spots if rows[int(r)] in network.rows]
        assert all(40 <= x <= 388 and 12 <= y <= 237 for x, y, _ in held)
        for (_, y, a), (_, other, b) in itertools.combinations(held, 2):
            if abs(a.accuracy.mean - b.accuracy.mean) > 0.005:
                assert (y < other) == (a.accuracy.mean > b.accuracy.mean)


def test_each_marker_has_a_shape() -> None:
    assert set(SHAPES) == {*MARKERS, "*"}
    assert len(set(SHAPES.values())) == len(SHAPES)


def test_the_index_lists_the_suites_whose_pages_are_there(demo: Any, tmp_path: Any) -> None:
    write_index(tmp_path)
    assert not (tmp_path / "index.html").exists()
    for name in ("b", "a<i>"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(page(demo), encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("<p>not ours", encoding="utf-8")
    write_index(tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")

    assert [link for link in Page(text).links if "index" in link] == ["a%3Ci%3E/index.html", "b/index.html"]
    runs = len(demo.runs)
    assert f"{runs} runs · 4 entries · 2 networks: digits / snn-conv, mnist / mlp-300-150-10" in text
    assert "script-src 'none'" in text.replace("&#39;", "'")
    before = (tmp_path / "index.html").stat().st_mtime_ns
    write_index(tmp_path)
    assert (tmp_path / "index.html").stat().st_mtime_ns == before


ALMOST = {"suite": 1, "version": "1", "question": "", "runs": 1, "entries": 1, "networks": []}


@pytest.mark.parametrize("told", ["{", "[1]", '{"suite": "x"}', json.dumps(ALMOST), "[" * 9000])
def test_pages_of_others_are_let_be(told: Any, tmp_path: Any) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "index.html").write_text(f"<meta name='synobench' content='{told}'>", encoding="utf-8")
    write_index(tmp_path)

    assert not (tmp_path / "index.html").exists()


def test_the_first_facts_of_a_page_count(tmp_path: Any, demo: Any) -> None:
    (tmp_path / "x").mkdir()
    false = json.dumps({**facts(demo), "suite": "forged"})
    text = page(demo).replace("<title>", f"<meta name='synobench' content='{false}'><title>", 1)
    (tmp_path / "x" / "index.html").write_text(text, encoding="utf-8")
    write_index(tmp_path)

    assert "forged" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_index_shows_names_as_they_are(hostile: Any, tmp_path: Any) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "index.html").write_text(page(hostile), encoding="utf-8")
    write_index(tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")

    assert "&lt;b&gt;|_why_|&lt;/b&gt;" in text
    assert not {"b", "i", "script"} & set(Page(text).tags)


def test_facts_are_plain_data(demo: Any) -> None:
    assert json.loads(json.dumps(facts(demo))) == facts(demo)


def test_code_spans_are_set_as_code(demo: Any) -> None:
    text = page(demo)

    assert "dense control <code>none</code>, which" in text
    assert "`none`" not in text


def with_random_twins(records: Any) -> Any:
    """Yield records and, of each by `chita++`, a random twin that hits ten images less."""
    for host in records:
        yield host
        if host["inputs"]["pruner"]["name"] == "chita++":
            pruner = {"name": "random", "params": {"allocation": kept_counts(host)}}
            inputs, hits = {**host["inputs"], "pruner": pruner}, host["outcome"]["test"]["top1"]["hits"] - 10
            told = {"hits": hits, "total": 200, "mask": hit_mask(hits, 200, inputs["seed"])}
            test = {**host["outcome"]["test"], "top1": told}
            yield {**host, "key": key_of(inputs), "inputs": inputs, "outcome": {**host["outcome"], "test": test}}


@pytest.fixture(scope="module")
def rich() -> Any:
    """A board with a reference, twins, published figures and enough networks for ranks."""
    means = {"magnitude": (188, 170, 150), "chita++": (189, 180, 160)}
    records = make_records(means, (0.5, 0.8, 0.9), networks=[(f"data{i}", "net") for i in range(7)])
    figure = Published("Key2023", "net", "chita++", {"name": "sparsity", "value": 0.9}, 91.04, 0.5, "as <i>printed</i>")
    facts = SuiteFacts(
        "demo",
        "1.0",
        "?",
        "effective",
        {"effective": "total"},
        reference={"name": "magnitude", "params": {}},
        published=[(make_inputs(dataset="data0", model="net"), figure)],
    )
    return build_board(facts, with_random_twins(records), {"effective": effective})


def test_what_a_board_can_tell_stands_on_its_page(rich: Any) -> None:
    text = page(rich)
    cells = Page(text).cells
    shown = [column.head for column in columns(rich) if column.shown]

    assert shown[4:7] == ["verdict", "to dense", "over random twin"]
    assert {"reference", "better", "91.04", "Key2023"} <= set(cells)
    assert any(re.fullmatch(r"\+\d\.\d\d ± \d\.\d\d, better", cell) for cell in cells)
    assert rich.across
    for title in ("Across networks", "Checklist", "Published figures", "Comparisons in full", "Item by item"):
        assert text.count(f">{title}<") >= 1
    assert text.count("Over all targets: ") == 2 * len(rich.networks)
    assert "as &lt;i&gt;printed&lt;/i&gt;" in text
    assert f"{len(rich.runs)} runs" in text


def test_a_board_that_cannot_tell_it_leaves_it_out() -> None:
    text = page(board_of([make_record("obd", 0.9, seed, 150) for seed in range(3)]))

    for title in ("Across networks", "Published figures", "Below the line", "Failures", "Missing", "Entries in full"):
        assert f">{title}<" not in text
    assert "over random twin" not in text
    assert '<th scope="col">verdict</th>' not in text


def test_a_page_of_many_rows_is_laid_out_as_it_comes_into_view(demo: Any, monkeypatch: Any) -> None:
    rows = sum(len(network.rows) for network in demo.networks)
    found = []
    for most in (rows, rows - 1):
        monkeypatch.setattr("synobench_renderers.page.MANY", most)
        found.append(page(demo).count('<div id="boards" class="many">'))

    assert found == [0, 1]
