"""The table of published figures: beside ours at the same target, marked, with source, error and note."""

from __future__ import annotations

from typing import Any

import synobench_renderers
from synobench.board import Board, SuiteFacts, build_board
from synobench.board.figures import GAP
from synobench.protocol import Published
from synobench.testing.records import make_inputs, make_record
from synobench_renderers.cells import notes, published

ENTRIES = {entry.name: entry for entry in synobench_renderers.synobench_renderers()}
NOTE = "as recalled from *the* paper"
FIGURES = (
    Published("Key2023", "net", "magnitude", {"name": "sparsity", "value": 0.9}, 70.5, 1.19, NOTE),
    Published("Key2023", "net", "none", {"name": "none"}, 91.36, None, NOTE),
    Published("Key2023", "net", "chita++", {"name": "sparsity", "value": 0.5}, 91.04),
)


def board_with(figures: tuple[Published, ...]) -> Board:
    def effective(ledger: Any) -> Any:
        return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}

    spots = [("none", None, 190), ("magnitude[scope=global]", 0.9, 150), ("magnitude[scope=layer]", 0.9, 140)]
    spots.append(("magnitude[scope=layer]", 0.5, 180))
    records = [make_record(p, t, seed, hits) for p, t, hits in spots for seed in range(3)]
    told = [(make_inputs(), figure) for figure in figures]
    facts = SuiteFacts("demo", "1.0", "?", "effective", {"effective": "total"}, {}, (), told)
    return build_board(facts, records, {"effective": effective})


def test_figures_stand_by_target_beside_every_row_of_their_entry() -> None:
    (network,) = board_with(FIGURES).networks
    assert published(network).heads == ("target", "entry", "published %", "s.e.", "ours %", "source")
    ours = "magnitude[scope=global]: 75.00 ± 0.00; magnitude[scope=layer]: 70.00 ± 0.00"
    assert published(network).rows == (
        ("no target", "none", "91.36", GAP, "95.00 ± 0.00", "Key2023"),
        ("sparsity 50 %", "chita++", "91.04", GAP, GAP, "Key2023"),
        ("sparsity 90 %", "magnitude", "70.50", "1.19", ours, "Key2023"),
    )
    assert notes(network) == [f"Key2023: {NOTE}"]


def test_the_page_in_markdown_has_them_in_a_section_of_their_own() -> None:
    text = ENTRIES["markdown"].load()(board_with(FIGURES))
    section = text.partition("### Published figures")[2].partition("<details>")[0]
    assert "never ranked" in section
    assert "91.04" in section
    assert "chita++" in section
    assert r"Key2023: as recalled from \*the\* paper" in section
    assert "91.04" not in text.replace(section, "")
    assert "Published" not in ENTRIES["markdown"].load()(board_with(()))


def test_the_html_page_shows_them() -> None:
    text = ENTRIES["html"].load()(board_with(FIGURES))
    assert "91.04" in text
    assert "chita++" in text
    assert "as recalled from *the* paper" in text


def test_tables_for_machines_hold_ours_alone() -> None:
    assert "91.04" not in ENTRIES["csv"].load()(board_with(FIGURES))
