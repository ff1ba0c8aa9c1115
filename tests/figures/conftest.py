"""Results to draw: made by hand, and one by `analysis`."""

import pytest
from scenes import (
    PAGES,
    SCENES,
    STEPS,
    made_energies,
    made_gap,
    made_local_error,
    made_order,
    scene,
)

from dynopt import SGD, Momentum, Status
from dynopt.analysis import Comparison, LocalError, Lyapunov, Order, compare


@pytest.fixture(scope="session")
def comparisons() -> dict[str, list[Comparison]]:
    """All pages on all scenes."""
    return {name: [made_gap(optimizer, scene(name)) for optimizer in PAGES] for name in SCENES}


@pytest.fixture(scope="session")
def local_errors(comparisons) -> dict[str, list[LocalError]]:
    return {
        name: [made_local_error(comparison) for comparison in made]
        for name, made in comparisons.items()
    }


@pytest.fixture(scope="session")
def energies(comparisons) -> dict[str, list[Lyapunov]]:
    return {
        name: [energy for comparison in made for energy in made_energies(comparison)]
        for name, made in comparisons.items()
    }


@pytest.fixture(scope="session")
def orders() -> dict[str, list[Order]]:
    slopes = {"SGD": 1.0, "Momentum": 1.01, "RMSprop": 0.5, "Adam": 0.99}
    return {
        name: [
            made_order(p, scene(name), slopes[type(p).__name__], s)
            for p, s in zip(PAGES, (3, 1, 0.5, 0.1), strict=True)
        ]
        for name in SCENES
    }


@pytest.fixture(scope="session")
def diverged() -> Comparison:
    """Gradient descent with a learning rate beyond 2/λ = 0.2; its flow does nothing of the sort."""
    comparison = made_gap(SGD(0.4), scene("bowl"))
    assert comparison.map.status == Status.diverged and comparison.flow.status == Status.ok
    return comparison


@pytest.fixture(scope="session")
def true_gap() -> Comparison:
    return compare(Momentum(0.01), scene("bowl"), STEPS)
