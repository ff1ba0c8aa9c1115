"""What the command draws unless something else is typed."""

from typing import Any

STEPS = 100
FEW_STEPS = 20  # over which a weak order is measured: many times as many are taken
FACTORS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)  # of a learning rate: SGD is stable up to about 4
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam")
SAMPLERS = ("sgd", "momentum")  # of which Langevin dynamics are known
GAME_RATE = 0.1  # the learning rate of all optimizers on a game, for which no rule suggests one

# These figures are drawn only if they are named. A modified equation takes long to compile, and
# longer to solve where it is stiff; a spectrum is searched over learning rates; basins and
# stability take thousands of runs; robustness is one of classifiers, half-times are those of
# groups, retrieval is one of sentences, and ensembles, Langevin's samples, stationary laws and weak
# orders are of random paths; an animation and the inside of a step are a file for each optimizer,
# and an explorer is no picture. Of a game the field is always drawn.
ON_DEMAND = (
    "modified", "field", "basins", "stability", "spectrum", "robustness", "half_times", "retrieval",
    "inside", "animation", "explorer", "ensemble", "langevin", "stationary", "weak_order",
)  # fmt: skip
OF_ORDERS = ("convergence", "overview")  # drawn only if named, too, of a problem that is LARGE
LARGE = 1000  # coordinates: an order takes a dozen flows

# The gallery: each study with options where the defaults would show less.
#
# - On Himmelblau's function the four optimizers end in different minimizers. In the explorer the
#   learning rates are those of `dynopt.explore`, at which map and flow differ visibly.
# - On Rosenbrock's function and on a quadratic the learning rates are near the edge of stability,
#   where the map is another motion than its flow.
# - On a game four ways to move have four modified flows.
# - For the modified flow the learning rates are so small that the dots lie on it.
STUDIES: tuple[dict[str, Any], ...] = (
    {"problem": ("himmelblau",), "figures": ("overview", "convergence", "basins")},
    {
        "problem": ("himmelblau",),
        "figures": ("explorer",),
        "steps": 50,
        "set": {
            "sgd": {"learning_rate": 0.013},
            "momentum": {"learning_rate": 0.0074},
            "rmsprop": {"learning_rate": 0.14, "bias_correction": True},
            "adam": {"learning_rate": 0.28, "b2": 0.99},
        },
    },
    {
        "problem": ("rosenbrock",),
        "figures": ("paths",),
        "steps": 60,
        "set": {
            "sgd": {"learning_rate": 0.0018},
            "momentum": {"learning_rate": 0.0015},
            "rmsprop": {"learning_rate": 0.05},
            "adam": {"learning_rate": 0.1},
        },
    },
    {
        "problem": ("quadratic",),
        "figures": ("paths",),
        "steps": 40,
        "set": {
            "sgd": {"learning_rate": 0.17},
            "momentum": {"learning_rate": 0.1},
            "rmsprop": {"learning_rate": 0.2},
            "adam": {"learning_rate": 0.3},
        },
    },
    {
        "problem": ("quadratic",),
        "optimizers": ("sgd", "momentum"),
        "figures": ("modified",),
        "steps": 50,
        "set": {"sgd": {"learning_rate": 0.03}, "momentum": {"learning_rate": 0.01}},
    },
    {
        "problem": ("himmelblau",),
        "optimizers": ("adam",),
        "figures": ("inside",),
        "set": {"adam": {"learning_rate": 0.25}},
    },
    {
        "problem": ("dirac_gan",),
        "optimizers": ("sgd", "alternating", "extragradient", "consensus"),
        "figures": ("field",),
        "learning_rate": 0.4,
        "steps": 40,
    },
    {
        "problem": ("quadratic",),
        "optimizers": ("sgd",),
        "figures": ("animation",),
        "steps": 14,
        "set": {"sgd": {"learning_rate": 0.17}},
    },
)
