"""Trees of arrays by path: `encoder/stage1/kernel`."""

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import jax


def path_name(path: Sequence[Any]) -> str:
    """`encoder/conv/kernel` of a jax key path."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def flatten(tree: Any) -> dict[str, Any]:
    """{path: leaf}, in the tree's order; an empty tree gives {}."""
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def map_with_name(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`jax.tree.map` whose function receives the leaf's path first."""
    return jax.tree_util.tree_map_with_path(lambda path, *leaves: function(path_name(path), *leaves), tree, *rest)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a path matches one of the shell patterns; `encoder/*` also matches deeper paths."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_stacked(name: str) -> bool:
    """Whether the leaf holds all layers of a scanned stack along its first axis: the path has the part `blocks`."""
    return "blocks" in name.split("/")


def count(tree: Any) -> int:
    """The number of numbers in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
