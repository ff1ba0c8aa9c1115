"""What the command draws unless something else is typed."""

from typing import Any

STEPS = 100
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam")

# These figures are drawn only if they are named. A modified equation takes long to compile, and
# longer to solve where it is stiff; basins and stability take thousands of runs; an animation is a
# file for each optimizer.
ON_DEMAND = ("modified", "basins", "stability", "animation")

# The gallery: four problems, and options for them where the defaults would show less.
#
# - On the quadratic the heavy ball oscillates, and the time steps are so short that the dots lie on
#   the modified flows.
# - Rosenbrock's function is drawn in every figure of the paths and errors of map and flow.
# - On Himmelblau's function the optimizers end in different minimizers.
# - On Rastrigin's function momentum carries the map into another well than the flow.
STUDIES: dict[str, dict[str, Any]] = {
    "quadratic": {
        "figures": ("paths", "phase", "modified"),
        "set": {"sgd": {"learning_rate": 0.03}, "momentum": {"learning_rate": 0.01}},
    },
    "rosenbrock": {
        "figures": ("paths", "loss", "convergence", "phase", "overview"),
        "steps": 200,
        "set": {
            "sgd": {"learning_rate": 0.001},
            "momentum": {"learning_rate": 0.001},
            "adam": {"learning_rate": 0.1},
        },
    },
    "himmelblau": {"figures": ("paths", "loss", "basins", "stability")},
    "rastrigin": {
        "figures": ("paths", "convergence"),
        "x0": (4.45, 3.48),
        "set": {"momentum": {"learning_rate": 0.004}},
    },
}
