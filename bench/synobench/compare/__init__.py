"""Two entries, two folders of records or two git revisions, held against each other."""

from synobench.compare.formats import FORMATS, write
from synobench.compare.report import Report, Section
from synobench.compare.resolve import KINDS, compare

__all__ = ["FORMATS", "KINDS", "Report", "Section", "compare", "write"]
