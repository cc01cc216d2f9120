"""Text for LaTeX: any name or sentence, set as it reads, by pdflatex with nothing but its own fonts."""

from __future__ import annotations

import unicodedata

from synobench.board.figures import plain

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\textasciigrave{}",
    **{c: f"\\{c}" for c in "{}#$%&_"},
}
_SIGNS = {
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{N-ARY SUMMATION}": r"$\sum$",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{SECTION SIGN}": r"\S{}",
    "\N{LEFT DOUBLE QUOTATION MARK}": r"\textquotedblleft{}",
    "\N{RIGHT DOUBLE QUOTATION MARK}": r"\textquotedblright{}",
    "\N{LEFT SINGLE QUOTATION MARK}": r"\textquoteleft{}",
    "\N{RIGHT SINGLE QUOTATION MARK}": r"\textquoteright{}",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\N{LATIN SMALL LETTER DOTLESS I}": r"\i{}",
}
_LIGATURES = frozenset("-',")
_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
_CAPITAL = "gamma delta theta lambda xi pi sigma phi psi omega"
_GREEK = [("SMALL", name, name) for name in _SMALL.split()] + [("CAPITAL", n, n.title()) for n in _CAPITAL.split()]
# Unicode spells the eleventh letter without its b.
_SIGNS |= {unicodedata.lookup(f"GREEK {c} LETTER {n.replace('mb', 'm')}"): f"$\\{told}$" for c, n, told in _GREEK}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
_BREAKS = frozenset("[],=/.:")
"""Behind these a long name may go on in the next line."""


def escape(text: str, *, breaks: bool = False) -> str:
    """Return text as LaTeX sets it, in text mode; what pdflatex has no glyph for is told by its code, as ``U+4E2D``.

    Args:
        text: any text.
        breaks: whether a line may be broken behind brackets, commas and the like, as in the name of an entry.
    """
    return _escaped(plain(text), breaks=breaks)


def sentence(text: str) -> str:
    """Escape a sentence, its `code` spans set as code."""
    parts = plain(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    told = (rf"\texttt{{{_escaped(part, breaks=True)}}}" if i % 2 else _escaped(part) for i, part in enumerate(parts))
    return "".join(told)


def _escaped(held: str, *, breaks: bool = False) -> str:
    told = "".join(_set(c, after) + _break(c, breaks) for c, after in zip(held, f"{held[1:]} ", strict=False))
    told = told.replace(r" \%", r"\,\%")
    # Behind the end of a table's row these two are its arguments.
    return "{}" + told if held.startswith(("[", "*")) else told


def _break(character: str, breaks: bool) -> str:
    return r"\allowbreak{}" if breaks and character in _BREAKS else ""


def _set(character: str, after: str) -> str:
    if character == after and character in _LIGATURES:
        return character + "{}"
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in _SIGNS:
        return _SIGNS[character]
    if character.isascii():
        return character
    letter, *marks = list(unicodedata.normalize("NFD", character))
    if letter in "ij" and marks:
        letter = rf"\{letter}"
    if letter.isascii() and len(marks) == 1 and marks[0] in _ACCENTS:
        return rf"\{_ACCENTS[marks[0]]}{{{letter}}}"
    return f"U+{ord(character):04X}"
