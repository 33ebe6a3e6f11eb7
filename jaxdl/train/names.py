"""The arrays of a tree by name: "params.vae.Dense_0.kernel"."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import jax

from jaxdl.errors import InputError


def path_name(path: Any) -> str:
    """Spell the place of an array in a tree; keys, attributes and numbers alike."""
    return ".".join(
        str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry)))) for entry in path
    )


def named(tree: Any) -> dict[str, Any]:
    """Return {name: array}.

    Raises:
        InputError: if two arrays would have one name.
    """
    arrays: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = path_name(path)
        if name in arrays:
            raise InputError(f"two arrays have the name {name}; no key may hold a dot")
        arrays[name] = leaf
    return arrays


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dicts of named arrays; what was a tuple becomes a dict with numbers as keys."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *above, last = name.split(".")
        reduce(lambda inner, level: inner.setdefault(level, {}), above, tree)[last] = array
    return tree


def put_in(arrays: Mapping[str, Any], like: Any) -> Any:
    """Return a tree like another one, of the named arrays."""
    return jax.tree_util.tree_map_with_path(lambda path, _: arrays[path_name(path)], like)


def described(tree: Any) -> dict[str, str]:
    """Return {name: "dtype[shape]"}."""
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in named(tree).items()}


def is_key(leaf: Any) -> bool:
    """Tell whether these are typed keys."""
    return bool(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key))
