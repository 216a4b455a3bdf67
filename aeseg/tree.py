"""Trees of arrays whose leaves are named by path, such as `encoder/stage1/kernel`."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax


def path_name(path: Sequence[Any]) -> str:
    """Return the name of a jax key path, such as `encoder/conv/kernel`."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def flatten(tree: Any) -> dict[str, Any]:
    """Return {path: leaf} in the order of the tree; an empty tree gives {}.

    >>> flatten({"encoder": {"kernel": 1, "bias": 2}})
    {'encoder/bias': 2, 'encoder/kernel': 1}
    """
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested dicts of {path: leaf}, the inverse of `flatten`.

    >>> unflatten({"encoder/bias": 2, "encoder/kernel": 1})
    {'encoder': {'bias': 2, 'kernel': 1}}
    """
    root: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *above, last = path.split("/")
        node = root
        for part in above:
            node = node.setdefault(part, {})
        node[last] = leaf
    return root


def map_with_name(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Like `jax.tree.map`, but `function` receives the path of the leaf first."""
    return jax.tree_util.tree_map_with_path(lambda path, *leaves: function(path_name(path), *leaves), tree, *rest)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a path matches one of the shell patterns; `encoder/*` also matches deeper paths.

    >>> matches("encoder/stage1/kernel", ["encoder/*"])
    True
    """
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_stacked(name: str) -> bool:
    """Return whether the first axis of a leaf counts the layers of a scanned stack: its path contains the part `blocks`."""
    return "blocks" in name.split("/")


def count(tree: Any) -> int:
    """Count the elements in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
