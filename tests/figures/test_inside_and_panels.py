"""Pictures of the course: steps taken apart, steepest directions, float32 beside float64, bounds, and panels."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.path import Path
from scenes import PAGES, found, gids, made_gap, scene

from dynopt import SGD, Adam, Momentum, Muon, Problem, Signum, analysis, figures, problems
from dynopt.analysis import Inside
from dynopt.course.precision import Precision, measure as measure_precision
from dynopt.course.steepest import measure as measure_steepest
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import bound, inside, panels, precision, steepest
from dynopt.figures.drawing.style import STYLES, context, look, readable
from dynopt.figures.drawing.words import number, percent


def made_precision() -> Precision:
    h = 0.01 / 2.0 ** np.arange(6)
    return Precision(h, h + 1e-5 / h, h, 1e-12, "Tsit5", 1e-13, 0.5, SGD(0.01), scene("valley"))


def made_inside(optimizer=None, memory=1.0) -> Inside:
    optimizer = optimizer or Momentum(0.01)
    x = np.array([[0.0, 0.0], [1.0, 0.5], [1.5, 1.5]])
    part = memory * np.array([[0.0, 0.0], [0.8, 0.2], [0.3, 0.9]])
    down = np.array([[2.0, 1.0], [-1.0, 1.0], [0.5, 0.0]])
    return Inside(
        np.arange(3),
        x,
        part,
        np.array([[1.0, 0.5], [-0.3, 0.8], [0.1, 0.1]]),
        down,
        optimizer,
        scene("bowl"),
    )


def two_over_t(t):
    return 2000 / np.asarray(t) ** 2


RESULTS = {
    "inside": (inside, made_inside()),
    "precision": (precision, made_precision()),
    "steepest": (steepest, measure_steepest([3.0, -1.0], "max")),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", RESULTS)
def test_every_picture_draws_in_every_style_and_says_what_it_shows(name, style):
    figure, result = RESULTS[name]
    picture = figure.draw(result, style=style)
    picture.savefig(BytesIO(), format="png")
    assert picture.alt == figure.describe(result) == figure.describe([result])
    assert picture.alt.endswith(".") and "\n" not in picture.alt
    ax = Figure().add_subplot()
    assert figure.draw([result], ax=ax) is ax
    with pytest.raises(InvalidValue, match="`results` holds 2 results; pass one of"):
        figure.draw([result, result])


def words(ax) -> str:
    return " ".join(ax.get_title().split()).replace("\xa0", " ")


def unit(v):
    return v / np.linalg.norm(v)


def arrow(ax, gid):
    return np.array([found(ax, gid).xyann, found(ax, gid).xy])


def test_the_arrows_are_the_parts_tip_to_tail():
    seen = made_inside()
    (ax,) = inside.draw(seen).axes
    for k in (1, 2):
        np.testing.assert_allclose(
            arrow(ax, f"memory {k}"), [seen.x[k], seen.x[k] + seen.memory[k]]
        )
        np.testing.assert_allclose(
            arrow(ax, f"gradient {k}"), [seen.x[k] + seen.memory[k], seen.x[k] + seen.step[k]]
        )
        np.testing.assert_allclose(arrow(ax, f"step {k}"), [seen.x[k], seen.x[k] + seen.step[k]])
        tail, tip = np.asarray(found(ax, f"downhill {k}").get_xydata())
        assert np.linalg.norm(tip - tail) == pytest.approx(np.linalg.norm(seen.step[k]))
        np.testing.assert_allclose(
            (tip - tail) / np.linalg.norm(tip - tail), unit(seen.downhill[k]), atol=1e-12
        )
    assert "memory 0" not in gids(ax), "the first step has no memory"
    assert ax.get_aspect() == 1
    assert words(ax).startswith("Step 2 is 87 % memory, and turns 68° from −∇f")


def test_where_nothing_is_memory_the_step_is_one_arrow():
    (ax,) = inside.draw(made_inside(Adam(0.1), memory=0.0)).axes
    assert not [gid for gid in gids(ax) if gid.startswith(("memory", "gradient"))]


REAL = [Momentum(0.02, 0.9), Adam(0.5), Adam(0.1), SGD(0.03)]


@pytest.mark.parametrize(
    "optimizer", REAL, ids=lambda optimizer: f"{optimizer.name}-{float(optimizer.h):.2g}"
)
def test_no_arrow_crosses_the_number_of_a_step(optimizer):
    seen = analysis.inside(optimizer, problems.quadratic([1.0, 30.0]), first=5, steps=2)
    picture = inside.draw(seen)
    (ax,) = picture.axes
    picture.savefig(BytesIO(), format="png")
    segments = [
        arrow(ax, gid) for gid in gids(ax) if gid.startswith(("step", "memory", "gradient"))
    ]
    segments += [
        np.asarray(found(ax, gid).get_xydata()) for gid in gids(ax) if gid.startswith("downhill")
    ]
    for k in seen.k:
        box = found(ax, f"k = {k}").get_window_extent()
        for segment in segments:
            assert not Path(ax.transData.transform(segment)).intersects_bbox(box, filled=False)


def test_numbers_do_not_cover_each_other():
    ax = inside.draw(analysis.inside(Momentum(0.01), problems.himmelblau(), steps=11)).axes[0]
    ax.figure.savefig(BytesIO())
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text().startswith("k = ")]
    assert len(boxes) == 11 and not any(
        a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]
    )


def test_a_step_without_a_turn_points_along_minus_the_gradient():
    picture = inside.draw(analysis.inside(SGD(0.01), problems.booth()))
    assert words(picture.axes[0]) == "No part of a step is memory; the last step points along −∇f"
    assert "step 1 is 0 % memory by length and points along −∇f" in picture.alt


def test_arrows_need_a_plane(as_users_see_it):
    seen = analysis.inside(SGD(0.01), Problem(lambda x: x @ x, [1.0, 2.0, 3.0], name="bent"))
    with pytest.raises(
        InvalidValue, match="arrows are drawn in a plane, but bent has 3 coordinates; pass two"
    ):
        inside.draw(seen)


def test_both_formats_are_drawn_and_the_turn_is_marked():
    seen = made_precision()
    (ax,) = precision.draw(seen).axes
    np.testing.assert_array_equal(found(ax, "single sgd").get_ydata(), seen.single)
    np.testing.assert_array_equal(found(ax, "double sgd").get_ydata(), seen.double)
    assert (
        words(ax)
        == f"In float32 the gap falls to {number(seen.single.min(), 2)} at h = {number(seen.turn)} and rises again, to {number(seen.single[-1], 2)}"
    )
    falling = dataclasses.replace(seen, single=seen.double)
    assert words(precision.draw(falling).axes[0]).endswith("and has not turned yet")
    assert found(ax, "turn").get_xdata()[0] == seen.turn
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_what_is_at_rest_has_no_picture():
    booth = problems.booth()
    for figure, seen in (
        (inside, analysis.inside(SGD(0.01), booth, x0=[1.0, 3.0])),
        (precision, measure_precision(SGD(0.01), booth, 1.0, 3, x0=[1.0, 3.0])),
    ):
        with pytest.raises(
            InvalidValue,
            match=r"SGD\(learning_rate=0.01\) is at rest on booth.*; pass another `x0`",
        ):
            figure.draw(seen)


@pytest.mark.parametrize(
    "norm, gradient",
    [("euclidean", [3.0, -1.0]), ("max", [3.0, -1.0]), ("spectral", [[2.0, 0.5], [0.3, -0.4]])],
)
def test_the_tip_is_on_the_ball_and_the_line_touches_it(norm, gradient):
    seen = measure_steepest(gradient, norm)
    (ax,) = steepest.draw(seen).axes
    ball = found(ax, "ball").get_path().vertices
    tip, down = arrow(ax, "steepest")[1], arrow(ax, "downhill")[1]
    down = down / np.linalg.norm(down)
    along = np.asarray(ball) @ down
    assert along.max() <= tip @ down + 1e-9, "no point of the ball lies beyond the line"
    assert tip @ down * np.linalg.norm(gradient) == pytest.approx(-seen.slope)
    assert np.asarray(found(ax, "level").get_xydata()) @ down == pytest.approx([tip @ down] * 2)


@pytest.mark.parametrize(
    "norm, optimizer", [("euclidean", SGD(1.0)), ("max", Signum(1.0)), ("spectral", Muon(1.0))]
)
def test_the_steepest_direction_has_the_colour_of_its_optimizer(norm, optimizer):
    (ax,) = steepest.draw(measure_steepest([[3.0, -1.0], [0.5, 2.0]], norm)).axes
    with context("notebook"):
        color = to_rgba(readable(look(optimizer).color))
    assert found(ax, "steepest").arrow_patch.get_edgecolor() == color


def test_a_matrix_is_told_by_its_rows():
    picture = steepest.draw(measure_steepest(np.array([[2.0, 0.5], [0.3, -0.4]]), "spectral"))
    assert "∇f = ((2, 0.5), (0.3, −0.4))" in picture.get_supxlabel().replace("\xa0", " ")


def test_one_number_has_no_ball():
    with pytest.raises(InvalidValue, match="the gradient is one number; pass one of two or more"):
        steepest.draw(measure_steepest([3.0]))


def test_the_bound_is_drawn_above_the_losses_that_keep_it(as_users_see_it):
    comparisons = [made_gap(optimizer, scene("bowl")) for optimizer in PAGES[:2]]
    (ax,) = bound.draw(comparisons, two_over_t, name="2000/t²").axes
    line = np.asarray(found(ax, "bound").get_xydata())
    np.testing.assert_allclose(line[:, 1], two_over_t(line[:, 0]))
    np.testing.assert_array_equal(found(ax, "flow sgd").get_ydata(), comparisons[0].flow.loss[1:])
    shares = [
        float((run.loss[1:] / two_over_t(run.t[1:])).max())
        for g in comparisons
        for run in (g.flow, g.map)
    ]
    assert max(shares) == max(shares[2:])
    assert (
        words(ax)
        == f"All keep below 2000/t²; Momentum comes nearest, to {100 * max(shares):.2f} % of it"
    )
    said = [percent(share) for share in shares]
    assert bound.describe(comparisons, two_over_t).endswith(
        f"the flow of SGD comes to {said[0]} of it, the map to {said[1]} of it and "
        f"the flow of Momentum comes to {said[2]} of it, the map to {said[3]} of it."
    )
    assert words(bound.draw(comparisons[1], two_over_t).axes[0]).startswith(
        "Momentum keeps below the bound, and comes to "
    )
    (ax,) = bound.draw(comparisons, lambda t: 1e-9 * two_over_t(t), name="a hair").axes
    assert words(ax) == "SGD and Momentum break a hair"
    (ax,) = bound.draw(comparisons, lambda t: 1e9).axes
    assert np.ptp(found(ax, "bound").get_ydata()) == 0
    with pytest.raises(InvalidValue, match="a bound must be positive, got -"):
        bound.draw(comparisons, lambda t: -t)
    with pytest.raises(
        InvalidType, match="`bound` must be a function of the times, got 3; pass lambda t"
    ):
        bound.draw(comparisons, 3)
    with pytest.raises(InvalidValue, match="the minimum of nowhere is not known"):
        bound.draw(made_gap(PAGES[0], scene("nowhere")), two_over_t)


def test_a_map_that_breaks_the_bound_alone_is_named():
    comparison = analysis.compare(SGD(1.9), problems.quadratic([1.0]), 8, x0=[1.0])
    picture = bound.draw(comparison, lambda t: np.exp(-t / 2))
    (ax,) = picture.axes
    assert words(ax) == "The map of SGD breaks the bound" and picture.alt.endswith("times it.")
    low, high = ax.get_ylim()
    assert low < comparison.map.loss[1:].min() and comparison.map.loss.max() < high
    lost = analysis.compare(SGD(2.5), problems.quadratic([1.0]), 2000, x0=[1.0], throw=False)
    assert words(bound.draw(lost, lambda t: 1 + 0 * t).axes[0]).endswith(
        "; the map of SGD breaks the bound"
    )


def test_a_bound_of_another_shape_is_refused():
    comparison = made_gap(PAGES[0], scene("bowl"))
    for wrong in (lambda t: [1.0, 2.0], lambda t: "low"):
        with pytest.raises(
            InvalidType,
            match=r"`bound` must give a number for each time, got .* for \d+; pass lambda t",
        ):
            bound.draw(comparison, wrong)


def test_paths_in_three_coordinates_are_projected_in_panels_too():
    bent = Problem(
        lambda x: (x[0] - 1) ** 2 + 2 * x[1] ** 2 + (x[2] + x[0] * x[1]) ** 2,
        [0.0, 1.0, 2.0],
        name="bent",
    )
    comparison = analysis.compare(SGD(0.02), bent, 10)
    alone, picture = (
        figures.paths.draw(comparison),
        panels.draw([(figures.paths, comparison), (figures.loss, comparison)]),
    )
    np.testing.assert_array_equal(
        found(picture.axes[0], "map sgd").get_xydata(), found(alone.axes[0], "map sgd").get_xydata()
    )
    assert picture.axes[0].get_xlabel() == alone.axes[0].get_xlabel()


def test_panels_are_the_pictures_side_by_side(as_users_see_it):
    comparisons = [made_gap(optimizer, scene("bowl")) for optimizer in PAGES]
    picture = panels.draw(
        [
            (figures.paths, comparisons[:2]),
            (figures.global_error, comparisons, "Own words"),
            (figures.loss, comparisons[0]),
        ]
    )
    picture.savefig(BytesIO(), format="png")
    assert picture.alt == " ".join(
        [
            figures.paths.describe(comparisons[:2]),
            f"Own words: {figures.global_error.describe(comparisons)}",
            figures.loss.describe(comparisons[0]),
        ]
    )
    caption = found(picture, "caption").get_text().replace("\n", " ")
    errors = [g.solver_error.max() for g in comparisons]
    assert caption.count("The flow") == 1
    assert caption.endswith(
        f"The flow by Tsit5 (rtol 10⁻¹¹) errs by at most {number(max(errors))}."
    )
    assert len([ax for ax in picture.axes if ax.get_title()]) == 3
    assert picture.axes[1].get_title() == "Own words"
    wide, alone = (
        panels.draw([(figures.global_error, comparisons)] * 2),
        panels.draw([(figures.global_error, comparisons)]),
    )
    assert wide.get_figwidth() > alone.get_figwidth()
    with pytest.raises(InvalidValue, match="`panels` is empty"):
        panels.draw([])
    with pytest.raises(
        InvalidType, match=r"its results alone, and these results; got 3 and 0 more, pass \(figures"
    ):
        panels.draw([3])
    with pytest.raises(
        InvalidType, match="the title of a panel must be text, got 3; put it in quotes"
    ):
        panels.draw([(figures.global_error, comparisons, 3)])
    with pytest.raises(InvalidType, match="`panels` must be a list of panels, got None"):
        panels.draw(None)
    for figure in (figures.bound, figures.overview):
        with pytest.raises(
            InvalidType, match=rf"got {figure.__name__} and 1 more, pass \(figures.loss, runs\)"
        ):
            panels.draw([(figure, comparisons)])


def test_keys_of_one_word_in_two_colours_are_two():
    seen = [(inside, made_inside(optimizer)) for optimizer in (Momentum(0.01), Adam(0.1))]
    (legend,) = panels.draw(seen).legends
    keys = [
        (text.get_text(), key.get_color())
        for text, key in zip(legend.get_texts(), legend.get_lines(), strict=True)
    ]
    assert len(keys) == len(set(keys))
    assert [word for word, _ in keys].count("step") == 2 and [word for word, _ in keys].count(
        "along −∇f"
    ) == 1
