"""One evaluation section of a paper, in LaTeX: the question, the protocol, the statistics and the runs, from facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synobench.board import Board, labels, prose, sources
from synobench.board.figures import fixed
from synobench.board.latex import escape, sentence
from synobench.board.rows import FEW, FEWEST
from synobench.board.verdicts import Power
from synobench.citations import Bibliography
from synobench.entries import DatasetEntry
from synobench.params import parse_spec
from synobench.protocol import RULE, Network, Suite
from synobench.registry import Registry

FOLDER = r"\synobenchdir"
"""The macro that says where the section's files lie, seen from the document that takes it in."""

_PICTURE = r"""% A picture in its own size, or as large as the page lets it be.
\providecommand{\synobenchpicture}[1]{\sbox0{\includegraphics{#1}}%
  \ifdim\ifdim\ht0>0.8\textheight\maxdimen\else\wd0\fi>\linewidth
  \includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{#1}\else\usebox0\fi}"""


@dataclass(frozen=True)
class Section:
    """What a section is written from.

    Args:
        board: with runs.
        suite: of the board.
        registry: where its data sets are registered.
        cited: its references.
    """

    board: Board
    suite: Suite
    registry: Registry
    cited: Bibliography

    def text(self, tables: Sequence[str], pictures: Mapping[str, str]) -> str:
        r"""Return the section, to be taken in by ``\input``.

        Args:
            tables: names of files that hold floats.
            pictures: name of a file -> what it shows.
        """
        paragraphs = {
            "Question": [sentence(self.suite.question)],
            "Protocol": self._protocol(),
            "Statistics": map(sentence, self._statistics()),
            "Runs": map(sentence, self._runs()),
        }
        told = (line for title, lines in paragraphs.items() for line in (rf"\paragraph{{{title}.}}", *lines, ""))
        floats = (rf"\input{{{FOLDER}/{table}}}" for table in tables)
        figures = (line for file, shown in pictures.items() for line in self._figure(file, shown))
        return "\n".join([*self._head(), *told, *floats, *figures, r"\par}"]) + "\n"

    def _head(self) -> list[str]:
        name = self.suite.name
        return [
            f"% Evaluation on {name}: written by `synobench paper {name}`; where it was edited it is not overwritten.",
            r"% Needs \usepackage{array,booktabs,graphicx}. A document in another folder says where this one lies:",
            rf"% \newcommand{{{FOLDER}}}{{FOLDER}}",
            rf"\providecommand{{{FOLDER}}}{{.}}",
            _PICTURE,
            rf"\section{{Evaluation on {escape(name)} {escape(self.suite.version)}}}",
            r"{\sloppy",
        ]

    def _figure(self, file: str, shown: str) -> Iterator[str]:
        told = f"{shown[:1].upper()}{shown[1:]}. Suite {self.suite.name} {self.suite.version}."
        label = file.partition(".")[0]
        yield from ("", r"\begin{figure}[tp]", r"\centering", rf"\synobenchpicture{{{FOLDER}/{file}}}")
        yield from (rf"\caption{{{sentence(told)}}}", rf"\label{{fig:{self.suite.name}-{label}}}", r"\end{figure}")

    def _protocol(self) -> Iterator[str]:
        name = f"{escape(self.suite.name)} {escape(self.suite.version)}"
        yield f"All entries ran under the frozen suite {name} of synobench: train, prune, fine-tune and judge in one"
        yield "pass, with the same data, seeds and budgets for all."
        if self.suite.versus == RULE:
            yield "What is pruned is fine-tuned by the rule that trained it."
        else:
            yield "The unpruned control is fine-tuned on the same budget."
        yield from (self._network(network) for network in self.suite.networks)
        yield from self._data()
        rows = [row for network in self.board.networks for row in network.rows if row.runs and not row.control]
        entries = sorted({(row.label, row.detail.partition("[")[0]) for row in rows})
        yield f"Entries: {', '.join(self._with(self.suite.versus, name, label) for label, name in entries)}."
        targets = {row.target_label: row.target for row in rows}
        order = sorted(targets, key=lambda text: labels.target_order(targets[text]))
        yield f"Targets: {escape(', '.join(order))}."
        yield f"Seeds: {', '.join(map(str, self.suite.seeds))}; entries are paired by seed."

    def _network(self, network: Network) -> str:
        tuning = f"fine-tuned for {_epochs(network.tune_epochs)}" if network.tune_epochs else "not fine-tuned"
        rest = f"{tuning}, in batches of {network.batch} images, in {escape(network.precision)}."
        if network.checkpoint:
            return f"The released network {self._with('checkpoint', network.checkpoint)} is pruned and {rest}"
        model = self._with("model", parse_spec(network.model)[0], network.model)
        rule = self._with("rule", parse_spec(network.rule)[0], network.rule)
        name = parse_spec(network.neuron)[0]
        neuron = f", with the neurons {self._with('neuron', name)}," if ("neuron", name) in self.cited.cited else ""
        spiking = neuron if self._spiking(network) else ""
        data = self._with("dataset", network.dataset)
        return (
            f"On {data}, {model}{spiking} is trained for {_epochs(network.train_epochs)} by {rule}, pruned and {rest}"
        )

    def _spiking(self, network: Network) -> bool:
        models = {found.entry.name: found.entry for found in self.registry.all("model")}
        return bool(getattr(models.get(parse_spec(network.model)[0]), "spiking", False))

    def _data(self) -> Iterator[str]:
        used = {str(run.inputs["dataset"]["name"]) for run in self.board.runs}
        for found in self.registry.all("dataset"):
            entry = found.entry
            if entry.name in used and isinstance(entry, DatasetEntry):
                yield f"{escape(entry.name)} has {entry.train:,} training images; one split, the same for all seeds,"
                yield f"holds out {entry.validation:,} of them for validation."
                yield f"Its {entry.test:,} test images are sealed until judging."

    def _with(self, kind: str, name: str, told: str = "") -> str:
        """Return a name as code, with its source where it has one."""
        key = self.cited.cited.get((kind, name))
        return sentence(f"`{(told or name).replace('`', '')}`") + (rf"~\cite{{{key}}}" if key else "")

    def _statistics(self) -> Iterator[str]:
        yield (
            "Accuracy is top-1 on the test split in per cent: the mean over seeds ± the half-width of its Student-t "
            "95 % interval, never the best of seeds."
        )
        yield (
            "Bold: the first of a column is not shown to be better, by t-tests paired by seed under Holm's step-down "
            "over the entries of the target."
        )
        yield f"Fewer than {FEWEST} seeds are not ranked, and fewer than {FEW} are marked."
        seen = [f"{n.label}, {_power(p)}" for n in self.board.networks for p in n.power]
        if seen:
            yield "Differences that paired t-tests find four times in five, at the strictest level of their family and"
            yield f"at the median spread of the entries: {'; '.join(seen)}."

    def _runs(self) -> Iterator[str]:
        yield f"{sources.made_at(self.board)}."
        missing = sum(len(row.missing) for network in self.board.networks for row in network.rows)
        if missing or self.board.failures:
            yield f"Planned runs without a record: {missing:,}; of these, failed: {len(self.board.failures):,}."
        yield f"Machines: {'; '.join(prose.machines(self.board))}."


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count != 1 else ''}"


def _power(power: Power) -> str:
    return f"{fixed(100 * power.strict)} points to {power.against} ({power.pairs} seeds)"
