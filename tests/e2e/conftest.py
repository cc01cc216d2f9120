"""What the tests of the whole bench share: the command line in a folder of its own, and one run of a small suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
sys.path.insert(0, str(SUPPORT))

if TYPE_CHECKING:
    from commandline import Bench

TINY = """
name = "tiny"
version = "1.0"
question = "Does it run?"
counter = "effective"
seeds = [0, 1]
pruners = ["none", "magnitude", "random"]
[[targets]]
name = "sparsity"
values = [0.9]
[[networks]]
dataset = "digits"
model = "mlp-300-150-10[widths=24]"
rule = "backprop[rate=0.1]"
train_epochs = 3
tune_epochs = 2
batch = 64
[[networks]]
dataset = "digits"
model = "snn-conv[width=2,steps=2]"
rule = "backprop[rate=0.2]"
train_epochs = 3
tune_epochs = 2
batch = 64
"""


@pytest.fixture(scope="session")
def tiny() -> str:
    """Return the TOML of a suite of 12 cells on four parents, ordinary and spiking."""
    return TINY


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return a folder in which the small suite ran, in one process; it is shared: look and do not touch."""
    from commandline import Bench

    bench = Bench(tmp_path_factory.mktemp("ran"))
    (bench.folder / "tiny.toml").write_text(TINY)
    done = bench("run", "tiny.toml", "--executor", "inline")
    (bench.folder / "stdout").write_text(done.stdout)
    (bench.folder / "stderr").write_text(done.stderr)
    return bench
