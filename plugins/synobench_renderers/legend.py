"""What stands below the panels: the look of each entry, in columns, and a note."""

from __future__ import annotations

from collections.abc import Sequence

from synobench.board.figures import plain
from synobench_renderers.sheet import Sheet, Spot, breadth, cut
from synobench_renderers.styles import CONTROL, Style

LINE, SMALL = 14.0, 7.5
"""The distance of two lines of text, and the size of a note, in points."""

Rows = Sequence[Sequence[tuple[float, str, Style]]]
"""Line by line, each entry with its place from the left."""

_SAMPLE = 40.0


def laid(keys: Sequence[tuple[str, Style]], room: float) -> Rows:
    """Return the rows of a legend, in columns of one width."""
    texts = [(cut(plain(name), room - _SAMPLE), style) for name, style in keys]
    column = max((breadth(text) + _SAMPLE for text, _ in texts), default=room)
    columns = max(1, min(len(texts), int(room // column)))
    rows = [texts[i : i + columns] for i in range(0, len(texts), columns)]
    return [[(i * column, text, style) for i, (text, style) in enumerate(row)] for row in rows]


def draw(sheet: Sheet, rows: Rows, start: Spot) -> None:
    """Draw the rows, the first of them with its middle at the start."""
    for line, row in enumerate(rows):
        y = start[1] - line * LINE
        for place, text, style in row:
            left, control = start[0] + place, style is CONTROL
            sheet.line([(left, y), (left + 20, y)], style.colour, 0.7 if control else 1.3, style.dashes)
            sheet.mark((left + 10, y), style.marker, 9.0 if control else 5.0, style.colour, style.colour)
            sheet.text((left + 25, y), text, up="center")


def wrapped(text: str, room: float) -> list[str]:
    """Break a note into lines that fit the room."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if breadth(longer, SMALL) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
