"""Compress images with a trained `Hyperprior`, and decompress them."""

import functools
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int64, UInt8

from aeseg import checks, files, images, spec, tree
from aeseg.compression import coding, container, scales, tables
from aeseg.compression.container import Header
from aeseg.compression.tables import Table
from aeseg.models.entropy import LOG_STEP
from aeseg.types import UserError

CORE, HALO = 32, 4
"""Latent rows and columns of a window that are used, and those around it that are only seen.

A number of a `GDNEncoder` or `GDNDecoder` sees less than two latent rows around it: windows change nothing.  Other
networks may see further, and then differ near the edges of windows; files decode exactly all the same.
"""

Area = tuple[slice, slice]


class Compressed(NamedTuple):
    """The bytes of a file, and the image that is decoded from it."""

    content: bytes
    image: UInt8[np.ndarray, "h w c"]


class Decompressed(NamedTuple):
    """A decoded image; `exact`: its pixels are the encoder's, bit for bit."""

    image: UInt8[np.ndarray, "h w c"]
    exact: bool


class Integers(NamedTuple):
    """Everything that the range coder reads, as integers: tables of z's channels and of the scales, and the hyper-decoder's layers."""

    hyper_tables: list[Table]
    scale_tables: list[Table]
    layers: list[scales.Layer]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the integers as named arrays."""
        kinds = {"hyper": self.hyper_tables, "scale": self.scale_tables}
        named = {f"{kind}{index:03d}_{table.low}": table.counts for kind, of in kinds.items() for index, table in enumerate(of)}
        return named | {f"layer{index}_{name}": each for index, of in enumerate(self.layers) for name, each in of._asdict().items()}

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray]) -> "Integers":
        """Return the integers that `arrays` named."""
        named = {
            kind: [Table(int(name.partition("_")[2]), arrays[name]) for name in sorted(arrays) if name.startswith(kind)]
            for kind in ("hyper", "scale")
        }
        layers = [scales.Layer(arrays[f"layer{index}_kernel"], arrays[f"layer{index}_bias"]) for index in range(3)]
        return cls(named["hyper"], named["scale"], layers)


class Codec:
    """Codes images with a trained method.  Files of one codec are decoded only by a codec of the same integers and the same decoder.

    Images of any size are padded at their end and pass through the networks in windows.  z and y are exact integers, and so are their
    levels of scale.  The decoder computes in float64 on the CPU, so that its rounding to 8 bits rarely differs between machines; the
    checksum of the pixels tells if it does.
    """

    def __init__(self, method: nn.Module, variables: Any, integers: Integers | None = None):
        self._method, self._variables = method, variables
        self.integers = integers or derived(method, variables)
        decoder: Any = method.decoder  # type: ignore[attr-defined]
        self._decoder = decoder.clone(parent=None, **({"dtype": "float64"} if hasattr(decoder, "dtype") else {}))
        self._decoded = {name: leaves["decoder"] for name, leaves in variables.items() if "decoder" in leaves}
        self.identity = identity(self.integers, decoder, self._decoded)
        self.channels = int(decoder.channels)
        self._analysis = jax.jit(lambda variables, image: method.apply(variables, images.as_float(image), method="latent"))
        self._hyper_analysis = jax.jit(lambda variables, latent: method.apply(variables, latent, method=_hyper_encoded))
        self._synthesis = jax.jit(lambda variables, latent: self._decoder.apply(variables, {self.stride: latent}, train=False))

    @functools.cached_property
    def stride(self) -> int:
        """Return the pixels of a latent position."""
        square = jax.ShapeDtypeStruct((1, 64, 64, self.channels), jnp.float32)
        latent = jax.eval_shape(self._analysis, self._variables, square)
        return 64 // latent.shape[1]

    @functools.cached_property
    def _least_bits(self) -> float:
        """Return a lower bound of the bits of a number of y, with a margin for the coder's rounding."""
        return -0.9 * math.log2(max(int(table.counts.max()) for table in self.integers.scale_tables) / tables.TOTAL)

    def compress(self, image: UInt8[np.ndarray, "h w c"], coarser: int = 0) -> Compressed:
        """Return the file of an image.  `coarser` steps of scale (13 % each) round y more coarsely than in training, or more finely."""
        (h, w, channels), stride = image.shape, self.stride
        if channels != self.channels or h * w == 0:
            raise UserError(f"The network compresses images of {self.channels} channels; got {h} x {w} pixels of {channels}.")
        padded = np.pad(image, ((0, -h % stride), (0, -w % stride), (0, 0)), mode="edge")
        latent = self._analysed(padded)
        hyper = self._hyper_analysis(self._variables, latent[None])
        hyper_latent, codes = _integers(hyper[0], 1.0), _integers(latent, _step(coarser))
        levels = self._levels(hyper_latent, codes.shape[:2], coarser)
        words = coding.encoded(hyper_latent, self.integers.hyper_tables, codes, levels, self.integers.scale_tables)
        decoded = self._synthesised(codes, coarser)[:h, :w]
        header = Header(channels, coarser, h, w, self.identity, 0, container.checksum(decoded), len(words))
        header = header._replace(codes=_checksum(header, hyper_latent, codes, levels))
        return Compressed(container.written(header, words), decoded)

    def decompress(self, content: bytes, name: str) -> Decompressed:
        """Return the image of a file; raise UserError for a file that is damaged, or that this network cannot decode."""
        header, words = container.read(content, name)
        if header.identity != self.identity or header.channels != self.channels:
            raise UserError(
                f"{name} was compressed with the network {header.identity.hex()}; --init holds the network {self.identity.hex()}. "
                "Set --init to the workdir that compressed it, at the same --step."
            )
        size = tuple(-(-side // self.stride) for side in (header.height, header.width))
        numbers = math.prod(size) * len(self.integers.layers[-1].bias)
        if numbers * self._least_bits > 32 * len(words) + 64:
            raise UserError(
                f"{name} has {4 * len(words)} bytes, too few for {header.height:,} x {header.width:,} pixels. Compress it again."
            )
        checks.check_memory(32 * numbers + 2 * header.height * header.width * header.channels, name, "Decompress it on a larger machine.")
        decoder = coding.Decoder(words)
        try:
            hyper_latent = decoder.hyper_latent(_halved(_halved(size)), self.integers.hyper_tables)
            levels = self._levels(hyper_latent, size, header.coarser)
            codes = decoder.latent(levels, self.integers.scale_tables)
        except coding.DamagedError:
            codes = None
        if codes is None or _checksum(header, hyper_latent, codes, levels) != header.codes:
            raise UserError(f"{name} cannot be decoded: its codes do not fit their checksum. Compress it again.")
        image = self._synthesised(codes, header.coarser)[: header.height, : header.width]
        return Decompressed(image, container.checksum(image) == header.pixels)

    def _levels(self, hyper_latent: Int64[np.ndarray, "i j e"], size: tuple[int, ...], coarser: int) -> Int64[np.ndarray, "h w d"]:
        levels = scales.levels(hyper_latent, self.integers.layers, (size[0], size[1]))
        return np.clip(levels - coarser, 0, len(self.integers.scale_tables) - 1)

    def _analysed(self, image: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, "_ _ d"]:
        """Return y of an image, window by window."""
        size = image.shape[0] // self.stride, image.shape[1] // self.stride
        latent = np.empty((*size, len(self.integers.layers[-1].bias)), np.float32)
        for window, core, inside in _windows(size):
            values = self._analysis(self._variables, image[_scaled(window, self.stride)][None])
            latent[core] = np.asarray(values)[0][inside]
        if not np.isfinite(latent).all():
            raise UserError("The network gives values that are not finite. Train it again, with a lower --config.optimiser.learning_rate.")
        return latent

    def _synthesised(self, codes: Int64[np.ndarray, "h w d"], coarser: int) -> UInt8[np.ndarray, "_ _ c"]:
        """Return the image of y, window by window."""
        image = np.empty((codes.shape[0] * self.stride, codes.shape[1] * self.stride, self.channels), np.uint8)
        with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
            for window, core, inside in _windows(codes.shape[:2]):
                values = np.asarray(self._synthesis(self._decoded, codes[window][None] * _step(coarser)))[0]
                pixels = np.round(255 * np.clip(np.nan_to_num(values[_scaled(inside, self.stride)]), 0, 1))
                image[_scaled(core, self.stride)] = pixels.astype(np.uint8)
        return image


def derived(method: nn.Module, variables: Any) -> Integers:
    """Compute the integers of a trained network."""
    grid = jnp.arange(-tables.FURTHEST, tables.FURTHEST + 1, dtype=jnp.float32).reshape(1, 1, -1, 1)
    width: int = method.width  # type: ignore[attr-defined]
    values = jnp.broadcast_to(grid, (*grid.shape[:3], width))
    mass = np.asarray(jax.jit(lambda variables, values: method.apply(variables, values, method=_prior))(variables, values))[0, 0]
    hyper_tables = [tables.of_density(mass[:, channel]) for channel in range(width)]
    return Integers(hyper_tables, tables.of_scales(), scales.layers(variables["params"]["hyper_decoder"]))


def saved(workdir: str, step: int, method: nn.Module, variables: Any, writes: bool) -> Codec:
    """Return the codec of a checkpoint, with the integers in its workdir; if there are none, derive them, and write them if asked to."""
    path = os.path.join(workdir, f"codec-{step}.npz")
    if os.path.exists(path):
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                return Codec(method, variables, Integers.of_arrays({name: stored[name].astype(np.int64) for name in stored.files}))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is damaged ({error}). Restore it, or remove it: it is derived from the checkpoint again.") from error
    codec = Codec(method, variables)
    if writes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **codec.integers.arrays())  # type: ignore[arg-type]
        files.write(path, buffer.getvalue())
    return codec


def identity(integers: Integers, decoder: nn.Module, variables: Any) -> bytes:
    """Return 8 bytes that differ between codecs that would decode a file differently."""
    described = json.dumps(spec.plain(spec.describe(decoder)), sort_keys=True)
    total = hashlib.blake2b(described.encode(), digest_size=8)
    for name, leaf in sorted((integers.arrays() | tree.flatten(variables)).items()):
        array = np.ascontiguousarray(leaf)
        total.update(f"{name} {array.shape} ".encode() + array.astype(array.dtype.newbyteorder("<")).tobytes())
    return total.digest()


def _checksum(header: Header, *numbers: Int64[np.ndarray, "..."]) -> int:
    """Return the checksum of z, y and the levels of scale, and of the fields of the header that say what they mean."""
    return container.checksum(np.array([header.channels, header.coarser, header.height, header.width]), *numbers)


def _hyper_encoded(method: Any, latent: Float[Array, "b h w d"]) -> Float[Array, "b _ _ _"]:
    return method.hyper_encoder(latent)


def _prior(method: Any, values: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
    return method.prior(values)


def _integers(values: Any, step: float) -> Int64[np.ndarray, "h w d"]:
    scaled = np.asarray(values, np.float64) / step
    return np.clip(np.round(scaled), 1 - coding.LARGEST, coding.LARGEST - 1).astype(np.int64)


def _step(coarser: int) -> float:
    return math.exp(coarser * LOG_STEP)


def _halved(size: tuple[int, ...]) -> tuple[int, int]:
    return -(-size[0] // 2), -(-size[1] // 2)


def _windows(size: tuple[int, ...]) -> Iterator[tuple[Area, Area, Area]]:
    """Yield (window, its used part, that part inside the window) of each window of a latent image; all have one size."""
    for rows in _along(size[0]):
        for columns in _along(size[1]):
            yield tuple(zip(rows, columns, strict=True))  # type: ignore[misc]


def _along(size: int) -> Iterator[tuple[slice, slice, slice]]:
    length = min(size, CORE + 2 * HALO)
    for first in range(0, size, CORE):
        last, start = min(first + CORE, size), min(max(0, first - HALO), size - length)
        yield slice(start, start + length), slice(first, last), slice(first - start, last - start)


def _scaled(area: Area, factor: int) -> Area:
    return tuple(slice(each.start * factor, each.stop * factor) for each in area)  # type: ignore[return-value]
