"""Layers of networks, multiplied in full precision: GPUs would otherwise keep half the digits."""

import jax.numpy as jnp
from jaxtyping import Array


def affine(a, layer) -> Array:
    """a W + b for the rows of `a` and a layer with weights W and biases b."""
    product = jnp.matmul(a, layer["w"], precision="highest")
    return product + (layer["b"][None] if layer["w"].ndim == 2 else layer["b"])


def chain(*matrices) -> Array:
    """The product of the matrices, the first applied first."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = jnp.matmul(matrix, product, precision="highest")
    return product
