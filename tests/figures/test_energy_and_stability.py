"""Energies and the stability map are drawn as they were measured, and said in words that are true."""

import dataclasses
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import pytest
from scenes import found, gids, keys, made_energies, made_gap, made_stability, scene

from dynopt import SGD, Momentum, Problem
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import energy, stability
from dynopt.figures.drawing.style import STYLES
from dynopt.figures.drawing.words import number

KEYS = ("sgd", "momentum", "rmsprop", "adam")


def title(picture) -> str:
    return picture.axes[0].get_title().replace("\n", " ").replace("\xa0", " ")


def caption(picture) -> str:
    return picture.get_supxlabel().replace("\n", " ").replace("\xa0", " ")


def lifted(made, *rises: float):
    """The same energy, said to have risen at its first points by so much."""
    violation = jnp.zeros_like(made.energy).at[1 : 1 + len(rises)].set(jnp.array(rises))
    return dataclasses.replace(made, violation=violation)


def still(made):
    return lifted(made)


# --- the energy


@pytest.mark.parametrize("kind", ["map", "flow"])
@pytest.mark.parametrize("i", range(4), ids=KEYS)
def test_the_energy_of_each_run_is_drawn_above_the_minimum(kind, i, energies):
    ax = energy.draw(energies["bowl"]).axes[0]
    (own,) = (e for e in energies["bowl"][2 * i : 2 * i + 2] if e.trajectory.kind == kind)
    np.testing.assert_array_equal(found(ax, f"{kind} {KEYS[i]}").get_ydata(), own.energy)
    deep = Problem(scene("bowl").loss, [-2.0, 1.5], name="deep", minimum=-5.0)
    ax = energy.draw([dataclasses.replace(e, problem=deep) for e in energies["bowl"]]).axes[0]
    np.testing.assert_array_equal(
        found(ax, f"{kind} {KEYS[i]}").get_ydata(), np.asarray(own.energy) + 5
    )
    assert ax.get_yscale() == "log"


def test_without_a_known_minimum_the_energy_itself_is_drawn(energies):
    ax = energy.draw(energies["nowhere"]).axes[0]
    np.testing.assert_array_equal(found(ax, "map sgd").get_ydata(), energies["nowhere"][0].energy)
    assert ax.get_ylabel() == "energy  E(t, y)"


def test_a_cross_marks_each_rise_and_a_line_the_way_up(energies):
    map, flow = energies["wells"][:2]
    map, flow = lifted(map, 0.0, 0.3, 0.2), still(flow)
    ax = energy.draw([map, flow]).axes[0]
    cross = found(ax, "rise map sgd")
    np.testing.assert_array_equal(cross.get_ydata(), map.energy[2:4])
    np.testing.assert_array_equal(cross.get_xdata(), map.t[2:4])
    assert cross.get_marker() == "x" and cross.get_color() == "#262a30"
    for k, way in enumerate(found(ax, "way map sgd").get_segments()):
        np.testing.assert_array_equal(way[:, 1], map.energy[k + 1 : k + 3])
    assert "rise flow sgd" not in gids(ax) and "a rise" in keys(ax)


def test_without_a_rise_there_is_no_cross(energies):
    ax = energy.draw([still(e) for e in energies["bowl"]]).axes[0]
    assert not [
        gid for gid in gids(ax) if gid.startswith(("rise", "way"))
    ] and "a rise" not in keys(ax)


def test_the_title_counts_the_rises_and_gives_the_largest(energies):
    sgd, flow, momentum, other_flow = (still(e) for e in energies["bowl"][:4])
    ends = number(float(sgd.energy[0])), number(float(sgd.energy[-1]))
    assert (
        title(energy.draw([sgd, flow]))
        == f"The energy of SGD falls from {ends[0]} to {ends[1]} without a rise"
    )
    assert title(energy.draw([sgd, flow, momentum, other_flow])) == "No energy ever rises"
    one = lifted(sgd, 0.1, 0.3)
    assert title(energy.draw([one, flow])) == (
        "The map of SGD raises its energy 2 times in 40 steps, by at most 0.3; its flow never does"
    )
    assert (
        title(energy.draw(one))
        == "The map of SGD raises its energy 2 times in 40 steps, by at most 0.3"
    )
    assert title(energy.draw([one, flow, lifted(momentum, 2.5), other_flow])) == (
        "The maps of SGD and Momentum raise their energy 2 and 1 times in 40 steps, by at most 2.5 (Momentum); no flow does"
    )
    assert title(energy.draw([sgd, lifted(flow, 0.01)])) == (
        "The flow of SGD raises its energy 1 time in 40 steps, by at most 0.01"
    )


def test_caption_and_alt_text_say_by_how_much_each_rose(energies):
    sgd, flow, momentum, _ = (still(e) for e in energies["bowl"][:4])
    picture = energy.draw([lifted(sgd, 0.1, 0.3), flow, lifted(momentum, 2.5)])
    assert (
        "since the point before: SGD 2 times by at most 0.3; Momentum 1 time by at most 2.5."
        in caption(picture)
    )
    assert "SGD ends at" in picture.alt and "and rises 2 times by at most 0.3" in picture.alt
    assert "the flow of SGD ends at" in picture.alt and "and never rises" in picture.alt
    assert picture.alt == energy.describe([lifted(sgd, 0.1, 0.3), flow, lifted(momentum, 2.5)])


def test_maps_alone_and_flows_alone_are_pictures_too(energies):
    maps, flows = energies["valley"][::2], energies["valley"][1::2]
    ax = energy.draw(maps).axes[0]
    assert "map adam" in gids(ax) and "flow adam" not in gids(ax) and "flow" not in keys(ax)
    assert "The flow" not in caption(energy.draw(maps))
    ax = energy.draw(flows).axes[0]
    assert "flow adam" in gids(ax) and "map adam" not in gids(ax) and "map" not in keys(ax)
    assert "40 steps each" in caption(energy.draw(flows)) and "The flow by Tsit5" in caption(
        energy.draw(flows)
    )


def test_two_runs_of_one_optimizer_are_told_apart(energies):
    """By their options; a second map of the very same page is a second run."""
    other = made_energies(made_gap(SGD(0.02), scene("bowl")))
    picture = energy.draw([*energies["bowl"][:2], *other])
    assert {"map sgd", "flow sgd", "map sgd 2", "flow sgd 2"} <= gids(picture.axes[0])
    assert "SGD (learning_rate 0.02)" in picture.alt
    assert "map sgd 2" in gids(energy.draw([energies["bowl"][0]] * 2).axes[0])


def test_a_run_that_failed_is_drawn_to_its_last_finite_point(diverged):
    made = made_energies(diverged)
    picture = energy.draw(made)
    k = int(diverged.map.stats["first_bad_step"])
    assert (
        title(picture).startswith(f"SGD diverged at step {k}")
        and f"SGD diverged at step {k}" in picture.alt
    )
    np.testing.assert_array_equal(
        found(picture.axes[0], "map sgd").get_ydata(),
        np.asarray(made[0].energy)[diverged.map.finite],
    )


def test_an_energy_of_nothing_finite_says_so(energies):
    map = energies["bowl"][0]
    run = dataclasses.replace(map.trajectory, loss=jnp.full(41, jnp.nan))
    lost = dataclasses.replace(
        map, energy=jnp.full(41, jnp.nan), violation=jnp.full(41, jnp.nan), trajectory=run
    )
    picture = energy.draw(lost)
    assert found(picture.axes[0], "words").get_text() == "no finite energy to draw"
    picture.savefig(BytesIO(), dpi=30)


def test_wrong_energies_are_named(energies, comparisons, as_users_see_it):
    with pytest.raises(InvalidType, match="must come from analysis.energy, got Gap"):
        energy.draw(comparisons["bowl"][0])
    with pytest.raises(InvalidValue, match="draw one picture for each"):
        energy.draw([energies["bowl"][0], energies["valley"][0]])
    batch = dataclasses.replace(energies["bowl"][0], energy=jnp.ones((2, 41)))
    with pytest.raises(InvalidValue, match="holds a batch"):
        energy.draw(batch)


# --- the stability map


@pytest.mark.parametrize("curvature", [1.0, 50.0])
def test_boundary_and_optimum_are_drawn_as_they_were_found(curvature):
    made = made_stability(curvature=curvature)
    ax = stability.draw(made).axes[0]
    np.testing.assert_allclose(
        found(ax, "boundary").get_xydata(), np.stack([2 + 2 * made.value, made.value], 1)
    )
    np.testing.assert_allclose(
        found(ax, "optimal").get_xydata(),
        np.stack([made.learning_rate * curvature, made.optimal], 1),
    )
    assert ax.get_xlabel() == "learning rate × curvature  η λ" and ax.get_ylabel() == "momentum"
    assert ax.get_xlim()[1] == pytest.approx(4.2) and ax.get_ylim() == (0, made.value[-1])


def test_levels_of_the_radius_are_round_and_labelled():
    ax = stability.draw(made_stability()).axes[0]
    lines = found(ax, "contours")
    assert set(lines.levels) <= set(stability.LEVELS) and len(lines.levels) == 7
    assert {"0.5", "0.8", "0.9", "0.95"} <= {text.get_text() for text in ax.texts}
    assert list(found(ax, "field").levels) == [0, *lines.levels, 1]


def test_beyond_the_boundary_the_ground_is_hatched():
    ax = stability.draw(made_stability()).axes[0]
    unstable = found(ax, "unstable")
    assert unstable.get_hatch() and unstable.get_paths()[0].contains_point((3.9, 0.5))
    assert not unstable.get_paths()[0].contains_point(
        (2.9, 0.5)
    ) and "unstable: radius above 1" in keys(ax)


@pytest.mark.parametrize("style", STYLES)
def test_its_lines_are_named_where_they_are(style):
    ax = stability.draw(made_stability(), style=style).axes[0]
    assert {"critical: radius 1", "fastest momentum"} <= {text.get_text() for text in ax.texts}


def test_the_stability_map_says_how_far_the_option_moves_the_bound():
    picture = stability.draw(made_stability())
    claim = "Momentum is stable up to η λ = 2 with momentum 0, up to 3.94 with momentum 0.97"
    assert title(picture) == claim and claim in picture.alt.replace("\xa0", " ")
    assert "Momentum(learning_rate=0.01, momentum=0.9)" in caption(
        picture
    ) and "float64" in caption(picture)
    made = made_stability()
    i, j = np.unravel_index(made.radius.argmin(), made.radius.shape)
    least = f"The radius is least, {number(made.radius[i, j], 2)}, at η λ = {number(made.learning_rate[j])} and momentum 0."
    assert least in caption(picture) and picture.alt.endswith(".") and "\n" not in picture.alt


def test_maps_without_contours_or_bounds_are_drawn():
    made = made_stability()
    row = dataclasses.replace(
        made, value=made.value[:1], radius=made.radius[:1], boundary=made.boundary[:1]
    )
    lost = dataclasses.replace(made, boundary=np.full(31, np.nan), optimal=np.full(41, np.nan))
    endless = dataclasses.replace(made, boundary=np.full(31, np.inf))
    for odd in (row, lost, endless, made_stability(reach=1e-3), made_stability(n=2, m=2)):
        stability.draw(odd).savefig(BytesIO(), dpi=30)


def test_one_stability_map_is_one_picture(comparisons, as_users_see_it):
    with pytest.raises(
        InvalidValue, match="`results` holds 2 results; pass one of analysis.stability"
    ):
        stability.draw([made_stability()] * 2)
    with pytest.raises(InvalidType, match="`results` must come from analysis.stability, got Gap"):
        stability.draw(comparisons["bowl"][0])
    assert stability.describe([made_stability()]) == stability.describe(made_stability())


def test_its_line_has_the_look_of_the_optimizer():
    from dynopt.figures.drawing.style import look

    line = found(stability.draw(made_stability()).axes[0], "optimal")
    assert line.get_color() == look(Momentum(0.1)).color
