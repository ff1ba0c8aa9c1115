"""Velocities with ties at equal times, and races that say how learning rates were chosen."""

import dataclasses
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scenes import (
    artist,
    caption,
    gids,
    heading,
    heads,
    make_comparison,
    make_flow,
    one_line,
    scene,
    title,
)

from dynopt import SGD, Accumulated, Adam, Momentum, iterate, problems
from dynopt.compare.measurements import settings
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import phase, race
from dynopt.figures.drawing import style
from dynopt.figures.drawing.measure import on_paper
from dynopt.figures.drawing.runs import shades_in_grey
from dynopt.figures.drawing.style import STYLES
from dynopt.figures.drawing.ties import APART
from dynopt.figures.drawing.words import format_number

RATES = "the best of nine learning rates for each"


def turns(run, coordinate: int) -> int:
    p = np.asarray(run.y.p)[:, coordinate]
    return int((np.diff(np.sign(p[p != 0])) != 0).sum())


@pytest.fixture(scope="module")
def edge():
    """A heavy ball with long steps, which visibly misses its flow."""
    return make_comparison(Momentum(0.1), scene("bowl"))


# --- the phase plane


@pytest.mark.parametrize("coordinate", [0, 1])
def test_the_phase_plane_holds_position_and_velocity(coordinate, edge, comparisons):
    picture = phase.draw([edge, comparisons["bowl"][0]], coordinate=coordinate)
    (ax,) = picture.axes  # gradient descent has no velocity
    for kind, run in (("map", edge.map), ("flow", edge.curve)):
        points = np.stack([run.y.x, run.y.p], -1)[:, coordinate]
        np.testing.assert_array_equal(artist(ax, f"{kind} momentum").get_xydata(), points)
    assert ax.get_ylabel() == f"velocity p{'₁₂'[coordinate]} = x{'₁₂'[coordinate]}′"
    assert heads(picture) == ["Momentum"]


def test_the_title_says_how_often_each_turns_back_and_the_note_too(edge):
    for i, letter in enumerate("₁₂"):
        picture = phase.draw(edge, coordinate=i)
        map, flow = turns(edge.map, i), turns(edge.curve, i)
        assert map > 2 and flow > 2
        its = "as its flow does" if map == flow else f"its flow {flow} times"
        assert heading(picture) == f"Along x{letter} Momentum turns back {map} times, {its}"
        (ax,) = picture.axes
        notes = [artist(ax, f"note {kind} momentum").get_text() for kind in ("map", "flow")]
        assert notes == [f"map turns back {map} times", f"flow turns back {flow} times"]
        assert f"turns back {map} times, its flow turns back {flow} times" in picture.alt


def test_who_never_turns_back_is_said_not_to(edge):
    calm = {
        kind: dataclasses.replace(run, y=run.y._replace(p=jnp.abs(run.y.p) + 1))
        for kind, run in (("map", edge.map), ("flow", edge.flow), ("curve", edge.curve))
    }
    picture = phase.draw(dataclasses.replace(edge, **calm))
    assert heading(picture) == "Along x₁ Momentum never turns back, nor does its flow"
    flow = {kind: calm[kind] for kind in ("flow", "curve")}
    picture = phase.draw(dataclasses.replace(edge, **flow))
    assert heading(picture).endswith(f"turns back {turns(edge.map, 0)} times, its flow never")


def test_the_bold_tie_is_the_longest_in_the_frame_and_says_its_extent_in_both_units(edge):
    (ax,) = phase.draw(edge).axes
    map, flow = (np.stack([r.y.x[:, 0], r.y.p[:, 0]], 1) for r in (edge.map, edge.flow))
    both = np.concatenate([map, np.stack([edge.curve.y.x[:, 0], edge.curve.y.p[:, 0]], 1)])
    k = int(np.hypot(*((map - flow) / np.ptp(both, axis=0)).T).argmax())
    np.testing.assert_array_equal(artist(ax, "ring momentum").get_xydata(), [flow[k]])
    x, p = (format_number(distance, 2) for distance in abs(map[k] - flow[k]))
    assert artist(ax, "number momentum").get_text() == f"{x} in x₁, {p} in p₁"
    lengths = np.hypot(*(on_paper(ax, map) - on_paper(ax, flow)).T)
    assert lengths[k] > 0.95 * lengths.max()
    dots = artist(ax, "map momentum")
    places = on_paper(ax, dots.get_xydata()[dots.get_markevery()])
    assert np.hypot(*np.diff(places, axis=0).T).min() >= APART - 1e-9


def test_the_frame_fits_the_runs_in_both_directions(edge):
    (ax,) = phase.draw(edge).axes
    points = np.concatenate(
        [np.stack([run.y.x[:, 0], run.y.p[:, 0]], 1) for run in (edge.map, edge.curve)]
    )
    for limits, values in zip((ax.get_xlim(), ax.get_ylim()), points.T, strict=True):
        size = np.ptp(values)
        np.testing.assert_allclose(limits, (values.min() - 0.09 * size, values.max() + 0.09 * size))


def test_what_is_too_small_to_see_is_magnified_about_the_flow():
    fine = make_comparison(Momentum(1e-4), scene("bowl"))
    (ax,) = phase.draw(fine).axes
    factor = float(artist(ax, "magnified momentum").get_text().partition("×")[2])
    assert factor > 1
    map, flow = (np.stack([r.y.x[:, 0], r.y.p[:, 0]], 1) for r in (fine.map, fine.flow))
    drawn = artist(ax, "map momentum").get_xydata()
    np.testing.assert_allclose(drawn, flow + factor * (map - flow))


def test_a_map_that_diverges_leaves_the_phase_plane():
    wild = make_comparison(Momentum(0.6), scene("bowl"))
    picture = phase.draw(wild, coordinate=1)
    sentence = f"diverged at step {int(wild.map.stats['first_bad_step'])}"
    assert sentence in heading(picture) and sentence in picture.alt
    assert "exit thread momentum" in gids(picture.axes[0])


def test_numbers_on_the_axis_do_not_touch(comparisons):
    """However narrow the frame is."""
    figure = Figure(figsize=(2.4, 2))
    ax = phase.draw(comparisons["valley"][1], ax=figure.add_subplot())
    figure.draw_without_rendering()
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels() if tick.get_text()]
    assert len(boxes) > 1 and all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


# --- the race


def ending_at(comparison, end: float):
    map = comparison.map
    return dataclasses.replace(map, loss=map.loss.at[-1].set(end))


def test_a_race_shows_maps_alone_and_ranks_them_under_its_condition(comparisons):
    sgd, momentum, *_ = comparisons["bowl"]
    picture = race.draw([ending_at(sgd, 0.25), ending_at(momentum, 0.14)], RATES)
    (ax,) = picture.axes
    for comparison, key, end in ((sgd, "sgd", 0.25), (momentum, "momentum", 0.14)):
        drawn = artist(ax, f"map {key}").get_ydata()
        np.testing.assert_array_equal(drawn[:-1], comparison.map.loss[:-1])
        assert drawn[-1] == end
    assert not [gid for gid in gids(ax) if gid.startswith("flow")]
    assert title(picture) == f"With {RATES}, Momentum is lowest, f − f* = 0.14 after 40 steps"
    assert f"With {RATES}." in caption(picture) and f"with {RATES}: " in picture.alt
    assert "SGD (η = 0.01) ends at 0.25; Momentum (η = 0.01) ends at 0.14" in picture.alt
    labels = [one_line(text.get_text()) for text in ax.texts]
    assert {"SGD, η = 0.01", "Momentum, η = 0.01"} <= set(labels)


def test_without_a_word_on_the_rates_it_ranks_nobody(comparisons):
    picture = race.draw(comparisons["bowl"][:2])
    assert title(picture) == "How the learning rates were chosen is not said"
    assert "lowest" not in picture.alt and "is not said" in picture.alt


def test_maps_that_end_level_share_the_lowest_place(comparisons):
    runs = [ending_at(c, 0.1 + 1e-4 * i) for i, c in enumerate(comparisons["bowl"][:3])]
    assert "all maps have reached f − f* = 0.1" in title(race.draw(runs, RATES))
    runs[2] = ending_at(comparisons["bowl"][2], 0.3)
    assert "SGD and Momentum are lowest, f − f* = 0.1 " in title(race.draw(runs, RATES))


def test_steps_of_several_gradients_are_counted_in_gradients():
    competitors = race._competitors([iterate(SGD(0.01), scene("bowl"), 8)] * 2)
    both = [competitors[0], competitors[1]._replace(optimizer=Accumulated(SGD(0.01), 2))]
    noun, (one, two) = race._places(both)
    assert noun == "gradient evaluation"
    np.testing.assert_array_equal(one, np.arange(9))
    np.testing.assert_array_equal(two, 2 * np.arange(9))
    assert race._places(competitors)[0] == "step"


def test_an_optimizer_made_without_a_learning_rate_shows_its_time_step():
    runs = [iterate(Accumulated(SGD(0.125), 1), scene("bowl"), 8)]
    picture = race.draw(runs)
    assert any("h = 0.125" in one_line(gid) for gid in gids(picture.axes[0]))
    assert "(h = 0.125) ends at" in one_line(race.describe(runs))


def test_a_map_that_climbs_out_has_its_label_where_it_leaves(comparisons):
    rising = make_comparison(SGD(0.25), scene("bowl"))  # x₂ grows by -1.5 in each step
    ax = race.draw([rising, comparisons["bowl"][3]], RATES).axes[0]
    label = artist(ax, "leaves sgd")
    assert one_line(label.get_text()) == "SGD, η = 0.25" and "label Adam, η = 0.05" in {
        one_line(gid) for gid in gids(ax)
    }
    x, height = label.xy
    assert 5 * (1.5 * 1.5**x) ** 2 < 1.01 * height < 1.01 * ax.get_ylim()[1]


def test_where_labels_do_not_fit_a_legend_has_the_names_in_their_colours(comparisons):
    figure = Figure(figsize=(3, 1.2))
    ax = race.draw(comparisons["bowl"] * 2, RATES, ax=figure.add_subplot())
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()][:2] == ["SGD", "Momentum"]
    lines = [artist(ax, f"thread {key}") for key in ("sgd", "momentum")]
    assert [one.get_color() for one in legend.get_lines()][:2] == [one.get_color() for one in lines]


def test_a_map_that_diverges_is_named_where_it_leaves(diverged, comparisons):
    picture = race.draw([diverged, comparisons["bowl"][3]], RATES)
    sentence = f"diverged at step {int(diverged.map.stats['first_bad_step'])}"
    assert title(picture).startswith(f"SGD {sentence}; with {RATES}, Adam is lowest")
    assert sentence in artist(picture.axes[0], "leaves sgd").get_text()
    assert "exit thread sgd" in gids(picture.axes[0])


@pytest.mark.parametrize("look", STYLES)
def test_no_two_colours_of_a_race_are_alike_in_grey(look):
    with style.context(look):
        colors = shades_in_grey([*style.COLORS, style.COLORS[0]])
        paper = to_rgb(style.background())
    weights = np.array([0.299, 0.587, 0.114])  # of a grey in ITU-R BT.601, as PIL converts
    greys = np.sort([np.dot(to_rgb(color), weights) for color in colors])
    assert np.diff(greys).min() > 0.03
    assert np.abs(greys - np.dot(paper, weights)).min() > 0.2


def test_what_is_no_race_is_refused(comparisons, as_users_see_it):
    bowl, valley = comparisons["bowl"], comparisons["valley"]
    with pytest.raises(InvalidValue, match="several problems"):
        race.draw([bowl[0], valley[0]], RATES)
    with pytest.raises(InvalidValue, match="holds a flow, but maps race; pass a result of iterate"):
        race.draw(make_flow(SGD(0.01), scene("bowl"), 40), RATES)
    with pytest.raises(InvalidType, match="must come from analysis.compare or iterate, got int"):
        race.draw([3], RATES)  # pyright: ignore
    with pytest.raises(InvalidType, match="`rates` must be text, got 0.1; say how"):
        race.draw(bowl, 0.1)  # pyright: ignore


@pytest.mark.parametrize(
    "rate, set, of_loss, of_game",
    [
        (None, {}, "the suggested learning rates", "one learning rate"),
        (0.1, {}, "learning rates given by hand", "learning rates given by hand"),
        (
            None,
            {"sgd": {"learning_rate": 0.2}, "adam": {"b1": 0.5}},
            "learning rates given by hand for SGD and suggested for Adam",
            "learning rates given by hand for SGD and 0.1 for Adam",
        ),
    ],
)
@pytest.mark.parametrize("problem", [problems.booth(), problems.bilinear()], ids=["loss", "game"])
def test_the_command_knows_which_rates_were_typed(rate, set, of_loss, of_game, problem):
    words = of_loss if problem.conservative else of_game
    study = SimpleNamespace(
        problem=problem,
        optimizers={"sgd": SGD(0.1), "adam": Adam(0.1)},
        options=SimpleNamespace(learning_rate=rate, set=set),
    )
    assert settings(study, "race") == {"rates": words}  # pyright: ignore
    assert settings(study, "loss") == {}  # pyright: ignore
