"""The nouns that plugins register: frozen dataclasses of plain data, with the heavy code behind `run`."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from synobench.errors import ContractError
from synobench.neurons import LIF
from synobench.params import NoParams

API = 1
"""The level of the plugin contract. An entry of this level or the one before is accepted."""

WHEN = frozenset({"initialisation", "training", "trained", "fine-tuning"})
TARGETS = frozenset({"sparsity", "parameters", "synops", "none"})
NEEDS = frozenset({"gradients", "per-sample-gradients", "calibration", "validation", "training"})

NO_RULE = "none"
"""What a record names as the rule where nothing was trained."""

NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")
"""What the name of an entry is made of."""


@dataclass(frozen=True)
class Entry:
    """What every entry says of itself.

    Args:
        name: unique within its kind; lower case, digits, dots, dashes and plus signs.
        summary: one line for lists and boards.
        citation: the BibTeX key of the source, or ``none: why``.
        params: the dataclass of its parameters (its class may hold the code itself: then `run` stays empty).
        run: the code, a callable or, to be imported only when it is used, ``"module:attribute"``.
        api: the level of the contract it was written for.
        revision: raised by its author whenever its behaviour changes; part of each run's key.
    """

    name: str
    _: dataclasses.KW_ONLY
    summary: str
    citation: str = "none: not stated"
    params: type = NoParams
    run: str | Callable[..., Any] | None = None
    api: int = API
    revision: int = 1

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ContractError(f"{self.kind} name {self.name!r} is not made of a-z, 0-9, '.', '+' and '-'")
        if self.api not in (API, API - 1):
            raise ContractError(f"{self.kind} {self.name!r} is written for api {self.api}; this bench speaks {API}")
        if not isinstance(self.params, type) or not dataclasses.is_dataclass(self.params):
            raise ContractError(f"params of {self.kind} {self.name!r} must be a dataclass type, not {self.params!r}")
        if not self.summary.strip() or "\n" in self.summary:
            raise ContractError(f"{self.kind} {self.name!r} needs a summary of one line")
        if self.revision < 1:
            raise ContractError(f"revision of {self.kind} {self.name!r} counts from 1")

    def load(self) -> Callable[..., Any]:
        """Import and return the code behind the entry (the parameter class itself where `run` is empty)."""
        if self.run is None:
            return self.params
        if callable(self.run):
            return self.run
        module, _, attribute = self.run.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return found


@dataclass(frozen=True)
class RemoteFile:
    """One file to download: path below its folder, mirrors, digest (``sha256:hex`` or ``md5:hex``), bytes."""

    path: str
    urls: tuple[str, ...]
    digest: str
    size: int | None = None


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk.

    Args:
        name: what it is called in lists (``official files``, ``packed``).
        files: its files, relative to the data folder.
        many: glob patterns relative to the data folder, each with the number of files it matches.
    """

    name: str
    files: tuple[str, ...]
    many: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetEntry(Entry):
    """A labelled image set. `run(folder)` returns ``Arrays`` (see synobench.data) read from the files below `folder`.

    Args:
        shape: channels, height, width of one image.
        classes: number of labels.
        train, test: images in the official training and test files.
        validation: how many training images the bench holds out, the same for all seeds.
        mean, std: by channel, of pixels scaled to [0, 1]; the input is (x - mean) / std.
        digest: ``sha256`` of the decoded arrays, whatever the layout they were read from; None where nobody has it yet.
        split: ``sha256`` of the held-out indices.
        files: what ``data fetch`` downloads.
        layouts: every way in which `run` can read it, the one it prefers first; empty: `files` as they are downloaded.
    """

    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    validation: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str | None
    split: str
    files: tuple[RemoteFile, ...] = ()
    layouts: tuple[Layout, ...] = ()
    license: str = ""
    homepage: str = ""

    kind: ClassVar[str] = "dataset"


@dataclass(frozen=True)
class Rebuild:
    """One pass in training mode over the bench's training split, which renews stale batch-norm statistics.

    Args:
        batch: images a batch.
        margin: pixels of black put around an image before it is cropped at a place drawn for it.
        flip: whether every second image, on average, is mirrored.
        seed: of the order and of the draws; the checkpoint's own, whatever the seed of a run.
    """

    batch: int = 128
    margin: int = 4
    flip: bool = True
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class CheckpointEntry(Entry):
    """A trained network in a public file, to stand before pruning as a parent. It needs no `run`.

    Args:
        file: what is downloaded: a file of safetensors, or one that torch pickled (read without running its code).
        also: names of other files that hold the same tensors.
        dataset: the data set that it was trained on.
        model: the network, as ``name[key=value]``.
        digest: ``sha256`` of the tensors under the model's names, ``num_batches_tracked`` left out.
        mean, std: by channel, of pixels scaled to [0, 1]: the input is (x - mean) / std, for every use of the network.
        names: pairs of a regular expression and what takes its place in the file's names of tensors, one after the
            other; a name of which nothing is left is left out.
        inert: classes named in a pickled file, as ``module.Class``, of which nothing is read or run.
        rebuild: how stale batch-norm statistics are renewed before anything else is done with it.
    """

    file: RemoteFile
    also: tuple[str, ...] = ()
    dataset: str
    model: str
    digest: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    names: tuple[tuple[str, str], ...] = ()
    inert: tuple[str, ...] = ()
    rebuild: Rebuild | None = None
    license: str = ""
    homepage: str = ""

    kind: ClassVar[str] = "checkpoint"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise ContractError(f"checkpoint {self.name!r} needs as many of mean as of std, each std above 0")
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", self.digest):
            raise ContractError(f"digest of checkpoint {self.name!r} must be sha256:hex, not {self.digest!r}")


@dataclass(frozen=True, kw_only=True)
class ModelEntry(Entry):
    """A network. `run(params, shape, classes, neuron)` returns a ``torch.nn.Module``.

    An ordinary network maps [N, C, H, W] to [N, classes]. A spiking one maps it to [T, N, classes], has the attribute
    ``steps`` (T), and builds each of its neuron layers by calling ``neuron()``, a factory lent by the bench
    (None for an ordinary network). Ordinary layers carry no state from one call to the next.

    Args:
        spiking: whether it needs a neuron backend.
        prunable: patterns (fnmatch) of the names of the weight tensors that pruners may touch.
    """

    spiking: bool = False
    prunable: tuple[str, ...] = ("*",)

    kind: ClassVar[str] = "model"


@dataclass(frozen=True, kw_only=True)
class NeuronEntry(Entry):
    """A neuron backend. `run(equation)` returns a module mapping currents [T, N, ...] to spikes [T, N, ...].

    The module has ``reset()`` (called by the bench before each forward pass) and the attribute ``spiking = True``.

    Args:
        resets, surrogates: the values of the equation's fields that it can compute.
    """

    params: type = LIF
    resets: frozenset[str] = frozenset({"hard"})
    surrogates: frozenset[str] = frozenset({"atan"})

    kind: ClassVar[str] = "neuron"


@dataclass(frozen=True, kw_only=True)
class RuleEntry(Entry):
    """A training rule. `run(params)` returns an object as described by ``synobench.rules.Rule``.

    Args:
        penalty: whether it adds a pruner's penalty to its loss.
        local: whether each layer learns from its neighbours alone.
    """

    penalty: bool = False
    local: bool = False

    kind: ClassVar[str] = "rule"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name == NO_RULE:
            raise ContractError(f"no rule may be called {NO_RULE!r}: records call the absence of one so")


@dataclass(frozen=True, kw_only=True)
class PrunerEntry(Entry):
    """A pruning method. `run(params)`, or `params` itself, has the methods that `when` calls for.

    Args:
        when: ``trained`` and ``initialisation`` call ``prune(bench)``, ``training`` calls ``step(bench, i)`` after each
            update and may offer ``penalty(bench)``, ``fine-tuning`` calls ``adjust(bench, done)``.
        targets: what it can aim at.
        granularity: ``weight`` or ``channel``.
        needs: what it will ask of the Workbench.
        changes_survivors: whether its Proposal may hold new values for kept weights.
        stochastic: whether its Proposal depends on the seeded generator or on data order.
    """

    when: frozenset[str] | set[str] = frozenset({"trained"})
    targets: frozenset[str] | set[str] = frozenset({"sparsity"})
    granularity: str = "weight"
    needs: frozenset[str] | set[str] = frozenset()
    changes_survivors: bool = False
    stochastic: bool = False

    kind: ClassVar[str] = "pruner"

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, allowed in (("when", WHEN), ("targets", TARGETS), ("needs", NEEDS)):
            given = getattr(self, field)
            if isinstance(given, str):
                raise ContractError(f"{field} of pruner {self.name!r} must be a set of names, as {{{given!r}}}")
            value = frozenset(given)
            object.__setattr__(self, field, value)
            if not value <= allowed:
                wrong = ", ".join(sorted(value - allowed))
                right = ", ".join(sorted(allowed))
                raise ContractError(f"{field} of pruner {self.name!r} has {wrong}; allowed: {right}")
        if self.granularity not in ("weight", "channel"):
            raise ContractError(f"granularity of pruner {self.name!r} is weight or channel, not {self.granularity!r}")
        if not self.when or not self.targets:
            raise ContractError(f"pruner {self.name!r} needs at least one of when and of targets")


@dataclass(frozen=True, kw_only=True)
class CounterEntry(Entry):
    """A SynOps counter. `run(ledger)` returns a mapping of column name to a figure a sample; pure, without torch.

    Args:
        definition: its formula, shown on the board.
        columns: the names that it returns.
        headline: the column that a SynOps axis or target means.
        unit: of its columns.
    """

    definition: str
    columns: tuple[str, ...]
    headline: str
    unit: str = "operations a sample"

    kind: ClassVar[str] = "counter"


@dataclass(frozen=True, kw_only=True)
class MetricEntry(Entry):
    """A column computed from a record alone. `run(record)` returns a float, or None where the record lacks it."""

    better: str = "higher"
    unit: str = ""

    kind: ClassVar[str] = "metric"


@dataclass(frozen=True, kw_only=True)
class SuiteEntry(Entry):
    """A frozen protocol. `run()` returns its TOML text."""

    kind: ClassVar[str] = "suite"


@dataclass(frozen=True, kw_only=True)
class RendererEntry(Entry):
    """One file of a board. `run(board)` returns its text, the same bytes on every call.

    What is built and not committed may be `bytes`; None says that this board has no such file.

    Args:
        file: its name in the board's folder; one that holds ``{network}`` is rendered once a network.
        committed: whether it lies beside the records in git, or in a site folder that is built.
        apart: whether a copy of the process may make it while others are made: it needs few of the figures that those
            compute of all rows, and does nothing but return its text.
    """

    file: str
    committed: bool = True
    apart: bool = False

    kind: ClassVar[str] = "renderer"


@dataclass(frozen=True, kw_only=True)
class ExecutorEntry(Entry):
    """Where jobs run. `run(params, command)` returns an object with two methods.

    ``submit(job, notify=None)`` returns a ``concurrent.futures.Future``, ``close(cancel=False)`` takes no more jobs.

    A job and its result are plain data. `command` is the argument list of one worker process, which reads jobs as JSON
    lines and answers in JSON lines; an executor that stays in this process calls ``synobench.worker.perform(job)``.
    """

    kind: ClassVar[str] = "executor"


@dataclass(frozen=True, kw_only=True)
class ExporterEntry(Entry):
    """A way out of the bench. `run(params)` returns an object with three methods.

    ``refuses(model) -> list[str]`` says from the untrained model what cannot be expressed, ``write(model, path)``
    writes the judged one, and ``score(path, images)`` returns the labels that the written one gives.

    Args:
        file: the name of what it writes.
    """

    file: str = ""

    kind: ClassVar[str] = "exporter"


KINDS: dict[str, type[Entry]] = {entry.kind: entry for entry in Entry.__subclasses__()}
"""Every kind of entry by name."""
