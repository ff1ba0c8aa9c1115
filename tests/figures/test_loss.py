"""The loss and the Lyapunov function along map and flow are drawn, marked and named."""

import dataclasses
from io import BytesIO

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scenes import (
    KEYS,
    artist,
    caption,
    gids,
    heading,
    heads,
    make_comparison,
    on_problem,
    one_line,
    scene,
    with_runs,
)

from dynopt import SGD, Problem
from dynopt.errors import InvalidValue
from dynopt.figures import loss, paths
from dynopt.figures.drawing import notes, style
from dynopt.figures.drawing.measure import on_paper
from dynopt.figures.drawing.ties import APART
from dynopt.figures.drawing.words import format_number

K = np.arange(41)


@pytest.fixture(scope="module")
def picture(comparisons):
    return loss.draw(comparisons["bowl"])


@pytest.fixture(scope="module")
def rising():
    """Gradient descent with h = 0.25 on the bowl: x_k = (-2 (3/4)^k, 1.5 (-3/2)^k)."""
    return make_comparison(SGD(0.25), scene("bowl"))


def note(ax, what: str, key: str) -> str:
    return artist(ax, f"note {what} {key}").get_text()


def ending_at(comparison, map: float, flow: float):
    """The comparison with other losses at the ends of map and flow."""
    runs = {
        name: dataclasses.replace(run, loss=run.loss.at[-1].set(end))
        for name, run, end in (("map", comparison.map, map), ("curve", comparison.curve, flow))
    }
    return dataclasses.replace(comparison, **runs)


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_dots_are_the_map_at_each_step_and_the_line_is_the_flow_at_many_more_times(
    i, picture, comparisons
):
    ax, comparison = picture.axes[i], comparisons["bowl"][i]
    assert heads(picture)[i] == type(comparison.optimizer).__name__
    dots, thread, line = (artist(ax, f"{kind} {KEYS[i]}") for kind in ("map", "thread", "flow"))
    for one in (dots, thread):
        np.testing.assert_array_equal(one.get_xydata(), np.stack([K, comparison.map.loss], 1))
    np.testing.assert_array_equal(line.get_ydata(), comparison.curve.loss)
    np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 40, 40 * 8 + 1), atol=1e-9)
    assert line.get_linestyle() == "-" and line.get_color() == "#262a30" != dots.get_color()
    assert dots.get_marker() == "o"
    fact = ("η = 0.01 h = 0.01", "η = 0.01 h = 0.1", "η = 0.02 h = 0.02", "η = 0.05 h = 0.05")[i]
    assert one_line(artist(ax, "fact").get_text()) == fact


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_dots_lie_apart_and_the_last_iterate_has_one(i, picture):
    dots = artist(picture.axes[i], f"map {KEYS[i]}")
    kept = dots.get_markevery()
    places = on_paper(picture.axes[i], dots.get_xydata()[kept])
    assert np.hypot(*np.diff(places, axis=0).T).min() >= APART - 1e-9 and kept[-1] == 40


def test_the_loss_is_counted_from_the_minimum_if_that_is_known(comparisons):
    sgd = comparisons["bowl"][0]
    deep = Problem(sgd.problem.loss, [-2.0, 1.5], name="deep", minimum=-5.0)
    (ax,) = loss.draw(on_problem(sgd, deep)).axes
    np.testing.assert_array_equal(artist(ax, "map sgd").get_ydata(), np.asarray(sgd.map.loss) + 5)
    assert one_line(ax.get_ylabel()) == "loss above minimum f − f*" and ax.get_yscale() == "log"
    unknown = Problem(sgd.problem.loss, [-2.0, 1.5], name="unknown")
    (ax,) = loss.draw(on_problem(sgd, unknown)).axes
    np.testing.assert_array_equal(artist(ax, "map sgd").get_ydata(), sgd.map.loss)
    assert one_line(ax.get_ylabel()) == "loss f" and ax.get_yscale() == "linear"


def test_all_frames_have_one_vertical_axis(comparisons):
    picture = loss.draw(comparisons["wells"])
    assert len({ax.get_ylim() for ax in picture.axes}) == 1
    assert [bool(ax.get_ylabel()) for ax in picture.axes] == [True, False, True, False]
    assert [bool(ax.get_xlabel()) for ax in picture.axes] == [False, False, True, True]


@pytest.mark.parametrize(
    "ends, kind", [((2e-3, 1e-3), "above"), ((1e-3, 2e-3), "below"), ((1.1e-3, 1e-3), "level with")]
)
def test_the_title_says_where_the_map_ends_and_the_note_has_its_numbers(ends, kind, comparisons):
    picture = loss.draw(ending_at(comparisons["bowl"][0], *ends))
    map, flow = (format_number(end, 2) for end in ends)
    assert heading(picture) == f"SGD ends {kind} its flow, at f − f* = {map} against {flow}"
    (ax,) = picture.axes
    assert note(ax, "map", "sgd") == f"map ends at {map}"
    assert note(ax, "flow", "sgd") == f"flow ends at {flow}"
    np.testing.assert_allclose(artist(ax, "ring sgd").get_xydata(), [[40, ends[1]]])
    assert f"the map of SGD ends at {map}, its flow ends at {flow}" in picture.alt


def test_the_title_groups_optimizers_and_names_the_largest_difference(comparisons):
    sgd, momentum, rmsprop, _ = comparisons["bowl"]
    many = [ending_at(sgd, 0.2, 0.1), ending_at(momentum, 0.3, 0.01), ending_at(rmsprop, 0.1, 0.1)]
    assert heading(loss.draw(many)).startswith(
        "SGD and Momentum end above their flows, Momentum at f − f* = 0.3 against 0.01; "
        "RMSprop ends level"
    )
    assert heading(loss.draw(many, title="Mine")) == "Mine"


def test_the_lyapunov_function_of_the_heavy_ball_is_its_loss_and_kinetic_energy(comparisons):
    momentum = comparisons["bowl"][1]
    (ax,) = loss.draw(momentum).axes
    for name, run in (("map", momentum.map), ("flow", momentum.curve)):
        energy = np.asarray(run.loss) + (np.asarray(run.y.p) ** 2).sum(1) / 2
        line = artist(ax, f"lyapunov {name} momentum")
        np.testing.assert_allclose(line.get_ydata(), energy, rtol=1e-12)
    assert line.get_linewidth() < artist(ax, "flow momentum").get_linewidth()
    (x, above), (at, below) = (artist(ax, f"name {text} momentum").xy for text in "Ef")
    assert x == at and above > below
    assert artist(ax, "name E momentum").get_text() == "E"


def test_of_gradient_descent_it_is_the_loss_and_no_second_line(rising):
    (ax,) = loss.draw(rising).axes
    assert not [gid for gid in gids(ax) if gid.startswith(("lyapunov", "name"))]
    assert note(ax, "rises", "sgd").startswith("E = f rises")


def test_bold_strokes_are_the_steps_in_which_the_map_raises_it(rising):
    picture = loss.draw(rising)
    (ax,) = picture.axes
    x = np.stack([-2 * 0.75**K, 1.5 * (-1.5) ** K], 1)
    f = (x**2) @ np.array([0.5, 5.0])
    risen = np.flatnonzero(np.diff(f) > 0) + 1
    assert len(risen) == 40
    strokes = artist(ax, "rises sgd")
    expected = [np.array([[k - 1, f[k - 1]], [k, f[k]]]) for k in risen]
    np.testing.assert_allclose(strokes.get_segments(), expected, rtol=1e-9)
    assert strokes.get_linewidths()[0] > artist(ax, "thread sgd").get_linewidth()
    assert note(ax, "rises", "sgd") == "E = f rises 40 times"
    assert heading(picture).startswith("SGD leaves at step 5, its flow takes f − f* to ")
    assert note(ax, "map", "sgd") == "map leaves at step 5"  # 1.5⁵ · 1.5 > 6 · 1.25 > 1.5⁴ · 1.5
    assert "the map of SGD leaves at step 5 and ends at " in picture.alt
    largest = format_number(float(np.diff(f).max()))
    assert f"which is the loss, rises 40 times by at most {largest} along the map" in picture.alt
    assert "never rises along the flow" in picture.alt


def test_a_map_that_climbs_is_visible_for_three_decades_above_the_start(rising):
    (ax,) = loss.draw(rising).axes
    assert rising.map.loss[-1] > 1e14 and 13.25e3 <= ax.get_ylim()[1] < 13.25e4
    assert "exit thread sgd" in gids(ax) and "largest rise sgd" not in gids(ax)


def test_the_largest_rise_has_its_number(comparisons):
    sgd, f = comparisons["bowl"][0], np.array([8.0, 4.0, 2.0, 7.0, 1.0, 3.0])
    few = with_runs(sgd, lambda runs: jax.tree.map(lambda a: a[:6], runs))
    x = jnp.array(np.stack([np.sqrt(2 * f), 0 * f], 1))  # of which the loss is f
    map = dataclasses.replace(few.map, y=few.map.y._replace(x=x), loss=jnp.array(f))
    (ax,) = loss.draw(dataclasses.replace(few, map=map)).axes
    number = artist(ax, "largest rise sgd")
    assert number.get_text() == "+5" and note(ax, "rises", "sgd") == "E = f rises 2 times"
    np.testing.assert_allclose(number.xy, [2.5, 14**0.5])  # the middle of its stroke on paper


def test_without_a_rise_there_is_no_stroke(comparisons):
    picture = loss.draw(comparisons["bowl"][0])
    assert not [gid for gid in gids(picture.axes[0]) if "rise" in gid]
    assert "raises" not in heading(picture) and "never rises along the map" in picture.alt


def test_an_optimizer_without_a_lyapunov_function_has_its_loss_alone(comparisons):
    class Plain(SGD):
        def lyapunov(self, t, y, loss):
            raise InvalidValue("none is known")

    plain = dataclasses.replace(comparisons["bowl"][0], optimizer=Plain(0.01))
    picture = loss.draw(plain)
    assert "Lyapunov" not in picture.alt and "map plain" in gids(picture.axes[0])


def test_a_map_that_diverges_leaves_the_frame_and_is_said_to(diverged):
    """x_k = (-2 · 0.6^k, 1.5 (-3)^k): beyond 6 times the size of its flow at step 2."""
    picture = loss.draw(diverged)
    (ax,) = picture.axes
    end = format_number(float(diverged.curve.loss[-1]), 2)
    assert heading(picture) == f"SGD leaves at step 2, its flow takes f − f* to {end}"
    assert note(ax, "map", "sgd") == "map leaves at step 2"
    start = (4 + 10 * 2.25) / 2
    assert 1e3 * start <= ax.get_ylim()[1] < 1e6
    ((_, height),) = artist(ax, "exit thread sgd").get_xydata()  # in fractions of the frame
    assert height > 0.9
    dots = artist(ax, "map sgd").get_xydata()
    np.testing.assert_array_equal(dots[:, 1], np.asarray(diverged.map.loss)[diverged.map.finite])
    assert f"diverged at step {int(diverged.map.stats['first_bad_step'])}" in picture.alt


def test_the_flow_is_drawn_as_far_as_it_was_solved(comparisons):
    momentum = comparisons["bowl"][1]
    lost = {"result": jnp.asarray(4)}
    curve = dataclasses.replace(momentum.curve, loss=momentum.curve.loss.at[100:].set(jnp.nan))
    flow = dataclasses.replace(momentum.flow, loss=momentum.flow.loss.at[13:].set(jnp.nan), **lost)
    picture = loss.draw(dataclasses.replace(momentum, flow=flow, curve=curve))
    (ax,) = picture.axes
    assert len(artist(ax, "flow momentum").get_xdata()) == 100 and "ring momentum" not in gids(ax)
    sentence = "could not be solved beyond t = 1.2"
    assert note(ax, "flow", "momentum") == "flow unsolved" and sentence in heading(picture)


def test_one_result_is_drawn_into_axes(comparisons):
    figure = Figure(figsize=(5, 4))
    ax = figure.add_subplot()
    assert loss.draw(comparisons["bowl"][1], ax=ax) is ax
    assert ax.get_title() and "map momentum" in gids(ax)
    with pytest.raises(InvalidValue, match="`ax` holds one optimizer, got 4 results"):
        loss.draw(comparisons["bowl"], ax=ax)
    figure.savefig(BytesIO(), dpi=30)


def test_the_caption_is_one_line(picture):
    assert caption(picture).startswith("On bowl from (−2, 1.5), 40 steps in float64")


def test_the_title_of_many_that_end_alike_does_not_list_them(comparisons):
    many = [
        ending_at(c, 1.1 * end, end)
        for c, end in zip(comparisons["bowl"], (1, 2, 3, 4), strict=True)
    ]
    assert heading(loss.draw(many[:3])).startswith("All end level with their flows, ")
    assert heading(loss.draw(many[:2])).startswith("SGD and Momentum end level")
    many[0] = ending_at(many[0], 3.0, 1.0)
    assert "at f − f* = 3 against 1; the others end level" in heading(loss.draw(many))


def test_a_note_stands_where_it_covers_nothing_and_becomes_smaller_before_it_does():
    ax = Figure(figsize=(5, 4)).add_subplot()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    right = np.stack([np.full(50, 0.95), np.linspace(0, 1, 50)], 1)
    with style.context("notebook"):
        notes.write_note(ax, [notes.Line("a note", "black", "free")], [right])
        everywhere = np.mgrid[0:1:30j, 0:1:30j].reshape(2, -1).T
        notes.write_note(ax, [notes.Line("a note", "black", "crowded")], [everywhere])
    assert artist(ax, "free").xy == (0, 1)
    assert artist(ax, "crowded").get_fontsize() < artist(ax, "free").get_fontsize()


def test_a_low_frame_has_a_short_label_and_a_long_title_two_claims(comparisons):
    ends = ((3.0, 1.0), (1.0, 4.0), (2.0, 2.0))
    names = (f"an optimizer with a name that is {how} long" for how in ("very", "rather", "so"))
    many = [
        dataclasses.replace(ending_at(c, *end), optimizer=c.optimizer.named(name))
        for c, end, name in zip(comparisons["bowl"], ends, names, strict=False)
    ]
    assert heading(loss.draw(many)).count("; ") == 1
    assert "level" in heading(loss.draw([many[0], many[2]]))
    low = loss.draw(comparisons["bowl"], style="slides").axes[0]
    assert one_line(low.get_ylabel()) == "f − f*"


def test_heads_of_one_row_on_a_slide_are_alike(comparisons):
    sgd, momentum, rmsprop, adam = comparisons["bowl"]
    long = dataclasses.replace(adam, optimizer=adam.optimizer.named("a name as long as a frame is"))
    picture = loss.draw([sgd, momentum, rmsprop, long], style="slides")
    starts = [artist(ax, "fact").xyann[0] for ax in picture.axes]
    assert starts[0] > 0 < starts[1] and starts[2] == 0 == starts[3]


@pytest.mark.parametrize("figure", [loss, paths])
def test_dots_are_light_on_a_dark_slide(figure, comparisons):
    """Adam is dark violet, which is hardly visible on the background of a slide."""
    adam = comparisons["bowl"][3]
    colors = [
        artist(figure.draw(adam, style=look).axes[0], "thread adam").get_color()
        for look in ("notebook", "slides")
    ]
    assert to_rgb(colors[1]) > to_rgb(colors[0])
