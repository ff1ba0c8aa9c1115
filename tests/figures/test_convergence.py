"""Errors over time and their maxima over the time step are the same numbers, dots and shades."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from overlaps import outside, overlapping
from scenes import (
    KEYS,
    OPTIMIZERS,
    artist,
    caption,
    gids,
    heading,
    make_order,
    scene,
    title,
    with_errors,
    without_fit,
)

from dynopt import SGD, Adam, RMSprop
from dynopt.figures import convergence
from dynopt.figures.drawing import style

STEPS = ["h", "h/2", "h/4", "h/8", "h/16", "h/32", "h/64"]
SGD_ON_BOWL = make_order(SGD(0.1), scene("bowl"), 1.0)


@pytest.fixture(scope="module")
def picture(orders):
    return convergence.draw(orders["bowl"])


def luminance(color) -> float:
    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_each_line_is_the_error_at_its_time_step(i, picture, orders):
    """In ink that of h; the finer the time step, the fuller the colour of the optimizer."""
    order, ax = orders["bowl"][i], picture.axes[i]
    lines = [artist(ax, f"error {step} {KEYS[i]}") for step in STEPS]
    for line, errors in zip(lines, order.errors, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([np.arange(51), errors], 1))
    assert lines[0].get_color() == "#262a30"
    assert lines[-1].get_color() == style.color_of(order.optimizer)
    assert (np.diff([luminance(line.get_color()) for line in lines[1:]]) < 0).all()


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_dots_on_the_right_are_the_largest_errors_on_the_left(i, picture, orders):
    order, (*_, right) = orders["bowl"][i], picture.axes
    for j, step in enumerate(STEPS):
        dots = [artist(ax, f"largest {step} {KEYS[i]}") for ax in (picture.axes[i], right)]
        ((k, low),), ((n, high),) = (dot.get_xydata() for dot in dots)
        assert low == high == order.error[j] == order.errors[j].max()
        assert (k, n) == (order.errors[j].argmax(), round(order.h[0] / order.h[j]))
        assert dots[0].get_color() == dots[1].get_color()
        assert dots[0].get_color() == artist(picture.axes[i], f"error {step} {KEYS[i]}").get_color()


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_thin_line_has_the_declared_slope_and_ends_in_the_finest_dot(i, picture, orders):
    order = orders["bowl"][i]
    n, error = artist(picture.axes[-1], f"declared {KEYS[i]}").get_data()
    np.testing.assert_allclose(np.diff(np.log(error)) / np.diff(np.log(n)), -order.expected)
    assert error[-1] == order.error[-1]


def test_the_number_beside_a_name_is_the_ratio_of_the_last_two_clear_errors(picture, orders):
    for key, order in zip(KEYS, orders["bowl"], strict=True):
        text = artist(picture.axes[-1], f"ratio {key}").get_text()
        assert text == f"÷ {order.error[-2] / order.error[-1]:.2f} per halving"
        assert artist(picture.axes[-1], f"name {key}").get_text() == type(order.optimizer).__name__
    early = dataclasses.replace(orders["bowl"][0], window=(0, 2))
    ax = convergence.draw(early).axes[-1]
    assert artist(ax, "ratio sgd").get_text() == "÷ 2.60 per halving"  # 1.3 * 2
    line = artist(ax, "declared sgd").get_xydata()
    np.testing.assert_allclose(line[2], [4, early.error[2]])


@pytest.mark.parametrize(
    ("slopes", "claim"),
    [
        ([(SGD, 1.0)], "the error of SGD halves"),
        ([(SGD, 1.0), (Adam, 0.92)], "the error of SGD and Adam halves"),
        ([(SGD, 0.88)], "the error of SGD is divided by 1.84"),
        ([(SGD, 1.98)], "the error of SGD falls to a quarter, where 2 is declared"),
        ([(SGD, -0.5)], "the error of SGD is divided by 0.71, where 2 is declared"),
        ([(SGD, 1.0), (RMSprop, 0.5)],
         "the error of SGD halves; that of RMSprop is divided by 1.41"),
        ([(RMSprop, 0.5), (Adam, 1.01), (SGD, 1.0)],
         "the error of Adam and SGD halves; that of RMSprop is divided by 1.41"),
        ([(RMSprop, 0.86), (Adam, 0.88)],
         "the error of Adam is divided by 1.84; that of RMSprop is divided by 1.82, where 1.41 is "
         "declared"),
        ([(RMSprop, 0.45), (Adam, 0.88)],
         "the errors of RMSprop and Adam are divided by 1.37 and 1.84"),
        ([(SGD, 1.0)] * 5, "the error of each optimizer halves"),
    ],
)  # fmt: skip
def test_the_title_says_by_what_the_last_halving_divides_each_error(slopes, claim):
    results = [make_order(kind(0.1), scene("bowl"), slope) for kind, slope in slopes]
    ax = convergence.draw(results, ax=Figure(figsize=(20, 4)).add_subplot())
    assert title(ax) == f"Halve the time step and {claim}"


def test_no_order_is_claimed_where_none_is_measured_and_the_caption_says_why():
    error = np.r_[np.nan, np.ones(6)]
    lost = without_fit(make_order(Adam(0.1), scene("bowl"), 1.0), error, "6 errors are round-off")
    picture = convergence.draw([SGD_ON_BOWL, lost])
    claim = "Halve the time step and the error of SGD halves; no order is measured for Adam"
    assert heading(picture) == claim
    assert caption(picture).endswith("No order is measured for Adam: 6 errors are round-off.")
    assert "for Adam it is not measured, as 6 errors are round-off" in picture.alt
    assert {"name sgd", "declared sgd"} <= gids(picture.axes[-1])
    assert not {"name adam", "declared adam"} & gids(picture.axes[-1])
    assert "measured" not in caption(convergence.draw(SGD_ON_BOWL))


def test_a_map_that_leaves_is_seen_to_leave():
    wild = with_errors(SGD_ON_BOWL, SGD_ON_BOWL.error * np.r_[1e40, np.ones(6)])
    wild.errors[0] = wild.error[0] * 10.0 ** -np.arange(50, -1, -1)
    picture = convergence.draw(wild)
    left, right = picture.axes
    assert heading(picture).endswith("the error of SGD halves; the map of SGD leaves with h")
    assert artist(left, "fact").get_text().endswith("leaves with h")
    label = artist(left, "end h sgd")
    assert label.get_text() == "h leaves"
    high = left.get_ylim()[1]
    assert wild.errors[0][label.xy[0]] == label.xy[1] < high < wild.errors[0][label.xy[0] + 1]
    assert "largest h sgd" not in gids(left) | gids(right)
    for ax in (left, right):
        assert 1 < ax.get_ylim()[1] / wild.error[1:].max() < 300


def test_frames_share_one_axis_of_at_most_six_decades(orders):
    first = orders["bowl"][0]
    tiny = with_errors(first, first.error * 1e-9)
    picture = convergence.draw([first, tiny])
    (low, high), other = (ax.get_ylim() for ax in picture.axes[:2])
    assert (low, high) == other and high / low < 1e6 * 3
    assert high > first.error.max() > first.error.min() > low


@pytest.mark.parametrize("field", ["floor", "solver_error"])
def test_what_cannot_be_measured_lies_below_a_line_where_the_axis_ends(field):
    level = SGD_ON_BOWL.error[-1] / 30
    near = level if field == "solver_error" else np.full(7, level)
    left, right = convergence.draw(dataclasses.replace(SGD_ON_BOWL, **{field: near})).axes
    for ax, gid in ((left, "floor sgd"), (right, "floor of all")):
        assert artist(ax, gid).get_ydata()[0] == level
    assert left.get_ylim()[0] == pytest.approx(level / 1.6)
    left, right = convergence.draw(SGD_ON_BOWL).axes
    assert "floor sgd" not in gids(left) and "floor of all" not in gids(right)


def test_ax_takes_the_largest_errors_of_all_optimizers(orders):
    ax = Figure().add_subplot()
    assert convergence.draw(orders["bowl"], ax=ax, title="Own words") is ax
    assert {f"name {key}" for key in KEYS} <= gids(ax) and ax.get_title() == "Own words"
    assert heading(convergence.draw(SGD_ON_BOWL, title="Own words")) == "Own words"


@pytest.mark.parametrize("count", [2, 3, 6, 7])
def test_each_optimizer_has_a_frame_and_a_name_of_its_own(count):
    chosen = (OPTIMIZERS * 2)[:count]
    results = [make_order(one, scene("bowl"), 1.0, 2.0**i) for i, one in enumerate(chosen)]
    picture = convergence.draw(results, style="slides" if count == 6 else "notebook")
    assert len(picture.axes) == count + 1
    names = [a for a in picture.axes[-1].texts if str(a.get_gid()).startswith("name ")]
    assert len(names) == count
    assert overlapping(picture) == [] and outside(picture) == []


@pytest.mark.parametrize("scale", [0.0, np.nan, 1e-300, 1e290])
def test_errors_that_are_zero_nan_tiny_or_huge_break_nothing(scale):
    with np.errstate(all="ignore"):
        odd = with_errors(SGD_ON_BOWL, SGD_ON_BOWL.error * scale)
    if not scale > 0:
        odd = without_fit(odd, odd.error, "no error is finite and above 0")
        assert "notice" in gids(convergence.draw(odd).axes[0])
    convergence.draw([SGD_ON_BOWL, odd]).savefig(BytesIO(), dpi=30)
    assert isinstance(convergence.draw(odd, ax=Figure().add_subplot()), Axes)
