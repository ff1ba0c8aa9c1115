"""For every smooth loss and every chain of smooth transformations, one step of the map differs from
the modified flow by O(h³)."""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import assume, given, settings, strategies as st

from dynopt import Modified, Optax, Problem, analysis


class Waves(eqx.Module):
    """A bowl with waves on it."""

    heights: jax.Array
    crests: jax.Array
    phases: jax.Array

    def __call__(self, x):
        return jnp.sum(x**2) / 2 + jnp.sum(self.heights * jnp.cos(self.crests @ x + self.phases))


class Chain(eqx.Module):
    links: tuple[str, ...] = eqx.field(static=True)
    tau: Any
    decay: Any

    def __call__(self, h):
        transformations = {
            "weights": optax.add_decayed_weights(self.decay),
            "ema": optax.ema(1 - h / self.tau, debias=False),
            "rms": optax.scale_by_rms(decay=1 - h / self.tau, eps=0.5, initial_scale=1.0),
        }
        return optax.chain(*(transformations[link] for link in self.links), optax.scale(-h))


CHAINS = [("weights", "ema"), ("ema", "rms"), ("rms", "ema", "weights")]
numbers = st.floats(-1, 1, allow_subnormal=False)


@cache
def optimizer_of_chain(links):
    """An optimizer made of such a chain, compiled once; the numbers in it are replaced."""
    return Optax(Chain(links, 0.3, 0.1), 0.01)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.sampled_from(CHAINS),
    st.lists(numbers, min_size=12, max_size=12),
    st.lists(numbers, min_size=2, max_size=2),
    st.floats(0.1, 1),
    st.floats(0, 1),
)
def test_the_local_error_of_any_smooth_chain_against_its_modified_flow_is_of_order_h_cubed(
    links, waves, start, tau, decay
):
    optimizer = eqx.tree_at(
        lambda p: p.transformation.family, optimizer_of_chain(links), Chain(links, tau, decay)
    )
    waves = np.asarray(waves)
    loss = Waves(*map(jnp.asarray, (waves[:3], 2 * waves[3:9].reshape(3, 2), 3 * waves[9:])))
    problem = Problem(loss, start, name="waves")
    fine, finer = (Modified(optimizer.refine(n)) for n in (2, 4))
    errors = [float(analysis.local_error(p, problem, 1).error[0]) for p in (fine, finer)]
    assume(errors[1] > 1e-9)  # where the h³ term nearly vanishes, the h⁴ term shows
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.2), errors
