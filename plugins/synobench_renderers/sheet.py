"""A sheet of paper measured in points, drawn by matplotlib with the same bytes on every call.

Lines of one look are one path, and points of one look one set of markers: twelve panels are drawn in the time that
one takes axis by axis.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.path import Path

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
_LAYOUT = ("GDEF", "GPOS", "GSUB", "MATH", "kern")
"""The tables by which a font is laid out: a PDF places each of its letters itself."""

_SVG = {"Date": None, "Creator": None}
_PDF = {"CreationDate": None, "Creator": None, "Producer": None}


@dataclass(frozen=True)
class Stroke:
    """How a line looks: its layer, colour, width in points, and dashes (points on, points off; empty: solid)."""

    layer: int
    colour: str
    width: float
    dashes: tuple[float, ...]


@dataclass(frozen=True)
class Mark:
    """How a point looks: a marker of matplotlib's, its width in points, and the colours of its edge and its inside."""

    shape: str
    size: float
    colour: str
    fill: str


@dataclass
class Sheet:
    """A drawing of a width and a height, in points from its lower left corner."""

    width: float
    height: float
    title: str
    _lines: dict[Stroke, list[Sequence[Spot]]] = field(default_factory=dict)
    _marks: dict[Mark, list[Spot]] = field(default_factory=dict)
    _texts: list[tuple[Spot, str, Look]] = field(default_factory=list)

    def line(
        self, spots: Sequence[Spot], colour: str, width: float, dashes: tuple[float, ...] = (), layer: int = LINES
    ) -> None:
        """Join spots by straight lines."""
        self._lines.setdefault(Stroke(layer, colour, width, dashes), []).append(spots)

    def mark(self, spot: Spot, shape: str, size: float, colour: str, fill: str) -> None:
        """Set a marker of matplotlib's, `size` points wide."""
        self._marks.setdefault(Mark(shape, size, colour, fill), []).append(spot)

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
        # A picture that was kept needs none of it.
        import matplotlib as mpl
        from matplotlib.backends.backend_pdf import FigureCanvasPdf
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        out = io.BytesIO()
        with mpl.rc_context(), _letters_alone():
            mpl.rcdefaults()
            mpl.rcParams.update(_SETTINGS)
            figure = Figure(figsize=(self.width / _INCH, self.height / _INCH), dpi=_INCH, facecolor=PAPER)
            (FigureCanvasSVG if kind == "svg" else FigureCanvasPdf)(figure)
            self._draw(figure)
            figure.savefig(out, format=kind, metadata=metadata, facecolor=PAPER)
        return out.getvalue()

    def _draw(self, figure: Figure) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import PathPatch
        from matplotlib.text import Text
        from matplotlib.transforms import Affine2D

        points = Affine2D().scale(1 / _INCH) + figure.dpi_scale_trans
        for stroke, lines in self._lines.items():
            look: Look = {"edgecolor": stroke.colour, "linewidth": stroke.width, "zorder": stroke.layer, "fill": False}
            style: Any = (0, stroke.dashes) if stroke.dashes else "solid"
            drawn = PathPatch(_joined(lines), linestyle=style, capstyle="butt", joinstyle="round", **look)
            figure.add_artist(drawn).set_transform(points)
        for mark, spots in self._marks.items():
            across, up = zip(*spots, strict=True)
            fills: Look = {"mfc": mark.fill, "mec": mark.colour, "mew": 0.9, "ls": "none", "zorder": MARKS}
            figure.add_artist(Line2D(across, up, marker=mark.shape, ms=mark.size, **fills)).set_transform(points)
        for spot, text, look in self._texts:
            written = Text(*spot, text, rotation_mode="anchor", parse_math=False, zorder=MARKS + 1, **look)
            figure.add_artist(written).set_transform(points)


@contextmanager
def _letters_alone() -> Iterator[None]:
    """Embed fonts without what only lays them out, which to cut down takes three quarters of the time of a PDF.

    matplotlib has no setting for it. Where fontTools keeps its defaults elsewhere, PDFs are larger and take longer.
    """
    from fontTools.subset import Options  # type: ignore[import-untyped]

    held = getattr(Options, "_drop_tables_default", None)
    if held is None:
        yield
        return
    Options._drop_tables_default = [*held, *_LAYOUT]
    try:
        yield
    finally:
        Options._drop_tables_default = held


@functools.cache
def breadth(text: str, size: float = 8.0) -> float:
    """Return how wide a text stands, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0])


def cut(text: str, room: float, size: float = 8.0) -> str:
    """Return the text, cut short with an ellipsis where it is wider than `room`."""
    if breadth(text, size) <= room:
        return text
    kept = next((n for n in range(len(text), 0, -1) if breadth(text[:n] + "…", size) <= room), 0)
    return text[:kept] + "…"


def _joined(lines: Sequence[Sequence[Spot]]) -> Path:
    from matplotlib.path import Path

    codes = [Path.MOVETO if first else Path.LINETO for line in lines for first in (True, *[False] * (len(line) - 1))]
    return Path([spot for line in lines for spot in line], codes)
