"""The arrows are the modified field, the head has the distances from the equilibrium."""

import jax
import numpy as np
import pytest
from scenes import artist, gids, heading, make_comparison, make_modified, one_line

from dynopt import SGD, Game, Momentum, analysis, problems
from dynopt.errors import InvalidValue
from dynopt.figures import field

STEPS, H = 20, 0.3
GAME = problems.bilinear()


@pytest.fixture(scope="module")
def simultaneous():
    return analysis.modified(SGD(H), GAME, STEPS)


@pytest.fixture(scope="module")
def picture(simultaneous):
    return field.draw(simultaneous)


def test_the_arrows_are_the_field_of_the_modified_flow(picture):
    """Of a′ = -b, b′ = a it is x′ = J x + (h/2) x, where J turns by a right angle."""
    arrows = artist(picture.axes[0], "field")
    points, drawn = np.asarray(arrows.XY), np.stack([arrows.U, arrows.V], 1)
    exact = points @ np.array([[H / 2, 1], [-1, H / 2]])
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    lengths = np.linalg.norm(drawn, axis=1)
    assert len(points) > 200
    np.testing.assert_allclose(drawn / lengths[:, None], exact, atol=1e-12)
    assert lengths.max() < np.diff(np.unique(points[:, 0].round(9))).min()  # none meets the next
    radii = np.linalg.norm(points, axis=1)
    inner = radii < 0.5 * radii.max()
    growth = lengths[inner] / np.sqrt(radii[inner])  # the speed is proportional to the radius
    assert growth.max() < 1.0001 * growth.min()


def test_map_flow_and_modified_flow_are_drawn_where_they_are(picture, simultaneous):
    ax = picture.axes[0]
    assert {"map sgd", "flow sgd", "modified flow sgd", "minimizer", "start"} <= gids(ax)
    assert not {"contours", "magnified sgd"} & gids(ax)
    np.testing.assert_array_equal(artist(ax, "map sgd").get_xydata(), simultaneous.map.y.x)
    assert artist(ax, "modified flow sgd").is_dashed()


def test_the_head_has_the_factors_of_the_three_distances(picture):
    """√(1 + h²) a step for the map, 1 for the flow, and e^(h²/2) a step for the modified flow."""
    map, modified = (1 + H**2) ** (STEPS / 2), np.exp(STEPS * H**2 / 2)
    fact = artist(picture.axes[0], "fact").get_text()
    assert f"distance ×{map:.2g}   flow ×1, modified flow ×{modified:.2g}" in fact
    words = f"SGD leaves the equilibrium, to {map:.2g} times the distance in 20 steps"
    assert one_line(heading(picture)) == words
    assert "ends 2.4 times as far from the equilibrium as it began, its flow 1 times" in picture.alt


def test_without_an_equilibrium_the_title_says_which_flow_is_nearer(simultaneous):
    game = Game(dict(zip("ab", GAME.loss.losses, strict=True)), GAME.x0, name="unknown")
    result = jax.tree.map(lambda leaf: leaf, simultaneous)
    for comparison in (result.comparison, result.modified):
        object.__setattr__(comparison, "problem", game)
    assert "nearer to its modified flow than to its flow" in one_line(heading(field.draw(result)))


def test_frames_of_one_picture_show_one_part_of_the_plane(simultaneous):
    slower = analysis.modified(SGD(H / 2), GAME, STEPS)
    first, second = field.draw([simultaneous, slower]).axes
    np.testing.assert_allclose(first.axis(), second.axis(), rtol=1e-9)
    low, high = np.min(simultaneous.map.y.x, axis=0), np.max(simultaneous.map.y.x, axis=0)
    assert (np.array([second.get_xlim()[0], second.get_ylim()[0]]) < low).all()
    assert (np.array([second.get_xlim()[1], second.get_ylim()[1]]) > high).all()


def test_a_memory_and_other_than_two_coordinates_are_refused():
    with pytest.raises(InvalidValue, match="but Momentum has a memory as well; draw figures.modi"):
        field.draw(make_modified(make_comparison(Momentum(0.01), GAME, 2)))
    line = problems.quadratic([1.0])
    with pytest.raises(InvalidValue, match="a plane, but quadratic has 1 coordinate; draw figures"):
        field.draw(make_modified(make_comparison(SGD(0.01), line, 2)))


def test_dots_lie_in_the_field_where_the_map_is_however_near_to_its_flow():
    tiny = make_modified(make_comparison(SGD(1e-3), GAME, 5))
    ax = field.draw(tiny).axes[0]
    np.testing.assert_array_equal(artist(ax, "map sgd").get_xydata(), tiny.map.y.x)


def test_a_long_name_is_written_as_small_as_its_frame_wants():
    long = SGD(1e-3).named("Gradient descent of both players at once, in one go")
    results = [make_modified(make_comparison(o, GAME, 5)) for o in (long, SGD(1e-3))]
    picture = field.draw(results)
    picture.draw_without_rendering()
    first, second = picture.axes
    title = first._left_title
    assert title.get_fontsize() < second._left_title.get_fontsize()
    assert title.get_window_extent().x1 <= first.get_window_extent().x1
