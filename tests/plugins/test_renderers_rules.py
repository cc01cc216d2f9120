"""The files of a board of rules: what was measured in training is drawn, and other boards stay as they are."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.board.versus import trained
from synobench.protocol import RULE
from synobench.testing.records import make_record
from synobench_renderers import markdown, measured, page, picture, tables, traces
from synobench_renderers.latex import board_tex
from synobench_renderers.styles import parted, styles, traced

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("updates", "energy", "cosine")


def table(*values: Any, at: Any = (1, 81)) -> Any:
    return {"by": [f"fc{i}.weight" for i in range(len(values[0]))], "at": list(at), "values": list(values)}


MEASURED = {
    "train/update-norm": table([1e-4, 1e-2, 0.5], [1e-3, 2e-3, 1e-3]),
    "train/energy": table([4.0, 3.0, 2.5, 2.25], [2.0, 1.0, 0.5, None]),
    "train/cosine-to-backprop": table([0.5, 0.7, 1.0], [0.9, 0.95, 1.0]),
}


def board_of(measured: Any = MEASURED, versus: str = RULE, names: Any = ("backprop", "local")) -> Any:
    held = []
    for name in names:
        rule = {"name": name, "params": {}}
        for pruner, target in (("none", None), ("magnitude", 0.9)):
            for seed in range(3):
                one = make_record(pruner, target, seed, 180 + seed, rule=rule, tune=rule)
                if name != "backprop" or "train/update-norm" not in measured:
                    one["outcome"]["measurements"] = measured
                else:
                    one["outcome"]["measurements"] = {"train/update-norm": measured["train/update-norm"]}
                held.append(one)
    references = frozenset(trained(r["inputs"]) for r in held if r["inputs"]["rule"]["name"] == "backprop")
    facts = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}, versus=versus, references=references)
    return build_board(facts, held, {"c": lambda _: {"n": 1.0}})


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_measured_is_drawn_the_same_on_each_call(name: str) -> None:
    draw = getattr(picture, f"{name}_svg")
    svg = draw(board_of())
    assert svg == draw(board_of())
    found = texts(svg)
    assert "digits / snn-conv, update 1" in found
    assert "digits / snn-conv, update 81" in found
    assert ("backprop" in found) == (name == "updates")
    assert "local" in found
    assert getattr(picture, f"{name}_pdf")(board_of()).startswith(b"%PDF")


@pytest.mark.parametrize("name", NAMES)
def test_a_board_without_it_or_of_pruners_has_no_such_picture(name: str) -> None:
    for board in (board_of({}), board_of(versus="pruner"), board_of({"train/steps": 8, "train/largest-update": None})):
        assert getattr(picture, f"{name}_svg")(board) is None
        assert getattr(picture, f"{name}_pdf")(board) is None
        assert "at the first and the last measured update" not in markdown.markdown(board)
        assert "In training" not in page.page(board)


def test_the_readme_and_the_page_show_them() -> None:
    board = board_of()
    shown = re.findall(r"!\[[^]]*last measured update\]\(([a-z-]+)\.svg\)", markdown.markdown(board))
    assert shown == ["update-norm", "energy", "cosine"] == [p.file for p in measured.PICTURES.values()]
    drawn = re.findall(r'<img class="drawing" alt="[^"]+" src="data:image/svg\+xml;base64,([^"]+)">', page.page(board))
    assert [base64.b64decode(one).decode() for one in drawn] == [
        picture.updates_svg(board),
        picture.energy_svg(board),
        picture.cosine_svg(board),
    ]


def test_places_hold_means_over_seeds_and_their_range() -> None:
    kind = traces.KINDS["updates"]
    place = traces._place([1e-4, 1e-2], kind)
    assert place.span == (pytest.approx(1e-3), 1e-4, 1e-2)
    assert not place.broken
    assert traces._place([0.1, None], kind).broken
    assert traces._place([None, None], kind) == traces.Place(None, broken=True)
    assert not traces._place([0.1, None], traces.KINDS["energy"]).broken
    assert traces._place([-0.5, 1.0], traces.KINDS["cosine"]).span == (0.25, -0.5, 1.0)


@pytest.mark.parametrize(
    "values",
    [
        [[None, 0.1, 0.2], [None, None, None]],
        [[None, None, None], [None, None, None]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [[1e-300, 1e300, 1.0], [1.0, 1.0, 1.0]],
    ],
)
def test_explosions_and_nothing_at_all_can_be_drawn(values: Any) -> None:
    svg = picture.updates_svg(board_of({"train/update-norm": table(*values)}))
    assert svg is not None
    assert not re.search(r"\bnan\b|\binf\b", svg)


def test_energies_are_drawn_as_far_as_all_seeds_went() -> None:
    """A mean over the seeds whose inference went on would be that of others, and could rise where no energy rose."""
    assert traces._trace(board_of().networks[0].rows[0], "update-norm", traces.KINDS["updates"]) is not None
    short = {"by": ["0"], "at": [1, 81], "values": [[3.0], [2.0]]}
    tables_ = [MEASURED["train/energy"], short]
    places = traces._places(tables_, 0, 4, traces.KINDS["energy"])
    assert [p.span[1:] for p in places if p.span] == [(3.0, 4.0)]


def test_cost_is_that_of_training_and_of_unpruned_networks() -> None:
    found = texts(picture.cost_svg(board_of()))
    assert any(text.startswith("seconds of training, unpruned") for text in found)
    assert "local + magnitude" not in found
    assert any("of pruning" in text for text in texts(picture.cost_svg(board_of(versus="pruner"))))


def test_tables_tell_the_difference_to_the_reference_beside_that_to_dense() -> None:
    board = board_of()
    text = markdown.markdown(board)
    heads = next(line for line in text.splitlines() if line.startswith("| target | \\# |"))
    assert [head.strip() for head in heads.split("|")][6:9] == ["to reference", "to dense", "verdict"]
    assert "| unpruned | 1 | backprop |" in text
    assert "| reference |" in text
    assert "to reference" not in markdown.markdown(board_of(versus="pruner"))
    assert '<th scope="col">to reference</th>' in page.page(board)
    tex = board_tex(board)
    assert r"\multicolumn{1}{c}{unpruned}" in tex
    assert "local + magnitude" in tex
    rows = tables.board_csv(board).splitlines()
    assert len(rows) == 5
    assert any(",local + magnitude,local + magnitude," in row for row in rows)


def test_a_rule_has_a_colour_and_a_pruner_a_shape_where_pruners_act_after_rules() -> None:
    board = board_of()
    looks, parts = styles(board.networks), parted(board.networks)
    assert parts["local"] == ("local", "")
    assert parts["local + magnitude"] == ("local", "+ magnitude")
    assert looks["local"].colour == looks["local + magnitude"].colour != looks["backprop"].colour
    assert looks["local"].marker == looks["backprop"].marker != looks["local + magnitude"].marker
    assert len(set(looks.values())) == len(looks)
    drawn = texts(picture.synops_svg(board))
    assert {"backprop", "local", "+ magnitude"} <= set(drawn)
    assert "local + magnitude" not in drawn
    lines = traced(board.networks)
    assert sorted(lines) == ["backprop", "local"]
    assert lines["local"].colour == looks["local"].colour
    assert lines["local"].marker != lines["backprop"].marker


def test_pruners_alone_and_rules_alone_have_looks_by_the_alphabet() -> None:
    for board in (board_of(versus="pruner"), board_of(names=[f"rule-{i}" for i in range(11)])):
        assert parted(board.networks) == {}
        looks = styles(board.networks)
        assert len({(look.colour, look.marker) for look in looks.values()}) == len(looks)
        assert traced(board.networks) == looks
