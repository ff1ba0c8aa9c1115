"""Results to draw: made by hand, and one by `analysis`."""

from typing import Any

import pytest
from scenes import (
    OPTIMIZERS,
    SCENES,
    STEPS,
    make_basins,
    make_comparison,
    make_modified,
    make_order,
    make_sensitivity,
    make_stability,
    scene,
    three_stars,
)

from dynopt import SGD, Momentum, Status, figures
from dynopt.analysis import Comparison, Order, compare


@pytest.fixture(scope="session")
def comparisons() -> dict[str, list[Comparison]]:
    """All optimizers on all scenes."""
    return {
        name: [make_comparison(optimizer, scene(name)) for optimizer in OPTIMIZERS]
        for name in SCENES
    }


@pytest.fixture(scope="session")
def orders() -> dict[str, list[Order]]:
    lines = list(zip(OPTIMIZERS, (1.0, 1.01, 0.5, 0.99), (3, 1, 0.5, 0.1), strict=True))
    return {
        name: [make_order(optimizer, scene(name), slope, size) for optimizer, slope, size in lines]
        for name in SCENES
    }


@pytest.fixture(scope="session")
def diverged() -> Comparison:
    """Gradient descent with a learning rate beyond 2/λ = 0.2, where its flow still converges."""
    comparison = make_comparison(SGD(0.4), scene("bowl"))
    assert comparison.map.status == Status.diverged and comparison.flow.status == Status.ok
    return comparison


@pytest.fixture(scope="session")
def measured() -> Comparison:
    """A comparison that `analysis` has made."""
    return compare(Momentum(0.01), scene("bowl"), STEPS)


@pytest.fixture(scope="session")
def arguments(comparisons, orders) -> dict[str, tuple[Any, ...]]:
    """What `draw` of each figure is given, on the bowl; that of a new figure gets comparisons."""
    bowl = comparisons["bowl"]
    special = {
        "convergence": (orders["bowl"],),
        "modified": ([make_modified(comparison) for comparison in bowl],),
        "field": (make_modified(bowl[0]),),  # only gradient descent has no memory
        "stability": (make_stability(), make_sensitivity(Momentum(0.1), three_stars())),
        "basins": (make_basins(SGD(0.1), three_stars()),),
        "race": (bowl, "the same learning rates as everywhere here"),
        "overview": (bowl, orders["bowl"]),
    }
    return {name: special.get(name, (bowl,)) for name in figures.catalogue}
