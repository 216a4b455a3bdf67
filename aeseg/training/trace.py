"""What a traced program multiplies and holds, counted in its jaxpr: nothing is compiled, and every turn of a scan counts.

XLA's own cost analysis takes seconds to minutes to compile for, counts a loop's body once, whatever its length, and cannot see into
the kernels that a platform puts in the place of products.
"""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend import core


def _shape(variable: core.Var | core.Literal) -> tuple[int, ...]:
    return variable.aval.shape  # type: ignore[attr-defined]


def flops(jaxpr: core.Jaxpr) -> int:
    """Two for each multiplication in matrix products and convolutions, which is where a network's time goes; the rest counts 0.

    Zeros that a convolution's gradient puts between its rows (stride) are not counted, those around the image (padding) are.  Of
    branches the cheapest counts: they are a layer's forms by platform, some of which compute what the compiler drops.  Of a `while`,
    whose turns nobody knows, one counts.
    """
    total = 0
    for equation in jaxpr.eqns:
        out = math.prod(_shape(equation.outvars[0])) if equation.outvars else 0
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * out * math.prod(_shape(equation.invars[0])[axis] for axis in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            _, features, *spatial = equation.params["dimension_numbers"].rhs_spec
            kernel = _shape(equation.invars[1])
            taps = math.prod(kernel[axis] for axis in (features, *spatial))
            total += 2 * out * taps // math.prod(equation.params["lhs_dilation"])
        else:
            inner = [flops(each) for each in _inner(equation)]
            turns = equation.params["length"] if equation.primitive.name == "scan" else 1
            total += turns * (min(inner) if equation.primitive.name == "cond" else sum(inner))
    return total


def most_bytes(jaxpr: core.Jaxpr) -> int:
    """What the program holds at its fullest moment where nothing is fused: XLA needs less, since it does not store every result.

    The arguments of a program that is one jitted call are given away (the train step donates its state), those of inner ones kept.
    """
    while len(jaxpr.eqns) == 1 and len(inner := list(_inner(jaxpr.eqns[0]))) == 1:
        (jaxpr,) = inner
    return _most_bytes(jaxpr, given_away=True)


def _most_bytes(jaxpr: core.Jaxpr, given_away: bool) -> int:
    arguments = [*jaxpr.invars, *jaxpr.constvars]
    used = {variable: place for place, equation in enumerate(jaxpr.eqns) for variable in _variables(equation.invars)}
    kept = set(_variables(jaxpr.outvars)) | (set() if given_away else set(arguments))
    held = most = sum(map(_bytes, arguments))
    for place, equation in enumerate(jaxpr.eqns):
        results = sum(map(_bytes, equation.outvars))
        inside = [_most_bytes(each, False) - sum(map(_bytes, [*each.invars, *each.constvars])) for each in _inner(equation)] or [0]
        most = max(most, held + max(results, min(inside)))
        gone = {variable for variable in _variables(equation.invars) if used[variable] == place}
        gone |= {variable for variable in equation.outvars if variable not in used}
        held += results - sum(_bytes(variable) for variable in gone - kept)
    return most


def _inner(equation: Any) -> Iterator[core.Jaxpr]:
    """The programs that an equation calls."""
    for value in equation.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, core.ClosedJaxpr):  # type: ignore[attr-defined]
                yield each.jaxpr
            elif isinstance(each, core.Jaxpr):
                yield each


def _variables(atoms: Any) -> list[Any]:
    """Of an equation's inputs those that are not literals."""
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def _bytes(variable: Any) -> int:
    """The size of an array; of what is none, 0."""
    aval = variable.aval
    return math.prod(getattr(aval, "shape", ())) * getattr(getattr(aval, "dtype", None), "itemsize", 0)
