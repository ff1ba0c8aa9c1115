"""Odd data give a picture with words, or one clear sentence; never a traceback from matplotlib."""

import dataclasses
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from scenes import found, gids, made_gap, made_local_error, made_order, scene

from dynopt import SGD, Adam, Problem
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import gap, local_error, loss, order, overview, paths, phase


def saved(picture) -> bytes:
    file = BytesIO()
    picture.savefig(file)
    return file.getvalue()


def changed(made, **runs):
    """The same gap with other losses or positions along its map and flow."""
    for kind in ("map", "flow"):
        made = dataclasses.replace(made, **{kind: dataclasses.replace(getattr(made, kind), **runs)})
    return made


def of_dim(n: int):
    return made_gap(SGD(0.1), Problem(lambda x: (x**2).sum(), np.ones(n), name=f"bowl{n}", minimum=0.0))


@pytest.mark.parametrize("n", [1, 3])
def test_paths_are_for_planes_and_the_others_for_any_dimension(n):
    made = of_dim(n)
    with pytest.raises(InvalidValue, match="which work in any dimension"):
        paths.draw(made)
    for picture in (loss.draw(made), gap.draw(made), local_error.draw(made_local_error(made))):
        assert saved(picture)
    page = overview.draw(made, made_local_error(made), made_order(SGD(0.1), made.problem, 1.0))
    assert {ax.get_gid() for ax in page.axes} == {"loss", "gap", "local_error", "order"}


def test_a_position_of_many_leaves_is_drawn_if_it_has_two_numbers():
    tree = Problem(
        lambda x: (x["a"] ** 2).sum() + 5 * x["b"] ** 2, {"a": np.array([1.0]), "b": np.array(0.5)}, name="tree"
    )
    made = made_gap(SGD(0.05), tree)
    assert "map sgd" in gids(paths.draw(made).axes[0])


def test_a_phase_plane_needs_a_velocity(gaps):
    with pytest.raises(InvalidValue, match="which SGD and Adam have not; pass a gap of Momentum"):
        phase.draw([gaps["bowl"][0], gaps["bowl"][3]])
    with pytest.raises(InvalidValue, match="`coordinate` is 2 but there are only 2; pass a number from 0 to 1"):
        phase.draw(gaps["bowl"], coordinate=2)
    with pytest.raises(InvalidValue, match="coordinate"):
        phase.draw(gaps["bowl"], coordinate=-1)


def test_wrong_results_are_named(gaps, orders, as_users_see_it):
    with pytest.raises(InvalidValue, match="`results` is empty; pass one or more results of analysis.gap"):
        loss.draw([])
    with pytest.raises(InvalidType, match="must come from analysis.gap, got Order"):
        loss.draw(orders["bowl"][0])
    with pytest.raises(InvalidType, match="must come from analysis.order, got Gap"):
        order.draw([gaps["bowl"][0]])
    with pytest.raises(
        InvalidValue, match="bowl in 2 coordinates and valley in 2 coordinates; draw one picture for each"
    ):
        paths.draw([gaps["bowl"][0], gaps["valley"][0]])
    with pytest.raises(InvalidValue, match="of several problems"):
        overview.draw(gaps["bowl"], [], orders["valley"])
    with pytest.raises(InvalidType, match="`ax` must be a matplotlib Axes, got 3"):
        loss.draw(gaps["bowl"], ax=3)  # pyright: ignore
    batch = dataclasses.replace(gaps["bowl"][0], error=jnp.ones((2, 41)))
    with pytest.raises(InvalidValue, match="holds a batch"):
        gap.draw(batch)


@pytest.mark.parametrize("name", ["$x$ and \\frac$", "a\nb\tc", "_^{", "€ " * 80, ""])
def test_no_name_is_taken_for_a_formula_or_breaks_a_line(gaps, name):
    problem = Problem(scene("bowl").loss, [-2.0, 1.5], name=name)
    made = dataclasses.replace(gaps["bowl"][1], problem=problem)
    pictures = [module.draw(made) for module in (paths, loss, gap, phase)]
    pictures.append(order.draw(made_order(SGD(0.1), problem, 1.0)))
    pictures.append(overview.draw(made, [], []))
    for picture in pictures:
        assert saved(picture)


def test_a_loss_of_zero_is_masked_and_an_empty_picture_speaks(gaps):
    some = gaps["bowl"][0].map.loss.at[20:].set(0.0)
    assert saved(loss.draw(changed(gaps["bowl"][0], loss=some)))
    at_rest = loss.draw(changed(gaps["bowl"][0], loss=jnp.zeros(41)))
    assert "at its minimum from the start" in found(at_rest.axes[0], "words").get_text()
    assert saved(at_rest)
    nothing = gap.draw(dataclasses.replace(gaps["bowl"][0], error=jnp.zeros(41), solver_error=jnp.zeros(41)))
    assert found(nothing.axes[0], "words").get_text() == "no gap above 0 to draw"
    assert saved(nothing)


def test_numbers_that_are_none_leave_a_picture_that_says_so(gaps):
    nan = jnp.full(41, jnp.nan)
    lost = dataclasses.replace(changed(gaps["bowl"][1], loss=nan), error=nan, solver_error=nan)
    for module in (paths, loss, gap, phase):
        assert saved(module.draw(lost))
    assert found(loss.draw(lost).axes[0], "words").get_text() == "no finite loss to draw"
    empty = dataclasses.replace(made_order(Adam(0.1), scene("bowl"), 1.0), error=np.full(7, np.nan), window=None)
    assert found(order.draw(empty).axes[0], "words").get_text() == "no gap above 0 to draw"
    assert saved(order.draw(empty))


@pytest.mark.parametrize("huge", [1e150, 1e308])
def test_huge_numbers_break_nothing(gaps, huge):
    made = gaps["nowhere"][1]
    y = made.map.y._replace(x=made.map.y.x.at[-3:].set(huge), p=made.map.y.p.at[-2:].set(-huge))
    wild = dataclasses.replace(
        changed(made, y=y, loss=made.map.loss.at[-3:].set(huge)),
        error=made.error.at[-3:].set(huge),
        solver_error=made.error,
    )
    for module in (paths, loss, gap, phase):
        assert saved(module.draw(wild))
    grown = dataclasses.replace(made_order(SGD(0.1), scene("bowl"), 1.0), error=np.geomspace(huge, 1, 7))
    assert saved(order.draw(grown))


def test_a_loss_that_is_not_finite_everywhere_leaves_the_ground_bare():
    half = Problem(lambda x: jnp.log(x[0]) ** 2 + x[1] ** 2, [0.5, 1.0], name="half", window=((-1, 2), (-1.5, 1.5)))
    assert saved(paths.draw(made_gap(SGD(0.05), half)))
    flat = Problem(lambda x: 0.0 * x.sum(), [0.5, 1.0], name="flat")
    assert saved(paths.draw(made_gap(SGD(0.05), flat)))
    huge = Problem(lambda x: 1e300 * (x**2).sum(), [0.5, 1.0], name="huge")
    assert saved(paths.draw(made_gap(SGD(1e-302), huge)))


def test_a_start_outside_the_window_is_still_seen(gaps):
    outside = Problem(scene("bowl").loss, [-2.0, 1.5], name="off", window=((10, 11), (10, 11)))
    ax = paths.draw(dataclasses.replace(gaps["bowl"][0], problem=outside)).axes[0]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < -2 < right and bottom < 1.5 < top


def test_a_run_of_no_steps_is_a_picture():
    made = made_gap(SGD(0.1), scene("bowl"), 0)
    for module in (paths, loss, gap):
        assert saved(module.draw(made))


def test_float32_is_drawn_and_said():
    made = made_gap(SGD(0.1), Problem(lambda x: (x**2).sum(), np.ones(2, np.float32), name="single", minimum=0.0))
    assert saved(paths.draw(made)) and "float32" in paths.draw(made).get_supxlabel()


def test_an_axes_without_a_figure_is_refused(gaps):
    ax = Figure().add_subplot()
    ax.remove()
    with pytest.raises(InvalidValue, match="belongs to no figure"):
        loss.draw(gaps["bowl"], ax=ax)
