"""A sheet of paper measured in points, drawn by matplotlib with the same bytes on every call.

All lines are one artist a layer, and all points of one look another: a figure of twelve panels is drawn in the time
that one takes axis by axis.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D

from synobench_renderers.styles import INK, PAPER

Spot = tuple[float, float]
Look = dict[str, Any]

BACK, LINES, MARKS = 0, 1, 2
"""The layers, from the ground up; text lies above them all."""

_INCH = 72.0
_SETTINGS: dict[Any, Any] = {
    # Text stays text: it can be searched, read aloud and set in the reader's own font; DejaVu, by which all is
    # measured, is wider than what stands in for it.
    "svg.fonttype": "none",
    "svg.hashsalt": "synobench",
    # Type 42 keeps the outlines of the font: many journals refuse Type 3.
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "text.parse_math": False,
}
_SVG = {"Date": None, "Creator": None}
_PDF = {"CreationDate": None, "Creator": None, "Producer": None}


@dataclass
class Sheet:
    """A drawing of a width and a height, in points from its lower left corner."""

    width: float
    height: float
    title: str
    _lines: dict[tuple[int, tuple[float, ...]], list[tuple[Sequence[Spot], str, float]]] = field(default_factory=dict)
    _marks: dict[tuple[str, float], list[tuple[Spot, str, str]]] = field(default_factory=dict)
    _texts: list[tuple[Spot, str, Look]] = field(default_factory=list)

    def line(
        self, spots: Sequence[Spot], colour: str, width: float, dashes: tuple[float, ...] = (), layer: int = LINES
    ) -> None:
        """Join spots by straight lines."""
        self._lines.setdefault((layer, dashes), []).append((spots, colour, width))

    def mark(self, spot: Spot, shape: str, size: float, colour: str, fill: str) -> None:
        """Set a marker of matplotlib's, `size` points wide."""
        self._marks.setdefault((shape, size), []).append((spot, colour, fill))

    def text(
        self,
        spot: Spot,
        text: str,
        *,
        size: float = 8.0,
        colour: str = INK,
        across: str = "left",
        up: str = "baseline",
        turn: float = 0.0,
    ) -> None:
        """Write text; `across` and `up` say which of its sides stands at the spot, `turn` is in degrees."""
        look = {"fontsize": size, "color": colour, "ha": across, "va": up, "rotation": turn}
        self._texts.append((spot, text, look))

    def svg(self) -> str:
        """Return the drawing as SVG, without dates and with ids that hash to the same."""
        lines = self._saved("svg", {**_SVG, "Title": self.title}).decode().splitlines()
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def pdf(self) -> bytes:
        """Return the drawing as PDF, without dates."""
        return self._saved("pdf", {**_PDF, "Title": self.title})

    def _saved(self, kind: str, metadata: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_SETTINGS)
            figure = Figure(figsize=(self.width / _INCH, self.height / _INCH), dpi=_INCH, facecolor=PAPER)
            (FigureCanvasSVG if kind == "svg" else FigureCanvasPdf)(figure)
            self._draw(figure)
            figure.savefig(out, format=kind, metadata=metadata, facecolor=PAPER)
        return out.getvalue()

    def _draw(self, figure: Figure) -> None:
        points = Affine2D().scale(1 / _INCH) + figure.dpi_scale_trans
        for (layer, dashes), lines in sorted(self._lines.items()):
            spots, colours, widths = zip(*lines, strict=True)
            style: Any = (0, dashes) if dashes else "solid"
            strokes = LineCollection(spots, colors=colours, linewidths=widths, linestyles=style, zorder=layer)
            figure.add_artist(strokes).set_transform(points)
        for (shape, size), marks in sorted(self._marks.items()):
            at, colours, fills = zip(*marks, strict=True)
            look: Look = {"edgecolors": colours, "facecolors": fills, "linewidths": 0.9, "zorder": MARKS}
            drawn = PathCollection([_shape(shape, size)], offsets=at, offset_transform=points, **look)
            figure.add_artist(drawn).set_transform(points)
        for spot, text, look in self._texts:
            written = Text(*spot, text, rotation_mode="anchor", parse_math=False, zorder=MARKS + 1, **look)
            figure.add_artist(written).set_transform(points)


@functools.cache
def breadth(text: str, size: float = 8.0) -> float:
    """Return how wide a text stands, in points."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0])


def cut(text: str, room: float, size: float = 8.0) -> str:
    """Return the text, cut short with an ellipsis where it is wider than `room`."""
    if breadth(text, size) <= room:
        return text
    kept = next((n for n in range(len(text), 0, -1) if breadth(text[:n] + "…", size) <= room), 0)
    return text[:kept] + "…"


@functools.cache
def _shape(shape: str, size: float) -> Path:
    marker = MarkerStyle(shape)
    return marker.get_path().transformed(marker.get_transform()).transformed(Affine2D().scale(size))
