"""Vector fields derived by machine from maps.

`Optax` makes an optimizer of a function of the time step h that returns any optax transformation,
and derives its flow. A decay that depends on h, as 1 - h/τ, keeps its memory for the time τ in
the flow; a number that is written without h is held fixed.

>>> import optax
>>> from optax import contrib
>>> def adabelief(h):
...     return optax.adabelief(h, b1=1 - h / 0.1, b2=1 - h / 1.0)
>>> Optax(adabelief, 0.01).fields
('x', 'mu', 'nu')

The result is an optimizer like any other: `iterate`, `integrate`, `analysis` and `figures` take
it, and so do `Modified` and `Memoryless`. Four examples: Lion, whose sign must be smoothed, or its
flow has corners; NAdam, whose first few steps are longer than the others at every time step,
which costs its modified flow the second order; AdEMAMix, which has two momenta; and the heavy
ball, whose trace grows like 1/h.

>>> def lion(h):
...     rule = optax.scale_by_lion(b1=0.9, b2=1 - h / 0.1, mode="smooth", smooth_beta=5.0)
...     return optax.chain(rule, optax.scale(-h))
>>> Optax(lion, 0.01).regularity.nonsmooth
()
>>> Optax(lambda h: optax.lion(h, b2=1 - h / 0.1), 0.01).regularity.nonsmooth
('sign',)

>>> def nadam(h):
...     return optax.nadam(h, b1=1 - h / 0.1, b2=1 - h / 1.0)
>>> Optax(nadam, 0.01).regularity.initial_layer
True
>>> Modified(Optax(nadam, 0.01)).regularity.order
1.0

>>> def ademamix(h):
...     return contrib.ademamix(h, b1=1 - h / 0.1, b2=1 - h / 1.0, b3=1 - h / 10)
>>> Optax(ademamix, 0.01).fields
('x', 'm1', 'm2', 'nu')

>>> def decayed_ball(h):
...     decay, ball = optax.add_decayed_weights(0.1), optax.trace(decay=1 - 2 * h)
...     return optax.chain(decay, ball, optax.scale(-(h**2)))
>>> Optax(decayed_ball, 0.01, scale={"trace": -1})
Optax(decayed_ball, h=0.01, scale={'trace': -1})

Where there is no flow, `fault` names the leaf and the cause:

>>> optimizer = Optax(optax.adam, 0.01)
>>> print(optimizer.fault)  # doctest: +NORMALIZE_WHITESPACE
adam has no flow: the state leaves `[0].mu` and `[0].nu` forget as much in each step however short
the step is; make their decay 1 - h/tau, or wrap the optimizer in dynopt.Memoryless.
>>> Memoryless(optimizer)
Memoryless(Optax(adam, h=0.01))
"""

from .from_optax import Optax as Optax
from .memoryless import Memoryless as Memoryless
from .modified import Modified as Modified
from .stepped import Stepped as Stepped
