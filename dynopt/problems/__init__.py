"""What is minimised: losses with a start, known minimizers, a window and a source.

Each line of imports below that names a function is one line of the catalogue, which the command
line, the figures and the tests read. They stand in teaching order: bowls, valleys, wells, traps,
ripples, two wells on a line, and then problems of learning: regressions and networks. To add a
problem, write its function in a file of this folder and its line here. Functions that return a
`Problem` are the `catalogue`, and those that return a `Game` are `games`, which have a field in
place of a loss that is descended.
"""

from collections.abc import Callable
from types import FunctionType

# isort: off
from .quadratic import quadratic as quadratic
from .valleys import booth as booth
from .valleys import matyas as matyas
from .valleys import rosenbrock as rosenbrock
from .valleys import ravine as ravine
from .valleys import beale as beale
from .humps import saddle as saddle
from .humps import himmelblau as himmelblau
from .humps import three_hump_camel as three_hump_camel
from .humps import six_hump_camel as six_hump_camel
from .traps import styblinski_tang as styblinski_tang
from .traps import goldstein_price as goldstein_price
from .traps import mccormick as mccormick
from .traps import easom as easom
from .ripples import rastrigin as rastrigin
from .ripples import ackley as ackley
from .ripples import levy as levy
from .ripples import griewank as griewank
from .humps import double_well as double_well
from .regression import logistic_regression as logistic_regression
from .regression import softmax_regression as softmax_regression
from .deep_linear import deep_linear as deep_linear
from .tanh_network import tanh_network as tanh_network
from .spectral import spectral_normalised as spectral_normalised
from .spectral import spectral_shrinkage as spectral_shrinkage
from .digits_network import digits_network as digits_network
from .sentences import sentence_similarity as sentence_similarity
from .linking import entity_linking as entity_linking
from .bilinear import bilinear as bilinear
from .dirac_gan import dirac_gan as dirac_gan
from .ring_gan import ring_gan as ring_gan

from .problem import Problem as Problem
from .game import Game as Game
from .held import Held as Held
from .over_data import MeanLoss as MeanLoss
from .quadratic import Quadratic as Quadratic
from .deep_linear import DeepLinear as DeepLinear
from .spectral import spectral_norm as spectral_norm

_constructors = {
    name: make for name, make in globals().copy().items() if isinstance(make, FunctionType)
}
games: dict[str, Callable[[], Game]] = {
    name: make for name, make in _constructors.items() if make.__annotations__["return"] is Game
}
catalogue: dict[str, Callable[[], Problem]] = {
    name: make for name, make in _constructors.items() if make.__annotations__["return"] is Problem
}
