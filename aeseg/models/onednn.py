"""Convolutions, products, attention, layer norm and GELU by oneDNN, a library of CPU kernels: an extra, equal up to rounding.

XLA divides a convolution over output channels and columns only, so small networks use one core.  oneDNN divides it over images and rows,
too.  Measured on two cores (`experiments.bench`): training steps of convolutional networks take 0.5 to 0.75 of their time.  Attention and
its gradient take half of theirs, and keep no weights in memory; a depthwise convolution of 7x7 takes a fifth to a quarter; layer norm
and its gradient take a fifth, and GELU a third.  The sums of batch norm, which XLA computes on one core, take a third to a half.

The extra `cpu` installs oneDNN.  XLA calls it through onednn.cc, which the machine's C++ compiler builds once, in 3 seconds; aeseg's cache
folder keeps it.  Without the extra or a compiler, on several devices, and on other processors, nothing changes.
"""

import contextlib
import ctypes
import functools
import glob
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jaxtyping import Array, Float, Int

from aeseg import compile_cache

PACKAGE = "onednn-cpu-gomp"

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onednn.cc")

CONVOLUTION, TO_IMAGE, TO_KERNEL = "aeseg_convolution", "aeseg_image_gradient", "aeseg_kernel_gradient"
PRODUCT, ATTENTION, OF_ATTENTION = "aeseg_product", "aeseg_attention", "aeseg_attention_gradient"
NORM, OF_NORM, GELU, OF_GELU = "aeseg_norm", "aeseg_norm_gradient", "aeseg_gelu", "aeseg_gelu_gradient"
SUMS = "aeseg_sums"
TASKS = (CONVOLUTION, TO_IMAGE, TO_KERNEL, PRODUCT, ATTENTION, OF_ATTENTION, NORM, OF_NORM, GELU, OF_GELU, SUMS)

Padding = tuple[tuple[int, int], tuple[int, int]]

_wanted: list[bool] = []
_builders: list[threading.Thread] = []


def enable() -> None:
    """Let `ops` and `products` use oneDNN in this process, where it can; call it before the first program is traced.

    A thread builds what is not built yet, while the process starts.
    """
    if not _wanted and (library := _library()) and (compiler := _compiler()):
        _builders.append(threading.Thread(target=_build_ahead, args=(compiler, library)))
        _builders[-1].start()
    _wanted.append(True)


def _build_ahead(compiler: str, library: str) -> None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # `_usable` tries again, and says what is wrong
        _built(compiler, library)


def enabled() -> bool:
    """Return whether oneDNN is used."""
    return bool(_wanted) and _usable()


def suits(array: Array) -> bool:
    """Return whether oneDNN computes with such arrays."""
    return array.dtype == jnp.float32 and enabled()


def or_plain(fast: Callable[..., Any], plain: Callable[..., Any], *arrays: Array) -> Any:
    """Compute by oneDNN where it suits the first array, otherwise by XLA."""
    return jax.lax.platform_dependent(*arrays, cpu=fast, default=plain) if suits(arrays[0]) else plain(*arrays)


@functools.cache
def _usable() -> bool:
    """Build and register the functions; return whether that is possible."""
    # XLA cannot divide a call over devices: each would compute the whole batch.
    if jax.default_backend() != "cpu" or jax.device_count() > 1 or not (library := _library()):
        return False
    for builder in _builders:
        builder.join()
    if not (compiler := _compiler()):
        warnings.warn(
            "oneDNN is installed, but there is no C++ compiler to connect it to XLA, so training is slower. Install g++ or set CXX.",
            stacklevel=2,
        )
        return False
    try:
        built = ctypes.CDLL(_built(compiler, library))
    except (OSError, subprocess.CalledProcessError) as error:
        message = getattr(error, "stderr", "") or str(error)
        warnings.warn(f"oneDNN cannot be connected to XLA, so training is slower: {message.strip()[-500:]}", stacklevel=2)
        return False
    for task in TASKS:
        jax.ffi.register_ffi_target(task, jax.ffi.pycapsule(getattr(built, task)), platform="cpu")
    return True


def _compiler() -> str:
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or ""


def _library() -> str:
    """Return the path of oneDNN's library, "" if it is not installed."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    return next((os.path.abspath(file.locate()) for file in files if file.name == "libdnnl.so.3"), "")


def _built(compiler: str, library: str) -> str:
    """Compile onednn.cc, unless the cache has it; return the file."""
    options = "-O1 -std=c++17 -w -shared -fPIC -pthread -isystem"
    command = [*compiler.split(), *options.split(), jax.ffi.include_dir(), SOURCE, library, f"-Wl,-rpath,{os.path.dirname(library)}"]
    with open(SOURCE, "rb") as file:
        key = _digest(file.read() + " ".join((*command, jaxlib.__version__)).encode())  # type: ignore[attr-defined]
    folder = os.path.join(compile_cache.home(), "onednn")
    for path in glob.glob(os.path.join(glob.escape(folder), f"{key}-*.so")):
        if path.endswith(f"-{_digest_of(path)}.so"):  # a damaged library could end the process
            return path
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as apart:  # other processes may build it, too
        built = os.path.join(apart, "built.so")
        subprocess.run([*command, "-o", built], check=True, capture_output=True, text=True)
        path = os.path.join(folder, f"{key}-{_digest_of(built)}.so")
        os.replace(built, path)
    return path


def _digest_of(path: str) -> str:
    with open(path, "rb") as file:
        return _digest(file.read())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def convolution(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], stride: int, padding: Padding) -> Float[Array, "b i j d"]:
    """Convolve images."""
    sizes = zip(image.shape[1:3], padding, kernel.shape[:2], strict=True)
    rows, columns = ((side + before + after - length) // stride + 1 for side, (before, after), length in sizes)
    return _convolved(CONVOLUTION, (image.shape[0], rows, columns, kernel.shape[3]), image, kernel, stride, padding)


def image_gradient(
    kernel: Float[Array, "y x c d"], gradient: Float[Array, "b i j d"], size: tuple[int, ...], stride: int, padding: Padding
) -> Float[Array, "b h w c"]:
    """Return the gradient of a convolution's image, of `size`."""
    return _convolved(TO_IMAGE, (gradient.shape[0], *size, kernel.shape[2]), kernel, gradient, stride, padding)


def kernel_gradient(
    image: Float[Array, "b h w c"], gradient: Float[Array, "b i j d"], size: tuple[int, ...], stride: int, padding: Padding
) -> Float[Array, "y x c d"]:
    """Return the gradient of a convolution's kernel, of `size`."""
    return _convolved(TO_KERNEL, (*size, image.shape[3], gradient.shape[3]), image, gradient, stride, padding)


def depthwise_convolution(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c"]) -> Float[Array, "b h w c"]:
    """Convolve each channel with its own kernel of odd size (SAME)."""
    return _convolved(CONVOLUTION, image.shape, image, kernel, 1, _same(kernel.shape))


def depthwise_kernel_gradient(
    image: Float[Array, "b h w c"], gradient: Float[Array, "b h w c"], size: tuple[int, ...]
) -> Float[Array, "y x c"]:
    """Return the gradient of `depthwise_convolution`'s kernel, of `size`."""
    return _convolved(TO_KERNEL, (*size, image.shape[3]), image, gradient, 1, _same(size))


def _same(size: tuple[int, ...]) -> Padding:
    return ((size[0] // 2, size[0] // 2), (size[1] // 2, size[1] // 2))


def _convolved(task: str, shape: tuple[int, ...], left: Array, right: Array, stride: int, padding: Padding) -> Array:
    (top, bottom), (before, after) = padding
    result: Array = _called(task, shape, left, right, stride=stride, top=top, bottom=bottom, left=before, right=after)
    return result


def product(
    left: Float[Array, "*b _ _"], right: Float[Array, "*b _ _"], swap_left: bool = False, swap_right: bool = False
) -> Float[Array, "*b _ _"]:
    """Multiply pairs of matrices; those of a swapped side are transposed first, without moving memory."""
    m, n = left.shape[-1 if swap_left else -2], right.shape[-2 if swap_right else -1]
    lefts, rights = (array.reshape(-1, *array.shape[-2:]) for array in (left, right))
    result = _called(PRODUCT, (lefts.shape[0], m, n), lefts, rights, swap_left=swap_left, swap_right=swap_right)
    return result.reshape(*left.shape[:-2], m, n)


def attention(
    query: Float[Array, "b n heads d"], key: Float[Array, "b m heads d"], value: Float[Array, "b m heads d"], present: Int[Array, "b"]
) -> Float[Array, "b n heads d"]:
    """Return softmax(q k) v of each head, over the first `present` keys of each image."""
    return _called(ATTENTION, query.shape, query, key, value, present)


def attention_gradient(
    query: Float[Array, "b n heads d"],
    key: Float[Array, "b m heads d"],
    value: Float[Array, "b m heads d"],
    present: Int[Array, "b"],
    gradient: Float[Array, "b n heads d"],
) -> tuple[Float[Array, "b n heads d"], Float[Array, "b m heads d"], Float[Array, "b m heads d"]]:
    """Return the gradients of the query, the key and the value of `attention`."""
    return _called(OF_ATTENTION, (query.shape, key.shape, value.shape), query, key, value, present, gradient)


def layer_norm(
    values: Float[Array, "*b d"], scale: Float[Array, "d"], shift: Float[Array, "d"], epsilon: float
) -> tuple[Float[Array, "*b d"], Float[Array, "n"], Float[Array, "n"]]:
    """Return the layer norm over the last axis, and the mean and variance of each of its n rows."""
    rows = (values.size // values.shape[-1],)
    return _called(NORM, (values.shape, rows, rows), values, scale, shift, epsilon=epsilon)


def layer_norm_gradient(
    values: Float[Array, "*b d"],
    scale: Float[Array, "d"],
    mean: Float[Array, "n"],
    variance: Float[Array, "n"],
    gradient: Float[Array, "*b d"],
    epsilon: float,
) -> tuple[Float[Array, "*b d"], Float[Array, "d"], Float[Array, "d"]]:
    """Return the gradients of the values, the scale and the shift of `layer_norm`."""
    shapes = (values.shape, scale.shape, scale.shape)
    return _called(OF_NORM, shapes, values, scale, mean, variance, gradient, epsilon=epsilon)


def sums(
    values: Float[Array, "*b d"], others: Float[Array, "*b d"], shift: Float[Array, "d"]
) -> tuple[Float[Array, "d"], Float[Array, "d"]]:
    """Return the sums over all axes except the last of values, and of values times (others - shift); this is our own loop."""
    return _called(SUMS, (shift.shape, shift.shape), values, others, shift)


def gelu(values: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Return the exact GELU."""
    return _called(GELU, values.shape, values)


def gelu_gradient(values: Float[Array, "*b"], gradient: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Return the gradient of the values of `gelu`."""
    return _called(OF_GELU, values.shape, values, gradient)


def _called(task: str, shape: Any, *arrays: Array, **fields: int | float) -> Any:
    """Call a function; `shape` is that of its result, or a tuple with that of each result."""
    results = jax.tree.map(lambda each: jax.ShapeDtypeStruct(each, jnp.float32), shape, is_leaf=lambda each: not isinstance(each[0], tuple))
    call = jax.ffi.ffi_call(task, results, vmap_method="sequential")
    typed = {name: np.float32(value) if isinstance(value, float) else np.int64(value) for name, value in fields.items()}
    return call(*arrays, **typed)  # type: ignore[no-untyped-call]
