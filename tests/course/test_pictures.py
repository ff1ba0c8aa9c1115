"""Pictures of single notebooks: float32 compared with float64, steepest directions, bounds."""

import dataclasses
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from dynopt import (
    SGD,
    Adam,
    Momentum,
    Muon,
    Optax,
    Problem,
    Schedule,
    Signum,
    WithGradient,
    analysis,
    figures,
    problems,
)
from dynopt.course import bound, ends, polygon, precision, steepest, step_length
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures.drawing.style import STYLES, color_of, context, readable_color
from dynopt.figures.drawing.words import format_number, format_percent


def make_precision() -> precision.Precision:
    h = 0.01 / 2.0 ** np.arange(6)
    return precision.Precision(
        h=h,
        single=h + 1e-5 / h,
        double=h,
        solver_error=1e-12,
        solver="Tsit5",
        rtol=1e-13,
        time=0.5,
        optimizer=SGD(0.01),
        problem=problems.booth(),
    )


@pytest.fixture(scope="module")
def comparisons():
    bowl = problems.quadratic([1.0, 10.0])
    return [analysis.compare(optimizer, bowl, 40) for optimizer in (SGD(0.01), Momentum(0.01))]


def artist(ax, gid):
    """The only artist with this gid."""
    (one,) = [a for a in ax.get_children() if a.get_gid() == gid]
    return one


def one_line(text: str) -> str:
    return " ".join(text.replace("\xa0", " ").split())


def title(picture) -> str:
    return one_line(picture.axes[0].get_title())


def heading(picture) -> str:
    return one_line(picture.get_suptitle())


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("figure", [precision, steepest], ids=["precision", "steepest"])
def test_every_picture_is_drawn_in_every_style_and_described(figure, style):
    result = make_precision() if figure is precision else steepest.measure([3.0, -1.0], "max")
    picture = figure.draw(result, style=style)
    picture.savefig(BytesIO(), format="png")
    assert picture.alt == figure.describe(result) == figure.describe([result])
    assert picture.alt.endswith(".") and "\n" not in picture.alt
    ax = Figure().add_subplot()
    assert figure.draw([result], ax=ax) is ax
    with pytest.raises(InvalidValue, match="`results` holds 2 results; pass one result of"):
        figure.draw([result, result])


def test_each_stands_in_a_panel():
    results = [(steepest, steepest.measure([3.0, -1.0], norm)) for norm in ("euclidean", "max")]
    picture = figures.panels.draw([*results, (precision, make_precision())], columns=3)
    assert len(picture.axes) == 3 and all(ax.get_title() for ax in picture.axes)


# --- precision


def test_both_formats_are_drawn_and_the_turn_is_marked():
    result = make_precision()
    picture = precision.draw(result)
    (ax,) = picture.axes
    np.testing.assert_array_equal(artist(ax, "single sgd").get_ydata(), result.single)
    np.testing.assert_array_equal(artist(ax, "double sgd").get_ydata(), result.double)
    smallest, last = (format_number(e, 2) for e in (result.single.min(), result.single[-1]))
    assert title(picture) == (
        f"In float32 the global error falls to {smallest} at h = {format_number(result.turn)} and "
        f"rises again, to {last}"
    )
    falling = dataclasses.replace(result, single=result.double)
    assert title(precision.draw(falling)).endswith("and does not rise again yet")
    assert artist(ax, "turn").get_xdata()[0] == result.turn
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_a_run_at_rest_has_no_error_to_draw():
    result = precision.measure(SGD(0.01), problems.booth(), 1.0, 3, x0=[1.0, 3.0])
    with pytest.raises(
        InvalidValue, match=r"SGD\(learning_rate=0.01\) is at rest on booth.*; pass another `x0`"
    ):
        precision.draw(result)


# --- steepest


@pytest.mark.parametrize(
    "norm, gradient",
    [("euclidean", [3.0, -1.0]), ("max", [3.0, -1.0]), ("spectral", [[2.0, 0.5], [0.3, -0.4]])],
)
def test_the_tip_is_on_the_ball_and_the_line_touches_it(norm, gradient):
    result = steepest.measure(gradient, norm)
    (ax,) = steepest.draw(result).axes
    ball = artist(ax, "ball").get_path().vertices
    tip, down = np.array(artist(ax, "steepest").xy), np.array(artist(ax, "downhill").xy)
    down = down / np.linalg.norm(down)
    along = np.asarray(ball) @ down
    assert along.max() <= tip @ down + 1e-9, "no point of the ball lies beyond the line"
    assert tip @ down * np.linalg.norm(gradient) == pytest.approx(-result.slope)
    assert np.asarray(artist(ax, "level").get_xydata()) @ down == pytest.approx([tip @ down] * 2)


@pytest.mark.parametrize(
    "norm, optimizer", [("euclidean", SGD(1.0)), ("max", Signum(1.0)), ("spectral", Muon(1.0))]
)
def test_the_steepest_direction_has_the_colour_of_its_optimizer(norm, optimizer):
    (ax,) = steepest.draw(steepest.measure([[3.0, -1.0], [0.5, 2.0]], norm)).axes
    with context("notebook"):
        color = to_rgba(readable_color(color_of(optimizer)))
    assert artist(ax, "steepest").arrow_patch.get_edgecolor() == color


def test_a_matrix_is_written_row_by_row():
    picture = steepest.draw(steepest.measure(np.array([[2.0, 0.5], [0.3, -0.4]]), "spectral"))
    assert "∇f = ((2, 0.5), (0.3, −0.4))" in one_line(picture.get_supxlabel())


def test_one_number_has_no_ball():
    with pytest.raises(InvalidValue, match="the gradient is one number; pass one of two or more"):
        steepest.draw(steepest.measure([3.0]))


# --- bounds


def two_over_t(t):
    return 2000 / np.asarray(t) ** 2


def test_the_bound_is_drawn_above_the_losses_that_keep_it(comparisons):
    picture = bound.draw(comparisons, two_over_t, name="2000/t²")
    ax = picture.axes[0]
    line = np.asarray(artist(ax, "bound").get_xydata())
    np.testing.assert_allclose(line[:, 1], two_over_t(line[:, 0]))
    sgd = comparisons[0]
    minimum = sgd.problem.minimum
    np.testing.assert_array_equal(
        artist(ax, "flow sgd").get_ydata(), np.asarray(sgd.curve.loss[1:]) - minimum
    )
    fractions = [
        float(((run.loss[1:] - minimum) / two_over_t(run.t[1:])).max())
        for comparison in comparisons
        for run in (comparison.flow, comparison.map)
    ]
    most = format_number(100 * max(fractions), 2)
    assert max(fractions) == max(fractions[2:])
    assert heading(picture) == f"All stay below 2000/t²; Momentum comes nearest, to {most} % of it"
    shares = [format_percent(fraction) for fraction in fractions]
    assert bound.describe(comparisons, two_over_t).endswith(
        f"the flow of SGD reaches {shares[0]} of it, its map {shares[1]} of it; "
        f"the flow of Momentum reaches {shares[2]} of it, its map {shares[3]} of it."
    )
    assert heading(bound.draw(comparisons[1], two_over_t)) == (
        f"Momentum stays below the bound and reaches {most} % of it"
    )
    picture = bound.draw(comparisons, lambda t: 1e-9 * two_over_t(t), name="a hair")
    assert heading(picture) == "SGD and Momentum exceed a hair"
    ax = bound.draw(comparisons, lambda t: 1e9).axes[0]
    assert np.ptp(artist(ax, "bound").get_ydata()) == 0


def test_a_map_that_alone_exceeds_the_bound_is_named():
    comparison = analysis.compare(SGD(1.9), problems.quadratic([1.0]), 8, x0=[1.0])
    picture = bound.draw(comparison, lambda t: np.exp(-t / 2))
    (ax,) = picture.axes
    assert heading(picture) == "The map of SGD exceeds the bound"
    assert picture.alt.endswith("times it.")
    low, high = ax.get_ylim()
    assert low < comparison.map.loss[1:].min() and comparison.map.loss.max() < high
    lost = analysis.compare(SGD(2.5), problems.quadratic([1.0]), 2000, x0=[1.0], throw=False)
    assert heading(bound.draw(lost, lambda t: 1 + 0 * t)).endswith(
        "; the map of SGD exceeds the bound"
    )


def test_what_is_no_bound_is_refused(comparisons, as_users_see_it):
    with pytest.raises(InvalidValue, match="a bound must be positive, got -"):
        bound.draw(comparisons, lambda t: -t)
    with pytest.raises(
        InvalidType, match="`bound` must be a function of the times, got 3; pass lambda t"
    ):
        bound.draw(comparisons, 3)  # pyright: ignore
    for wrong in (lambda t: [1.0, 2.0], lambda t: "low"):
        with pytest.raises(
            InvalidType,
            match=r"`bound` must give a number for each time, got .* for \d+; pass lambda t",
        ):
            bound.draw(comparisons, wrong)
    unknown = Problem(lambda x: (x**2).sum(), [1.0, 1.0], name="nowhere")
    with pytest.raises(InvalidValue, match="the minimum of nowhere is not known"):
        bound.draw(dataclasses.replace(comparisons[0], problem=unknown), two_over_t)


# --- Euler's polygon


def test_the_polygon_and_its_flows_are_those_of_the_closed_form(as_users_see_it):
    result = polygon.measure(SGD(0.5), problems.quadratic([1.0]), 3)
    x = result.x[0] * 0.5 ** np.arange(4)
    np.testing.assert_allclose(result.x, x)
    picture = polygon.draw(result)
    (ax,) = picture.axes
    np.testing.assert_array_equal(artist(ax, "map").get_xydata(), np.stack([result.t, result.x], 1))
    for k in range(4):
        t, flow = artist(ax, f"flow {k}").get_data()
        np.testing.assert_allclose(flow, x[k] * np.exp(-(t - 0.5 * k)), rtol=1e-6)
    for k in (1, 2, 3):
        flow, map = artist(ax, f"local error {k}").get_ydata()
        np.testing.assert_allclose([flow, map], [x[k - 1] * np.exp(-0.5), x[k]], rtol=1e-6)
    error = abs(x[3] - x[0] * np.exp(-1.5))
    local = abs(x[0] * (np.exp(-0.5) - 0.5))
    assert artist(ax, "number").get_text() == format_number(error, 2)
    assert title(picture) == (
        f"Each step leaves its flow by at most {format_number(local, 2)}; together they are "
        f"{format_number(error, 2)} off at the end"
    )
    assert format_number(error) in picture.alt and format_number(local) in picture.alt
    with pytest.raises(
        InvalidType, match=r"of gradient descent, got Momentum\(.*; pass dynopt.SGD"
    ):
        polygon.measure(Momentum(0.5), problems.quadratic([1.0]), 3)  # pyright: ignore
    with pytest.raises(InvalidValue, match="in one coordinate, but booth has 2; pass for example"):
        polygon.measure(SGD(0.1), problems.booth(), 3)


# --- the length of steps


def test_steps_without_corrections_are_as_long_as_the_closed_form_says():
    b1, b2, k = 0.9, 0.999, np.arange(1, 301)
    adam = Adam(0.02, b1, b2, eps=0.0)
    neither = Schedule(adam, lambda k: (1 - b1 ** (k + 1)) / (1 - b2 ** (k + 1)) ** 0.5)
    results = [
        step_length.measure(adam.named("both"), 300),
        step_length.measure(neither.named("no correction"), 300),
    ]
    factors = (1 - b1**k) / np.sqrt(1 - b2**k)
    np.testing.assert_allclose(results[0].length, 1, rtol=1e-9)
    np.testing.assert_allclose(results[1].length, factors, rtol=1e-6)
    picture = step_length.draw(results)
    most, longest = factors.max(), int(factors.argmax()) + 1
    assert title(picture) == f"The longest step is {most:.2f} times as long as η (no correction)"
    assert f"begins with {factors[0]:.2f} and is longest with {most:.2f} at k = {longest}" in (
        picture.alt
    )
    texts = [one_line(text.get_text()) for text in picture.axes[0].texts]
    unnamed = Optax(lambda h: optax.sgd(h), 0.1)
    with pytest.raises(InvalidType, match="measured in learning rates, got Optax.*has none; pass"):
        step_length.measure(unnamed, 3)
    assert texts == ["both: 1", f"no correction: {factors[0]:.2f}", f"{most:.2f} at k = {longest}"]


# --- where runs end


def test_runs_with_surgery_end_on_the_pareto_set_and_those_of_the_gradient_at_the_minimizer(
    as_users_see_it,
):
    """Two tasks with the losses (|x + 1|² + 3 (x₂ + 1)²)/2 and (|x - 1|² + 3 (x₁ - 1)²)/2."""
    slopes = (lambda x: (x + 1) * np.array([1, 4])), (lambda x: (x - 1) * np.array([4, 1]))

    def both(x):
        return ((x + 1) * slopes[0](x) + (x - 1) * slopes[1](x)).sum() / 2

    def surgery(g, x):
        a, b = (slope(x) for slope in slopes)
        dot = jnp.minimum(a @ b, 0)
        return a + b - dot * (b / (b @ b) + a / (a @ a))

    tasks = Problem(both, [2.0, 0.0], name="two tasks", minimizers=[[0.6, -0.6]])
    starts, sgd = np.array([[2.0, 1.0], [-2.0, -1.0], [0.0, 2.0]]), SGD(0.05)
    optimizers = sgd, WithGradient(sgd, surgery).named("surgery")
    gradient, cut = (ends.measure(one, tasks, 150, starts) for one in optimizers)
    np.testing.assert_allclose(gradient.ends, [[0.6, -0.6]] * 3, atol=1e-9)
    by_numpy = []
    for x in starts:
        for _ in range(150):
            x = x - 0.05 * np.asarray(surgery(None, x))
        by_numpy.append(x)
        a, b = (slope(x) for slope in slopes)
        assert a @ b == pytest.approx(-np.linalg.norm(a) * np.linalg.norm(b), rel=1e-6)
    np.testing.assert_allclose(cut.ends, by_numpy, atol=1e-9)
    apart = max(np.linalg.norm(a - b) for a in by_numpy for b in by_numpy)
    assert cut.apart == pytest.approx(apart) and apart > 1
    picture = ends.draw([gradient, cut], curve=[[-1.0, -1.0], [1.0, 1.0]], name="band")
    left, right = picture.axes
    assert heading(picture) == (
        f"The runs of SGD all end at one place and those of surgery end up to {format_number(apart)} apart"
    )
    assert f"those of surgery end up to {format_number(apart)} apart." in picture.alt
    np.testing.assert_allclose(
        artist(right, "ends withgradient(sgd)").get_xydata(), by_numpy, atol=1e-9
    )
    np.testing.assert_array_equal(artist(left, "curve").get_xydata(), [[-1, -1], [1, 1]])
    np.testing.assert_allclose(artist(left, "map sgd 1").get_xydata()[0], starts[1])
    with pytest.raises(InvalidValue, match=r"in a plane, but quadratic has 1 coordinate; pass"):
        ends.measure(sgd, problems.quadratic([1.0]), 3, [[1.0]])
    with pytest.raises(InvalidValue, match="`starts` is empty; pass for example"):
        ends.measure(sgd, tasks, 3, [])
    with pytest.raises(InvalidType, match="must come from course.ends.measure, got 3; pass one"):
        ends.draw(3)  # pyright: ignore
