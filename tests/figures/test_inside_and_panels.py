"""Pictures for notebooks: steps taken apart, and several figures in one picture."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb
from matplotlib.figure import Figure
from matplotlib.path import Path
from overlaps import outside, overlapping
from scenes import (
    OPTIMIZERS,
    artist,
    caption,
    gids,
    heading,
    heads,
    make_comparison,
    scene,
)

from dynopt import SGD, Adam, Momentum, Problem, RMSprop, analysis, figures, iterate, problems
from dynopt.analysis import AdaptiveStep, Inside
from dynopt.course import bound
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import inside, panels
from dynopt.figures.drawing.style import STYLES
from dynopt.figures.drawing.words import format_number


def make_inside(optimizer=None, memory=1.0) -> Inside:
    x = np.array([[0.0, 0.0], [1.0, 0.5], [1.5, 1.5]])
    return Inside(
        np.arange(3),
        x,
        memory * np.array([[0.0, 0.0], [0.8, 0.2], [0.3, 0.9]]),
        np.array([[1.0, 0.5], [-0.3, 0.8], [0.1, 0.1]]),
        np.array([[2.0, 1.0], [-1.0, 1.0], [0.5, 0.0]]),
        optimizer or Momentum(0.01),
        scene("bowl"),
    )


def unit(v):
    return v / np.linalg.norm(v)


def arrow(ax, gid):
    """The tail and the tip of an arrow."""
    return np.array([artist(ax, gid).xyann, artist(ax, gid).xy])


@pytest.mark.parametrize("style", STYLES)
def test_steps_are_drawn_in_every_style_and_described(style):
    result = make_inside()
    picture = inside.draw(result, style=style)
    picture.savefig(BytesIO(), format="png")
    assert picture.alt == inside.describe(result) == inside.describe([result])
    assert picture.alt.endswith(".") and "\n" not in picture.alt
    ax = Figure().add_subplot()
    assert inside.draw([result], ax=ax) is ax
    with pytest.raises(InvalidValue, match="`results` holds 2 results; pass one result of"):
        inside.draw([result, result])


def test_the_arrows_are_the_parts_tip_to_tail():
    result = make_inside()
    (ax,) = inside.draw(result).axes
    for k in (1, 2):
        x, memory, step = result.x[k], result.memory[k], result.step[k]
        np.testing.assert_allclose(arrow(ax, f"memory {k}"), [x, x + memory])
        np.testing.assert_allclose(arrow(ax, f"gradient {k}"), [x + memory, x + step])
        np.testing.assert_allclose(arrow(ax, f"step {k}"), [x, x + step])
        tail, tip = np.asarray(artist(ax, f"downhill {k}").get_xydata())
        assert np.linalg.norm(tip - tail) == pytest.approx(np.linalg.norm(step))
        np.testing.assert_allclose(unit(tip - tail), unit(result.downhill[k]), atol=1e-12)
    assert "memory 0" not in gids(ax), "the first step has no memory"
    low, high = ax.transData.transform([(0, 0), (1, 1)])
    assert np.ptp([low, high], axis=0)[0] == pytest.approx(np.ptp([low, high], axis=0)[1])
    assert heading(ax.figure) == "Step 2 is 87 % memory and turns 68° from −∇f"
    assert {"number 87\xa0%", "number 68°"} <= gids(ax)


def test_a_step_without_memory_is_one_arrow():
    (ax,) = inside.draw(make_inside(Adam(0.1), memory=0.0)).axes
    assert not [gid for gid in gids(ax) if gid.startswith(("memory", "gradient"))]


@pytest.mark.parametrize(
    "optimizer",
    [Momentum(0.02, 0.9), Momentum(0.005, 0.5), SGD(0.03)],
    ids=lambda optimizer: f"{optimizer.name}-{float(optimizer.h):.2g}",
)
def test_no_arrow_crosses_the_number_of_a_step(optimizer):
    result = analysis.inside(optimizer, problems.quadratic([1.0, 30.0]), first=5, steps=2)
    picture = inside.draw(result)
    (ax,) = picture.axes
    picture.savefig(BytesIO(), format="png")
    arrows = [gid for gid in gids(ax) if gid.startswith(("step", "memory", "gradient"))]
    dotted = [gid for gid in gids(ax) if gid.startswith("downhill")]
    segments = [arrow(ax, gid) for gid in arrows]
    segments += [np.asarray(artist(ax, gid).get_xydata()) for gid in dotted]
    for k in result.k:
        box = artist(ax, f"k = {k}").get_window_extent()
        for segment in segments:
            assert not Path(ax.transData.transform(segment)).intersects_bbox(box, filled=False)


def test_numbers_do_not_cover_each_other():
    ax = inside.draw(analysis.inside(Momentum(0.01), problems.himmelblau(), steps=11)).axes[0]
    ax.figure.savefig(BytesIO())
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text().startswith("k = ")]
    assert len(boxes) == 11
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_step_without_a_turn_points_along_minus_the_gradient():
    picture = inside.draw(analysis.inside(SGD(0.01), problems.booth()))
    assert heading(picture) == "No part of a step is memory; the last step points along −∇f"
    assert "step 1 is 0 % memory by length and points along −∇f" in picture.alt


def test_arrows_need_a_plane(as_users_see_it):
    result = analysis.inside(SGD(0.01), Problem(lambda x: x @ x, [1.0, 2.0, 3.0], name="bent"))
    with pytest.raises(
        InvalidValue, match="drawn in a plane, but bent has 3 coordinates; pass a problem with two"
    ):
        inside.draw(result)


def test_a_run_at_rest_has_no_arrows():
    result = analysis.inside(SGD(0.01), problems.booth(), x0=[1.0, 3.0])
    with pytest.raises(
        InvalidValue, match=r"SGD\(learning_rate=0.01\) is at rest on booth; pass another `x0`"
    ):
        inside.draw(result)


# --- a step of Adam or RMSprop in frames


def make_adaptive(optimizer, miss=(0.0, 0.002), k: int = 6) -> Inside:
    """Step k on the wells, and a flow that bends away from it until it has missed it by so much."""
    problem = scene("wells")
    run = iterate(optimizer, problem, k + 1)
    a, b = x = np.asarray(run.x[:-1]).T
    g = np.stack([4 * a * (x[0] ** 2 + b - 11) + 2 * (a + b**2 - 7),
                  2 * (a**2 + b - 11) + 4 * b * (a + b**2 - 7)], 1) / 20  # fmt: skip
    ages = np.arange(k, -1, -1)
    weights = 0.9**ages / sum(0.9**ages) if isinstance(optimizer, Adam) else 1.0 * (ages == 0)
    mean, step = weights @ g, np.asarray(run.x[-1] - run.x[-2])
    s = np.linspace(0, 1, 65)[:, None]
    curve = np.asarray(run.x[-2]) + s * step + s**2 * np.array(miss)
    last = AdaptiveStep(
        run, g, weights, 0.95**ages, mean, -0.25 * mean / step, curve, optimizer, problem
    )
    parts = np.zeros((1, 2)), step[None], -g[-1:]
    return Inside(np.array([k]), np.asarray(run.x[-2:-1]), *parts, optimizer, problem, last)


@pytest.fixture(scope="module")
def of_adam():
    result = make_adaptive(Adam(0.25))
    return result, inside.draw(result)


def test_the_frames_of_adam_are_the_words_of_a_sentence(of_adam):
    result, picture = of_adam
    words = ["1 Remember", "2 Measure the spread", "3 Divide by it", "4 Step"]
    assert heads(picture) == words
    slides = inside.draw(result, style="slides")
    assert heads(inside.draw(make_adaptive(RMSprop(0.25)))) == [
        "1 Measure the spread", "2 Divide by it", "3 Step",
    ]  # fmt: skip
    for one in (picture, slides):
        one.savefig(BytesIO(), format="png")
        assert overlapping(one) == [] and outside(one) == []


def test_past_gradients_fade_with_their_weights_and_their_mean_is_bold(of_adam):
    result, picture = of_adam
    ax, k = picture.axes[0], 6
    for j in range(k):
        np.testing.assert_allclose(arrow(ax, f"past {j}"), [[0, 0], -result.last.gradients[j]])
    greys = [rgb_to_hsv(to_rgb(arrow_color(ax, f"past {j}")))[2] for j in range(k)]
    assert np.all(np.diff(greys) < 0), "the newer, the darker"
    np.testing.assert_allclose(arrow(ax, "gradient")[1], -result.last.gradients[k])
    np.testing.assert_allclose(arrow(ax, "mean")[1], -result.last.mean)
    widths = [artist(ax, gid).arrow_patch.get_linewidth() for gid in ("mean", "gradient", "past 5")]
    assert widths == sorted(widths, reverse=True) and len(set(widths)) == 3


def arrow_color(ax, gid):
    return artist(ax, gid).arrow_patch.get_edgecolor()


def test_the_box_of_the_spread_becomes_that_of_one(of_adam):
    result, picture = of_adam
    measure, divide, step = picture.axes[1:]
    s, u, x = result.last.spread, result.last.direction, np.asarray(result.last.map.x)
    for ax, middle, half in ((measure, 0, s), (divide, 0, [1, 1]), (step, x[-2], [0.25, 0.25])):
        box = artist(ax, "box")
        np.testing.assert_allclose(box.get_xy(), middle - np.array(half))
        np.testing.assert_allclose([box.get_width(), box.get_height()], 2 * np.array(half))
    np.testing.assert_allclose(artist(measure, "past").get_offsets(), -result.last.gradients)
    np.testing.assert_allclose(arrow(divide, "direction")[1], -u)
    np.testing.assert_allclose(0.25 * arrow(divide, "direction")[1], x[-1] - x[-2], rtol=1e-6)
    downhill = arrow(divide, "downhill")[1]
    np.testing.assert_allclose(unit(downhill), unit(-result.last.gradients[-1]))
    turn = np.degrees(np.arccos(unit(downhill) @ unit(-u)))
    assert artist(divide, "turn").get_text() == f"{turn:.0f}°"
    assert f"turns {turn:.0f}° from −∇f" in heading(picture)


@pytest.mark.parametrize("miss", [0.5, 0.002, 1e-5])
def test_the_tie_joins_step_and_flow_and_carries_the_error_of_the_title(miss):
    result = make_adaptive(Adam(0.25), (0.0, miss))
    picture = inside.draw(result)
    ax, x = picture.axes[-1], np.asarray(result.last.map.x)
    np.testing.assert_allclose(arrow(ax, "step"), x[-2:])
    flow = artist(ax, "flow adam").get_xydata()
    assert artist(ax, "flow adam").get_color() == "#262a30"
    notes = [t.get_text() for t in ax.texts if t.get_text().startswith("error drawn ×")]
    factor = int(notes[0].rpartition("×")[2]) if notes else 1
    assert bool(notes) == (miss < 0.1)
    np.testing.assert_allclose(flow[0], x[-2])
    np.testing.assert_allclose((flow[-1] - x[-1]) / factor, [0, miss], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(artist(ax, "longest tie adam").get_xydata(), [flow[-1], x[-1]])
    tie = ax.transData.transform([flow[-1], x[-1]]) * 72 / picture.dpi
    assert np.linalg.norm(tie[1] - tie[0]) > 8, "the tie is visible"
    number = format_number(miss, 2)
    assert artist(ax, "number adam").get_text() == number
    assert heading(picture).endswith(f"ends {number} from its flow")
    assert f"ends {number} away from the flow" in picture.alt


def test_a_direction_far_inside_of_the_box_fills_its_frame(of_adam):
    last = of_adam[0].last
    for factor, fills in ((1, False), (20, True)):
        spread = dataclasses.replace(last, spread=factor * last.spread)
        ax = inside.draw(dataclasses.replace(of_adam[0], last=spread)).axes[2]
        length = np.linalg.norm(arrow(ax, "direction")[1])
        assert length == pytest.approx(np.linalg.norm(last.direction) / factor)
        assert (np.ptp(ax.get_xlim()) < 2.5 * length) == bool(fills)
        assert ("far inside the box" in artist(ax, "fact").get_text()) == bool(fills)


def test_a_flow_that_cannot_be_solved_is_left_out():
    result = make_adaptive(Adam(0.25), (np.nan, 0.0))
    picture = inside.draw(result)
    assert not [gid for gid in gids(picture.axes[-1]) if gid.startswith(("flow", "longest"))]
    assert "its flow" not in heading(picture)
    assert "has a flow that could not be solved" in picture.alt


def test_in_axes_of_the_user_there_is_the_last_frame(of_adam):
    ax = Figure().add_subplot()
    assert inside.draw(of_adam[0], ax=ax, title="One step") is ax
    assert {"step", "flow adam", "box"} <= gids(ax) and ax.get_title() == "One step"


# --- panels


@pytest.fixture(scope="module")
def bowl():
    return [make_comparison(optimizer, scene("bowl")) for optimizer in OPTIMIZERS]


def test_paths_in_three_coordinates_are_projected_in_panels_too():
    bent = Problem(
        lambda x: (x[0] - 1) ** 2 + 2 * x[1] ** 2 + (x[2] + x[0] * x[1]) ** 2,
        [0.0, 1.0, 2.0],
        name="bent",
    )
    comparison = make_comparison(SGD(0.02), bent, 10)
    picture = panels.draw([(figures.paths, comparison), (figures.loss, comparison)])
    (alone,) = figures.paths.draw(comparison).axes
    np.testing.assert_array_equal(
        artist(picture.axes[0], "map sgd").get_xydata(), artist(alone, "map sgd").get_xydata()
    )
    assert picture.axes[0].get_xlabel() == alone.get_xlabel()


def test_panels_are_the_figures_side_by_side(bowl, orders):
    chosen = orders["bowl"]
    picture = panels.draw(
        [
            (figures.paths, bowl[:2]),
            (figures.convergence, chosen, "Own words"),
            (figures.loss, bowl[0]),
        ]
    )
    picture.savefig(BytesIO(), format="png")
    assert picture.alt == " ".join(
        [
            figures.paths.describe(bowl[:2]),
            f"Own words: {figures.convergence.describe(chosen)}",
            figures.loss.describe(bowl[0]),
        ]
    )
    alone = [figures.paths.draw(bowl[:2]), figures.convergence.draw(chosen)]
    assert all(caption(picture).count(caption(one)) == 1 for one in alone)
    assert len(picture.axes) == 4 and picture.axes[2].get_title() == "Own words"
    assert "name adam" in gids(picture.axes[2])
    wide, narrow = (panels.draw([(figures.convergence, chosen)] * n) for n in (2, 1))
    assert wide.get_figwidth() > narrow.get_figwidth()


@pytest.mark.parametrize("style", STYLES)
def test_no_word_lies_on_another_or_outside(bowl, orders, style):
    panel = figures.convergence, orders["bowl"][:2]
    picture = panels.draw([(figures.loss, bowl[:3]), panel], style=style)
    assert overlapping(picture) == [] and outside(picture) == []


def test_what_is_no_panel_is_refused(bowl, as_users_see_it):
    with pytest.raises(InvalidValue, match="`panels` is empty"):
        panels.draw([])
    with pytest.raises(
        InvalidType, match=r"its results alone, and these results; got 3 and 0 more, pass \(figures"
    ):
        panels.draw([3])  # pyright: ignore
    with pytest.raises(
        InvalidType, match="the title of a panel must be text, got 3; put it in quotes"
    ):
        panels.draw([(figures.loss, bowl, 3)])
    with pytest.raises(InvalidType, match="`panels` must be a list of panels, got None"):
        panels.draw(None)  # pyright: ignore
    for figure in (bound, figures.overview):
        with pytest.raises(
            InvalidType, match=rf"got {figure.__name__} and 1 more, pass \(figures.loss, runs\)"
        ):
            panels.draw([(figure, bowl)])


def test_keys_of_one_word_in_two_colours_are_two():
    results = [(inside, make_inside(optimizer)) for optimizer in (Momentum(0.01), Adam(0.1))]
    (legend,) = [a for a in panels.draw(results).artists if a.get_gid() == "legend"]
    keys = [
        (text.get_text(), line.get_color())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
        if text.get_text()
    ]
    assert len(keys) == len(set(keys))
    words = [word for word, _ in keys]
    assert words.count("step") == 2 and words.count("along −∇f") == 1
