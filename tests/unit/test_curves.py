"""Areas under curves, and what can be had for one point of loss."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench.errors import BenchError
from synobench.stats.curves import AtLoss, Curve, Point, area, areas, compression_at_loss, synops_at_loss

DENSE = Point(0.95, 1.0, 1000.0)


def curve(*points: tuple[float, ...], dense: Point = DENSE) -> Curve:
    return Curve(dense, tuple(Point(*point) for point in points))


STEPS = curve((0.948, 2.0, 500.0), (0.944, 4.0, 200.0), (0.932, 8.0, 100.0), (0.80, 16.0, 40.0))


@given(st.dictionaries(st.integers(0, 40), st.floats(0, 1), min_size=2, max_size=8))
@settings(deadline=None)
def test_area_is_numpys_over_its_width(drawn: dict[int, float]) -> None:
    points = [Point(accuracy, 2 ** (step / 4)) for step, accuracy in drawn.items()]
    at = sorted(drawn)
    expected = np.trapezoid([drawn[step] for step in at], np.array(at) / 4) / ((at[-1] - at[0]) / 4)

    assert area(points) == pytest.approx(float(expected), abs=1e-12)


def test_area_of_equal_accuracies_is_that_accuracy() -> None:
    assert area([Point(0.9, 2.0), Point(0.9, 64.0), Point(0.9, 3.0)]) == pytest.approx(0.9)


def test_points_of_one_compression_count_with_their_mean() -> None:
    assert area([Point(0.8, 2.0), Point(0.6, 4.0), Point(1.0, 4.0)]) == pytest.approx(0.8)


def test_one_point_has_no_area() -> None:
    assert area([Point(0.9, 2.0), Point(0.8, 2.0)]) is None
    assert area([]) is None


def test_seeds_with_a_gap_have_no_area() -> None:
    short = Curve(DENSE, STEPS.points[:3])

    assert areas({0: STEPS, 1: short, 2: STEPS}) == {0: area(STEPS.points), 2: area(STEPS.points)}
    assert areas({}) == {}


def test_crossing_is_interpolated_on_the_log_axis() -> None:
    found = compression_at_loss({0: STEPS})
    share = (0.944 - 0.94) / (0.944 - 0.932)

    assert found == AtLoss(1, pytest.approx(4 * 2**share), None, None, (), ())
    assert synops_at_loss({0: STEPS}).value == pytest.approx(0.2 ** (1 - share) * 0.1**share)


def test_crossing_may_lie_before_the_first_point() -> None:
    found = compression_at_loss({0: curve((0.93, 4.0))})

    assert found.value == pytest.approx(2.0)


def test_just_one_point_of_loss_is_within_it() -> None:
    steps = curve((0.97 - 0.01, 2.0), (0.5, 4.0), dense=Point(0.97, 1.0))

    assert compression_at_loss({0: steps}).value == pytest.approx(2.0)
    assert compression_at_loss({0: curve((0.96, 2.0), dense=Point(0.97, 1.0))}).bounded == (0,)
    rounded = curve((4906 / 10000, 2.0), dense=Point(5006 / 10000, 1.0))
    assert rounded.points[0].accuracy < rounded.dense.accuracy - 0.01
    assert compression_at_loss({0: rounded}).bounded == (0,)


def test_the_first_crossing_counts() -> None:
    there_and_back = curve((0.93, 2.0), (0.95, 4.0), (0.5, 8.0))

    assert compression_at_loss({0: there_and_back}).value == pytest.approx(math.sqrt(2))


def test_another_loss() -> None:
    assert compression_at_loss({0: STEPS}, loss=0.018).value == pytest.approx(8.0)


def test_interval_is_students_of_log2() -> None:
    drawn = {i: curve((0.945, 4.0), (0.945 - drop, 8.0)) for i, drop in enumerate((0.02, 0.01, 0.03, 0.015))}
    found = compression_at_loss(drawn)
    each = [2 + 0.005 / drop for drop in (0.02, 0.01, 0.03, 0.015)]
    low, high = oracle.t.interval(0.95, 3, loc=np.mean(each), scale=oracle.sem(each))

    assert (found.n, found.value) == (4, pytest.approx(2 ** np.mean(each)))
    assert (found.low, found.high) == pytest.approx((2**low, 2**high))


def test_each_seed_stands_on_its_own_control() -> None:
    lower = curve(*((p.accuracy - 0.1, p.compression) for p in STEPS.points), dense=Point(0.85, 1.0))

    assert compression_at_loss({0: STEPS, 1: lower}).low == pytest.approx(compression_at_loss({0: STEPS}).value)


def test_a_curve_that_never_loses_a_point_is_a_bound() -> None:
    safe = curve((0.95, 2.0, 600.0), (0.95, 4.0, 300.0), (0.94, 8.0, 200.0), (0.945, 16.0, 100.0))
    found = compression_at_loss({0: STEPS, 7: safe})

    assert (found.bounded, found.low, found.high) == ((7,), None, None)
    assert found.value == pytest.approx(math.sqrt(16 * compression_at_loss({0: STEPS}).value))
    assert synops_at_loss({7: safe}) == AtLoss(1, pytest.approx(0.1), None, None, (7,), ())


def test_a_network_without_operations_is_a_bound() -> None:
    dead = curve((0.948, 2.0, 500.0), (0.1, 4.0, 0.0))

    assert synops_at_loss({0: dead}) == AtLoss(1, pytest.approx(0.5), None, None, (0,), ())
    assert compression_at_loss({0: dead}).bounded == ()
    assert synops_at_loss({0: curve((0.95, 2.0, 0.0))}).value == 1


def test_seeds_without_a_figure_are_left_out() -> None:
    uncounted = curve((0.948, 2.0), (0.93, 4.0), (0.92, 8.0), (0.8, 16.0))
    curves = {0: STEPS, 1: uncounted, 2: Curve(DENSE, STEPS.points[1:])}

    assert synops_at_loss(curves).left_out == (1, 2)
    assert compression_at_loss(curves).left_out == (2,)
    assert synops_at_loss({1: uncounted}) is None
    assert synops_at_loss({0: curve((0.9, 2.0, 3.0), dense=Point(0.95, 1.0, 0.0))}) is None


@pytest.mark.parametrize("steps", [curve(), curve((0.9, 1.0)), curve((0.9, 0.5))])
def test_without_a_compressed_network_there_is_no_figure(steps: Curve) -> None:
    assert compression_at_loss({0: steps}) is None
    assert compression_at_loss({}) is None


def test_all_seeds_alike_have_an_interval_of_no_width() -> None:
    found = compression_at_loss({0: STEPS, 1: STEPS, 2: STEPS})

    assert found.low == found.high == found.value


@pytest.mark.parametrize(
    "wrong",
    [Point(math.nan, 2.0), Point(0.9, math.inf), Point(0.9, 0.0), Point(0.9, 2.0, -1.0), Point(0.9, 2.0, math.nan)],
)
def test_wrong_points_are_refused_in_one_line(wrong: Point) -> None:
    for figure in (lambda: area([wrong]), lambda: compression_at_loss({0: Curve(DENSE, (wrong,))})):
        with pytest.raises(BenchError, match=r"nan|inf|above 0") as told:
            figure()
        assert "\n" not in str(told.value)
