"""What the intervals cover: a fast look at the simulation, and its table as committed."""

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "performance"
SCRIPT = runpy.run_path(str(FOLDER / "coverage.py"))
ROWS, SEEDS, measure = SCRIPT["ROWS"], SCRIPT["SEEDS"], SCRIPT["measure"]
TABLE = {
    cells[0]: (cells[1], dict(zip(SEEDS, map(float, cells[2:]), strict=True)))
    for line in (FOLDER / "COVERAGE.md").read_text(encoding="utf-8").splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5 and cells[0] in ROWS
}
EXACT = [name for name in ROWS if "difference, Student" in name or "mean, Student" in name]


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("name", EXACT)
def test_students_intervals_cover_as_they_say(name: str, n: int) -> None:
    assert 0.94 < measure(name, n, 6000) < 0.96
    assert 94 <= TABLE[name][1][n] <= 96


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("name", [name for name in ROWS if name not in EXACT])
def test_every_other_row_comes_near_its_figure(name: str, n: int) -> None:
    draws = 250 if ROWS[name].share == 1 else 60
    share = TABLE[name][1][n] / 100

    found = measure(name, n, draws * ROWS[name].share)
    assert found == pytest.approx(share, abs=0.005 + 4 * (share * (1 - share) / draws) ** 0.5)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.nominal == "95 or more"])
def test_what_is_promised_for_a_family_holds_in_the_table(name: str) -> None:
    assert all(figure > 94.3 for figure in TABLE[name][1].values())


def test_table_holds_every_row() -> None:
    assert {name: nominal for name, (nominal, _) in TABLE.items()} == {n: row.nominal for n, row in ROWS.items()}


@pytest.mark.parametrize("name", [name for name in ROWS if re.search("sampling", name)])
def test_table_is_what_the_script_prints(name: str) -> None:
    assert round(100 * measure(name, 3, 10_000), 1) == TABLE[name][1][3]
