"""Odd data give a picture with words, or one clear sentence; never a traceback of matplotlib."""

import dataclasses
from io import BytesIO
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from scenes import (
    artist,
    caption,
    gids,
    make_order,
    on_problem,
    scene,
    with_runs,
)

from dynopt import SGD, Problem
from dynopt.compare.provenance import render
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import convergence, loss, overview, paths, phase, race


def saved(picture) -> bytes:
    file = BytesIO()
    picture.savefig(file, dpi=30)
    return file.getvalue()


def change_runs(comparison, **fields):
    """The comparison with other fields of its map and its flow."""
    map, flow = (dataclasses.replace(run, **fields) for run in (comparison.map, comparison.flow))
    return dataclasses.replace(comparison, map=map, flow=flow, curve=flow)


def of_dim(comparison, n: int):
    """A comparison in n coordinates, all of them the first of the one given."""
    kinds = ("map", "flow", "curve")
    runs = {
        kind: dataclasses.replace(
            run,
            y=run.y._replace(x=jnp.repeat(run.y.x[:, :1], n, 1)),
            unravel=ravel_pytree(np.ones(n))[1],
        )
        for kind, run in zip(kinds, (getattr(comparison, kind) for kind in kinds), strict=True)
    }
    problem = Problem(lambda x: (x**2).sum(), np.ones(n), name="high", minimum=0.0)
    return dataclasses.replace(comparison, problem=problem, **runs)


@pytest.mark.parametrize("n", [1, 3])
def test_paths_need_two_coordinates_and_the_others_are_for_any_dimension(n, comparisons):
    comparison = of_dim(comparisons["bowl"][1], n)
    if n == 1:
        others = "draw loss, convergence or phase"
        with pytest.raises(InvalidValue, match=f"high has 1 coordinate; {others}"):
            paths.draw(comparison)
    for module in (loss, race, phase):
        assert saved(module.draw(comparison))
    assert saved(
        overview.draw(comparison, make_order(comparison.optimizer, comparison.problem, 1.0))
    )


def test_a_position_of_many_leaves_is_drawn_if_it_has_two_numbers(comparisons):
    start = {"a": np.array([-2.0]), "b": np.array(1.5)}
    tree = Problem(lambda x: (x["a"] ** 2).sum() + 5 * x["b"] ** 2, start, name="tree")
    comparison = on_problem(comparisons["bowl"][0], tree)
    picture = paths.draw(change_runs(comparison, unravel=ravel_pytree(start)[1]))
    assert "map sgd" in gids(picture.axes[0])


def test_a_phase_plane_needs_a_velocity(comparisons):
    with pytest.raises(
        InvalidValue, match="which SGD and Adam do not have; pass a comparison of Momentum"
    ):
        phase.draw([comparisons["bowl"][0], comparisons["bowl"][3]])
    with pytest.raises(
        InvalidValue, match="`coordinate` is 2 but there are only 2; pass a number from 0 to 1"
    ):
        phase.draw(comparisons["bowl"], coordinate=2)
    with pytest.raises(InvalidValue, match="coordinate"):
        phase.draw(comparisons["bowl"], coordinate=-1)


def test_wrong_results_are_named(comparisons, orders, as_users_see_it):
    bowl = comparisons["bowl"]
    with pytest.raises(
        InvalidValue, match="`results` is empty; pass one or more results of analysis.compare"
    ):
        loss.draw([])
    with pytest.raises(InvalidType, match="must come from analysis.compare, got Order"):
        loss.draw(orders["bowl"][0])
    with pytest.raises(InvalidType, match="must come from analysis.order, got Comparison"):
        convergence.draw([bowl[0]])  # pyright: ignore
    with pytest.raises(
        InvalidValue,
        match="bowl in 2 coordinates and valley in 2 coordinates; draw one picture for each",
    ):
        paths.draw([bowl[0], comparisons["valley"][0]])
    with pytest.raises(InvalidValue, match="of several problems"):
        overview.draw(bowl, orders["valley"])
    with pytest.raises(
        InvalidValue, match=r"one of RMSprop\(.*, which none of the comparisons ran"
    ):
        overview.draw(bowl[:2], orders["bowl"][2])
    tripled = dataclasses.replace(bowl[0].map, loss=3 * bowl[0].map.loss)
    with pytest.raises(InvalidValue, match="several problems that are named bowl; draw one"):
        loss.draw([bowl[0], dataclasses.replace(bowl[0], map=tripled)])
    with pytest.raises(InvalidType, match="`ax` must be a matplotlib Axes, got 3"):
        loss.draw(bowl, ax=3)  # pyright: ignore
    with pytest.raises(InvalidType, match="straight axes, but its projection is 'polar'"):
        loss.draw(bowl[0], ax=Figure().add_subplot(projection="polar"))
    with pytest.raises(InvalidValue, match="holds a batch"):
        loss.draw(dataclasses.replace(bowl[0], error=jnp.ones((2, 41))))


@pytest.mark.parametrize("with_axes", [False, True])
def test_a_title_may_break_lines_and_hold_what_is_no_formula(
    comparisons, with_axes, as_users_see_it
):
    """A warning of a missing glyph would fail this test, and so would a formula that is none."""
    bowl = comparisons["bowl"][0]
    for given, drawn in {"two\nlines": "two\nlines", "$\\frac$": r"\$\frac\$"}.items():
        ax = Figure().subplots() if with_axes else None
        picture = loss.draw(bowl, title=given, ax=ax)
        figure = picture if ax is None else picture.figure
        figure.savefig(BytesIO(), format="png", dpi=30)
        title = figure.get_suptitle() if ax is None else ax.get_title()
        assert title.strip() == drawn
    with pytest.raises(InvalidType, match="`title` must be text, got 3; put it in quotes"):
        loss.draw(bowl, title=3, ax=ax)  # pyright: ignore


@pytest.mark.parametrize("name", ["$\\frac$ price", "a\nb\t_^{", "€ " * 80, ""])
def test_no_name_is_taken_for_a_formula_or_breaks_a_line(comparisons, name):
    problem = Problem(scene("bowl").loss, [-2.0, 1.5], name=name)
    comparison = dataclasses.replace(comparisons["bowl"][1], problem=problem)
    for picture in (loss.draw(comparison), race.draw(comparison, name), phase.draw(comparison)):
        assert saved(picture)


def test_a_loss_of_zero_is_masked_and_an_empty_picture_speaks(comparisons):
    sgd = comparisons["bowl"][0]
    assert saved(loss.draw(change_runs(sgd, loss=sgd.map.loss.at[20:].set(0.0))))
    y = sgd.flow.y._replace(x=jnp.zeros((41, 2)))
    at_rest = loss.draw(change_runs(sgd, y=y, loss=jnp.zeros(41)))
    notice = artist(at_rest.axes[0], "notice")
    assert notice.get_text() == "the loss is at its minimum from the start" and saved(at_rest)


def test_runs_without_a_finite_number_leave_a_picture_that_says_so(comparisons):
    nan = jnp.full(41, jnp.nan)
    lost = change_runs(comparisons["bowl"][1], loss=nan)
    lost = dataclasses.replace(lost, error=nan, solver_error=nan)
    for module in (paths, loss, race, phase):
        assert saved(module.draw(lost))
    notice = artist(loss.draw(lost).axes[0], "notice")
    assert notice.get_text() == "no finite loss to draw"


@pytest.mark.parametrize("huge", [1e150, 1e308])
def test_huge_numbers_break_nothing(comparisons, huge):
    momentum = comparisons["nowhere"][1]
    y = momentum.map.y
    y = y._replace(x=y.x.at[-3:].set(huge), p=y.p.at[-2:].set(-huge))
    wild = dataclasses.replace(
        change_runs(momentum, y=y, loss=momentum.map.loss.at[-3:].set(huge)),
        error=momentum.error.at[-3:].set(huge),
        solver_error=momentum.error,
    )
    for module in (loss, race, phase):
        assert saved(module.draw(wild))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: jnp.log(x[0]) ** 2 + x[1] ** 2,
        lambda x: 0.0 * x.sum(),
        lambda x: 1e307 * (x**2).sum(),
    ],
)
def test_paths_are_drawn_on_a_loss_that_is_not_finite_constant_or_huge(loss, comparisons):
    odd = Problem(loss, [-2.0, 1.5], name="odd", window=((-3, 2), (-2, 3)))
    assert saved(paths.draw(on_problem(comparisons["bowl"][0], odd)))


def test_a_start_outside_of_the_window_is_still_visible(comparisons):
    off = Problem(scene("bowl").loss, [-2.0, 1.5], name="off", window=((10, 11), (10, 11)))
    ax = paths.draw(dataclasses.replace(comparisons["bowl"][0], problem=off)).axes[0]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < -2 < right and bottom < 1.5 < top


def test_a_run_of_no_steps_is_a_picture(comparisons):
    short = with_runs(comparisons["bowl"][0], lambda runs: jax.tree.map(lambda a: a[:1], runs))
    for module in (loss, race):
        assert saved(module.draw(short))


def test_float32_is_drawn_and_named(comparisons):
    single = with_runs(
        comparisons["bowl"][0], lambda runs: jax.tree.map(lambda a: a.astype(jnp.float32), runs)
    )
    picture = paths.draw(single)
    assert saved(picture) and "float32" in caption(picture)


def test_axes_without_a_figure_are_refused(comparisons):
    ax = Figure().add_subplot()
    ax.remove()
    with pytest.raises(InvalidValue, match="belongs to no figure"):
        loss.draw(comparisons["bowl"][0], ax=ax)


UNSAFE = "\x00\x07\x1b[31m\x9b\ud800\ufffe\u202eevil\u2028"


@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
def test_no_name_puts_a_control_character_into_a_file(comparisons, format):
    """An SVG with a control character is no XML, and half a surrogate pair is no text at all."""

    class Named(SGD):
        name = property(lambda self: f"Mine{UNSAFE}")

    problem = Problem(scene("bowl").loss, [-2.0, 1.5], name=f"bowl{UNSAFE}")
    odd = dataclasses.replace(on_problem(comparisons["bowl"][0], problem), optimizer=Named(0.1))
    for picture in (race.draw(odd), loss.draw(odd)):
        data = render(
            picture, format, title=problem.name, command="dynopt", dtype="float64", dpi=30.0
        )
        if format == "svg":
            texts = [
                text
                for element in ElementTree.fromstring(data).iter()
                for text in (element.text or "", *element.attrib.values())
            ]
            assert any(r"\x00\x07\x1b[31m\x9b\ud800\ufffe\u202eevil" in text for text in texts)
            assert not any(c in text for text in texts for c in UNSAFE if not c.isprintable())
        assert not any(c in picture.alt for c in UNSAFE if not c.isprintable())
        bundle, _ = picture._repr_mimebundle_()
        assert bundle["text/html"].isprintable()


def test_a_run_below_the_stated_minimum_is_refused(comparisons):
    (first, *_) = comparisons["bowl"]
    false = on_problem(first, Problem(first.problem.loss, [-2.0, 1.5], name="bowl", minimum=3.0))
    with pytest.raises(InvalidValue, match="`minimum` of bowl is 3, but a run reaches"):
        loss.draw(false)
