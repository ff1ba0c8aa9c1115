"""What is minimised: a loss that knows its start, its minimizers, its window and its source. In teaching order: bowls,
valleys, humps, traps, ripples; then what learns: regressions and networks. A line here is all that the command line,
the figures and the tests need."""

from collections.abc import Callable

# isort: off
from .problem import Problem as Problem
from .over_data import MeanLoss as MeanLoss
from .quadratic import Quadratic as Quadratic, quadratic as quadratic
from .valleys import (
    booth as booth,
    matyas as matyas,
    rosenbrock as rosenbrock,
    ravine as ravine,
    beale as beale,
)
from .humps import saddle as saddle, himmelblau as himmelblau
from .humps import three_hump_camel as three_hump_camel, six_hump_camel as six_hump_camel
from .traps import styblinski_tang as styblinski_tang, goldstein_price as goldstein_price
from .traps import mccormick as mccormick, easom as easom
from .ripples import rastrigin as rastrigin, ackley as ackley, levy as levy, griewank as griewank
from .regression import (
    logistic_regression as logistic_regression,
    softmax_regression as softmax_regression,
)
from .deep_linear import DeepLinear as DeepLinear, deep_linear as deep_linear
from .tanh_network import tanh_network as tanh_network

catalogue: dict[str, Callable[[], Problem]] = {
    "quadratic": quadratic,
    "booth": booth,
    "matyas": matyas,
    "rosenbrock": rosenbrock,
    "ravine": ravine,
    "beale": beale,
    "saddle": saddle,
    "himmelblau": himmelblau,
    "three_hump_camel": three_hump_camel,
    "six_hump_camel": six_hump_camel,
    "styblinski_tang": styblinski_tang,
    "goldstein_price": goldstein_price,
    "mccormick": mccormick,
    "easom": easom,
    "rastrigin": rastrigin,
    "ackley": ackley,
    "levy": levy,
    "griewank": griewank,
    "logistic_regression": logistic_regression,
    "softmax_regression": softmax_regression,
    "deep_linear": deep_linear,
    "tanh_network": tanh_network,
}
