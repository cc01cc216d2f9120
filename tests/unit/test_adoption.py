"""Checkpoints become parents: read without running code, known by their tensors, batch norm rebuilt by one pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support import released
from torch import Tensor, nn

from synobench import Rebuild, seeds
from synobench import registry as registries
from synobench.adoption import fill, read, rebuild
from synobench.engine import perform
from synobench.errors import BenchError
from synobench.feed import Feed
from synobench.jobs import Job
from synobench.networks import evaluating
from synobench.parents import obtain
from synobench.store import Store, document, key_of, read_json
from synobench.suite import Cell, cells, parse
from synobench.tensors import digest
from synobench.verify import verify_file, verify_suite

SUITE = """
name = "tiny"
version = "1.0"
question = "Does it run?"
counter = "effective"
seeds = [0, 1, 2]
pruners = {pruners}
[[targets]]
name = "sparsity"
values = [0.5]
[[networks]]
checkpoint = "tiny"
tune_epochs = {tune}
batch = 128
{more}
"""

Jobs = Callable[..., list[dict[str, Any]]]


class Opened(BaseException):
    """Somebody ran what a pickled file says."""


class Trap:
    def __reduce__(self) -> Any:
        return raise_opened, ()


def raise_opened() -> None:
    raise Opened


class Ballast:
    """Something that training code stores beside its weights, and that must not come back."""

    def __init__(self) -> None:
        self.rate = 0.1

    def __setstate__(self, _: Any) -> None:
        raise Opened


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of checkpoints."""
    monkeypatch.setenv("SYNOBENCH_CHECKPOINTS", str(tmp_path / "released"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "released"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the plugin that registers the tiny checkpoint: a module of its name can be loaded from one place only."""
    return released.plugin(tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def jobs(plugin: Path, job_of: Callable[..., dict[str, Any]], home: Path) -> Jobs:
    """Return what writes the jobs of a suite on the tiny checkpoint."""

    def make(pruners: str = '["magnitude"]', tune: int = 0, more: str = "") -> list[dict[str, Any]]:
        registry = registries.load([plugin], strict=True, strangers=False)
        made: list[Cell] = cells(parse(SUITE.format(pruners=pruners, tune=tune, more=more)), registry)[0]
        return [job_of(cell, plugins=[str(plugin)]) for cell in made]

    return make


def test_a_pickled_file_and_one_of_safetensors_are_the_same_checkpoint(tmp_path: Path) -> None:
    counted = {**released.tensors(), "bn.num_batches_tracked": torch.tensor(7)}
    one = read(released.entry(), released.write(tmp_path))
    other = read(released.entry(), released.write(tmp_path, "tiny.pth.tar", counted, best=91.5))
    assert set(one) == set(released.tensors()) == set(other) - {"bn.num_batches_tracked"}
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert digest(one) == digest(other) == released.entry().digest


def test_nothing_that_a_pickled_file_says_is_run(tmp_path: Path) -> None:
    path = released.write(tmp_path, "tiny.th", optimizer=Trap())
    with pytest.raises(Opened):
        torch.load(path, weights_only=False)
    with pytest.raises(BenchError, match=r"^checkpoint tiny: .*tiny.th cannot be read: it names .*raise_opened, "):
        read(released.entry(), path)


def test_classes_called_inert_are_passed_over(tmp_path: Path) -> None:
    path, name = released.write(tmp_path, "tiny.th", optimizer=Ballast()), f"{Ballast.__module__}.Ballast"
    with pytest.raises(BenchError) as told:
        read(released.entry(), path)
    assert str(told.value) == (
        f"checkpoint tiny: {path} cannot be read: it names {name}, and nothing that a file names is run; "
        "an entry may list under 'inert' what is to be passed over"
    )
    assert set(read(released.entry(inert=(name,)), path)) == set(released.tensors())


def test_names_are_changed_one_after_the_other_and_emptied_ones_left_out(tmp_path: Path) -> None:
    wrapped = {f"{n.partition('.')[0]}._layer.{n.partition('.')[2]}": v for n, v in released.tensors().items()}
    path = released.write(tmp_path, "tiny.pth", wrapped | {"fc1._mask": torch.ones(3)})
    names = ((r"^module\.", ""), (r"^.*\._mask$", ""), (r"\._layer\.", "."))
    assert set(read(released.entry(names=names), path)) == set(released.tensors())
    with pytest.raises(BenchError, match="give sha256"):
        read(released.entry(), path)


def test_other_tensors_are_refused_in_one_line_with_the_address(tmp_path: Path) -> None:
    path = released.write(tmp_path, held=released.tensors(seed=1))
    with pytest.raises(BenchError) as told:
        read(released.entry(), path)
    found = digest(released.tensors(seed=1))
    assert str(told.value) == (
        f"checkpoint tiny: the tensors of {path} give {found}, not {released.entry().digest}; "
        f"delete it and fetch it again, from {released.ADDRESS}"
    )


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.pth.tar"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = released.write(tmp_path, name)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BenchError, match=r"^checkpoint tiny: .* cannot be read: ") as told:
        read(released.entry(), path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "held",
    [
        {"0.weight": torch.zeros(3, 2)},
        {"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(3), "1.weight": torch.zeros(3)},
        {"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(3)},
    ],
    ids=["missing", "unknown", "misshapen"],
)
def test_tensors_that_do_not_fit_are_refused(held: dict[str, Tensor]) -> None:
    with pytest.raises(BenchError, match=r"^checkpoint tiny does not fit its model: \d\.\w+ is missing, unknown or "):
        fill(nn.Sequential(nn.Linear(2, 3)), held, "tiny")


def test_counters_of_batches_may_be_missing() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2))
    held = {n: v + 1 for n, v in model.state_dict().items() if not n.endswith("tracked")}
    fill(model, held, "tiny")
    assert all(torch.equal(model.state_dict()[n], v) for n, v in held.items())


def images(count: int = 40, channels: int = 2, side: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side)).astype(np.uint8)


def stale() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten())
    model[1].running_mean.fill_(9.0)
    return model


def fed(pixels: np.ndarray | None = None) -> Feed:
    pixels = images() if pixels is None else pixels
    return Feed(pixels, np.zeros(len(pixels), dtype=np.int64), (0.3, 0.6), (0.2, 0.4))


def rebuilt(how: Rebuild, feed: Feed | None = None) -> tuple[nn.Sequential, nn.BatchNorm2d]:
    model = stale().eval()
    model[2].train()
    rebuild(model, feed or fed(), how, [-0.3 / 0.2, -0.6 / 0.4])
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    return model, norm


def test_a_rebuild_is_deterministic_and_touches_statistics_alone() -> None:
    before = {n: v.clone() for n, v in stale().state_dict().items()}
    torch.manual_seed(1)
    one, _ = rebuilt(Rebuild(batch=16))
    torch.manual_seed(2)
    other, norm = rebuilt(Rebuild(batch=16))
    assert digest(one.state_dict()) == digest(other.state_dict())
    after = one.state_dict()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert int(norm.num_batches_tracked) == 3
    third, _ = rebuilt(Rebuild(batch=16, seed=1))
    assert digest(third.state_dict()) != digest(one.state_dict())


def test_a_rebuild_leaves_each_module_in_the_mode_that_it_had() -> None:
    model, _ = rebuilt(Rebuild())
    assert [m.training for m in model.modules()] == [False, False, False, True, False]


def test_without_crops_and_mirrors_statistics_are_those_of_the_batches_in_order() -> None:
    model, norm = rebuilt(Rebuild(batch=40, margin=0, flip=False))
    with torch.no_grad(), evaluating(model):
        maps = model[0](fed().take(slice(None))[0])
    expected = 0.9 * 9.0 + 0.1 * maps.mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-5, atol=1e-5)


def test_crops_stand_in_black_and_mirrors_keep_what_an_image_holds() -> None:
    """Seen by a network that hands its input out: each image is a shifted, perhaps mirrored one with black around."""

    class Ear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.heard.append(x.clone())
            return x

    pixels = images(64) // 2 + 100
    ear, feed, how = Ear(), fed(pixels), Rebuild(batch=64, margin=2)
    rebuild(ear, feed, how, [-0.3 / 0.2, -0.6 / 0.4])
    order = torch.randperm(64, generator=seeds.generator(how.seed, "rebuild", 0))
    mean, std = torch.tensor([0.3, 0.6]).view(2, 1, 1), torch.tensor([0.2, 0.4]).view(2, 1, 1)
    (seen,) = ear.heard
    found = ((seen * std + mean) * 255).round().to(torch.int64)
    ways = set()
    for image, index in zip(found, order.tolist(), strict=True):
        padded = np.pad(pixels[index].astype(np.int64), ((0, 0), (2, 2), (2, 2)))
        matches = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if np.array_equal(oriented(padded[:, top : top + 6, left : left + 6], mirrored), image.numpy())
        ]
        assert len(matches) == 1
        ways |= set(matches)
    assert {mirrored for _, _, mirrored in ways} == {False, True}
    assert {top for top, _, _ in ways} == {left for _, left, _ in ways} == set(range(5))


def oriented(cut: np.ndarray, mirrored: bool) -> np.ndarray:
    return np.flip(cut, 2) if mirrored else cut


def test_one_parent_serves_all_seeds_and_normalises_everything(home: Path, jobs: Jobs) -> None:
    released.write(home)
    made = jobs('["none", "magnitude"]')
    assert len(made) == 6
    assert len({job["parent_key"] for job in made}) == 1
    found = [obtain(Job(job, lambda _: None)) for job in made[:2]]
    assert digest(found[0].state) == found[0].facts["weights"] == released.entry().digest
    job = Job(made[0], lambda _: None)
    assert found[1].facts["cost"]["train"] == job.meter.as_dict()["train"]  # nothing was spent
    for feed, view in ((job.training, job.splits.train), (job.validation, job.splits.validation)):
        torch.testing.assert_close(feed.take(slice(1))[0][0], (torch.from_numpy(view.images[0]) / 255 - 0.25) / 0.5)


def test_a_rebuild_is_charged_to_the_parent_and_passes_forward_alone(home: Path, jobs: Jobs) -> None:
    released.write(home)
    job = jobs()[0]
    job["parent"]["checkpoint"]["rebuild"] = {"batch": 128, "margin": 1, "flip": True, "seed": 0}
    facts = obtain(Job(job, lambda _: None)).facts
    told = facts["cost"]["train"]
    assert (told["forward"], told["backward"], told["samples"]) == (10, 0, 1257)
    assert told["seconds"] > 0
    assert facts["weights"] == released.entry().digest  # a perceptron has no statistics to rebuild


def test_a_suite_on_a_checkpoint_runs_and_its_records_hold(home: Path, jobs: Jobs, tmp_path: Path) -> None:
    released.write(home, "tiny.pth.tar")
    made = jobs('["none", "magnitude"]')
    results = [perform(job) for job in made]
    assert [r["status"] for r in results] == ["ok"] * 6, results[0]
    records = [read_json(Path(r["path"])) for r in results]
    one = records[3]
    assert one["inputs"]["rule"] == one["inputs"]["tune"] == {"name": "none", "params": {}}
    parent = one["inputs"]["parent"]
    assert (parent["name"], parent["checkpoint"]) == ("checkpoint", "tiny")
    assert parent["digest"] == one["provenance"]["shared"]["parent"]["weights"] == released.entry().digest
    assert "released_tiny" in one["provenance"]["plugins"]
    assert one["outcome"]["curves"] == {"train": [], "tune": []}
    assert (one["cost"]["train"]["seconds"], one["cost"]["tune"]["seconds"]) == (0, 0)
    masks = {r["inputs"]["pruner"]["name"]: set() for r in records}
    for record in records:
        masks[record["inputs"]["pruner"]["name"]].add(record["outcome"]["test"]["top1"]["mask"])
    assert [len(held) for held in masks.values()] == [1, 1]
    registry = registries.load(strict=True, strangers=False)
    assert verify_suite(Store(tmp_path / "leaderboards"), "tiny", registry) == (6, [])


def test_a_record_that_cannot_stand_on_its_checkpoint_is_found(
    home: Path, jobs: Jobs, tmp_path: Path, registry: registries.Registry
) -> None:
    released.write(home)
    path = Path(perform(jobs()[0])["path"])

    def findings(digest: str, name: str, **more: Any) -> list[str]:
        record = read_json(path)
        record["inputs"]["parent"] |= {"checkpoint": name, "digest": digest, **more}
        record["key"] = key_of(record["inputs"])
        forged = tmp_path / record["key"][:2] / f"{record['key']}.json"
        forged.parent.mkdir(exist_ok=True)
        forged.write_text(document(record))
        forged.with_suffix(".ledger").write_bytes(path.with_suffix(".ledger").read_bytes())
        return verify_file(forged, "tiny", registry)

    own, other = released.entry().digest, "sha256:" + 64 * "0"
    assert findings(own, "tiny", key=64 * "1") == []
    assert findings(other, "tiny") == [f"it stands on weights {own}, its checkpoint has {other}"]
    known = registry.get("checkpoint", "mlpnet-mnist")
    assert findings(own, "mlpnet-mnist", mean=[0.1307], std=[0.3]) == [
        f"its checkpoint's digest is {own}, this bench knows {known.digest}",
        "its checkpoint's std is [0.3], this bench knows [0.3081]",
    ]


def test_fine_tuning_a_checkpoint_needs_and_uses_the_rule_that_is_named(home: Path, jobs: Jobs) -> None:
    released.write(home)
    job = jobs(tune=1, more='tune = "backprop[rate=0.01]"')[0]
    assert job["inputs"]["tune"]["name"] == "backprop"
    result = perform(job)
    assert result["cost"]["tune"]["backward"] == 10
    assert result["cost"]["train"]["backward"] == 0


def test_a_pruner_that_wants_to_train_without_a_rule_is_told(home: Path, jobs: Jobs) -> None:
    released.write(home)
    job = Job(jobs()[0], lambda _: None)
    with pytest.raises(BenchError, match="the suite names no rule; give its network a 'tune'"):
        job.rule("tune")


def test_a_missing_file_fails_the_parent_in_one_line(home: Path, jobs: Jobs) -> None:
    job = {**jobs()[0], "job": "parent"}
    result = perform(job)
    assert result["status"] == "failed"
    assert (result["error"]["stage"], result["error"]["plugin"]) == ("checkpoint", "'released_tiny' of local file")
    assert result["error"]["message"].startswith(f"offline, and checkpoint tiny is not in {home}")
