"""What is drawn is what was measured, number by number."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from scenes import (
    STEPS,
    elsewhere,
    found,
    gids,
    keys,
    made_basins,
    made_rescaling,
    made_sensitivity,
    made_stability,
    scene,
    with_runs,
)

from dynopt import SGD, Momentum, Problem, figures
from dynopt.figures import Picture, global_error, loss, overview, paths, phase
from dynopt.figures.drawing.runs import entries, handles
from dynopt.figures.drawing.words import number

KEYS = ("sgd", "momentum", "rmsprop", "adam")


def frame(picture) -> Axes:
    return picture.axes[0]


def words(figure) -> str:
    return " ".join(
        text.get_text().replace("\n", " ") for text in figure.findobj(Text) if text.get_visible()
    )


@pytest.fixture(scope="module")
def pictures(comparisons, local_errors, orders, energies) -> dict[str, Picture]:
    """Those of one list of runs."""
    shown = {
        "local_error": local_errors["bowl"],
        "order": orders["bowl"],
        "energy": energies["bowl"],
    }
    drawn = {
        name: module.draw(shown.get(name, comparisons["bowl"]))
        for name, module in figures.catalogue.items()
        if name not in ("modified", "stability", "basins", "sweep", "rescaling", "overview")
    }
    return drawn | {
        "overview": overview.draw(comparisons["bowl"], local_errors["bowl"], orders["bowl"])
    }


def test_the_catalogue_lists_the_pictures_in_teaching_order():
    runs = ["paths", "loss", "gap", "local_error", "order", "phase", "modified", "energy"]
    assert list(figures.catalogue) == [
        *runs,
        "stability",
        "basins",
        "sweep",
        "rescaling",
        "overview",
    ]
    for module in figures.catalogue.values():
        assert callable(module.draw) and callable(module.describe) and module.draw.__doc__


@pytest.mark.parametrize("kind", ["map", "flow"])
@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_paths_hold_the_trajectories_exactly(pictures, comparisons, i, kind):
    line = found(frame(pictures["paths"]), f"{kind} {KEYS[i]}")
    np.testing.assert_array_equal(line.get_xydata(), getattr(comparisons["bowl"][i], kind).y.x)


@pytest.mark.parametrize("kind", ["map", "flow"])
@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_loss_holds_the_trajectories_exactly(pictures, comparisons, i, kind):
    line = found(frame(pictures["loss"]), f"{kind} {KEYS[i]}")
    np.testing.assert_array_equal(line.get_ydata(), getattr(comparisons["bowl"][i], kind).loss)


def test_the_loss_is_counted_from_the_known_minimum_or_else_from_nothing(comparisons):
    sgd = comparisons["bowl"][0]
    deep = Problem(sgd.problem.loss, [-2.0, 1.5], name="deep", minimum=-5.0)
    ax = frame(loss.draw(elsewhere(sgd, deep)))
    np.testing.assert_array_equal(found(ax, "map sgd").get_ydata(), np.asarray(sgd.map.loss) + 5)
    assert ax.get_ylabel() == "loss above minimum  f(x) − f*" and ax.get_yscale() == "log"
    unknown = Problem(sgd.problem.loss, [-2.0, 1.5], name="unknown")
    ax = frame(loss.draw(elsewhere(sgd, unknown)))
    np.testing.assert_array_equal(found(ax, "map sgd").get_ydata(), sgd.map.loss)
    assert ax.get_ylabel() == "loss  f(x)" and ax.get_yscale() == "linear"


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_gap_and_local_error_hold_the_errors_exactly(pictures, comparisons, local_errors, i):
    for name, result in (("gap", comparisons["bowl"][i]), ("local_error", local_errors["bowl"][i])):
        ax = frame(pictures[name])
        np.testing.assert_array_equal(
            found(ax, f"{name.replace('_', ' ')} {KEYS[i]}").get_ydata(), result.error
        )
        np.testing.assert_array_equal(
            found(ax, f"solver error {KEYS[i]}").get_ydata(), result.solver_error
        )


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_order_holds_gaps_fit_and_floor_exactly(pictures, orders, i):
    ax, result = frame(pictures["order"]), orders["bowl"][i]
    np.testing.assert_array_equal(
        found(ax, f"gaps {KEYS[i]}").get_xydata(), np.stack([result.h, result.error], 1)
    )
    np.testing.assert_array_equal(found(ax, f"window {KEYS[i]}").get_ydata(), result.error[2:])
    np.testing.assert_array_equal(found(ax, f"floor {KEYS[i]}").get_ydata(), result.floor)
    h, fit = found(ax, f"fit {KEYS[i]}").get_data()
    np.testing.assert_allclose(np.diff(np.log(fit)) / np.diff(np.log(h)), result.slope)
    assert (
        found(ax, f"gaps {KEYS[i]}").get_markerfacecolor()
        != found(ax, f"window {KEYS[i]}").get_markerfacecolor()
    )


@pytest.mark.parametrize("coordinate", [0, 1])
def test_the_phase_plane_holds_position_and_velocity(comparisons, coordinate):
    ax = frame(phase.draw(comparisons["bowl"], coordinate=coordinate))
    for kind in ("map", "flow"):
        y = getattr(comparisons["bowl"][1], kind).y
        np.testing.assert_array_equal(
            found(ax, f"{kind} momentum").get_xydata(), np.stack([y.x, y.p], -1)[:, coordinate]
        )
    assert "map sgd" not in gids(ax)
    assert ax.get_ylabel() == f"velocity p{'₁₂'[coordinate]} = x{'₁₂'[coordinate]}′"


def test_a_true_result_is_drawn_as_it_is(true_gap):
    picture = global_error.draw(true_gap)
    np.testing.assert_array_equal(found(frame(picture), "gap momentum").get_ydata(), true_gap.error)
    np.testing.assert_array_equal(
        found(frame(picture), "solver error momentum").get_ydata(), true_gap.solver_error
    )
    solver, rtol = true_gap.flow.stats["solver"], true_gap.flow.stats["rtol"]
    assert f"The flow by {solver} (rtol {number(float(rtol))}) errs by at most" in words(picture)


@pytest.mark.parametrize("name", ["paths", "loss", "phase", "energy"])
def test_dots_are_the_map_and_a_line_is_the_flow(pictures, name):
    ax = frame(pictures[name])
    for gid in gids(ax):
        if gid.startswith("map "):
            assert (
                found(ax, gid).get_linestyle() == "None" and found(ax, gid).get_marker() != "None"
            )
        if gid.startswith("flow "):
            assert (
                found(ax, gid).get_linestyle() != "None" and found(ax, gid).get_marker() == "None"
            )


def test_the_flow_is_smooth_between_its_points(comparisons):
    flow = found(frame(paths.draw(comparisons["bowl"][1])), "flow momentum")
    x, corners = np.asarray(comparisons["bowl"][1].flow.y.x), flow.get_path().vertices
    np.testing.assert_array_equal(corners[::3], x)  # through every point
    tangent, velocity = corners[1::3] - x[:-1], np.asarray(comparisons["bowl"][1].flow.y.p)[:-1]
    sine = tangent[:, 0] * velocity[:, 1] - tangent[:, 1] * velocity[:, 0]
    np.testing.assert_allclose(sine, 0, atol=1e-12)  # along the flow's own velocity
    assert (tangent * velocity).sum(1).min() >= 0 < (tangent * velocity).sum(1).max()


def test_every_picture_has_title_labels_with_units_names_caption_and_alt_text(pictures):
    for name, picture in pictures.items():
        for ax in picture.axes:
            assert ax.get_title() and ax.get_xlabel() and ax.get_ylabel()
        said = words(picture)
        assert "float64" in said
        for optimizer in (
            ("Momentum",) if name == "phase" else ("SGD", "Momentum", "RMSprop", "Adam")
        ):
            assert optimizer in said
        assert "Momentum(learning_rate=0.01, momentum=0.9)" in said and "h\xa0=\xa00.1" in said
        assert "bowl" in picture.alt and picture.alt.endswith(".") and "\n" not in picture.alt


def test_axes_say_what_they_measure(pictures):
    labels = {name: (frame(p).get_xlabel(), frame(p).get_ylabel()) for name, p in pictures.items()}
    assert labels["paths"] == ("position x₁", "position x₂")
    assert labels["energy"][1] == "energy above minimum  E − f*"
    assert labels["loss"][1] == "loss above minimum  f(x) − f*"
    assert labels["gap"][1] == "gap  |x_map(t) − x_flow(t)|"
    assert labels["order"] == ("time per step  h", "largest gap  |x_map − x_flow|")
    assert "t = k h" in labels["gap"][0] and "t = k h" in labels["local_error"][0]


def test_errors_stand_on_logarithmic_axes(pictures):
    for name in ("loss", "gap", "local_error", "order"):
        assert frame(pictures[name]).get_yscale() == "log"
    assert frame(pictures["order"]).get_xscale() == "log"


def test_runs_of_one_length_are_drawn_over_time_others_over_steps(comparisons):
    sgd, _, rmsprop, _ = comparisons["bowl"]
    assert frame(global_error.draw(sgd)).get_xlabel() == "time  t = k h"
    np.testing.assert_array_equal(
        found(frame(global_error.draw(sgd)), "gap sgd").get_xdata(), sgd.t
    )
    ax = frame(global_error.draw([sgd, rmsprop]))
    assert ax.get_xlabel() == "step k,  at time t = k h"
    np.testing.assert_array_equal(found(ax, "gap rmsprop").get_xdata(), np.arange(STEPS + 1))


def test_the_window_is_the_problems_own_and_paths_leave_it_only_from_view(comparisons):
    corner = Problem(scene("bowl").loss, [-2.0, 1.5], name="corner", window=((-2.5, 0), (-0.5, 2)))
    ax = frame(paths.draw(elsewhere(comparisons["bowl"][1], corner)))
    assert ax.get_xlim() == (-2.5, 0) and ax.get_ylim() == (-0.5, 2)
    ((x, y),) = found(ax, "exit map momentum").get_xydata()  # in shares of the frame
    assert y == 0 and 0 < x < 1 and "exit flow momentum" in gids(ax)
    np.testing.assert_array_equal(
        found(ax, "map momentum").get_xydata(), comparisons["bowl"][1].map.y.x
    )
    assert "exit map momentum" not in gids(frame(paths.draw(comparisons["bowl"][1])))


def test_a_diverged_run_is_drawn_to_its_last_finite_point_and_said(diverged, comparisons):
    k = int(diverged.map.stats["first_bad_step"])
    for module in (paths, loss, global_error):
        picture = module.draw([diverged, comparisons["bowl"][3]])
        ax = frame(picture)
        assert f"SGD diverged at step {k}" in ax.get_title().replace("\n", " ")
        assert (
            f"SGD diverged at step {k}" in words(picture) and f"diverged at step {k}" in picture.alt
        )
        assert f"exit {'gap' if module is global_error else 'map'} sgd" in gids(ax)
    ax = frame(paths.draw(diverged))
    np.testing.assert_array_equal(
        found(ax, "map sgd").get_xydata(), np.asarray(diverged.map.y.x)[diverged.map.finite]
    )
    assert found(ax, "end of map sgd").get_marker() == "x"
    assert ax.get_xlim() == (-3, 3) and ax.get_ylim() == (-3, 3)
    assert frame(loss.draw(diverged)).get_ylim()[1] < 1e6


def test_starts_and_minimizers_are_marked(comparisons):
    ax = frame(paths.draw(comparisons["wells"]))
    np.testing.assert_array_equal(found(ax, "start").get_xydata(), [[0.0, -3.0]])
    np.testing.assert_array_equal(
        found(ax, "minimizer").get_xydata(), comparisons["wells"][0].problem.minimizers
    )
    assert "minimizer" not in gids(frame(paths.draw(comparisons["nowhere"])))


def test_levels_are_round_and_evenly_spread_in_the_logarithm(comparisons):
    ax = frame(paths.draw(comparisons["valley"]))
    levels = np.array(found(ax, "contours").levels)
    assert levels.min() > 0 and 5 <= len(levels) <= 13
    assert set((levels / 10 ** np.floor(np.log10(levels) + 1e-9)).round(6)) <= {1, 1.5, 2, 3, 5, 7}


def test_too_many_dots_are_thinned_in_view_only_and_the_caption_says_so(comparisons):
    long = with_runs(
        comparisons["bowl"][0], lambda runs: jax.tree.map(lambda a: jnp.concatenate([a] * 10), runs)
    )
    picture = paths.draw(long)
    assert found(frame(picture), "map sgd").get_markevery() == 5
    assert len(found(frame(picture), "map sgd").get_xdata()) == 410
    assert "Every 5th iterate has a dot." in words(picture)
    assert found(frame(loss.draw(comparisons["bowl"][0])), "map sgd").get_markevery() == 2
    assert found(frame(paths.draw(comparisons["bowl"][0])), "map sgd").get_markevery() == 1
    assert "iterate has a dot" not in words(paths.draw(comparisons["bowl"][0]))


def test_the_solvers_error_is_drawn_if_near_and_else_told(comparisons):
    from dataclasses import replace

    sgd = comparisons["bowl"][0]
    near, far = (replace(sgd, solver_error=sgd.solver_error * factor) for factor in (1e5, 1e-3))
    ax = frame(global_error.draw(near))
    assert (
        ax.get_ylim()[0] < 1e-4
        and "solver band sgd" in gids(ax)
        and "solver's own error" in words(global_error.draw(near))
    )
    ax = frame(global_error.draw(far))
    assert ax.get_ylim()[0] > 1e-12 and "solver band sgd" not in gids(ax)
    assert "solver's own error, below the frame: at most 10⁻¹²" in words(global_error.draw(far))


def test_slopes_stand_beside_their_lines_with_their_errors(pictures):
    said = words(pictures["order"])
    for text in (
        "SGD 1.000 ± 0.002",
        "Momentum 1.010 ± 0.002",
        "RMSprop 0.500 ± 0.002",
        "Adam 0.990 ± 0.002",
    ):
        assert text in said
    ax = frame(pictures["order"])
    for gid, slope in (("triangle 1", 1.0), ("triangle 0.5", 0.5)):
        (x0, x1, _, _), (y0, _, y2, _) = found(ax, gid).get_data()
        assert np.log(y2 / y0) / np.log(x1 / x0) == pytest.approx(slope)


def test_left_out_gaps_far_above_the_fit_do_not_press_it_flat(orders):
    wild = dataclasses.replace(
        orders["bowl"][0], error=orders["bowl"][0].error * np.r_[1e40, 5, np.ones(5)]
    )
    low, high = frame(figures.order.draw(wild)).get_ylim()
    assert high < 1e3 * wild.error[2] and low < wild.error[-1] < wild.error[1] < high


def test_where_map_and_flow_end_apart_a_key_says_what_both_look_like(comparisons):
    """A name beside the end of one would be false of the other."""
    own = comparisons["bowl"][0]
    lower = dataclasses.replace(
        own, flow=dataclasses.replace(own.flow, loss=own.flow.loss.at[-1].set(1e-9))
    )
    for seen, named in ((own, True), (lower, False)):
        ax = frame(loss.draw([seen, comparisons["bowl"][3]]))
        assert ("name SGD" in gids(ax)) == named
        assert ("SGD" in keys(ax)) != named


def test_the_solvers_error_ends_where_the_map_has_failed(diverged):
    k = int(diverged.map.stats["first_bad_step"])
    wild = dataclasses.replace(diverged, solver_error=jnp.where(jnp.arange(41) < k, 1e-9, 1e30))
    assert (
        k < 41 and len(found(frame(global_error.draw(wild)), "solver error sgd").get_xdata()) == k
    )
    assert "errs by at most 10⁻⁹" in global_error.draw(wild).get_supxlabel()


def test_a_key_says_in_a_word_that_a_run_failed(diverged, comparisons):
    picture = paths.draw([diverged, comparisons["bowl"][3]])
    assert {"SGD (diverged)", "Adam"} <= set(keys(frame(picture)))
    lost = dataclasses.replace(
        comparisons["bowl"][0], flow=dataclasses.replace(diverged.flow, result=jnp.asarray(4))
    )
    assert "SGD (flow unsolved)" in [a.get_label() for a in handles(entries([lost]))]


def test_the_path_that_covers_least_lies_on_top(comparisons):
    """Of as many dots the shorter, else that of fewer dots."""
    short, long = comparisons["bowl"][0], comparisons["bowl"][1]
    few = with_runs(long, lambda runs: [jax.tree.map(lambda a: a[:10], a) for a in runs])
    for other, order in ((long, ["momentum", "sgd"]), (few, ["sgd", "momentum"])):
        drawn = [line.get_gid() for line in frame(paths.draw([short, other])).lines]
        assert [gid[4:] for gid in drawn if gid.startswith("map ")] == order


def test_steps_are_counted_in_whole_numbers(comparisons):
    few = [
        with_runs(
            comparisons["bowl"][i],
            lambda runs, n=n: [jax.tree.map(lambda a: a[:n], a) for a in runs],
        )
        for i, n in ((0, 2), (3, 3))
    ]
    ax = frame(loss.draw(few))
    assert ax.get_xlabel().startswith("step") and all(
        tick == round(tick) for tick in ax.get_xticks()
    )


def test_a_flow_that_was_solved_in_part_shapes_the_phase_plane(comparisons):
    own = comparisons["bowl"][1]
    lost = dataclasses.replace(own, map=dataclasses.replace(own.map, result=jnp.asarray(1)))
    lost = dataclasses.replace(lost, flow=dataclasses.replace(own.flow, result=jnp.asarray(4)))
    assert np.ptp(frame(phase.draw(lost)).get_ylim()) > np.ptp(np.asarray(own.flow.y.p)[:, 0])


def test_numbers_on_the_axis_do_not_touch(comparisons):
    """However narrow the frame."""
    figure = Figure(figsize=(2.4, 2))
    ax = phase.draw(comparisons["valley"][1], ax=figure.add_subplot())
    figure.draw_without_rendering()
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels() if tick.get_text()]
    assert len(boxes) > 1 and all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


def test_names_stand_at_the_ends_of_their_lines(pictures):
    ax = frame(pictures["loss"])
    for name in ("SGD", "Momentum", "RMSprop", "Adam"):
        assert found(ax, f"name {name}").get_text() == name


def test_the_overview_holds_every_panel_and_leaves_out_what_is_not_there(
    comparisons, local_errors, orders, pictures
):
    optimizer = pictures["overview"]
    assert {ax.get_gid() for ax in optimizer.axes} == {
        "paths",
        "loss",
        "phase",
        "gap",
        "local_error",
        "order",
    }
    panels = {ax.get_gid(): ax for ax in optimizer.axes}
    for i, key in enumerate(KEYS):
        np.testing.assert_array_equal(
            found(panels["paths"], f"map {key}").get_xydata(), comparisons["bowl"][i].map.y.x
        )
        np.testing.assert_array_equal(
            found(panels["gap"], f"gap {key}").get_ydata(), comparisons["bowl"][i].error
        )
    sgd = overview.draw(comparisons["bowl"][0], local_errors["bowl"][0], orders["bowl"][0])
    assert {ax.get_gid() for ax in sgd.axes} == {"paths", "loss", "gap", "local_error", "order"}
    bare = overview.draw(comparisons["bowl"][0], [], [])
    assert {ax.get_gid() for ax in bare.axes} == {"paths", "loss", "gap"}


def test_ax_is_drawn_into_and_returned_and_the_rest_is_left_alone(
    comparisons, local_errors, orders, energies
):
    shown = {
        "local_error": local_errors["bowl"],
        "order": orders["bowl"],
        "energy": energies["bowl"],
    }
    shown |= {
        "stability": made_stability(),
        "rescaling": [made_rescaling(comparison) for comparison in comparisons["bowl"]],
    }
    stars = Problem(
        scene("wells").loss,
        [0.0, 0.0],
        name="stars",
        minimizers=[[1.0, 0.0], [-1.0, 0.0]],
        minimum=0.0,
    )
    shown |= {
        "basins": made_basins(SGD(0.1), stars),
        "sweep": made_sensitivity(Momentum(0.1), stars),
    }
    for name, module in figures.catalogue.items():
        if name in ("modified", "overview"):  # they take several lists
            continue
        figure = Figure(figsize=(9, 4))
        ax, other = figure.subplots(1, 2)
        assert module.draw(shown.get(name, comparisons["bowl"]), ax=ax) is ax
        assert figure.axes == [ax, other] and not other.has_data() and other.get_title() == ""
        assert ax.get_title() and ax.has_data()
        assert (
            figure.get_suptitle() == ""
            and figure.get_supxlabel() == ""
            and figure.get_size_inches().tolist() == [9, 4]
        )
        figure.draw_without_rendering()


def test_figures_of_many_frames_take_the_claims_into_their_frames(comparisons):
    with mpl.rc_context({"figure.constrained_layout.use": True}):
        figure = Figure(figsize=(8, 4))
        left, right = figure.subplots(1, 2)
    loss.draw(comparisons["bowl"], ax=left)
    global_error.draw(comparisons["bowl"], ax=right)
    figure.draw_without_rendering()
    assert left.title.get_window_extent().x1 <= right.title.get_window_extent().x0
