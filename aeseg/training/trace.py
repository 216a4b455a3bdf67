"""FLOPs and memory of a traced program, counted in its jaxpr without compiling.  Every iteration of a scan counts.

XLA's cost analysis needs seconds to minutes of compilation, counts the body of a loop only once, and cannot count kernels that
replace matrix products on some platforms.
"""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend import core


def _shape(variable: core.Var | core.Literal) -> tuple[int, ...]:
    return variable.aval.shape  # type: ignore[attr-defined]


def flops(jaxpr: core.Jaxpr) -> int:
    """Count two operations per multiplication in matrix products and convolutions, which dominate the time; the rest counts 0.

    Padding zeros count; zeros that the gradient of a strided convolution inserts between rows do not. A `cond` counts as its cheapest
    branch: branches are a layer's versions for each platform, and some compute values that the compiler drops. A `while` loop has an
    unknown length and counts as one iteration.
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
            iterations = equation.params["length"] if equation.primitive.name == "scan" else 1
            total += iterations * (min(inner) if equation.primitive.name == "cond" else sum(inner))
    return total


def most_bytes(jaxpr: core.Jaxpr) -> int:
    """Return the peak memory of the program in bytes, without fusion. XLA needs less, since it does not store every result.

    If the program is a single jitted call, its arguments are donated (the train step donates its state). Inner calls keep theirs.
    """
    while len(jaxpr.eqns) == 1 and len(inner := list(_inner(jaxpr.eqns[0]))) == 1:
        (jaxpr,) = inner
    return _most_bytes(jaxpr, donated=True)


def _most_bytes(jaxpr: core.Jaxpr, donated: bool) -> int:
    arguments = [*jaxpr.invars, *jaxpr.constvars]
    last_use = {variable: number for number, equation in enumerate(jaxpr.eqns) for variable in _variables(equation.invars)}
    kept = set(_variables(jaxpr.outvars)) | (set() if donated else set(arguments))
    held = most = sum(map(_bytes, arguments))
    for number, equation in enumerate(jaxpr.eqns):
        results = sum(map(_bytes, equation.outvars))
        inside = [_most_bytes(each, False) - sum(map(_bytes, [*each.invars, *each.constvars])) for each in _inner(equation)] or [0]
        most = max(most, held + max(results, min(inside)))
        freed = {variable for variable in _variables(equation.invars) if last_use[variable] == number}
        freed |= {variable for variable in equation.outvars if variable not in last_use}
        held += results - sum(_bytes(variable) for variable in freed - kept)
    return most


def _inner(equation: Any) -> Iterator[core.Jaxpr]:
    """Yield the programs that an equation calls."""
    for value in equation.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, core.ClosedJaxpr):  # type: ignore[attr-defined]
                yield each.jaxpr
            elif isinstance(each, core.Jaxpr):
                yield each


def _variables(atoms: Any) -> list[Any]:
    """Return the inputs of an equation that are not literals."""
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def _bytes(variable: Any) -> int:
    """Return the size of an array in bytes; 0 for anything else."""
    aval = variable.aval
    return math.prod(getattr(aval, "shape", ())) * getattr(getattr(aval, "dtype", None), "itemsize", 0)
