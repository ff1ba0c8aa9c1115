"""Labels for the parts of a position: its keys, and paths of keys joined by dots."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from ...errors import InvalidValue, unknown_name


def by_label(values: Mapping[str, Any], x0: PyTree, default: Any) -> PyTree:
    """The value for each leaf of `x0`, by the longest label of the leaf or of a part that holds it.

    A leaf without a label gets the `default`.

    **Raises:** `UnknownName` for a label that names no part; `InvalidValue` if the position has no
    parts.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(x0)
    leaves = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    labels_of_leaves = [
        [".".join(leaf.split(".")[:i]) for i in range(leaf.count(".") + 1, 0, -1)]
        for leaf in leaves
    ]
    parts = {label for labels in labels_of_leaves for label in labels} - {""}
    for label in values:
        if not parts:
            raise InvalidValue(
                f"the position is one array, so {label!r} names no part of it; pass a dict of "
                "arrays."
            )
        if label not in parts:
            raise unknown_name("part of the position", label, sorted(parts))
    return jax.tree.unflatten(
        structure,
        [
            next((values[label] for label in labels if label in values), default)
            for labels in labels_of_leaves
        ],
    )
