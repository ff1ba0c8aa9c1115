"""Odd data give a picture with words, or one clear sentence; never a traceback from matplotlib."""

import dataclasses
from io import BytesIO

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from scenes import elsewhere, found, gids, made_local_error, made_order, scene, with_runs

from dynopt import SGD, Adam, Problem
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import global_error, local_error, loss, order, overview, paths, phase


def saved(picture) -> bytes:
    file = BytesIO()
    picture.savefig(file, dpi=30)
    return file.getvalue()


def changed(made, **runs):
    """The same gap with other losses or positions along its map and flow."""
    for kind in ("map", "flow"):
        made = dataclasses.replace(made, **{kind: dataclasses.replace(getattr(made, kind), **runs)})
    return made


def of_dim(made, n: int):
    """A result in n coordinates, all of them the first of the one given."""
    wide = [run.y._replace(x=jnp.repeat(run.y.x[:, :1], n, 1)) for run in (made.map, made.flow)]
    runs = {
        k: dataclasses.replace(getattr(made, k), y=y)
        for k, y in zip(("map", "flow"), wide, strict=True)
    }
    return dataclasses.replace(
        made, problem=Problem(lambda x: (x**2).sum(), np.ones(n), name="high", minimum=0.0), **runs
    )


@pytest.mark.parametrize("n", [1, 3])
def test_paths_need_two_coordinates_and_the_others_are_for_any_dimension(n, comparisons):
    made = of_dim(comparisons["bowl"][0], n)
    if n == 1:
        with pytest.raises(
            InvalidValue, match="high has 1 coordinate; draw loss, gap, local_error, order or phase"
        ):
            paths.draw(made)
    for picture in (
        loss.draw(made),
        global_error.draw(made),
        local_error.draw(made_local_error(made)),
    ):
        assert saved(picture)
    optimizer = overview.draw(made, made_local_error(made), made_order(SGD(0.1), made.problem, 1.0))
    assert {ax.get_gid() for ax in optimizer.axes} == {"loss", "gap", "local_error", "order"} | (
        {"paths"} if n > 1 else set()
    )


def test_a_position_of_many_leaves_is_drawn_if_it_has_two_numbers(comparisons):
    start = {"a": np.array([-2.0]), "b": np.array(1.5)}
    tree = Problem(lambda x: (x["a"] ** 2).sum() + 5 * x["b"] ** 2, start, name="tree")
    made = changed(elsewhere(comparisons["bowl"][0], tree), unravel=ravel_pytree(start)[1])
    assert "map sgd" in gids(paths.draw(made).axes[0])


def test_a_phase_plane_needs_a_velocity(comparisons):
    with pytest.raises(InvalidValue, match="which SGD and Adam have not; pass a gap of Momentum"):
        phase.draw([comparisons["bowl"][0], comparisons["bowl"][3]])
    with pytest.raises(
        InvalidValue, match="`coordinate` is 2 but there are only 2; pass a number from 0 to 1"
    ):
        phase.draw(comparisons["bowl"], coordinate=2)
    with pytest.raises(InvalidValue, match="coordinate"):
        phase.draw(comparisons["bowl"], coordinate=-1)


def test_wrong_results_are_named(comparisons, orders, as_users_see_it):
    with pytest.raises(
        InvalidValue, match="`results` is empty; pass one or more results of analysis.gap"
    ):
        loss.draw([])
    with pytest.raises(InvalidType, match="must come from analysis.gap, got Order"):
        loss.draw(orders["bowl"][0])
    with pytest.raises(InvalidType, match="must come from analysis.order, got Gap"):
        order.draw([comparisons["bowl"][0]])
    with pytest.raises(
        InvalidValue,
        match="bowl in 2 coordinates and valley in 2 coordinates; draw one picture for each",
    ):
        paths.draw([comparisons["bowl"][0], comparisons["valley"][0]])
    with pytest.raises(InvalidValue, match="of several problems"):
        overview.draw(comparisons["bowl"], [], orders["valley"])
    with pytest.raises(InvalidType, match="`ax` must be a matplotlib Axes, got 3"):
        loss.draw(comparisons["bowl"], ax=3)  # pyright: ignore
    batch = dataclasses.replace(comparisons["bowl"][0], error=jnp.ones((2, 41)))
    with pytest.raises(InvalidValue, match="holds a batch"):
        global_error.draw(batch)


@pytest.mark.parametrize("name", ["$\\frac$ price", "a\nb\t_^{", "€ " * 80, ""])
def test_no_name_is_taken_for_a_formula_or_breaks_a_line(comparisons, name):
    problem = Problem(scene("bowl").loss, [-2.0, 1.5], name=name)
    made = dataclasses.replace(comparisons["bowl"][1], problem=problem)
    for picture in (global_error.draw(made), order.draw(made_order(SGD(0.1), problem, 1.0))):
        assert saved(picture)


def test_a_loss_of_zero_is_masked_and_an_empty_picture_speaks(comparisons):
    some = comparisons["bowl"][0].map.loss.at[20:].set(0.0)
    assert saved(loss.draw(changed(comparisons["bowl"][0], loss=some)))
    at_rest = loss.draw(changed(comparisons["bowl"][0], loss=jnp.zeros(41)))
    assert "at its minimum from the start" in found(at_rest.axes[0], "words").get_text()
    assert saved(at_rest)
    nothing = global_error.draw(
        dataclasses.replace(comparisons["bowl"][0], error=jnp.zeros(41), solver_error=jnp.zeros(41))
    )
    assert found(nothing.axes[0], "words").get_text() == "no gap above 0 to draw"
    assert saved(nothing)


def test_numbers_that_are_none_leave_a_picture_that_says_so(comparisons):
    nan = jnp.full(41, jnp.nan)
    lost = dataclasses.replace(
        changed(comparisons["bowl"][1], loss=nan), error=nan, solver_error=nan
    )
    for module in (paths, loss, global_error, phase):
        assert saved(module.draw(lost))
    assert found(loss.draw(lost).axes[0], "words").get_text() == "no finite loss to draw"
    empty = dataclasses.replace(
        made_order(Adam(0.1), scene("bowl"), 1.0), error=np.full(7, np.nan), window=None
    )
    assert found(order.draw(empty).axes[0], "words").get_text() == "no gap above 0 to draw"
    assert saved(order.draw(empty))


@pytest.mark.parametrize("huge", [1e150, 1e308])
def test_huge_numbers_break_nothing(comparisons, huge):
    made = comparisons["nowhere"][1]
    y = made.map.y._replace(x=made.map.y.x.at[-3:].set(huge), p=made.map.y.p.at[-2:].set(-huge))
    wild = dataclasses.replace(
        changed(made, y=y, loss=made.map.loss.at[-3:].set(huge)),
        error=made.error.at[-3:].set(huge),
        solver_error=made.error,
    )
    for module in (paths, loss, global_error, phase):
        assert saved(module.draw(wild))
    grown = dataclasses.replace(
        made_order(SGD(0.1), scene("bowl"), 1.0), error=np.geomspace(huge, 1, 7)
    )
    assert saved(order.draw(grown))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: jnp.log(x[0]) ** 2 + x[1] ** 2,
        lambda x: 0.0 * x.sum(),
        lambda x: 1e307 * (x**2).sum(),
    ],
)
def test_a_loss_that_is_nowhere_or_everywhere_the_same_or_huge_has_a_ground(loss, comparisons):
    odd = Problem(loss, [-2.0, 1.5], name="odd", window=((-3, 2), (-2, 3)))
    assert saved(paths.draw(elsewhere(comparisons["bowl"][0], odd)))


def test_a_start_outside_the_window_is_still_seen(comparisons):
    outside = Problem(scene("bowl").loss, [-2.0, 1.5], name="off", window=((10, 11), (10, 11)))
    ax = paths.draw(dataclasses.replace(comparisons["bowl"][0], problem=outside)).axes[0]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < -2 < right and bottom < 1.5 < top


def test_a_run_of_no_steps_is_a_picture(comparisons):
    made = with_runs(comparisons["bowl"][0], lambda runs: jax.tree.map(lambda a: a[:1], runs))
    for module in (paths, loss, global_error):
        assert saved(module.draw(made))


def test_float32_is_drawn_and_said(comparisons):
    made = with_runs(
        comparisons["bowl"][0], lambda runs: jax.tree.map(lambda a: a.astype(jnp.float32), runs)
    )
    assert saved(paths.draw(made)) and "float32" in paths.draw(made).get_supxlabel()


def test_an_axes_without_a_figure_is_refused(comparisons):
    ax = Figure().add_subplot()
    ax.remove()
    with pytest.raises(InvalidValue, match="belongs to no figure"):
        loss.draw(comparisons["bowl"], ax=ax)
