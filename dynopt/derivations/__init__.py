"""Flows derived by machine from maps.

Bring your own optimizer: a function of the time h that one step takes, returning any optax transformation. A decay that
moves with h, as 1 - h/τ, keeps its memory for a time τ in the flow; whatever is written without h is held fixed.

>>> import optax
>>> from optax import contrib
>>> def adabelief(h):
...     return optax.adabelief(h, b1=1 - h / 0.1, b2=1 - h / 1.0)
>>> Optax(adabelief, 0.01).fields
('x', 'mu', 'nu')

It is a page as any other: `iterate`, `integrate`, `analysis` and `figures` take it, and so do `Modified`, `Memoryless`.
Lion needs its sign smoothed, or its flow has corners; NAdam's first few steps are longer than the rest at every clock,
which costs its modified flow the second order; AdEMAMix has two momenta; heavy ball's trace grows like 1/h.

>>> def lion(h):
...     return optax.chain(optax.scale_by_lion(b1=0.9, b2=1 - h / 0.1, mode="smooth", smooth_beta=5.0), optax.scale(-h))
>>> [Optax(f, 0.01).regularity.nonsmooth for f in (lion, lambda h: optax.lion(h, b2=1 - h / 0.1))]
[(), ('sign',)]
>>> def nadam(h):
...     return optax.nadam(h, b1=1 - h / 0.1, b2=1 - h / 1.0)
>>> Optax(nadam, 0.01).regularity.initial_layer, Modified(Optax(nadam, 0.01)).regularity.order
(True, 1.0)
>>> def ademamix(h):
...     return contrib.ademamix(h, b1=1 - h / 0.1, b2=1 - h / 1.0, b3=1 - h / 10)
>>> Optax(ademamix, 0.01).fields
('x', 'm1', 'm2', 'nu')
>>> def decayed_ball(h):
...     return optax.chain(optax.add_decayed_weights(0.1), optax.trace(decay=1 - 2 * h), optax.scale(-(h**2)))
>>> Optax(decayed_ball, 0.01, scale={"trace": -1})
Optax(decayed_ball, h=0.01, scale={'trace': -1})

Where there is no flow, the leaf and the cause are named:

>>> page = Optax(optax.adam, 0.01)
>>> print(page.fault)  # doctest: +NORMALIZE_WHITESPACE
adam has no flow: the state leaves `[0].mu` and `[0].nu` forget as fast however short the step; make their decay
1 - h/tau, or wrap the page in dynopt.Memoryless.
>>> Memoryless(page)
Memoryless(Optax(adam, h=0.01))
"""

from .from_optax import Optax as Optax
from .memoryless import Memoryless as Memoryless
from .modified import Modified as Modified
