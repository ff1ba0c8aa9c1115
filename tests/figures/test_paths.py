"""Ties end at equal times, the bold one is the longest, and its number is that of the title."""

import dataclasses
import re
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from overlaps import outside, overlapping
from scenes import (
    KEYS,
    STEPS,
    artist,
    caption,
    gids,
    heading,
    heads,
    keys,
    make_comparison,
    on_problem,
    one_line,
    scene,
    with_runs,
)

from dynopt import SGD, Adam, Momentum, Problem, Schedule, analysis, integrate
from dynopt.analysis import Comparison
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import Picture, paths
from dynopt.figures.drawing import motion, style, ties
from dynopt.figures.drawing.motion import Motion, leaving_step, motion_of, motion_sentence
from dynopt.figures.drawing.words import format_number, run_names
from dynopt.figures.plane.window import PLANE


@pytest.fixture(scope="module")
def edge() -> Comparison:
    """Gradient descent near the edge of stability, where it visibly leaves its flow."""
    return make_comparison(SGD(0.17), scene("bowl"))


@pytest.fixture(scope="module")
def picture(comparisons) -> Picture:
    return paths.draw(comparisons["bowl"])


def ties_of(ax, gid: str) -> list[np.ndarray]:
    """The two ends of each tie with this gid, on the flow and on the map."""
    patches = [p for p in ax.patches if isinstance(p, FancyArrowPatch) and p.get_gid() == gid]
    return [np.array(patch._posA_posB) for patch in patches]


def text_of(ax, gid: str) -> str:
    return one_line(artist(ax, gid).get_text())


# --- map, flow and ties


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_map_and_flow_are_drawn_exactly_or_magnified_as_told(i, comparisons, picture):
    comparison, ax = comparisons["bowl"][i], picture.axes[i]
    curve = np.asarray(comparison.curve.y.x)
    np.testing.assert_array_equal(artist(ax, f"flow {KEYS[i]}").get_xydata(), curve)
    map, flow = np.asarray(comparison.map.y.x), np.asarray(comparison.flow.y.x)
    magnified = f"magnified {KEYS[i]}" in gids(ax)
    factor = int(text_of(ax, f"magnified {KEYS[i]}").split("×")[1]) if magnified else 1
    expected = flow + factor * (map - flow) if magnified else map
    np.testing.assert_array_equal(artist(ax, f"map {KEYS[i]}").get_xydata(), expected)


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_every_tie_ends_at_equal_times_on_map_and_flow(i, comparisons, picture):
    comparison, ax = comparisons["bowl"][i], picture.axes[i]
    map = np.asarray(artist(ax, f"map {KEYS[i]}").get_xydata())
    flow = np.asarray(comparison.flow.y.x)
    drawn = ties_of(ax, f"tie {KEYS[i]}") + ties_of(ax, f"longest tie {KEYS[i]}")
    assert 1 < len(drawn) <= ties.MOST_TIES + 1
    for on_flow, on_map in drawn:
        k = int(np.linalg.norm(map - on_map, axis=1).argmin())
        np.testing.assert_array_equal(on_map, map[k])
        np.testing.assert_array_equal(on_flow, flow[k])


@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_bold_tie_is_the_longest_and_carries_the_number_of_the_facts(i, comparisons, picture):
    comparison, ax = comparisons["bowl"][i], picture.axes[i]
    k = int(np.argmax(comparison.error))
    ((on_flow, _),) = ties_of(ax, f"longest tie {KEYS[i]}")
    np.testing.assert_array_equal(on_flow, np.asarray(comparison.flow.y.x)[k])
    number = format_number(float(comparison.error[k]), 2)
    assert text_of(ax, f"number {KEYS[i]}") == number
    assert re.search(rf"{re.escape(number)} \w+ at step {k}$", text_of(ax, "fact"))
    np.testing.assert_array_equal(artist(ax, f"ring {KEYS[i]}").get_xydata()[0], on_flow)


def test_the_number_in_the_title_is_that_of_a_mark(comparisons, picture):
    numbers = {text_of(ax, f"number {key}") for ax, key in zip(picture.axes, KEYS, strict=True)}
    said = set(re.findall(r"\d+\.\d+", heading(picture)))
    assert said and said <= numbers


def test_dots_are_at_least_eight_points_apart(picture):
    for ax, key in zip(picture.axes, KEYS, strict=True):
        dots = artist(ax, f"map {key}")
        with style.context("notebook"):
            places = ties.on_paper(ax, dots.get_xydata()[dots.get_markevery()])
        distances = np.hypot(*np.diff(places, axis=0).T)
        assert len(places) > 3 and distances.min() >= ties.APART - 0.2


def test_the_stroke_of_the_flow_is_that_of_a_far_denser_solve():
    comparison = analysis.compare(Momentum(0.02), scene("bowl"), STEPS)
    dense = integrate(Momentum(0.02), scene("bowl"), STEPS, save_every=1 / 256)
    drawn = np.asarray(artist(paths.draw(comparison).axes[0], "flow momentum").get_xydata())
    true = np.asarray(dense.y.x)
    segments = np.repeat(np.arange(len(drawn) - 1), (len(true) - 1) // (len(drawn) - 1))
    a, b = drawn[segments], drawn[segments + 1]
    along = ((true[:-1] - a) * (b - a)).sum(1) / np.maximum(((b - a) ** 2).sum(1), 1e-300)
    nearest = a + np.clip(along, 0, 1)[:, None] * (b - a)
    assert np.hypot(*(true[:-1] - nearest).T).max() < 1e-3 * np.hypot(*np.ptp(true, axis=0))


def test_only_small_errors_are_magnified_and_stay_below_the_limit(comparisons, edge):
    assert ties.tied(edge, PLANE).magnification == 1
    small = comparisons["bowl"][0]
    points = ties.tied(small, PLANE)
    largest = float(small.error.max())
    size = np.ptp(np.concatenate([small.map.y.x, small.curve.y.x]), axis=0)
    assert 5 * largest < 0.1 * np.hypot(*size) < 10 * largest and points.magnification == 5
    near = with_runs(small, lambda runs: runs)
    flow = dataclasses.replace(
        near.flow, y=near.flow.y._replace(x=near.map.y.x + 1e-4 * (near.flow.y.x - near.map.y.x))
    )
    points = ties.tied(dataclasses.replace(near, flow=flow, curve=flow), PLANE)
    diagonal = np.hypot(*np.ptp(points.curve, axis=0))
    shift = np.hypot(*(points.map - points.flow).T).max()
    assert points.magnification > 10 and 0.02 * diagonal < shift < 0.11 * diagonal


# --- the words of the title


def straight(x_map, x_flow, stars=None) -> Comparison:
    """A comparison of two given paths at the times 0, 1, 2, ..."""
    base = make_comparison(SGD(0.01), scene("bowl"), len(x_map) - 1)
    x_map, x_flow = (jnp.asarray(x, float) for x in (x_map, x_flow))
    runs = [
        dataclasses.replace(run, y=run.y._replace(x=x))
        for run, x in ((base.map, x_map), (base.flow, x_flow))
    ]
    error = jnp.linalg.norm(x_map - x_flow, axis=1)
    return dataclasses.replace(base, map=runs[0], flow=runs[1], curve=runs[1], error=error)


s = np.linspace(0, 1, 41)
LINE = np.stack([s, 0 * s], 1)
WAVE = np.stack([s, 0.2 * np.sin(9 * s)], 1)


@pytest.mark.parametrize(
    ("map", "flow", "kind"),
    [
        (LINE * 0.8, LINE, "behind"),
        (LINE, LINE * 0.8, "ahead"),
        (WAVE, LINE, "wider"),
        (LINE, WAVE, "narrower"),
        (LINE + [0, 0.01], LINE, "keeps"),
        (np.stack([s, 0.3 * s], 1), LINE, "departs"),
        (np.stack([np.minimum(3 * s, 1), 0 * s], 1), np.stack([0 * s, np.minimum(3 * s, 1)], 1),
         "elsewhere"),
    ],
)  # fmt: skip
def test_the_verb_says_how_the_map_moves_beside_its_flow(map, flow, kind):
    found = motion_of(straight(map, flow))
    assert found.kind == kind
    errors = np.linalg.norm(map - flow, axis=1)
    assert found.error == pytest.approx(errors.max()) and errors[found.step] == errors.max()


def test_two_kinds_are_named_those_with_the_largest_relative_errors():
    motions = [
        Motion("behind", 3, 0.5, 0.1),
        Motion("keeps", 9, 0.01, 0.01),
        Motion("wider", 2, 8.0, 0.4),
        Motion("behind", 5, 0.7, 0.2),
    ]
    assert motion_sentence(["A", "B", "C", "D"], motions) == (
        "A and D fall behind their flows by up to 0.7 (D); C swings wider than its flow by up to 8"
    )


def test_a_map_that_diverges_is_drawn_while_it_leaves(diverged):
    step = leaving_step(diverged)
    x, curve = np.asarray(diverged.map.y.x), np.asarray(diverged.curve.y.x)
    middle = (curve.min(0) + curve.max(0)) / 2
    radius = np.linalg.norm(curve - middle, axis=1).max()
    out = np.linalg.norm(x - middle, axis=1) > motion.LEAVES * radius
    assert step is not None and not out[step - 1] and out[step : step + 5].all()
    picture = paths.draw(diverged)
    ax = picture.axes[0]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for point in x[:step]:
        assert left < point[0] < right and bottom < point[1] < top
    assert "exit thread sgd" in gids(ax)
    assert text_of(ax, "leaves thread sgd") == f"leaves at step {step}"
    assert heading(picture) == f"SGD leaves at step {step}"
    failed = int(diverged.map.stats["first_bad_step"])
    assert f"leaves at step {step}, diverged at step {failed}" in text_of(ax, "fact")
    assert f"leaves at step {step}" in picture.alt


def test_a_failure_that_is_no_leaving_is_named(comparisons):
    sgd = comparisons["bowl"][0]
    map = dataclasses.replace(sgd.map, result=jnp.asarray(2))
    assert "met NaN or infinity" in heading(paths.draw(dataclasses.replace(sgd, map=map)))
    flow = dataclasses.replace(sgd.flow, result=jnp.asarray(4))
    assert "has a flow that could not be solved beyond" in heading(
        paths.draw(dataclasses.replace(sgd, flow=flow))
    )


# --- frames


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_each_optimizer_has_a_frame_of_its_own(count):
    runs = [make_comparison(SGD(0.01 * (i + 1)), scene("bowl"), 7) for i in range(count)]
    picture = paths.draw(runs)
    assert len(picture.axes) == count == len(set(heads(picture)))
    boxes = [ax.get_position(original=True) for ax in picture.axes]
    picture.draw_without_rendering()
    for ax in picture.axes:
        assert ax.get_aspect() == 1.0 and ax.has_data()
    assert np.ptp([box.width for box in boxes]) < 1e-6
    assert overlapping(picture) == [] and outside(picture) == []


def test_the_frames_name_optimizers_and_the_legend_what_is_drawn(picture):
    assert heads(picture) == ["SGD", "Momentum", "RMSprop", "Adam"]
    both = {"map", "map, magnified"}
    assert {*keys(picture)} == {*both, "flow", "tie: equal times", "longest tie"}
    assert caption(picture).startswith("On bowl from (−2, 1.5), 40 steps in float64; the flow is")
    for ax, rate in zip(picture.axes, (0.01, 0.01, 0.02, 0.05), strict=True):
        assert text_of(ax, "fact").startswith(f"η = {rate} ")


def test_a_name_of_ones_own_and_a_title_of_ones_own_are_used(comparisons, as_users_see_it):
    warm = Schedule(Adam(0.1), lambda t: jnp.minimum(1.0, t)).named("Adam, warmed up")
    assert run_names([warm, Adam(0.1).named("Adam, cold"), SGD(0.1)]) == [
        "Adam, warmed up", "Adam, cold", "SGD"
    ]  # fmt: skip
    named = dataclasses.replace(comparisons["bowl"][3], optimizer=Adam(0.05).named("mine $x$"))
    picture = paths.draw(named, title="What the lesson says")
    assert heading(picture) == "What the lesson says" and heads(picture) == ["mine \\$x\\$"]
    with pytest.raises(InvalidType, match="`name` must be text, got 3; put it in quotes"):
        SGD(0.1).named(3)  # pyright: ignore


def test_one_ax_holds_one_optimizer(comparisons):
    left, right = Figure(figsize=(9, 4)).subplots(1, 2)
    assert paths.draw(comparisons["bowl"][0], ax=left) is left
    assert left.get_title().startswith("SGD ") and not right.has_data()
    with pytest.raises(InvalidValue, match="`ax` holds one optimizer, got 4 results; pass one"):
        paths.draw(comparisons["bowl"], ax=right)


def test_axes_that_were_logarithmic_become_linear(comparisons):
    ax = Figure().add_subplot(xscale="log", yscale="log")
    paths.draw(comparisons["bowl"][0], ax=ax)
    assert ax.get_xscale() == ax.get_yscale() == "linear" and ax.get_xlim()[0] < -1


def test_the_window_holds_the_runs_and_little_else(comparisons):
    for comparison in comparisons["ripples"]:
        ax = paths.draw(comparison).axes[0]
        points = np.concatenate([ties.tied(comparison, PLANE).map, comparison.curve.y.x])
        low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
        size = np.ptp(points, axis=0)
        assert (low < points.min(0)).all() and (points.max(0) < high).all()
        assert ((high - low) / size).min() < 1.2


def test_stars_are_the_minimizers_in_the_window(comparisons):
    picture = paths.draw(comparisons["wells"])
    for ax in picture.axes:
        low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
        stars = np.asarray(comparisons["wells"][0].problem.minimizers)
        inside = ((low <= stars) & (stars <= high)).all(1)
        drawn = artist(ax, "minimizer").get_xydata() if inside.any() else np.zeros((0, 2))
        np.testing.assert_array_equal(drawn, stars[inside])
        np.testing.assert_array_equal(artist(ax, "start").get_xydata(), [[0.0, -3.0]])


def test_contours_are_round_and_evenly_spread_in_the_logarithm(comparisons):
    for ax in paths.draw(comparisons["valley"]).axes:
        levels = np.array(artist(ax, "contours").levels)
        assert levels.min() > 0 and 4 <= len(levels) <= 13
        digits = set((levels / 10 ** np.floor(np.log10(levels) + 1e-9)).round(6))
        assert digits <= {1, 1.5, 2, 3, 5, 7}


@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_of_no_step_and_of_one_is_drawn(steps):
    picture = paths.draw(make_comparison(SGD(0.1), scene("bowl"), steps))
    picture.savefig(BytesIO(), dpi=30)
    assert "NaN" not in picture.alt + heading(picture)


def test_nothing_finite_is_a_picture(comparisons):
    lost = with_runs(comparisons["bowl"][0], lambda r: (r[0], r[1], jnp.full_like(r[2], jnp.nan)))
    paths.draw(lost).savefig(BytesIO(), dpi=30)


def test_a_run_that_goes_to_infinity_is_drawn_without_a_warning(diverged):
    huge = with_runs(diverged, lambda r: r)
    x = huge.map.y.x.at[-1].set(1e308)
    map = dataclasses.replace(huge.map, y=huge.map.y._replace(x=x))
    paths.draw(dataclasses.replace(huge, map=map)).savefig(BytesIO(), dpi=30)


def test_in_one_coordinate_other_figures_are_named(comparisons):
    line = on_problem(comparisons["bowl"][0], Problem(lambda x: (x**2).sum(), [1.0], name="line"))
    with pytest.raises(
        InvalidValue, match="line has 1 coordinate; draw loss, convergence or phase"
    ):
        paths.draw(line)


@pytest.mark.parametrize("look", style.STYLES)
def test_no_word_lies_on_another_or_outside(look, comparisons, diverged):
    for results in (comparisons["wells"], comparisons["ripples"][1], diverged):
        picture = paths.draw(results, style=look)
        assert overlapping(picture) == [] and outside(picture) == []


def test_an_unstable_map_that_has_not_failed_yet_leaves(edge):
    """x_k = (-2 · 0.7^k, 1.5 (-2)^k): its flow has the radius 1.25, and 12 > 6 · 1.25 > 6."""
    unstable = make_comparison(SGD(0.3), scene("bowl"), 14)
    assert unstable.map.status == 0 and leaving_step(unstable) == 3
    picture = paths.draw(unstable)
    (ax,) = picture.axes
    assert heading(picture) == "SGD leaves at step 3" and "exit thread sgd" in gids(ax)
    assert text_of(ax, "fact") == "η = 0.3 leaves at step 3" and "leaves at step 3" in picture.alt
    assert -6 < ax.get_ylim()[0] and ax.get_ylim()[1] < 8
    assert leaving_step(edge) is None  # far out, but it comes back


def test_the_motion_of_huge_positions_is_that_of_small_ones():
    huge = dataclasses.replace(straight(LINE * 8e307, LINE * 1e308), error=2e307 * jnp.asarray(s))
    found = motion_of(huge)
    assert found.kind == "behind" and found.relative == pytest.approx(0.2)


def test_a_long_title_names_the_flow_once():
    names = ["Momentum", "RMSprop", "Nesterov", "Adam"]
    motions = [Motion(kind, 1, 0.5, 0.1) for kind in ("behind", "behind", "ahead", "ahead")]
    assert motion_sentence(names, motions) == (
        "Momentum and RMSprop fall behind their flows by up to 0.5 (Momentum); "
        "Nesterov and Adam run ahead by up to 0.5 (Nesterov)"
    )


@pytest.mark.parametrize(("look", "width"), [("notebook", 2.6), ("slides", 2.6 * 2.8 / 1.7)])
def test_ties_are_as_wide_beside_other_lines_in_every_style(look, width, edge):
    (ax,) = paths.draw(edge, style=look).axes
    (tie,) = (patch for patch in ax.patches if patch.get_gid() == "longest tie sgd")
    assert tie.get_linewidth() == pytest.approx(width)


def test_minimizers_where_the_loss_is_not_the_minimum_are_refused(comparisons):
    bowl = Problem(
        scene("bowl").loss,
        [-2.0, 1.5],
        minimizers=[[0.0, 0.0], [1.0, 1.0]],
        minimum=0.0,
        name="false",
    )
    with pytest.raises(
        InvalidValue, match="false states minimizers where its loss is up to 5.5 above the stated"
    ):
        paths.draw(on_problem(comparisons["bowl"][0], bowl))
    window = ((-3, 3), (-3, 3))
    with pytest.raises(InvalidValue, match="up to 5.5 above the stated `minimum`; correct one of"):
        analysis.basins(SGD(0.1), bowl, 5, window=window, points=3)
