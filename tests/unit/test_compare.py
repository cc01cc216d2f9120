"""Two entries, two folders and two revisions: effects worked out by hand, classes, formats, and every mistake."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench import registry as registries
from synobench.board import SuiteFacts, build_board
from synobench.board.labels import full_text
from synobench.cli import main
from synobench.compare.entries import compare_entries, find
from synobench.compare.formats import FORMATS, write
from synobench.compare.report import Report, Section
from synobench.errors import BenchError
from synobench.stats.multiple import compare as judge
from synobench.stats.ranks import signed_rank
from synobench.store import Store
from synobench.testing.records import hit_mask, make_record

SUITE = """
name = "demo"
version = "1.0"
question = "Which weights?"
counter = "effective"
seeds = [0, 1, 2, 3, 4]
pruners = ["none", "magnitude", "magnitude[scope=layer]", "random"]
[[targets]]
name = "sparsity"
values = [0.5, 0.9]
[[networks]]
dataset = "digits"
model = "snn-conv"
rule = "backprop"
train_epochs = 1
tune_epochs = 1
batch = 32
"""
DENSE = [190, 191, 189, 190, 192]
BASE = [150, 160, 154, 158, 148]
BETTER = [156, 165, 160, 165, 155]
OPEN = [152, 155, 158, 156, 151]
GLOBAL, LAYER, RANDOM = (
    {"name": name, "params": {"allocation": [], "scope": scope}}
    for name, scope in (("magnitude", "global"), ("magnitude", "layer"), ("random", "global"))
)

G, L, R = (full_text(part) for part in (GLOBAL, LAYER, RANDOM))


def cell(pruner: Any, hits: Any, target: Any = 0.9, **how: Any) -> list[Any]:
    return [make_record(pruner, target, seed, hit, **how) for seed, hit in enumerate(hits)]


def whole(dataset: str = "digits") -> list[Any]:
    how = {"dataset": dataset}
    return [
        *cell("none", DENSE, None, **how),
        *cell(GLOBAL, BASE, **how),
        *cell(LAYER, BETTER, **how),
        *cell(RANDOM, OPEN, **how),
        *cell(GLOBAL, [hits + 30 for hits in BASE], 0.5, **how),
        *cell(LAYER, [hits + 29 for hits in BETTER], 0.5, **how),
    ]


def board_of(records: Any) -> Any:
    facts = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}, reference=GLOBAL)

    def count(ledger: Any) -> Any:
        return {"n": float(sum(layer.nonzero for layer in ledger.layers))}

    return build_board(facts, records, {"c": count})


def put(root: Path, records: Any) -> Path:
    for record in records:
        Store(root).add(record)
    return root


@pytest.fixture(scope="module")
def registry() -> Any:
    return registries.load((), strict=True, strangers=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: Any) -> Any:
    """A folder of records, and the suite's file beside it."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo.toml").write_text(SUITE)
    put(folder / "boards", whole())
    return folder


def told(capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    code = main(["compare", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def entries(capsys: Any, demo: Any, a: Any, b: Any, *more: Any) -> tuple[int, str, str]:
    return told(capsys, a, b, "--suite", demo / "demo.toml", "--leaderboards", demo / "boards", *more)


def facts_of(report: Report) -> Any:
    return json.loads(write(report, "json"))


# Two entries.


def test_the_effect_is_the_first_less_the_second_in_one_family() -> None:
    found = facts_of(compare_entries(L, G, board_of(whole())))
    at = {target["target"]: target["comparison"] for target in found["targets"]}
    pairs = [(BETTER, BASE), ([hits + 29 for hits in BETTER], [hits + 30 for hits in BASE])]
    tests = [oracle.ttest_rel(a, b) for a, b in pairs]

    assert (found["a"], found["b"], found["kind"]) == ("magnitude[scope=layer]", "magnitude[scope=global]", "entries")
    for name, test, (a, b) in zip(("sparsity 90 %", "sparsity 50 %"), tests, pairs, strict=True):
        assert at[name]["difference"]["mean"] == pytest.approx(sum(x - y for x, y in zip(a, b, strict=True)) / 1000)
        assert at[name]["p"] == pytest.approx(test.pvalue)
        interval = test.confidence_interval(at[name]["level"])
        ends = at[name]["difference"]["low"], at[name]["difference"]["high"]
        assert ends == pytest.approx((interval.low / 200, interval.high / 200))
        assert at[name]["sign_flip"] == {"p": 0.0625, "floor": 0.0625}
        assert at[name]["verdict"] == "better"
    assert {at[name]["level"] for name in at} == {0.975, 0.95}


def test_a_control_stands_at_every_target() -> None:
    for a, b, sign in (("none", G, 1), (G, "none", -1)):
        found = facts_of(compare_entries(a, b, board_of(whole())))
        gaps = {t["target"]: t["comparison"]["difference"]["mean"] for t in found["targets"]}
        assert gaps == pytest.approx({"sparsity 50 %": sign * 32 / 1000, "sparsity 90 %": sign * 182 / 1000})
        assert found["curves"] == []


def test_targets_that_one_lacks_are_left_out() -> None:
    report = compare_entries(R, G, board_of(whole()))

    assert [target["target"] for target in facts_of(report)["targets"]] == ["sparsity 90 %"]
    assert report.shared == 1


def test_areas_and_crossings_stand_beside_the_targets() -> None:
    found = facts_of(compare_entries(L, G, board_of(whole())))
    (curve,) = found["curves"]

    gaps = [(2 * (a - b) - 1) / 2 / 200 for a, b in zip(BETTER, BASE, strict=True)]
    assert curve["comparison"]["difference"]["mean"] == pytest.approx(sum(gaps) / 5)
    assert curve["comparison"]["p"] == pytest.approx(oracle.ttest_1samp(gaps, 0).pvalue)
    board = board_of(whole()).networks[0].curves
    assert [c["value"] for c in curve["compression"]] == [
        board[name].compression.value for name in ("magnitude[scope=layer]", "magnitude[scope=global]")
    ]


def test_six_networks_are_tested_together() -> None:
    five, six = (board_of([r for i in range(n) for r in whole(f"d{i}")]) for n in (5, 6))
    names = L, G

    higher = "Its mean area under accuracy is higher on"
    assert compare_entries(*names, five).sentences[1] == f"{higher} 5 of 5 networks; fewer than 6 are no test."
    p = signed_rank([1.0] * 6).p
    assert compare_entries(*names, six).sentences[1] == f"{higher} 6 of 6 networks; exact signed-rank p = {p:.4f}."


def test_settings_are_compared_apart() -> None:
    rule = {"name": "stdp", "params": {}}
    records = [*whole(), *cell(GLOBAL, OPEN, rule=rule), *cell(LAYER, BASE, rule=rule)]
    found = facts_of(compare_entries(L, G, board_of(records)))
    gaps = {t["setting"][:9]: t["comparison"]["difference"]["mean"] for t in found["targets"] if "90" in t["target"]}

    assert gaps == pytest.approx({"rule=back": 31 / 1000, "rule=stdp": -2 / 1000})


def test_seeds_that_cannot_be_paired_are_nothing_to_compare() -> None:
    late = [make_record(RANDOM, 0.9, seed, 150) for seed in (7, 8, 9)]
    report = compare_entries(R, "magnitude", board_of([*cell("magnitude", BASE), *late]))

    assert report.shared == 0
    assert report.sections == ()
    assert "share no seed at any target" in report.sentences[0]


def test_an_entry_is_not_compared_with_itself() -> None:
    with pytest.raises(BenchError, match="A and B are the same entry, magnitude"):
        compare_entries(L, L, board_of(whole()))


hits = st.lists(st.integers(100, 200), min_size=5, max_size=5)


@settings(max_examples=15, deadline=None)
@given(one=hits, two=hits, order=st.permutations(range(15)))
def test_a_swap_flips_every_sign_and_the_order_of_records_changes_nothing(one: Any, two: Any, order: Any) -> None:
    records = [*cell("none", DENSE, None), *cell("a", one), *cell("b", two)]
    forth = facts_of(compare_entries("a", "b", board_of(records)))["targets"][0]
    shuffled = facts_of(compare_entries("a", "b", board_of([records[i] for i in order])))["targets"][0]
    back = facts_of(compare_entries("b", "a", board_of(records)))["targets"][0]

    assert forth == shuffled
    ends, others = forth["comparison"]["difference"], back["comparison"]["difference"]
    assert [ends["mean"], ends["low"], ends["high"]] == pytest.approx([-others[k] for k in ("mean", "high", "low")])
    assert forth["comparison"]["p"] == pytest.approx(back["comparison"]["p"])
    turned = {"better": "worse", "worse": "better"}
    verdict = back["comparison"]["verdict"]
    assert forth["comparison"]["verdict"] == turned.get(verdict, verdict)
    assert forth["superiority"]["probability"] == pytest.approx(1 - back["superiority"]["probability"])


def test_the_verdicts_are_those_of_the_statistics() -> None:
    report = compare_entries(R, G, board_of(whole()))
    (expected,) = judge({"": ({s: h / 200 for s, h in enumerate(OPEN)}, {s: h / 200 for s, h in enumerate(BASE)})})

    assert facts_of(report)["targets"][0]["comparison"]["says"] == expected.says()
    assert report.sections[0].rows[0][4] == expected.says()


# Names of entries.


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("magnitude", G),
        ("magnitude[scope=layer]", L),
        ("random", R),
        (R, R),
        ("none", "none"),
        ("nadom", None),
        ("magnitude[scope=other]", None),
        ("magnitude[", None),
    ],
)
def test_an_entry_is_named_by_label_or_spec(registry: Any, text: str, full: Any) -> None:
    assert find(text, board_of(whole()), registry) == full


def test_an_entry_of_a_stranger_is_named_by_what_the_board_calls_it(registry: Any) -> None:
    records = [*cell("far[x=1]", BASE), *cell("far[x=2]", BETTER), *cell("other[y=3]", OPEN)]
    board = board_of(records)

    assert find("far[x=2]", board, registry) == "far[x=2]"
    assert find("other", board, registry) == "other[y=3]"
    with pytest.raises(BenchError, match=r"'far' fits several entries: far\[x=1\], far\[x=2\]"):
        find("far", board, registry)


# The command.


def test_the_command_prints_effects_first_and_exits_with_0(capsys: Any, demo: Any) -> None:
    code, out, err = entries(capsys, demo, "magnitude[scope=layer]", "magnitude")

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "magnitude[scope=layer] against magnitude[scope=global], suite demo 1.0"
    assert lines[2] == "magnitude[scope=layer] at 2 targets of its networks: 2 better."
    head = next(i for i, line in enumerate(lines) if line.startswith("target "))
    assert lines[head].split() == ["target", "points", "p", "sign-flip", "p", "(floor)", "verdict", "SynOps"]
    assert lines[head + 2].startswith("sparsity 50 %  +2.60 ± ")
    assert "0.0625 (0.0625)  better" in lines[head + 3]
    assert any(line.startswith("digits / snn-conv  +2.85 ± ") for line in lines)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_written_alike_each_time(capsys: Any, demo: Any, name: str) -> None:
    first, again = (entries(capsys, demo, "magnitude[scope=layer]", "magnitude", "--format", name) for _ in range(2))

    assert first == again
    assert first[0] == 0
    assert "2.85" in first[1] or "0.0285" in first[1]


def test_one_suite_alone_needs_no_name(capsys: Any, tmp_path: Any) -> None:
    records = [json.loads(json.dumps(r).replace('"demo"', '"sparsity"')) for r in whole()]
    put(tmp_path, records)

    code, out, _ = told(capsys, "magnitude", "random", "--leaderboards", tmp_path)
    assert code == 0
    assert out.startswith("magnitude[scope=global] against random, suite sparsity 1.0")


@pytest.mark.parametrize(
    ("a", "b", "more", "says"),
    [
        ("magnitude", "nadom", (), "'nadom' is no entry on the board of suite demo (did you mean 'random"),
        ("magnitud", "random", (), "'magnitud' is no entry on the board of suite demo (did you mean 'magnitude"),
        ("magnitude", "magnitude[scope=global]", (), "A and B are the same entry, magnitude[scope=global]"),
        ("magnitude", "random", ("--as", "folders"), "'magnitude' is no folder"),
        ("magnitude", "random", ("--as", "revisions"), "'magnitude' is no git revision"),
        ("no-such", "random", ("--as", "entries"), "'no-such' is no entry on the board of suite demo"),
    ],
)
def test_a_mistake_is_told_in_one_line(capsys: Any, demo: Any, a: str, b: str, more: Any, says: str) -> None:
    code, out, err = entries(capsys, demo, a, b, *more)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_without_a_suite_entries_have_no_place(capsys: Any, tmp_path: Any) -> None:
    code, _, err = told(capsys, "magnitude", "random", "--leaderboards", tmp_path)
    assert code == 2
    assert err == (
        f"synobench: 'magnitude' is no folder and no git revision; no records lie below {tmp_path}; --suite names the "
        "one whose entries are compared\n"
    )
    put(tmp_path, [json.loads(json.dumps(r).replace('"demo"', f'"{n}"')) for n in ("one", "two") for r in whole()[:1]])
    code, _, err = told(capsys, "magnitude", "random", "--leaderboards", tmp_path)
    assert code == 2
    assert "records of one, two lie below" in err
    code, _, err = told(capsys, "magnitude", "random", "--leaderboards", tmp_path, "--as", "entries")
    assert (code, "records of one, two lie below" in err) == (2, True)


def test_a_suite_without_records_says_so(capsys: Any, demo: Any, tmp_path: Any) -> None:
    code, _, err = told(capsys, "a", "b", "--suite", demo / "demo.toml", "--leaderboards", tmp_path)

    assert (code, err) == (2, f"synobench: there are no records of suite demo below {tmp_path}\n")


def test_what_could_be_two_things_is_asked_for(capsys: Any, demo: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("magnitude", "random"):
        put(tmp_path / name, whole()[:5])
    code, _, err = entries(capsys, demo, "magnitude", "random")

    assert code == 2
    assert "'magnitude' and 'random' could be folders and entries: say which by --as folders or --as entries" in err
    assert entries(capsys, demo, "magnitude", "random", "--as", "entries")[0] == 0
    assert entries(capsys, demo, "magnitude", "random", "--as", "folders")[0] == 0


def test_one_folder_and_one_entry_are_not_compared(capsys: Any, demo: Any) -> None:
    code, _, err = entries(capsys, demo, "magnitude", demo / "boards")

    assert code == 2
    assert err == "synobench: 'magnitude' and " + repr(str(demo / "boards")) + (
        " are not of one kind: give two entries, two folders or two git revisions\n"
    )


# Folders.


def rescored(record: Any, hits: int, total: int = 200) -> Any:
    """The record with other hits."""
    changed = copy.deepcopy(record)
    seed = changed["inputs"]["seed"]
    changed["outcome"]["test"]["top1"].update(hits=hits, mask=hit_mask(hits, total, seed))
    return changed


def recounted(record: Any) -> Any:
    changed = copy.deepcopy(record)
    for layer in changed["outcome"]["ledger"]["layers"]:
        layer["effective"] = layer["effective"] * 2
    return changed


@pytest.fixture
def folders(tmp_path: Any) -> Any:
    records = whole()
    later = copy.deepcopy(records)
    later[5] = rescored(later[5], 151)  # of 150, where the other seeds lie five hits apart
    later[10] = rescored(later[10], 100)
    later[20] = recounted(later[20])
    del later[15:20]
    later += cell({"name": "obd", "params": {}}, BETTER)
    return put(tmp_path / "old", records), put(tmp_path / "new", later)


def test_each_cell_has_its_class(capsys: Any, folders: Any) -> None:
    code, out, _ = told(capsys, *folders, "--format", "json")
    found = json.loads(out)

    assert code == 0
    assert found["cells"] == {
        "demo": {
            "same": 22,
            "recomputed by a new counter": 1,
            "moved within the seeds' spread": 1,
            "changed": 1,
            "new": 5,
            "gone": 5,
        }
    }
    keys = {record["key"]: record["inputs"] for record in whole()}
    for key, kind in found["keys"]["demo"].items():
        if kind in ("changed", "moved within the seeds' spread"):
            assert keys[key]["pruner"] == (LAYER if kind == "changed" else GLOBAL)
            assert keys[key]["seed"] == 0


def test_what_moved_is_after_less_before_in_one_family(capsys: Any, folders: Any) -> None:
    found = json.loads(told(capsys, *folders, "--format", "json")[1])
    moved = {m["entry"]: m["comparison"] for m in found["moved"]}
    rest = dict.fromkeys(range(1, 5), 0.0)
    expected = judge({"g": ({0: 151 / 200} | rest, {0: 0.75} | rest), "l": ({0: 0.5} | rest, {0: 0.78} | rest)})

    assert set(moved) == {"magnitude[scope=global]", "magnitude[scope=layer]"}
    for name, want in zip(("magnitude[scope=global]", "magnitude[scope=layer]"), expected, strict=True):
        assert moved[name]["difference"]["mean"] == pytest.approx(want.difference.mean if want.difference else None)
        assert moved[name]["p_holm"] == pytest.approx(want.adjusted)
        assert moved[name]["verdict"] == want.verdict


def test_what_was_recomputed_new_or_gone_is_listed(capsys: Any, folders: Any) -> None:
    found = json.loads(told(capsys, *folders, "--suite", _suite(folders), "--format", "json")[1])

    (again,) = found["recomputed"]
    assert (again["entry"], again["target"]) == ("magnitude[scope=global]", "sparsity 50 %")
    assert again["synops_ratio"]["mean"] == pytest.approx((2 + 4) / 5)
    (new,), (gone,) = found["new"], found["gone"]
    assert (new["entry"], gone["entry"]) == ("obd", "random")
    assert new["accuracy"]["mean"] == pytest.approx(sum(BETTER) / 1000)
    assert new["verdict"]["verdict"] == "better"
    _, out, _ = told(capsys, *folders, "--suite", _suite(folders))
    assert "New entries" in out
    assert "better than magnitude" in out
    assert "Gone entries" in out
    assert "Recomputed by a new counter, the hits being the same" in out


def _suite(folders: Any) -> Path:
    path = folders[0].parent / "demo.toml"
    path.write_text(SUITE)
    return Path(path)


def test_a_swap_turns_new_into_gone_and_flips_the_effects(capsys: Any, folders: Any) -> None:
    forth, back = (json.loads(told(capsys, *side, "--format", "json")[1]) for side in (folders, folders[::-1]))

    assert [entry["entry"] for entry in forth["new"]] == [entry["entry"] for entry in back["gone"]]
    moved = (sorted(side["moved"], key=lambda m: m["entry"]) for side in (forth, back))
    for one, two in zip(*moved, strict=True):
        ends, others = (m["comparison"]["difference"] for m in (one, two))
        assert (ends["mean"], ends["low"]) == pytest.approx((-others["mean"], -others["high"]))


def test_a_cell_is_judged_by_its_other_seeds_and_recounted_only_at_the_same_hits(capsys: Any, tmp_path: Any) -> None:
    old = cell(GLOBAL, [199, 150, 151, 152, 151])
    new = [recounted(rescored(old[0], 185)), *old[1:]]
    sides = put(tmp_path / "a", old), put(tmp_path / "b", new)
    (tmp_path / "demo.toml").write_text(SUITE)
    out = told(capsys, *sides, "--suite", tmp_path / "demo.toml", "--format", "json")[1]
    found = json.loads(out)

    assert found["cells"] == {"demo": {"same": 4, "changed": 1}}
    assert found["recomputed"] == []
    assert len(found["moved"]) == 1


def test_equal_folders_are_the_same(capsys: Any, tmp_path: Any) -> None:
    a, b = (put(tmp_path / name, whole()) for name in "ab")
    code, out, _ = told(capsys, a, b)

    assert code == 0
    assert f"\n{len(whole())} cells: {len(whole())} same.\n" in out
    assert "points" not in out


def test_folders_without_a_shared_cell_exit_with_3(capsys: Any, tmp_path: Any) -> None:
    a, b = put(tmp_path / "a", whole()[:5]), put(tmp_path / "b", whole()[5:])
    code, out, _ = told(capsys, a, b)

    assert code == 3
    assert "No cell is on both sides: there is nothing to compare." in out


def test_a_folder_of_one_suite_stands_for_its_records(capsys: Any, tmp_path: Any) -> None:
    a, b = (put(tmp_path / name, whole()) for name in "ab")
    other = json.loads(json.dumps(whole()).replace('"demo"', '"other"'))
    put(a, other)
    (b / "boards" / "demo").mkdir(parents=True)
    code, out, _ = told(capsys, a / "records" / "demo", b / "boards" / "demo", "--format", "json")

    assert code == 0
    assert set(json.loads(out)["cells"]) == {"demo"}
    assert set(json.loads(told(capsys, a, b, "--format", "json")[1])["cells"]) == {"demo", "other"}


def test_a_folder_without_records_is_told(capsys: Any, tmp_path: Any) -> None:
    a, empty = put(tmp_path / "a", whole()), tmp_path / "empty"
    empty.mkdir()
    code, _, err = told(capsys, a, empty)

    assert (code, err) == (2, f"synobench: {empty} holds no records\n")


def test_a_broken_record_is_named(capsys: Any, tmp_path: Any) -> None:
    a, b = (put(tmp_path / name, whole()[:5]) for name in "ab")
    path = Store(b).paths("demo")[0]
    path.write_text("{")
    code, _, err = told(capsys, a, b)

    assert code == 2
    assert err.startswith(f"synobench: {path} cannot be read as a record: ")


# Revisions.


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Any) -> Any:
    """A repository in which a record changes, one goes, and some come; the work tree differs from both."""
    root = tmp_path / "deep" / "leaderboards"
    git(tmp_path, "init", "-q")
    records = whole()
    put(root, records)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    path = Store(root).record_path("demo", records[10]["key"])
    path.write_text(json.dumps(rescored(records[10], 100)))
    Store(root).record_path("demo", records[15]["key"]).unlink()
    put(root, cell({"name": "obd", "params": {}}, BETTER))
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "two")
    for stored in Store(root).paths("demo")[::2]:
        stored.unlink()
    return root


def test_revisions_are_read_without_checking_them_out(capsys: Any, repository: Any) -> None:
    before = sorted(repository.rglob("*"))
    code, out, _ = told(capsys, "HEAD~1", "HEAD", "--leaderboards", repository, "--format", "json")
    found = json.loads(out)

    assert code == 0
    assert found["cells"] == {"demo": {"same": len(whole()) - 2, "changed": 1, "new": 5, "gone": 1}}
    assert (found["a"], found["b"]) == ("HEAD~1", "HEAD")
    assert [m["entry"] for m in found["moved"]] == ["magnitude[scope=layer]"]
    assert [m["entry"] for m in found["new"]] == ["obd"]
    assert sorted(repository.rglob("*")) == before


def test_revisions_give_what_folders_give(capsys: Any, repository: Any, tmp_path: Any) -> None:
    for name, revision in (("a", "HEAD~1"), ("b", "HEAD")):
        git(tmp_path, "worktree", "add", "-q", "--detach", str(tmp_path / name), revision)
    places = [tmp_path / name / "deep" / "leaderboards" for name in "ab"]
    one, two = (
        json.loads(told(capsys, *sides, "--leaderboards", repository, "--format", "json")[1])
        for sides in (("HEAD~1", "HEAD"), places)
    )

    assert {k: v for k, v in one.items() if k not in "ab"} == {k: v for k, v in two.items() if k not in "ab"}


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ("HEAD", "gone", "'gone' is no entry"),
        ("HEAD", "--upload-pack=x", ""),
        ("HEAD:deep", "HEAD", "'HEAD:deep' is no entry"),
    ],
)
def test_an_unknown_revision_is_told_in_one_line(capsys: Any, repository: Any, a: str, b: str, says: str) -> None:
    arguments = ["compare", "--suite", "sparsity", "--leaderboards", str(repository), "--", a, b]
    put(repository, json.loads(json.dumps(whole()[:5]).replace('"demo"', '"sparsity"')))
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(str(error.code))
    err = capsys.readouterr().err

    assert (code, err.count("\n")) == (2, 1)
    assert says in err


def test_a_revision_without_records_is_told(capsys: Any, tmp_path: Any) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "none")
    put(tmp_path, whole())
    code, _, err = told(capsys, "HEAD", "HEAD", "--leaderboards", tmp_path)

    assert (code, err) == (2, "synobench: HEAD holds no records\n")


# Formats.

HOSTILE = Report(
    "<script> & a|b",
    ("one `two` 100 % [x](y)",),
    (
        Section(
            "T_1 # x",
            ("entry", "points"),
            (("a|b<i>", "\N{MINUS SIGN}1.00 ± 0.50"), ("\x1b[31mred", "5 %")),
            frozenset({"entry"}),
        ),
    ),
    ("note \\ ~",),
    {"a": 1.0},
    1,
)


def test_text_is_aligned_and_free_of_control_characters() -> None:
    assert write(HOSTILE, "text").splitlines() == [
        "<script> & a|b",
        "",
        "one `two` 100 % [x](y)",
        "",
        "T_1 # x",
        "entry              points",
        "-------------------------",
        "a|b<i>       \N{MINUS SIGN}1.00 ± 0.50",
        "\\x1b[31mred           5 %",
        "",
        "note \\ ~",
    ]


def test_markdown_shows_text_as_it_is() -> None:
    assert write(HOSTILE, "markdown").splitlines() == [
        "## &lt;script&gt; &amp; a\\|b",
        "",
        "- one \\`two\\` 100 % \\[x\\](y)",
        "",
        "**T\\_1 \\# x**",
        "",
        "| entry | points |",
        "| :-- | --: |",
        "| a\\|b&lt;i&gt; | \N{MINUS SIGN}1.00 ± 0.50 |",
        "| \\\\x1b\\[31mred | 5 % |",
        "",
        "- note \\\\ \\~",
    ]


def test_latex_is_a_paragraph_and_floats() -> None:
    text = write(HOSTILE, "latex")

    assert r"\textless{}script\textgreater{} \& a\textbar{}b. one \texttt{two} 100\,\% [x](y)" in text
    assert r"\caption{T\_1 \# x.}" in text
    assert r"a\textbar{}b\textless{}i\textgreater{} & $-$1.00 $\pm$ 0.50 \\" in text
    assert text.count(r"\begin{tabular}{@{}lr@{}}") == text.count(r"\end{tabular}") == 1


def test_columns_aside_are_left_out_of_text_alone() -> None:
    section = Section("t", ("a", "b"), (("1", "2"),), aside=frozenset({"b"}))
    report = Report("t", (), (section,), (), {}, 1)

    assert "2" not in write(report, "text")
    assert "| 1 | 2 |" in write(report, "markdown")


def test_no_torch_and_no_plugin_of_a_stranger_is_imported(demo: Any) -> None:
    code = (
        "import sys; from synobench.cli import main; "
        f"code = main(['compare', 'magnitude', 'random', '--suite', {str(demo / 'demo.toml')!r}, "
        f"'--leaderboards', {str(demo / 'boards')!r}]); "
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules), 'heavy'; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
