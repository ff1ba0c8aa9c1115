"""What is drawn is what was measured, number by number."""

import dataclasses
import re
import textwrap
from importlib import import_module
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scenes import (
    KEYS,
    STEPS,
    artist,
    caption,
    gids,
    legend_texts,
    on_problem,
    one_line,
    scene,
    title,
    with_runs,
)

from dynopt import Problem, figures
from dynopt.figures import Picture, drawing, global_error, loss, overview, paths
from dynopt.figures.drawing.runs import entries, legend_handles

OF_RUNS = ("paths", "loss", "global_error", "local_error", "order", "phase", "overview")


def frame(picture) -> Any:
    return picture.axes[0]


def words(figure) -> str:
    return " ".join(
        one_line(text.get_text()) for text in figure.findobj(Text) if text.get_visible()
    )


@pytest.fixture(scope="module")
def pictures(arguments) -> dict[str, Picture]:
    """The pictures of the same runs."""
    return {name: figures.catalogue[name].draw(*arguments[name]) for name in OF_RUNS}


def test_the_catalogue_holds_each_figure_under_its_own_name():
    names = list(figures.catalogue)
    assert names[0] == "paths" and names[-1] == "overview"
    for name, module in figures.catalogue.items():
        assert module.__name__ == f"dynopt.figures.{name}" and module is getattr(figures, name)
        assert callable(module.draw) and callable(module.describe) and module.draw.__doc__


def test_the_introduction_to_figures_names_twelve_helpers_that_exist():
    bullets = [line for line in drawing.__doc__.splitlines() if re.match(r"- `\w+\.\w+`", line)]
    assert len(bullets) == 12
    for module, name in re.findall(r"`(\w+)\.(\w+)`", "\n".join(bullets)):
        helper = getattr(import_module(f"dynopt.figures.drawing.{module}"), name)
        assert helper.__doc__


def test_the_figure_of_the_introduction_draws_describes_and_stands_in_a_panel(comparisons):
    code = "".join(re.findall(r"^    .*\n|^\n(?=    )", drawing.__doc__, re.MULTILINE))
    figure = ModuleType("dynopt.figures.gradient")
    figure.__package__ = "dynopt.figures"
    exec(textwrap.dedent(code), vars(figure))
    picture = figure.draw(comparisons["bowl"])
    np.testing.assert_array_equal(
        artist(frame(picture), "map sgd").get_ydata(), comparisons["bowl"][0].map.grad_norm
    )
    assert title(picture) == "The gradient falls" and "40 steps each" in caption(picture)
    assert picture.alt == figure.describe(comparisons["bowl"])
    assert "SGD" in legend_texts(frame(picture))
    panel = figures.panels.draw([(figure, comparisons["bowl"])])
    assert title(panel) == "The gradient falls"


@pytest.mark.parametrize("kind", ["map", "flow"])
@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_paths_hold_the_trajectories_exactly(pictures, comparisons, i, kind):
    line = artist(frame(pictures["paths"]), f"{kind} {KEYS[i]}")
    np.testing.assert_array_equal(line.get_xydata(), getattr(comparisons["bowl"][i], kind).y.x)


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_global_and_local_error_are_drawn_exactly(pictures, comparisons, local_errors, i):
    for name, result in (
        ("global_error", comparisons["bowl"][i]),
        ("local_error", local_errors["bowl"][i]),
    ):
        ax = frame(pictures[name])
        line = artist(ax, f"{name.replace('_', ' ')} {KEYS[i]}")
        np.testing.assert_array_equal(line.get_ydata(), result.error)
        line = artist(ax, f"solver error {KEYS[i]}")
        np.testing.assert_array_equal(line.get_ydata(), result.solver_error)


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_order_holds_errors_fit_and_floor_exactly(pictures, orders, i):
    ax, result = frame(pictures["order"]), orders["bowl"][i]
    errors, window = artist(ax, f"errors {KEYS[i]}"), artist(ax, f"window {KEYS[i]}")
    np.testing.assert_array_equal(errors.get_xydata(), np.stack([result.h, result.error], 1))
    np.testing.assert_array_equal(window.get_ydata(), result.error[2:])
    np.testing.assert_array_equal(artist(ax, f"floor {KEYS[i]}").get_ydata(), result.floor)
    h, fit = artist(ax, f"fit {KEYS[i]}").get_data()
    np.testing.assert_allclose(np.diff(np.log(fit)) / np.diff(np.log(h)), result.slope)
    assert errors.get_markerfacecolor() != window.get_markerfacecolor()


def test_a_measured_result_is_drawn_as_it_is(measured):
    line = artist(frame(global_error.draw(measured)), "global error momentum")
    np.testing.assert_array_equal(line.get_ydata(), measured.error)


@pytest.mark.parametrize("name", OF_RUNS)
def test_every_picture_has_title_labels_names_caption_and_alt_text(name, pictures):
    picture = pictures[name]
    for ax in picture.axes:
        assert ax.get_title() and ax.get_xlabel() and ax.get_ylabel()
    text = words(picture)
    assert "float64" in text
    for optimizer in ("Momentum",) if name == "phase" else ("SGD", "Momentum", "RMSprop", "Adam"):
        assert optimizer in text
    assert "Momentum(learning_rate=0.01, momentum=0.9), h = 0.1" in text
    assert "bowl" in picture.alt and picture.alt.endswith(".") and "\n" not in picture.alt


def test_axes_say_what_they_measure(pictures):
    labels = {name: (frame(p).get_xlabel(), frame(p).get_ylabel()) for name, p in pictures.items()}
    assert labels["paths"] == ("position x₁", "position x₂")
    assert labels["loss"][1] == "loss above minimum  f − f*"
    assert labels["global_error"][1] == "global error  |x_map(t) − x_flow(t)|"
    assert labels["local_error"][1] == "local error  |x_map − x_flow|"
    assert labels["order"] == ("time step  h", "largest error  |x_map − x_flow|")
    assert "t = k h" in labels["global_error"][0] and "t = k h" in labels["local_error"][0]


def test_errors_stand_on_logarithmic_axes(pictures):
    for name in ("loss", "global_error", "local_error", "order"):
        assert frame(pictures[name]).get_yscale() == "log"
    assert frame(pictures["order"]).get_xscale() == "log"


def test_runs_of_one_length_are_drawn_over_time_others_over_steps(comparisons):
    sgd, _, rmsprop, _ = comparisons["bowl"]
    ax = frame(global_error.draw(sgd))
    assert ax.get_xlabel() == "time  t = k h"
    np.testing.assert_array_equal(artist(ax, "global error sgd").get_xdata(), sgd.t)
    ax = frame(global_error.draw([sgd, rmsprop]))
    assert ax.get_xlabel() == "step k,  at time t = k h"
    np.testing.assert_array_equal(
        artist(ax, "global error rmsprop").get_xdata(), np.arange(STEPS + 1)
    )


def test_the_window_is_that_of_the_problem_and_paths_leave_it_only_from_view(comparisons):
    momentum = comparisons["bowl"][1]
    corner = Problem(scene("bowl").loss, [-2.0, 1.5], name="corner", window=((-2.5, 0), (-0.5, 2)))
    ax = frame(paths.draw(on_problem(momentum, corner)))
    assert ax.get_xlim() == (-2.5, 0) and ax.get_ylim() == (-0.5, 2)
    ((x, y),) = artist(ax, "exit map momentum").get_xydata()  # in fractions of the frame
    assert y == 0 and 0 < x < 1 and "exit flow momentum" in gids(ax)
    np.testing.assert_array_equal(artist(ax, "map momentum").get_xydata(), momentum.map.y.x)
    assert "exit map momentum" not in gids(frame(paths.draw(momentum)))


def test_a_diverged_run_is_drawn_to_its_last_finite_point_and_named(diverged, comparisons):
    sentence = f"SGD diverged at step {int(diverged.map.stats['first_bad_step'])}"
    for module in (paths, global_error):
        picture = module.draw([diverged, comparisons["bowl"][3]])
        ax = frame(picture)
        assert sentence in title(ax) and sentence in words(picture)
        assert sentence.removeprefix("SGD ") in picture.alt
        assert f"exit {'global error' if module is global_error else 'map'} sgd" in gids(ax)
    ax = frame(paths.draw(diverged))
    np.testing.assert_array_equal(
        artist(ax, "map sgd").get_xydata(), np.asarray(diverged.map.y.x)[diverged.map.finite]
    )
    assert artist(ax, "end of map sgd").get_marker() == "x"
    assert ax.get_xlim() == (-3, 3) and ax.get_ylim() == (-3, 3)


def test_starts_and_minimizers_are_marked(comparisons):
    ax = frame(paths.draw(comparisons["wells"]))
    np.testing.assert_array_equal(artist(ax, "start").get_xydata(), [[0.0, -3.0]])
    np.testing.assert_array_equal(
        artist(ax, "minimizer").get_xydata(), comparisons["wells"][0].problem.minimizers
    )
    assert "minimizer" not in gids(frame(paths.draw(comparisons["nowhere"])))


def test_levels_are_round_and_evenly_spread_in_the_logarithm(comparisons):
    ax = frame(paths.draw(comparisons["valley"]))
    levels = np.array(artist(ax, "contours").levels)
    assert levels.min() > 0 and 5 <= len(levels) <= 13
    assert set((levels / 10 ** np.floor(np.log10(levels) + 1e-9)).round(6)) <= {1, 1.5, 2, 3, 5, 7}


def test_too_many_dots_are_thinned_in_view_only_and_the_caption_says_so(comparisons):
    sgd = comparisons["bowl"][0]
    long = with_runs(sgd, lambda runs: jax.tree.map(lambda a: jnp.concatenate([a] * 10), runs))
    picture = paths.draw(long)
    assert artist(frame(picture), "map sgd").get_markevery() == 5
    assert len(artist(frame(picture), "map sgd").get_xdata()) == 410
    assert "Every 5th iterate has a dot." in words(picture)
    picture = paths.draw(sgd)
    assert artist(frame(picture), "map sgd").get_markevery() == 1
    assert "iterate has a dot" not in words(picture)


def test_the_error_of_the_solver_is_drawn_if_it_is_near_and_else_told(comparisons):
    sgd = comparisons["bowl"][0]
    near, far = (
        global_error.draw(dataclasses.replace(sgd, solver_error=sgd.solver_error * factor))
        for factor in (1e5, 1e-3)
    )
    ax = frame(near)
    assert ax.get_ylim()[0] < 1e-4 and "solver band sgd" in gids(ax)
    assert "error of the solver" in legend_texts(ax)
    ax = frame(far)
    assert ax.get_ylim()[0] > 1e-12 and "solver band sgd" not in gids(ax)
    assert "error of the solver" not in legend_texts(ax)
    assert "has an error of at most 10⁻¹²" in caption(far)


def test_the_round_off_is_drawn_if_it_is_near_and_else_told(orders):
    order = orders["bowl"][0]
    near = dataclasses.replace(order, floor=order.error / 100)
    assert "round-off" in legend_texts(frame(figures.order.draw(near)))
    far = figures.order.draw(dataclasses.replace(order, floor=order.error * 1e-9))
    assert "round-off" not in legend_texts(frame(far))
    assert "The round-off is at most 3.9×10⁻¹¹, below the frame." in caption(far)


def test_the_legend_names_the_slopes_with_their_errors(pictures):
    ax = frame(pictures["order"])
    assert {
        "SGD 1.000 ± 0.002",
        "Momentum 1.010 ± 0.002",
        "RMSprop 0.500 ± 0.002",
        "Adam 0.990 ± 0.002",
    } <= set(legend_texts(ax))
    for gid, slope in (("triangle 1", 1.0), ("triangle 0.5", 0.5)):
        (x0, x1, _, _), (y0, _, y2, _) = artist(ax, gid).get_data()
        assert np.log(y2 / y0) / np.log(x1 / x0) == pytest.approx(slope)


def test_left_out_errors_far_above_the_fit_do_not_press_it_flat(orders):
    wild = dataclasses.replace(
        orders["bowl"][0], error=orders["bowl"][0].error * np.r_[1e40, 5, np.ones(5)]
    )
    low, high = frame(figures.order.draw(wild)).get_ylim()
    assert high < 1e3 * wild.error[2] and low < wild.error[-1] < wild.error[1] < high


def test_the_error_of_the_solver_ends_where_the_map_has_failed(diverged):
    k = int(diverged.map.stats["first_bad_step"])
    errors = jnp.where(jnp.arange(STEPS + 1) < k, 1e-9, 1e30)
    picture = global_error.draw(dataclasses.replace(diverged, solver_error=errors))
    assert k < STEPS + 1
    assert len(artist(frame(picture), "solver error sgd").get_xdata()) == k
    assert "has an error of at most 10⁻⁹" in caption(picture)


def test_the_legend_says_in_a_word_that_a_run_failed(diverged, comparisons):
    sgd, adam = comparisons["bowl"][0], comparisons["bowl"][3]
    assert {"SGD (diverged)", "Adam"} <= set(legend_texts(frame(paths.draw([diverged, adam]))))
    lost = dataclasses.replace(sgd, flow=dataclasses.replace(diverged.flow, result=jnp.asarray(4)))
    assert "SGD (flow unsolved)" in [a.get_label() for a in legend_handles(entries([lost]))]


def test_the_path_that_covers_least_lies_on_top(comparisons):
    """Of as many dots the shorter path, else that of fewer dots."""
    short, long = comparisons["bowl"][:2]
    few = with_runs(long, lambda runs: [jax.tree.map(lambda a: a[:10], a) for a in runs])
    for other, order in ((long, ["momentum", "sgd"]), (few, ["sgd", "momentum"])):
        drawn = [line.get_gid() for line in frame(paths.draw([short, other])).lines]
        assert [gid[4:] for gid in drawn if gid.startswith("map ")] == order


def test_the_overview_holds_every_panel_and_leaves_out_what_is_missing(
    comparisons, local_errors, orders, pictures
):
    errors = {"global_error", "local_error", "order"}
    panels = {ax.get_gid(): ax for ax in pictures["overview"].axes}
    assert set(panels) == {"paths", "loss", "phase"} | errors
    for i, key in enumerate(KEYS):
        comparison = comparisons["bowl"][i]
        line = artist(panels["paths"], f"map {key}")
        np.testing.assert_array_equal(line.get_xydata(), comparison.map.y.x)
        line = artist(panels["global_error"], f"global error {key}")
        np.testing.assert_array_equal(line.get_ydata(), comparison.error)
    sgd = comparisons["bowl"][0]
    without_velocity = overview.draw(sgd, local_errors["bowl"][0], orders["bowl"][0])
    assert {ax.get_gid() for ax in without_velocity.axes} == {"paths", "loss"} | errors
    bare = overview.draw(sgd, [], [])
    assert {ax.get_gid() for ax in bare.axes} == {"paths", "loss", "global_error"}


def test_the_paths_fill_their_frame_in_the_overview(pictures):
    (ax,) = (ax for ax in pictures["overview"].axes if ax.get_gid() == "paths")
    pictures["overview"].draw_without_rendering()
    given, drawn = ax.get_position(original=True), ax.get_position()
    assert drawn.width == pytest.approx(given.width, rel=0.02)
    assert drawn.height == pytest.approx(given.height, rel=0.02)


@pytest.mark.parametrize("name", [name for name in figures.catalogue if name != "overview"])
def test_ax_is_drawn_into_and_returned_and_the_rest_is_left_alone(name, arguments):
    figure = Figure(figsize=(9, 4))
    ax, other = figure.subplots(1, 2)
    assert figures.catalogue[name].draw(*arguments[name], ax=ax) is ax
    assert figure.axes == [ax, other] and not other.has_data() and other.get_title() == ""
    assert ax.get_title() and ax.has_data()
    assert figure.get_suptitle() == "" and figure.get_supxlabel() == ""
    assert figure.get_size_inches().tolist() == [9, 4]
    figure.draw_without_rendering()


def test_figures_of_many_frames_take_the_claims_into_their_frames(comparisons):
    with mpl.rc_context({"figure.constrained_layout.use": True}):
        figure = Figure(figsize=(8, 4))
        left, right = figure.subplots(1, 2)
    loss.draw(comparisons["bowl"], ax=left)
    global_error.draw(comparisons["bowl"], ax=right)
    figure.draw_without_rendering()
    assert left.title.get_window_extent().x1 <= right.title.get_window_extent().x0
