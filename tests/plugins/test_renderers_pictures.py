"""The pictures of a board: figures stand where they belong, texts apart from one another, names as they are."""

import itertools
import math
import re
import xml.etree.ElementTree as ET
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synobench_renderers
from synobench.board import SuiteFacts, build_board
from synobench.stats.across import across
from synobench.testing.records import make_record, make_records
from synobench_renderers import panels, picture, scales
from synobench_renderers.ranks import diagram
from synobench_renderers.sheet import Sheet, breadth, cut
from synobench_renderers.styles import CONTROL_NAME, PAPER, styles

KINDS = ("synops", "sparsity", "pareto", "cost")
MEANS = {"magnitude": (188, 184, 150), "random": (184, 170, 80), "obd": (186, 175, 110)}
TARGETS = (0.5, 0.8, 0.9)
NETWORKS = [("digits", "snn-conv"), ("mnist", "mlp")]
HOSTILE = ["<script>alert(1)</script>", "50%_off", "$m$", "&lt;", r"\frac{a}", '"q"', "a_b^c"]
TWELVE = {f"entry-{i}[width={i}]": (190 - 2 * i, 180 - 5 * i, 150 - 10 * i) for i in range(12)}
SVG = "{http://www.w3.org/2000/svg}"


def board_of(records: Any, counted: Any = None) -> Any:
    def effective(ledger: Any) -> Any:
        return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}

    suite = SuiteFacts("demo", "1.0", "?", "effective", {"effective": "total"})
    return build_board(suite, records, {"effective": counted or effective})


@pytest.fixture(scope="module")
def demo() -> Any:
    return board_of(make_records(MEANS, TARGETS, networks=NETWORKS))


@pytest.fixture(scope="module")
def boards(demo: Any) -> Any:
    few = [r for r in make_records(MEANS, TARGETS, range(2)) if r["inputs"]["pruner"]["name"] != "random"]
    hostile = [{"name": name, "params": {}} for name in HOSTILE]
    return {
        "demo": demo,
        "twelve": board_of(make_records(TWELVE, TARGETS, networks=NETWORKS)),
        "few": board_of([*few, make_record("random", 0.9, 0, 80)]),
        "hostile": board_of(
            [make_record(e, t, s, 150, model="<b>&") for e in hostile for t in TARGETS for s in range(3)]
        ),
        "one": board_of([make_record()]),
        "wide": board_of(make_records({"x" * 90: (180, 150, 100), "y" * 90: (180, 150, 99)}, TARGETS)),
        "machines": board_of([make_record("obd", 0.9, s, 150, machine=f"cpu {s}") for s in range(3)]),
    }


def sheet_of(name: Any, board: Any, panel: Any = panels.SCREEN) -> Any:
    files = {"synops": picture.SYNOPS, "sparsity": picture.SPARSITY, "pareto": picture.PARETO, "cost": picture.COST}
    return panels.picture(board, picture.KINDS[files[name]], styles(board.networks), panel=panel)


def texts_of(svg: Any) -> Any:
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def boxes_of(sheet: Any) -> Any:
    """Return text, left, bottom, right and top of every text that is not turned."""
    held = []
    for (x, y), text, look in sheet._texts:
        if look["rotation"]:
            continue
        size, side = look["fontsize"], {"left": 0, "center": 0.5, "right": 1}[look["ha"]]
        wide, low = breadth(text, size), y - (0.25 if look["va"] == "baseline" else 0.5) * size
        held.append((text, x - side * wide, low, x + (1 - side) * wide, low + size))
    return held


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["demo", "twelve", "few", "hostile", "one", "wide", "machines"])
@pytest.mark.parametrize("panel", [panels.SCREEN, panels.PRINT], ids=["screen", "print"])
def test_no_two_texts_touch_and_none_leaves_the_sheet(kind: Any, name: Any, panel: Any, boards: Any) -> None:
    sheet = sheet_of(kind, boards[name], panel)
    boxes = boxes_of(sheet)

    assert len(boxes) > 3
    for text, left, low, right, high in boxes:
        assert left >= 0, text
        assert low >= 0, text
        assert right <= sheet.width, text
        assert high <= sheet.height, text
    for (a, l1, b1, r1, t1), (b, l2, b2, r2, t2) in itertools.combinations(boxes, 2):
        assert r1 <= l2 or r2 <= l1 or t1 <= b2 or t2 <= b1, (a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_every_point_and_line_stays_on_the_sheet(kind: Any, boards: Any) -> None:
    for board in boards.values():
        sheet = sheet_of(kind, board)
        spots = [spot for lines in sheet._lines.values() for line in lines for spot in line]
        spots += [spot for marks in sheet._marks.values() for spot in marks]
        assert all(0 <= x <= sheet.width and 0 <= y <= sheet.height for x, y in spots)


def test_each_entry_is_named_once_and_each_network_too(demo: Any) -> None:
    for kind in KINDS:
        told = texts_of(sheet_of(kind, demo).svg())
        for name in (*MEANS, CONTROL_NAME, *(network.label for network in demo.networks)):
            assert told.count(name) == 1, (kind, name)
    told = texts_of(sheet_of("synops", demo).svg())
    assert told.count("SynOps a sample (effective), log scale") == 2
    assert told.count("top-1 %, by log of the error") == 2


def test_an_entry_looks_the_same_in_every_picture_and_no_two_look_alike(boards: Any) -> None:
    found = styles(boards["twelve"].networks)

    assert len(found) == len(set(found.values())) == 12
    for kind in KINDS:
        marks = {(mark.shape, mark.colour) for mark in sheet_of(kind, boards["twelve"])._marks}
        assert {(style.marker, style.colour) for style in found.values()} <= marks


def test_sixty_entries_look_different() -> None:
    records = [make_record(f"entry-{i}", 0.9, 0, 150) for i in range(60)]

    found = styles(board_of(records).networks)
    assert len({(s.colour, s.marker) for s in found.values()}) == 60


def test_points_stand_by_their_figures(demo: Any) -> None:
    """More accuracy is further up, more SynOps and more sparsity further right."""
    for kind, figure in (("synops", "synops"), ("sparsity", "sparsity")):
        rows = [row for row in demo.networks[0].rows if row.label == "random"]
        sheet = sheet_of(kind, demo)
        look = styles(demo.networks)["random"]
        spots = next(held for mark, held in sheet._marks.items() if mark.shape == look.marker)[:3]
        by_x = sorted(rows, key=lambda row: getattr(row, figure).mean)
        by_y = sorted(rows, key=lambda row: row.accuracy.mean)
        assert [sorted(spots).index(s) for s in sorted(spots, key=lambda s: s[1])] == [by_x.index(r) for r in by_y]


def test_the_front_is_what_no_other_point_beats(demo: Any) -> None:
    sheet = sheet_of("pareto", demo)
    large = [spot for mark, held in sheet._marks.items() for spot in held if mark.size == 5.0 and spot[1] > 100]
    small = [spot for mark, held in sheet._marks.items() for spot in held if mark.size == 2.6]

    assert large
    assert small
    middle = sheet.width / 2
    for x, y in small:
        here = [(a, b) for a, b in large if (a < middle) == (x < middle)]
        assert any(a <= x and b >= y for a, b in here)


def test_cost_is_told_in_seconds_within_one_machine_and_in_passes_over_several(boards: Any) -> None:
    told = texts_of(sheet_of("cost", boards["demo"]).svg())
    assert told.count("seconds of pruning, at sparsity 80 %, log scale") == 2
    told = texts_of(sheet_of("cost", boards["machines"]).svg())
    assert "passes of pruning, at sparsity 90 %, log scale" in told


def test_cost_over_several_machines_is_the_forward_passes(boards: Any) -> None:
    (several,), (one,) = boards["machines"].networks, boards["one"].networks

    assert picture._pruning(several.rows[0], several) is several.rows[0].cost["prune"]["forward"]
    assert picture._pruning(one.rows[0], one) is one.rows[0].seconds[one.machines[0]]["prune"]


def test_intervals_do_not_leave_their_panel() -> None:
    records = [make_record("obd", t, s, 100 + 90 * (s % 2)) for t in TARGETS for s in range(3)]
    for record, place in zip(records, range(len(records)), strict=True):
        for layer in record["outcome"]["ledger"]["layers"]:
            layer["effective"] *= 1 + 40 * (place % 2)
    sheet = sheet_of("synops", board_of(records))
    spots = [spot for stroke, held in sheet._lines.items() if stroke.width == 0.9 for line in held for spot in line]

    assert spots
    assert {x for x, _ in spots} >= {56.0}
    assert all(56 <= x <= 322 and y >= 40 for x, y in spots)


def test_entries_without_seeds_enough_are_hollow_and_without_intervals(boards: Any) -> None:
    sheet = sheet_of("synops", boards["few"])

    assert {mark.fill for mark, held in sheet._marks.items() if any(y > 100 for _, y in held)} == {PAPER}
    assert not [stroke for stroke in sheet._lines if stroke.width == 0.9]


def test_a_dozen_panels_at_most(demo: Any) -> None:
    networks = [(f"data-{i:02}", "mlp") for i in range(14)]
    sheet = sheet_of("synops", board_of(make_records({"obd": (150,)}, (0.9,), range(1), networks)))
    told = texts_of(sheet.svg())

    assert sum(text.startswith("data-") for text in told) == panels.MOST
    assert "2 further networks are not drawn." in " ".join(told)


def test_nothing_to_draw_is_said() -> None:
    bare = board_of([make_record()], lambda _: {"total": None})

    for board, kind, told in (
        (board_of([]), "sparsity", "No run has been recorded."),
        (bare, "synops", "No run has a SynOps figure."),
        (bare, "pareto", "No run has a SynOps figure."),
        (board_of([]), "cost", "No run tells what pruning cost."),
    ):
        assert texts_of(sheet_of(kind, board).svg()) == [told]


def test_gaps_in_the_cost_are_left_out() -> None:
    records = list(make_records(MEANS, TARGETS))
    for record in records:
        if record["inputs"]["pruner"]["name"] == "obd":
            record["cost"]["prune"]["seconds"] = math.nan
    told = texts_of(sheet_of("cost", board_of(records)).svg())

    assert {"magnitude", "random"} <= set(told)
    assert "obd" not in told


def test_hostile_names_are_text(boards: Any) -> None:
    svg = sheet_of("synops", boards["hostile"]).svg()

    assert "<script" not in svg
    assert set(HOSTILE) <= set(texts_of(svg))
    assert not re.search(r'\bon\w+="|javascript:', svg)


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_no_date_no_version_and_no_maker(demo: Any, ending: Any) -> None:
    for kind in KINDS:
        made = getattr(sheet_of(kind, demo), ending)()
        data = made if isinstance(made, bytes) else made.encode()
        assert not re.search(rb"20\d\d-\d\d-\d\d|matplotlib\s?v?\d|dc:date|CreationDate|Producer", data, re.IGNORECASE)


def test_fonts_of_the_pdf_are_embedded_outlines(demo: Any) -> None:
    data = sheet_of("synops", demo).pdf()

    assert b"/Type3" not in data
    assert b"/FontFile2" in data


def test_fonts_of_the_pdf_hold_letters_and_not_how_to_lay_them_out(demo: Any) -> None:
    from fontTools.subset import Options

    before = list(Options().drop_tables)
    data = sheet_of("synops", demo).pdf()
    streams = [zlib.decompress(found) for found in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)]
    fonts = [stream for stream in streams if stream.startswith(b"\0\1\0\0")]

    assert fonts
    for font in fonts:
        tables = {font[12 + 16 * i : 16 + 16 * i] for i in range(int.from_bytes(font[4:6], "big"))}
        assert {b"glyf", b"hmtx"} <= tables
        assert not {b"GPOS", b"GSUB", b"GDEF", b"kern"} & tables
    assert Options().drop_tables == before


def test_pictures_are_titled(demo: Any) -> None:
    root = ET.fromstring(sheet_of("synops", demo).svg())

    assert root.findtext(f"{SVG}title") == "Accuracy against SynOps: demo"


def test_the_renderers_are_what_the_sheets_say(demo: Any) -> None:
    entries = {entry.name: entry for entry in synobench_renderers.synobench_renderers()}

    assert entries["pareto-svg"].load()(demo) == sheet_of("pareto", demo).svg()
    assert entries["pdf"].load()(demo) == sheet_of("synops", demo, panels.PRINT).pdf()
    assert entries["ranks-svg"].load()(demo) is None
    assert entries["ranks-pdf"].load()(demo) is None


def test_six_networks_have_a_diagram_of_ranks() -> None:
    entries = {entry.name: entry for entry in synobench_renderers.synobench_renderers()}
    networks = [(f"data-{i}", "mlp") for i in range(6)]
    board = board_of(make_records(MEANS, TARGETS, range(3), networks))
    svg = entries["ranks-svg"].load()(board)

    assert board.across.says() in texts_of(svg)
    assert {text.split("  ")[0] for text in texts_of(svg)} >= {"magnitude", "obd"}
    assert entries["ranks-pdf"].load()(board).startswith(b"%PDF")


RANKED = {name: {str(i): 10 * place + (i * 7 + place * 3) % 15 for i in range(8)} for place, name in enumerate("abcde")}


def test_ranks_stand_in_their_order_with_a_bar_a_clique() -> None:
    found = across({f"entry-{name}": values for name, values in RANKED.items()})
    sheet = diagram(found.ranks, found.cliques, found.says(), {})
    marks = [spot for held in sheet._marks.values() for spot in held]
    bars = [line for stroke, held in sheet._lines.items() for line in held if stroke.width == 3.0]

    assert [x for x, _ in marks] == sorted(x for x, _ in marks)
    assert len(bars) == sum(len(clique) > 1 for clique in found.cliques) > 0
    told = texts_of(sheet.svg())
    for name, rank in found.ranks.items():
        assert any(name in text and f"{rank:.2f}" in text for text in told)
    assert found.says() in told


def test_a_clique_of_one_has_no_bar() -> None:
    sheet = diagram({"a": 1.0, "b": 2.2, "c": 2.8}, (("a",), ("b", "c")), "8 blocks", {})

    assert [len(held) for stroke, held in sheet._lines.items() if stroke.width == 3.0] == [1]


@pytest.mark.parametrize("count", [2, 3, 12])
def test_the_texts_of_the_ranks_stand_apart(count: Any) -> None:
    values = {f"entry-{i}-{'x' * 5 * i}": {str(b): (i * b * 7) % 11 for b in range(9)} for i in range(count)}
    found = across(values)
    sheet = diagram(found.ranks, found.cliques, found.says(), {})

    boxes = boxes_of(sheet)
    assert all(
        left >= 0 and low >= 0 and right <= sheet.width and top <= sheet.height for _, left, low, right, top in boxes
    )
    for (a, l1, b1, r1, t1), (b, l2, b2, r2, t2) in itertools.combinations(boxes, 2):
        assert r1 <= l2 or r2 <= l1 or t1 <= b2 or t2 <= b1, (a, b)


def test_bars_of_one_level_do_not_touch() -> None:
    from synobench_renderers.ranks import _levels

    assert _levels([[1, 2], [2, 3], [3.5, 4]]) == [(0, 1, 2), (1, 2, 3), (0, 3.5, 4)]
    assert _levels([[1, 4], [1, 2]]) == [(0, 1, 2), (1, 1, 4)]


AMOUNTS = st.lists(
    st.floats(0, 1e12, allow_subnormal=False).map(lambda v: v if v > 1e-9 else 0.0), min_size=1, max_size=9
)


@given(AMOUNTS)
def test_axes_of_amounts_rise_and_have_ticks_among_their_values(values: Any) -> None:
    for scale in (scales.amounts(values), scales.passes(values), scales.seconds(values)):
        placed = [scale.place(v) for v in sorted(values)]
        assert placed == sorted(placed)
        assert all(map(math.isfinite, placed))
        least, reach = max(scale.least, 0.3), (placed[0], placed[-1])
        ticks = scale.fitted(lambda p, r=reach, m=least: r[0] - m <= p <= r[1] + m, lambda _: True)
        assert ticks or not scale.log
        assert len({scale.text(tick) for tick in ticks}) == len(ticks)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_axes_of_accuracies_rise_by_either_spacing(values: Any) -> None:
    scale = scales.accuracies(values, 10_000)
    placed = [scale.place(v) for v in sorted(values)]

    assert placed == sorted(placed)
    assert all(map(math.isfinite, (*placed, scale.place(1.1), scale.place(-0.1))))
    assert all(tick in {t for ticks in scale.ticks for t in ticks} for tick in scale.ticks[0])


def test_each_halving_of_the_kept_weights_is_one_step() -> None:
    scale = scales.sparsities()

    assert [scale.place(v) for v in (0, 0.5, 0.75, 0.875)] == [0, 1, 2, 3]
    assert math.isfinite(scale.place(1.0))


def test_crowded_ticks_are_thinned() -> None:
    scale = scales.amounts([1, 1e6])
    within = lambda p: -0.1 <= p <= 6.1  # noqa: E731

    assert len(scale.fitted(within, lambda t: len(t) <= 30)) == 19
    assert scale.fitted(within, lambda t: len(t) <= 7) == tuple(10.0**e for e in range(7))
    assert len(scale.fitted(within, lambda t: len(t) <= 2)) == 2


def test_one_long_interval_does_not_flatten_the_picture() -> None:
    assert panels.around([(0.0, 0.0, 0.0), (10.0, 8.0, 12.0)]) == pytest.approx((-0.6, 12.3))
    assert panels.around([(0.0, -500.0, 500.0), (10.0, 10.0, 10.0)]) == (-3.5, 13.5)
    assert panels.around([(5.0, 5.0, 5.0)], 1.0) == (4.5, 5.5)


def test_long_texts_are_cut_to_the_room() -> None:
    assert cut("magnitude", 500) == "magnitude"
    short = cut("magnitude[scope=global]", 60)
    assert short.endswith("…")
    assert breadth(short) <= 60
    assert cut("magnitude", 0) == "…"


def test_settings_of_the_user_change_nothing(demo: Any, monkeypatch: Any) -> None:
    import matplotlib as mpl

    before = sheet_of("synops", demo).svg()
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "lines.linewidth": 9, "text.usetex": True}):
        assert sheet_of("synops", demo).svg() == before


def test_text_is_never_read_as_mathematics() -> None:
    sheet = Sheet(100, 20, "t")
    sheet.text((1, 1), "$x$ and $")

    assert texts_of(sheet.svg()) == ["$x$ and $"]
    assert sheet.pdf().startswith(b"%PDF")
