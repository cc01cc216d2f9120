"""Every sentence of docs/statistics.md is held to a check of behaviour, and every check to a sentence.

A check gets the numbers of its sentence in their order, so that none of them can be changed alone; one that takes none
holds a sentence without any.
"""

from __future__ import annotations

import ast
import base64
import inspect
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats as oracle

from synobench import stats
from synobench.board import Board, SuiteFacts, build_board, rows
from synobench.board.across import SHARES, stand
from synobench.board.versus import trained
from synobench.errors import BenchError
from synobench.stats import across as across_module
from synobench.stats import multiple
from synobench.stats.across import across, pooled
from synobench.stats.curves import Curve, Point, area, areas, compression_at_loss, synops_at_loss
from synobench.stats.evidence import mcnemar, sign_flip
from synobench.stats.multiple import BETTER, OPEN, SAME, WORSE, Comparison, compare, holm
from synobench.stats.ranks import friedman, signed_rank
from synobench.stats.robust import interquartile_mean, profile, superiority
from synobench.stats.ttests import t_probability, tost
from synobench.testing.records import make_record, make_records
from synobench.twins import kept_counts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
RULE = re.compile(r'- <a id="(?P<id>[a-z0-9-]+)"></a>(?P<text>\S.*)')
RULES = {found["id"]: found["text"] for found in RULE.finditer(PAGE)}
Check = Callable[..., None]
CHECKS: dict[str, Check] = {}

DIFFERENCES = [0.012, 0.004, 0.009, 0.001, 0.007]


def rule(name: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        assert name not in CHECKS, f"two checks for {name}"
        CHECKS[name] = check
        return check

    return keep


def by_seed(values: object) -> dict[int, float]:
    return dict(enumerate(np.asarray(values, float).tolist()))


def against_zero(values: object) -> Comparison:
    (found,) = compare({"only": (by_seed(values), by_seed(np.zeros(len(np.asarray(values)))))})
    return found


def family(seed: int, *shifts: float, sd: float = 0.003) -> tuple[Comparison, ...]:
    draw = np.random.default_rng(seed)
    base = draw.normal(0.9, 0.005, 5)
    return compare({f"m{i}": (by_seed(base + draw.normal(s, sd, 5)), by_seed(base)) for i, s in enumerate(shifts)})


def methods(blocks: int, *shifts: float) -> dict[str, dict[str, float]]:
    table = np.random.default_rng(7).normal(shifts, 0.004, (blocks, len(shifts)))
    return {f"m{j}": {f"b{i:02}": float(v) for i, v in enumerate(table[:, j])} for j in range(len(shifts))}


def curve(*points: tuple[float, ...]) -> Curve:
    return Curve(Point(0.95, 1.0, 800.0), tuple(Point(*point) for point in points))


STEPS = curve((0.949, 2.0, 400.0), (0.946, 4.0, 300.0), (0.93, 8.0, 100.0))


# The page and the checks.


def test_every_line_is_a_heading_or_a_rule() -> None:
    lines = [line for line in PAGE.splitlines() if line and not line.startswith("#")]

    assert [line for line in lines if not RULE.fullmatch(line)] == []
    assert len(RULES) == len(lines), "an anchor stands twice"


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_one_sentence(name: str) -> None:
    bare = re.sub(r"\]\([^)]*\)", "]", RULES[name])

    assert bare.endswith(".")
    assert not re.search(r"[.!?;] ", bare)


def test_every_sentence_has_a_check_and_every_check_a_sentence() -> None:
    assert set(CHECKS) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_sentence_holds(name: str) -> None:
    bare = re.sub(r"\]\([^)]*\)", "]", RULES[name])
    numbers = [float(n) for n in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", bare)]
    CHECKS[name](*([numbers] if numbers else []))


# Intervals.


@rule("mean-interval")
def _(numbers: list[float]) -> None:
    (percent,) = numbers
    low, high = oracle.t.interval(percent / 100, 4, loc=np.mean(DIFFERENCES), scale=oracle.sem(DIFFERENCES))
    found = stats.interval(DIFFERENCES)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(DIFFERENCES), low, high))


@rule("one-seed")
def _() -> None:
    found = stats.interval([0.9])
    assert (found.mean, found.low, found.high) == (0.9, None, None)


@rule("no-spread")
def _() -> None:
    assert stats.interval([0.1, 0.1, 0.1]).half == 0


@rule("few-seeds")
def _(numbers: list[float]) -> None:
    fewest, few = map(int, numbers)
    for n in range(1, 8):
        row = SimpleNamespace(runs=[None] * n, deterministic=False)
        assert rows.Row.enough.fget(row) is (n >= fewest)  # type: ignore[attr-defined]
        assert rows.Row.few.fget(row) is (n < few)  # type: ignore[attr-defined]
        verdict = against_zero([0.5 + 0.0001 * i for i in range(n)]).verdict
        assert (verdict == BETTER) is (n >= fewest)


@rule("finite")
def _() -> None:
    for wrong in (math.nan, math.inf):
        with pytest.raises(BenchError) as told:
            stats.interval([0.1, wrong])
        assert "\n" not in str(told.value)


@rule("any-order")
def _() -> None:
    for values in itertools.permutations([0.1, 0.7, 1e-9, 3.3]):
        assert stats.interval(values) == stats.interval([0.1, 0.7, 1e-9, 3.3])
    pairs = {"a": ({0: 0.1, 1: 0.2, 2: 0.4}, {0: 0.0, 1: 0.3, 2: 0.1})}
    assert compare(pairs) == compare({"a": tuple(dict(reversed(s.items())) for s in pairs["a"])})  # type: ignore[dict-item]


@rule("sampling-error")
def _(numbers: list[float]) -> None:
    level, points, accuracy, images = numbers
    found = stats.sampling_error(accuracy / 100, int(images), level / 100)
    assert round(100 * found, 2) == points
    assert found == stats.sampling_error(accuracy / 100, int(images))


@rule("coverage")
def _(numbers: list[float]) -> None:
    low, high, *seeds = numbers
    draw = np.random.default_rng(12)
    for n in map(int, seeds):
        held = [stats.interval(values).holds(0.0) for values in draw.normal(0, 1, (6000, n)).tolist()]
        assert low < 100 * np.mean(held) < high
    assert low + high == 2 * 100 * stats.LEVEL
    table = (ROOT / "tests" / "performance" / "COVERAGE.md").read_text(encoding="utf-8")
    assert [float(n) for n in re.findall(r"n = (\d+)", table)] == seeds
    for line in re.findall(r"^\| (?:mean|paired difference), .*$", table, re.MULTILINE):
        assert all(low <= float(cell) <= high for cell in line.split("|")[3:6])


# Two entries.


@rule("paired")
def _() -> None:
    found = stats.paired({0: 0.9, 1: 0.5, 7: 0.1}, {0: 0.5, 1: 0.4, 8: 0.9})
    assert found is not None
    assert (found.n, found.mean) == (2, pytest.approx(0.25))


@rule("paired-ratio")
def _() -> None:
    found = stats.paired_ratio({0: 1.0, 1: 3.0, 2: 5.0, 3: 1.0}, {0: 2.0, 1: 2.0, 2: 0.0})
    assert found is not None
    assert (found.n, found.mean) == (2, 1.0)


@rule("holm-level")
def _(numbers: list[float]) -> None:
    alpha, one = numbers
    held = [0.004, 0.001, 0.002, 0.003]
    levels = {p: alpha / (4 - i + one) for i, p in enumerate(sorted(held), start=1)}
    assert [step.alpha for step in holm(held)] == pytest.approx([levels[p] for p in held])
    found = family(1, 0.03, 0.02, 0.01)
    assert [c.p for c in found] == pytest.approx([t_probability(c.difference) for c in found if c.difference])
    assert [c.level for c in found] == pytest.approx([1 - s.alpha for s in holm([c.p or 0.0 for c in found])])


@rule("holm-stop")
def _() -> None:
    steps = holm([0.001, 0.03, 0.035, 0.04])
    assert [step.rejected for step in steps] == [True, False, False, False]
    assert {step.alpha for step in steps[1:]} == {0.05 / 3}


@rule("holm-interval")
def _(numbers: list[float]) -> None:
    (zero,) = numbers
    seen = set()
    for seed in range(20):
        for found in family(seed, 0.0, 0.004, 0.02):
            assert found.difference is not None
            assert found.adjusted is not None
            assert found.difference.half == stats.interval(_values(found, seed), found.level).half
            seen.add(found.difference.holds(zero))
            assert (found.adjusted <= 0.05) is not found.difference.holds(zero)
    assert seen == {True, False}


def _values(found: Comparison, seed: int) -> list[float]:
    draw = np.random.default_rng(seed)
    base = draw.normal(0.9, 0.005, 5)
    drawn = {f"m{i}": base + draw.normal(shift, 0.003, 5) for i, shift in enumerate((0.0, 0.004, 0.02))}
    return [float(v) for v in drawn[found.name] - base]


@rule("better-worse")
def _(numbers: list[float]) -> None:
    (zero,) = numbers
    seen = set()
    for seed in range(20):
        for found in family(seed, 0.0, 0.006, -0.02):
            assert found.difference is not None
            seen.add(found.verdict)
            away = BETTER if found.difference.mean > zero else WORSE
            assert (found.verdict == away) is not found.difference.holds(zero)
    assert {BETTER, WORSE} < seen


@rule("family-error")
def _(numbers: list[float]) -> None:
    (percent,) = numbers
    assert percent == 100 * stats.ALPHA
    null = [family(seed, 0.0, 0.0, 0.0, 0.03) for seed in range(300)]
    edge = [family(seed, 0.005, -0.005, 0.005, 0.0, sd=0.001) for seed in range(300)]
    false = [any(c.verdict in (BETTER, WORSE) for c in found[:3]) for found in null]
    alike = [any(c.negligible for c in found[:3]) for found in edge]
    slack = 2.5 * math.sqrt(percent * (100 - percent) / 300)
    assert 0 < 100 * np.mean(false) < percent + slack
    assert 0 < 100 * np.mean(alike) < percent + slack


@rule("joint")
def _(numbers: list[float]) -> None:
    one, alpha = numbers
    found = family(2, 0.0, 0.004, 0.02)
    for c in found:
        assert c.joint is not None
        assert c.joint.half == pytest.approx(stats.interval(_values(c, 2), one - alpha / len(found)).half)


@rule("untested")
def _(numbers: list[float]) -> None:
    (p,) = numbers
    strong = (by_seed(DIFFERENCES), by_seed(np.zeros(5)))
    with_gap = compare({"a": strong, "b": ({0: 1.0}, {0: 0.5})})
    tested = t_probability(stats.interval(DIFFERENCES))
    assert [c.adjusted for c in with_gap] == [holm([tested, p])[0].adjusted, None]


@rule("same-everywhere")
def _() -> None:
    found = compare({"a": ({0: 0.93, 1: 0.95, 2: 0.97}, {0: 0.91, 1: 0.93, 2: 0.95})})[0]
    assert (found.constant, found.verdict, found.p) == (True, OPEN, None)


@rule("equivalence")
def _(numbers: list[float]) -> None:
    low, high = numbers
    assert (low, high) == (-stats.HALF_POINT, stats.HALF_POINT)
    for seed in range(10):
        found = family(seed, 0.0, 0.002, 0.004, sd=0.0015)
        raw = []
        for c in found:
            assert c.difference is not None
            values = c.difference
            t = [(values.mean - low), (high - values.mean)]
            raw.append(max(oracle.t.sf(gap / (values.sd / math.sqrt(5)), 4) for gap in t))  # type: ignore[operator]
            assert tost(values) == pytest.approx(raw[-1])
        steps = holm(raw)
        assert [c.equivalence for c in found] == pytest.approx([s.adjusted for s in steps])
        assert [c.verdict == SAME for c in found] == [
            s.rejected and c.verdict not in (BETTER, WORSE) for s, c in zip(steps, found, strict=True)
        ]


@rule("both")
def _() -> None:
    assert against_zero([0.0021, 0.0019, 0.0020, 0.0022, 0.0018]).says() == "better (by less than half a point)"


@rule("not-enough")
def _(numbers: list[float]) -> None:
    often, of = numbers
    assert often / of == stats.POWER
    found = against_zero([0.01, -0.01, 0.008, -0.004, 0.002])
    assert found.needed is not None
    assert found.difference is not None
    assert found.says() == f"not enough evidence: {found.needed} seeds needed"
    assert found.needed > found.difference.n
    draw = np.random.default_rng(5)
    for truth, wanted in ((stats.HALF_POINT, BETTER), (0.0, SAME)):
        drawn = draw.normal(truth, found.difference.sd, (250, found.needed))
        assert np.mean([against_zero(values).verdict == wanted for values in drawn]) > often / of - 0.07


@rule("sign-flip")
def _(numbers: list[float]) -> None:
    (zero,) = numbers
    values = [3, -1, 2, 2, -1]
    sums = [abs(np.dot(signs, values) - zero) for signs in itertools.product((-1, 1), repeat=5)]
    found = sign_flip(values)
    assert found is not None
    assert found.p == np.mean([s >= abs(sum(values) - zero) for s in sums])


@rule("sign-flip-floor")
def _(numbers: list[float]) -> None:
    two, one, floor, n = numbers
    found = against_zero([0.03, 0.031, 0.029, 0.0305, 0.0295])
    assert found.flip is not None
    assert found.flip.floor == found.flip.p == floor == two ** (one - n)
    assert floor > stats.ALPHA
    assert found.verdict == BETTER


@rule("mcnemar")
def _() -> None:
    a, b = ([1, 1, 1, 1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1, 1, 0, 1])
    found = mcnemar(*(base64.b64encode(np.packbits(side).tobytes()).decode() for side in (a, b)), total=9)
    assert (found.only_a, found.only_b, found.both, found.neither) == (5, 1, 2, 1)
    assert found.p == pytest.approx(oracle.binomtest(5, 6).pvalue)


@rule("smallest")
def _(numbers: list[float]) -> None:
    often, of = numbers
    seen = stats.smallest_difference(0.004, 5)
    draws = np.random.default_rng(0).normal(seen, 0.004, (20000, 5))
    assert np.mean(oracle.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) == pytest.approx(often / of, abs=0.015)


@rule("seeds-needed")
def _(numbers: list[float]) -> None:
    (half_point,) = numbers
    n = stats.seeds_needed(0.006)
    assert stats.smallest_difference(0.006, n) <= half_point < stats.smallest_difference(0.006, n - 1)


def twin_board(**less: int) -> list[rows.Row]:
    """Return a network's rows, with twins that have so many hits less, a seed's number modulo two in addition."""
    records = list(make_records({"taylor": (170, 150)}, targets=(0.8, 0.9)))
    twins = {}
    for host, (kind, hits) in itertools.product(records[5:], less.items()):
        pruner = {"name": kind, "params": {"allocation": kept_counts(host)}}
        told = host["outcome"]["test"]["top1"]["hits"] - hits - host["inputs"]["seed"] % 2 * (hits > 0)
        place = {"pruner": pruner, "target": host["inputs"]["target"], "seed": host["inputs"]["seed"]}
        twins[str(place)] = make_record(**place, hits=told)
    facts = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"})
    found = build_board(facts, [*records, *twins.values()], {"c": lambda _: {"n": 1.0}})
    return [row for network in found.networks for row in network.rows if not row.control]


@rule("twin-gain")
def _() -> None:
    found = twin_board(magnitude=2, random=30)
    for kind in ("magnitude", "random"):
        twins = [{run.seed: run.top1.accuracy for run in row.twins[kind].runs} for row in found]
        pairs = {f"taylor, {r.target_label}": (r.by_seed(), t) for r, t in zip(found, twins, strict=True)}
        assert [row.twins[kind].verdict for row in found] == list(compare(pairs))
        assert [row.twins[kind].gain for row in found] == [stats.paired(*pair) for pair in pairs.values()]


@rule("twin-same")
def _() -> None:
    for twin in (row.twins["magnitude"] for row in twin_board(magnitude=0, random=30)):
        assert (twin.same, twin.verdict) == (True, None)
    for twin in (row.twins["random"] for row in twin_board(magnitude=0, random=30)):
        assert not twin.same
        assert twin.verdict is not None
        assert twin.verdict.level == 1 - 0.05 / 2


@rule("superiority")
def _() -> None:
    found = superiority({0: 1.0, 1: 1.0, 2: 1.0, 3: 0.0, 9: 5.0}, {0: 0.0, 1: 1.0, 2: 0.0, 3: 1.0})
    assert found is not None
    assert found.probability == 2.5 / 4


@rule("superiority-interval")
def _() -> None:
    found = superiority(by_seed([1, 1, 0, -1, -1]), by_seed([0] * 5))
    assert found is not None
    assert found.low == pytest.approx(oracle.binomtest(2, 5).proportion_ci(method="exact").low)
    assert found.high == pytest.approx(oracle.binomtest(3, 5).proportion_ci(method="exact").high)


@rule("meaningful")
def _(numbers: list[float]) -> None:
    half, gamma = numbers
    seen = set()
    for wins in range(61):
        found = superiority(by_seed([1.0] * wins + [-1.0] * (60 - wins)), by_seed([0.0] * 60))
        assert found is not None
        seen.add(found.meaningful)
        assert found.meaningful is (found.low > half and found.high > gamma)
    assert seen == {True, False}


# Across blocks.


@rule("whole-blocks")
def _() -> None:
    values = methods(8, 0.0, 0.1)
    del values["m0"]["b03"]
    assert across(values).left_out == ("b03",)
    assert "b03" not in across(values).blocks


@rule("mean-ranks")
def _(numbers: list[float]) -> None:
    (best,) = numbers
    values = {"a": {"x": 0.9, "y": 0.5}, "b": {"x": 0.8, "y": 0.5}}
    assert across({m: {"x": held["x"]} for m, held in values.items()}).ranks == {"a": best, "b": best + 1}
    assert across(values).ranks == {"a": 1.25, "b": 1.75}


@rule("descriptive")
def _(numbers: list[float]) -> None:
    fewest = int(numbers[0])
    found = across(methods(fewest - 1, 0.0, 0.1))
    assert found.descriptive
    assert (found.friedman, found.pairs, found.cliques) == (None, (), ())
    assert found.says().startswith("descriptive")
    assert not across(methods(fewest, 0.0, 0.1)).descriptive


@rule("friedman")
def _(numbers: list[float]) -> None:
    blocks = int(numbers[0])
    assert across(methods(blocks - 1, 0.0, 0.1)).friedman is None
    values = methods(blocks, 0.0, 0.002, 0.004)
    found = across(values).friedman
    chi2 = oracle.friedmanchisquare(*([v[f"b{i:02}"] for i in range(blocks)] for v in values.values())).statistic
    f = (blocks - 1) * chi2 / (blocks * 2 - chi2)
    assert found is not None
    assert (found.f, found.p) == pytest.approx((f, oracle.f.sf(f, 2, 2 * (blocks - 1))))


@rule("friedman-floor")
def _() -> None:
    assert friedman([[1, 2, 3]] * 6).p == pytest.approx(math.factorial(3) ** (1 - 6))


@rule("signed-rank")
def _(numbers: list[float]) -> None:
    (zero,) = numbers
    values = [0.3, -0.1, 0.4, 0.2, 0.6, 0.9, -0.5]
    assert signed_rank([*values, zero, zero]).p == pytest.approx(oracle.wilcoxon(values, method="exact").pvalue)
    made = methods(8, 0.0, 0.004)
    pair = across(made).pairs[0]
    assert pair.test == signed_rank([made[pair.a][b] - made[pair.b][b] for b in made["m0"]])


@rule("pairs")
def _(numbers: list[float]) -> None:
    (percent,) = numbers
    found = across(methods(9, 0.0, 0.004, 0.02))
    steps = holm([pair.test.p for pair in found.pairs], percent / 100)
    assert [pair.apart for pair in found.pairs] == [step.rejected for step in steps]
    assert len({step.rejected for step in steps}) == 2
    # Where two of four methods differ by little, Friedman's test is blind to it and the pair is not.
    rng = np.random.default_rng(2)
    table = {f"n{i}": {f"b{j:02}": float(v) for j, v in enumerate(rng.normal(0, 1, 14))} for i in range(3)}
    table["up"] = {b: v + 0.01 for b, v in table["n0"].items()}
    blind = across(table)
    assert blind.friedman is not None
    assert blind.friedman.p > 0.05
    assert {(pair.a, pair.b) for pair in blind.pairs if pair.apart} == {("up", "n0")}


@rule("no-third")
def _() -> None:
    values = methods(8, 0.0, 0.004, 0.002)
    alone = across({m: values[m] for m in ("m0", "m1")}).pairs[0].test.p
    assert [p.test.p for p in across(values).pairs if {p.a, p.b} == {"m0", "m1"}] == [alone]


@rule("cliques")
def _() -> None:
    found = across(methods(12, 0.0, 0.0005, 0.05, 0.0505))
    assert {frozenset(bar) for bar in found.cliques} == {frozenset(("m0", "m1")), frozenset(("m2", "m3"))}
    apart = {frozenset((pair.a, pair.b)) for pair in found.pairs if pair.apart}
    assert not any(frozenset(two) in apart for bar in found.cliques for two in itertools.combinations(bar, 2))


@rule("too-few-blocks")
def _() -> None:
    assert "cannot set any pair of 3 methods apart" in across(methods(6, 0.0, 0.5, 1.0)).says()
    assert "cannot" not in across(methods(7, 0.0, 0.5, 1.0)).says()


@rule("pooled")
def _() -> None:
    found = pooled({"a": {"mnist/x": 0.25, "mnist/y": 0.75, "digits/x": 0.9}}, lambda b: b.partition("/")[0])
    assert found == {"a": {"mnist": 0.5, "digits": 0.9}}


# Secondary figures.


@rule("iqm")
def _() -> None:
    blocks = {"a": by_seed([-50, 1, 2, 3]), "b": by_seed([4, 5, 90, -40])}
    assert interquartile_mean(blocks, repeats=1).value == np.mean([1, 2, 3, 4])


@rule("bootstrap")
def _(numbers: list[float]) -> None:
    (draws,) = numbers
    blocks = {"a": by_seed([0.0, 4.0]), "b": by_seed([100.0, 104.0])}
    found = interquartile_mean(blocks, level=0.9)
    assert found.repeats == draws
    assert found == interquartile_mean(blocks, level=0.9)
    rows_ = [
        sorted([*a, *b])[1:3]
        for a in itertools.product((0, 4), repeat=2)
        for b in itertools.product((100, 104), repeat=2)
    ]
    assert (found.low, found.high) == tuple(
        np.quantile([np.mean(r) for r in rows_], [0.05, 0.95], method="inverted_cdf")
    )


@rule("bootstrap-one")
def _() -> None:
    found = interquartile_mean({"a": by_seed([1, 2, 3]), "b": {0: 1.0}})
    assert (found.low, found.high) == (None, None)


@rule("profile")
def _() -> None:
    found = profile({"a": by_seed([1, 2, 3]), "b": by_seed([2, 4])}, [0.0, 2.0, 4.0], repeats=10)
    assert [one.value for one in found.fractions] == [1, 0.4, 0]


@rule("secondary")
def _() -> None:
    for module in (multiple, across_module):
        tree = ast.walk(ast.parse(inspect.getsource(module)))
        assert "synobench.stats.robust" not in {n.module for n in tree if isinstance(n, ast.ImportFrom)}


# Curves.


@rule("area")
def _() -> None:
    assert area(STEPS.points) == pytest.approx(np.trapezoid([p.accuracy for p in STEPS.points], [1, 2, 3]) / 2)


@rule("whole-curves")
def _() -> None:
    curves = {0: STEPS, 1: Curve(STEPS.dense, STEPS.points[1:])}
    found = compression_at_loss(curves)
    assert list(areas(curves)) == [0]
    assert found is not None
    assert (found.n, found.left_out) == (1, (1,))


@rule("crossing")
def _(numbers: list[float]) -> None:
    (loss,) = numbers
    share = (0.946 - (0.95 - loss)) / (0.946 - 0.93)
    found = compression_at_loss({0: STEPS})
    again = compression_at_loss({0: Curve(STEPS.dense, (*STEPS.points, Point(0.95, 16.0), Point(0.5, 32.0)))})
    assert found is not None
    assert again is not None
    assert found.value == again.value == pytest.approx(2 ** (2 + share))


@rule("log-interval")
def _() -> None:
    drops = (0.02, 0.01, 0.03)
    found = compression_at_loss({i: curve((0.945, 4.0), (0.945 - d, 8.0)) for i, d in enumerate(drops)})
    each = stats.interval([2 + 0.005 / d for d in drops])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((2**each.mean, 2**each.low, 2**each.high))


@rule("synops-crossing")
def _() -> None:
    share = (0.946 - 0.94) / (0.946 - 0.93)
    found = synops_at_loss({0: STEPS})
    assert found is not None
    assert found.value == pytest.approx((300 / 800) ** (1 - share) * (100 / 800) ** share)


@rule("bound")
def _() -> None:
    safe = Curve(STEPS.dense, STEPS.points[:2])
    found = compression_at_loss({0: safe, 1: safe})
    assert found is not None
    assert (found.value, found.low, found.high, found.bounded) == (4, None, None, (0, 1))


# On a board.

HITS = {"a": [176, 185, 180, 185, 175], "b": [175, 180, 183, 181, 176], "c": [150, 161, 153, 159, 148]}
REFERENCE = [170, 180, 174, 178, 168]


def demo_board(networks: int = 1, targets: tuple[float, ...] = (0.5, 0.9), **hits: list[int]) -> Board:
    """Return a board on which an entry has so many hits at the last target, and ten more at each before it."""
    held = {"none": [190, 191, 189, 190, 192], "magnitude": REFERENCE, **(hits or HITS)}
    records = [
        make_record(name, aim, seed, hit + 10 * (len(targets) - 1 - i if aim else 0), dataset=f"d{n}")
        for n in range(networks)
        for name, each in held.items()
        for seed, hit in enumerate(each)
        for i, aim in enumerate(targets if name != "none" else [None])
    ]
    facts = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}, reference={"name": "magnitude", "params": {}})
    return build_board(facts, records, {"c": lambda _: {"n": 1.0}})


def pruned(board: Board) -> list[rows.Row]:
    return [row for row in board.networks[0].rows if not row.control]


@rule("families")
def _() -> None:
    board = demo_board()
    first = {row.target_label: row.by_seed() for row in pruned(board) if row.reference}
    dense = board.networks[0].rows[0].by_seed()
    others = [row for row in pruned(board) if not row.reference]
    against = compare({f"{r.label} {r.target_label}": (r.by_seed(), first[r.target_label]) for r in others})
    control = compare({f"{r.label} {r.target_label}": (r.by_seed(), dense) for r in pruned(board)})
    assert [row.verdict.adjusted for row in others if row.verdict] == [found.adjusted for found in against]
    assert [row.to_control.adjusted for row in pruned(board) if row.to_control] == [c.adjusted for c in control]


@rule("same-target")
def _() -> None:
    other = {"name": "stdp", "params": {}}
    records = [
        make_record(name, target, seed, hits + i - seed % 2, rule=rule)
        for i, (rule, hits) in enumerate([({"name": "backprop", "params": {}}, 180), (other, 100)])
        for seed in range(3)
        for name, target, hits in [("none", None, hits), ("magnitude", 0.5, hits - 9), ("a", 0.5, hits - 9 + seed)]
    ]
    facts = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}, reference={"name": "magnitude", "params": {}})
    found = build_board(facts, records, {"c": lambda _: {"n": 1.0}}).networks[0].rows
    gaps = [(row.verdict.difference, row.to_control.difference) for row in found if row.verdict and row.to_control]
    assert [(a.mean, b.mean) for a, b in gaps if a and b] == [pytest.approx((0.005, -0.04))] * 2


def rules_board(networks: int = 1) -> Board:
    parts = {name: {"name": name, "params": {}} for name in ("backprop", "local")}
    records = [
        make_record(pruner, aim, seed, hits + seed % 3, dataset=f"d{n}", rule=parts[name], tune=parts[name])
        for n in range(networks)
        for name, pruner, aim, hits in (
            ("backprop", "none", None, 180),
            ("local", "none", None, 170),
            ("backprop", "magnitude", 0.5, 160),
            ("local", "magnitude", 0.5, 164),
        )
        for seed in range(5)
    ]
    references = frozenset(trained(r["inputs"]) for r in records if r["inputs"]["rule"]["name"] == "backprop")
    facts = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}, versus="rule", references=references)
    return build_board(facts, records, {"c": lambda _: {"n": 1.0}})


@rule("rules")
def _() -> None:
    held = {row.label: row for row in rules_board().networks[0].rows}
    against = {
        name: row.verdict.difference.mean for name, row in held.items() if row.verdict and row.verdict.difference
    }
    assert against == {"local": pytest.approx(-0.05), "local + magnitude": pytest.approx(0.02)}
    dense = {n: r.to_control.difference.mean for n, r in held.items() if r.to_control and r.to_control.difference}
    assert dense == {"backprop + magnitude": pytest.approx(-0.1), "local + magnitude": pytest.approx(-0.03)}


@rule("rule-value")
def _() -> None:
    across = rules_board(6).across
    assert across is not None
    assert across.values["local"]["d0 / snn-conv"] == pytest.approx((170 + 0.8) / 200)


@rule("best-group")
def _() -> None:
    for target in ("sparsity 50 %", "sparsity 90 %"):
        held = {row.label: row for row in pruned(demo_board()) if row.target_label == target}
        top = held.pop("a")
        found = compare({name: (row.by_seed(), top.by_seed()) for name, row in held.items()})
        assert top.best
        assert {c.name: c.verdict != WORSE for c in found} == {name: row.best for name, row in held.items()}
        assert {True, False} == {row.best for row in held.values()}


@rule("told-power")
def _() -> None:
    reference, control = demo_board().networks[0].power
    found = [row.verdict for row in pruned(demo_board()) if row.verdict]
    spread = float(np.median([c.difference.sd for c in found if c.difference and c.difference.sd]))
    assert (reference.spread, reference.pairs, reference.family) == (pytest.approx(spread), 5, 6)
    assert reference.smallest == pytest.approx(stats.smallest_difference(spread, 5))
    assert reference.strict == pytest.approx(stats.smallest_difference(spread, 5, level=1 - stats.ALPHA / 6))
    assert control.family == 8


@rule("every-target")
def _() -> None:
    cut = demo_board(a=HITS["a"], b=HITS["b"][:3])
    assert list(cut.networks[0].curves["a"].areas) == [0, 1, 2, 3, 4]
    assert list(cut.networks[0].curves["b"].areas) == [0, 1, 2]
    records = [make_record("a", aim, seed, 150 + seed) for aim in (0.5, 0.9) for seed in range(3)][:-1]
    records += [make_record("none", None, seed, 190) for seed in range(3)]
    found = build_board(SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}), records, {"c": lambda _: {"n": 1.0}})
    assert list(found.networks[0].curves["a"].areas) == [0, 1]
    assert found.networks[0].curves["a"].left_out == (2,)


@rule("block-value")
def _() -> None:
    board = demo_board(networks=6)
    assert board.across is not None
    values = {
        name: {network.label: network.curves[name].area for network in board.networks} for name in (*HITS, "magnitude")
    }
    means = {name: {label: over.mean for label, over in held.items() if over} for name, held in values.items()}
    assert board.across.test == across(means)
    area_of_a = board.networks[0].curves["a"].areas
    assert means["a"]["d0 / snn-conv"] == pytest.approx(np.mean(list(area_of_a.values())))


@rule("widest")
def _() -> None:
    whole, part = demo_board(networks=6), demo_board(networks=3, part=[150] * 5)
    places = [(n.label, n.dataset, {**n.curves}) for n in whole.networks]
    for (_, _, curves), network in zip(places, part.networks, strict=False):
        curves["part"] = network.curves["part"]
    found = stand(places)
    assert found is not None
    assert (set(found.ranks), found.left_out) == ({*HITS, "magnitude"}, ("part",))


@rule("by-blocks")
def _() -> None:
    found = demo_board(networks=6).across
    assert found is not None
    assert (found.superiority["a", "c"].wins, found.superiority["a", "c"].losses) == (6, 0)


@rule("shares")
def _() -> None:
    board = demo_board(networks=6)
    assert board.across is not None
    held = {network.label: network.curves["b"] for network in board.networks}
    dense = board.networks[0].rows[0].by_seed()
    shares = {label: {s: area / dense[s] for s, area in curve.areas.items()} for label, curve in held.items()}
    assert board.across.iqm["b"] == interquartile_mean(shares)
    assert board.across.profiles["b"] == profile(shares, SHARES)
