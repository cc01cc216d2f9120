"""Entries across networks: which take part, from how many networks on, and what is secondary."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from synobench.board.across import SHARES, Standing, count, stand
from synobench.board.curves import CurveSummary
from synobench.stats import interval
from synobench.stats.across import across, pooled
from synobench.stats.robust import interquartile_mean, profile, superiority

SHIFTS = {"a": 0.03, "b": 0.02, "c": 0.0}


def summary(name: str, values: Any, kind: str = "sparsity") -> CurveSummary:
    areas = dict(enumerate(values))
    shares = {seed: value / 0.95 for seed, value in areas.items()}
    over = interval(areas.values()) if areas else None
    return CurveSummary(name, kind, 4, areas, shares, over, over, None, None, ())


def place(i: int, shifts: Any = SHIFTS, data: str = "", **more: Any) -> Any:
    values = {
        name: [0.8 + s + 0.01 * i, 0.81 + s + 0.01 * i + 0.001 * seed] for seed, (name, s) in enumerate(shifts.items())
    }
    held = {name: summary(name, both) for name, both in values.items()}
    return f"n{i}", data or f"d{i}", held | more


def wide(blocks: int = 6, **more: Any) -> Standing:
    found = stand([place(i) for i in range(blocks)], **more)
    assert found is not None
    return found


def means(places: Any) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for label, _, curves in places:
        for name, curve in curves.items():
            found.setdefault(name, {})[label] = curve.area.mean
    return found


def test_below_six_networks_nothing_is_tested() -> None:
    places = [place(i) for i in range(6)]

    assert stand(places[:5]) is None
    assert [count(places[:n]) for n in range(7)] == [0, 1, 2, 3, 4, 5, 6]
    assert stand(places) is not None


def test_the_test_is_of_mean_areas_with_a_network_as_block() -> None:
    places = [place(i) for i in range(7)]
    found = stand(places)

    assert found is not None
    assert found.test == across(means(places))
    assert (found.ranks, found.pairs, found.cliques) == (found.test.ranks, found.test.pairs, found.test.cliques)
    assert (found.friedman, found.says()) == (found.test.friedman, found.test.says())
    assert list(found.ranks) == ["a", "b", "c"]
    assert found.left_out == ()
    assert found.kind == "sparsity"


def test_an_entry_that_lacks_a_network_is_not_ranked() -> None:
    places = [place(i) for i in range(6)]
    del places[2][2]["b"]
    places[0][2]["only"] = summary("only", [0.9, 0.91])
    found = stand(places)

    assert found is not None
    assert set(found.ranks) == {"a", "c"}
    assert found.left_out == ("b", "only")
    assert len(found.blocks) == 6


def test_a_curve_without_an_area_is_no_value() -> None:
    places = [place(i) for i in range(6)]
    places[3][2]["a"] = summary("a", [])

    found = stand(places)
    assert found is not None
    assert set(found.ranks) == {"b", "c"}


def test_one_entry_alone_is_not_ranked() -> None:
    assert stand([place(i, {"a": 0.0}) for i in range(8)]) is None
    assert stand([]) is None


def test_networks_of_one_data_set_are_also_joined() -> None:
    places = [place(i, data=f"d{i % 3}") for i in range(6)]
    found = stand(places)

    assert found is not None
    groups = {label: data for label, data, _ in places}
    assert found.by_dataset == across(pooled(means(places), groups.__getitem__))
    assert found.by_dataset.descriptive
    assert wide().by_dataset is None


def test_superiority_counts_networks() -> None:
    places = [place(i) for i in range(6)]
    places[0] = place(0, {"a": 0.0, "b": 0.05, "c": 0.0})
    found = stand(places)

    assert found is not None
    assert (found.superiority["a", "b"].wins, found.superiority["a", "b"].losses) == (5, 1)
    assert found.superiority["a", "b"] == superiority(
        dict.fromkeys(range(6), 1.0), {0: 2.0} | dict.fromkeys(range(1, 6), 0.0)
    )
    assert set(found.superiority) == {("a", "b"), ("a", "c"), ("b", "c")}


def test_what_is_secondary_is_of_shares_over_all_runs() -> None:
    places = [place(i) for i in range(6)]
    found = stand(places)

    assert found is not None
    blocks = {label: curves["b"].shares for label, _, curves in places}
    assert found.iqm["b"] == interquartile_mean(blocks)
    assert found.profiles["b"] == profile(blocks, SHARES)


def test_without_a_control_there_are_no_shares() -> None:
    places = [place(i) for i in range(6)]
    for _, _, curves in places:
        held = curves["b"]
        curves["b"] = CurveSummary(held.entry, held.kind, 4, held.areas, {}, held.area, None, None, None, ())
    found = stand(places)

    assert found is not None
    assert set(found.iqm) == set(found.profiles) == {"a", "c"}
    assert set(found.ranks) == {"a", "b", "c"}


def test_the_kind_with_most_areas_is_ranked() -> None:
    places = [place(i) for i in range(6)]
    for i in range(2):
        places[i][2].update({f"{n}, by x": summary(n, [0.5, 0.6], "x") for n in "abc"})
    found = stand(places)

    assert found is not None
    assert (found.kind, set(found.ranks), count(places)) == ("sparsity", {"a", "b", "c"}, 6)


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(6)))
def test_the_order_of_networks_changes_nothing(order: list[int]) -> None:
    places = [place(i, {"a": 0.03 * (i % 2), "b": 0.02, "c": 0.0}) for i in range(6)]

    assert stand([places[i] for i in order]) == stand(places)
