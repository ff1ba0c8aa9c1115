"""Labels for the parts of a position: its keys, and paths of keys with dots between them."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from ...errors import InvalidValue, unknown_name


def by_label(chosen: Mapping[str, Any], x0: PyTree, otherwise: Any) -> PyTree:
    """What is chosen for each leaf of `x0`: by the longest label that names it or a part that holds it.

    **Raises:** `UnknownName` for a label that names no part; `InvalidValue` if the position has no parts.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(x0)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    parts = {
        name: [".".join(name.split(".")[:i]) for i in range(name.count(".") + 1, 0, -1)]
        for name in names
    }
    known = {part for own in parts.values() for part in own} - {""}
    for label in chosen:
        if not known:
            raise InvalidValue(
                f"the position is one array, so {label!r} names no part of it; pass a dict of arrays."
            )
        if label not in known:
            raise unknown_name("part of the position", label, sorted(known))
    found = [
        next((chosen[part] for part in parts[name] if part in chosen), otherwise) for name in names
    ]
    return jax.tree.unflatten(structure, found)
