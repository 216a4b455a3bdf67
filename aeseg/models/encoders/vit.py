"""The vision transformer: the encoder of MAE and SimMIM."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from aeseg import images, masking, positions
from aeseg.models import layers, transformer
from aeseg.models.products import product
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError

POSITIONS = ("fixed", "learned", "trained", "rotary")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class ViT(nn.Module):
    """Vision transformer of `depth` pre-norm blocks (Dosovitskiy et al. 2021, section 3.1).

    The pyramid has one stride, `patch`: the tokens of the last block after a layer norm, without the class token. Both sides of an
    image must be divisible by `patch`. For heads that read several strides, set `Segmenter.neck` to a
    `aeseg.models.neck.PyramidNeck`: it makes strides from the last block, or from one block each (MAE's UPerNet).

    has_class_token   adds a learned token that only other tokens read (as in MAE's encoder)
    has_mask_token    adds a learned token for hidden patches, which `hidden` needs, in a call and in `embed`
    registers         learned tokens after the class token, which nothing reads but the others (Darcet et al. 2024)
    positions         fixed (sine-cosine, for any grid) | learned (for `grid`, resized for other grids) | trained (learned, but starts at
                      the sine-cosine table of `grid`, as in MAE's fine-tuning; see `Run.position_tables`) | rotary (`positions.rotary`)
    grid              rows and columns of the learned and trained positions
    antialias         resize learned positions with antialiasing
    initialiser       xavier (MAE) | depth (BEiT, SimMIM: normal with deviation 0.02, smaller in the last layers of deeper blocks)
    layer_scale       initial value of the layer scale; 0: none (see `transformer.Block`, also for `gated` and `key_bias`)
    drop_path         rate of the last block (see `transformer.blocks`)
    outputs           blocks (from 0) whose tokens are concatenated along the channels, each after the same norm, as in DINOv2 (MAE's
                      segmentation code has no norm here); (): the last block
    mean, std         standardise the image; (0,), (1,) leave it in [0, 1]
    """

    width: int
    depth: int
    heads: int
    patch: int
    ratio: float = 4.0
    has_class_token: bool = True
    has_mask_token: bool = False
    positions: str = "fixed"
    grid: tuple[int, int] = (14, 14)
    initialiser: str = "xavier"
    layer_scale: float = 0.0
    drop_path: float = 0.0
    outputs: tuple[int, ...] = ()
    epsilon: float = 1e-6
    remat: bool = False
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"
    registers: int = 0
    gated: bool = False
    key_bias: bool = True
    antialias: bool = False

    one_size: ClassVar[bool] = True
    """Whether positions or layers are made for one size of image, so that larger windows are not scored."""

    masked_mode: ClassVar[str] = "tokens"
    adjustable: ClassVar[tuple[str, ...]] = ("initialiser", "drop_path", "outputs", "remat", "has_mask_token", "dtype")
    """Fields that may change between uses of the same weights."""

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise UserError(f"positions is one of {', '.join(POSITIONS)}; got {self.positions!r}. Set positions to one of these.")
        if self.initialiser not in transformer.INITIALISERS:
            known = ", ".join(transformer.INITIALISERS)
            raise UserError(f"initialiser is one of {known}; got {self.initialiser!r}. Set initialiser to one of these.")
        wrong = [block for block in self.outputs if not 0 <= block < self.depth]
        if wrong:
            raise UserError(f"outputs names blocks from 0 to {self.depth - 1}; got {wrong}. Name such blocks, or () for the last.")
        super().__post_init__()

    def __call__(self, image: Float[Array, "b h w c"], *, train: bool, hidden: Bool[Array, "b _ _"] | None = None) -> Pyramid:
        tokens = self._tokens(image, hidden, 0, train, self.outputs)
        patches = tokens[:, self.leading :]
        return {self.patch: patches.reshape(patches.shape[0], *self._grid(image), -1)}

    @property
    def leading(self) -> int:
        """Return the number of tokens before the tokens of the patches."""
        return int(self.has_class_token) + self.registers

    def embed(self, image: Float[Array, "b h w c"], hidden: Bool[Array, "b _ _"] | None = None, *, train: bool) -> Float[Array, "b _ d"]:
        """Return the leading tokens and the tokens of all patches in row-major order; hidden patches enter as the mask token."""
        return self._tokens(image, hidden, 0, train, ())

    def embed_visible(
        self, image: Float[Array, "b h w c"], hidden: Bool[Array, "b _ _"], visible: int, *, train: bool
    ) -> Float[Array, "b _ d"]:
        """Return the leading tokens and the tokens of visible patches in row-major order (He et al. 2022, section 3).

        `hidden` marks hidden patches. `visible` is the number of visible patches per image, known from the sampler's `count`.
        """
        return self._tokens(image, hidden, visible, train, ())

    def embed_with(
        self,
        image: Float[Array, "b h w c"],
        others: Float[Array, "b m d"],
        order: Int[Array, "b v"],
        present: Int[Array, "b"],
        *,
        train: bool,
    ) -> Float[Array, "b _ d"]:
        """Return the normed tokens `order` of the patches followed by `others`, after the class token (Bachmann et al. 2022).

        No token attends to tokens after an image's first `present` tokens.
        """
        return self._tokens(image, None, 0, train, (), (others, order, present))

    @nn.compact
    def _tokens(
        self,
        image: Float[Array, "b h w c"],
        hidden: Bool[Array, "b _ _"] | None,
        visible: int,
        train: bool,
        outputs: tuple[int, ...],
        mixed: tuple[Array, Array, Array] | None = None,
    ) -> Float[Array, "b _ _"]:
        grid = self._grid(image)
        patches = images.patches(layers.standardise(image, self.mean, self.std).astype(self.dtype), self.patch)
        patches = patches.reshape(image.shape[0], grid[0] * grid[1], -1)  # b n p
        leading = int(self.has_class_token)
        table = self._table(grid, leading).astype(self.dtype)
        encoding, angles = table[None, leading:], self._angles(grid)
        if visible:
            order = masking.visible_first(hidden.reshape(*patches.shape[:2]))[:, :visible]  # type: ignore[union-attr]
            patches = jnp.take_along_axis(patches, order[..., None], axis=1)
            encoding = jnp.take(encoding[0], order, axis=0)  # b visible d
            angles = None if angles is None else jnp.take(angles[0], order, axis=0)
        tokens = PatchEmbedding(self.width, self.patch, self.dtype, self.initialiser, name="patches")(patches)
        if hidden is not None and not visible:
            tokens = jnp.where(self._hidden_patches(hidden, grid)[..., None], self._mask_token(), tokens)
        tokens, present = tokens + encoding, None
        if mixed is not None:
            if angles is not None:
                raise UserError("Tokens of other modalities have no rotary position. Set the encoder's positions to fixed or learned.")
            others, order, present = mixed
            tokens = jnp.take_along_axis(jnp.concatenate([tokens, others.astype(self.dtype)], axis=1), order[..., None], axis=1)
            present = present + self.leading
        if self.has_class_token:
            token = self.param("class_token", transformer.TOKEN, (1, 1, self.width)).astype(self.dtype) + table[None, :1]
            tokens = jnp.concatenate([jnp.broadcast_to(token, (tokens.shape[0], 1, self.width)), tokens], axis=1)
        if self.registers:
            more = self.param("registers", transformer.TOKEN, (1, self.registers, self.width)).astype(self.dtype)
            more = jnp.broadcast_to(more, (tokens.shape[0], *more.shape[1:]))
            tokens = jnp.concatenate([tokens[:, :leading], more, tokens[:, leading:]], axis=1)
        if angles is not None:
            angles = jnp.pad(angles, ((0, 0), (self.leading, 0), (0, 0)))
        names = ("ratio", "epsilon", "initialiser", "layer_scale", "drop_path", "remat", "dtype", "gated", "key_bias")
        fields = {"present": present, "angles": angles, **{name: getattr(self, name) for name in names}}
        tokens, every = transformer.blocks(tokens, self.depth, self.heads, train=train, collects=bool(outputs), **fields)
        norm = transformer.layer_norm(self.epsilon, self.dtype, "norm")
        return jnp.concatenate([norm(every[block]) for block in outputs], axis=-1) if outputs else norm(tokens)  # type: ignore[index]

    def _grid(self, image: Float[Array, "b h w c"]) -> tuple[int, int]:
        layers.check_size(image, self.patch, f"ViT with patches of {self.patch}", "another patch")
        return image.shape[1] // self.patch, image.shape[2] // self.patch

    def _angles(self, grid: tuple[int, int]) -> Array | None:
        if self.positions != "rotary":
            return None
        return jnp.asarray(positions.rotary(*grid, self.width // self.heads))[None]

    def _table(self, grid: tuple[int, int], leading: int) -> Array:
        if self.positions == "rotary":
            return jnp.zeros((leading + grid[0] * grid[1], self.width))
        if self.positions == "fixed":
            return jnp.asarray(positions.sine_cosine(*grid, self.width, leading))
        start = transformer.TOKEN if self.positions == "learned" else self._sine_cosine
        table = self.param("position_table", start, (leading + self.grid[0] * self.grid[1], self.width))
        return jnp.asarray(positions.resized(table, self.grid, grid, leading, self.antialias))

    def _sine_cosine(self, key: Array, shape: tuple[int, int]) -> Array:
        del key
        return jnp.asarray(positions.sine_cosine(*self.grid, self.width, shape[0] - self.grid[0] * self.grid[1]))

    def _mask_token(self) -> Array:
        if not self.has_mask_token:
            raise UserError("ViT needs a mask token to hide patches; this encoder has none. Set has_mask_token=True in its config.")
        return jnp.asarray(self.param("mask_token", transformer.TOKEN, (1, 1, self.width)), self.dtype)

    def _hidden_patches(self, hidden: Bool[Array, "b _ _"], grid: tuple[int, int]) -> Bool[Array, "b n"]:
        times = grid[0] // hidden.shape[1]
        if (hidden.shape[1] * times, hidden.shape[2] * times) != grid:
            raise UserError(
                f"A hidden unit must hold a whole number of patches on both sides; got {hidden.shape[1]} x {hidden.shape[2]} units and "
                f"{grid[0]} x {grid[1]} patches. Set the unit to a multiple of the patch, {self.patch}."
            )
        return masking.spread(hidden, times).reshape(hidden.shape[0], -1)


class PatchEmbedding(nn.Module):
    """Linear embedding of patches. The kernel has the shape of a convolution: patch x patch x channels x width."""

    width: int
    patch: int
    dtype: str
    initialiser: str = "xavier"

    @nn.compact
    def __call__(self, patches: Float[Array, "b n p"]) -> Float[Array, "b n _"]:
        pixels = patches.shape[-1]
        start = transformer.INITIALISERS[self.initialiser]
        shape = (self.patch, self.patch, pixels // self.patch**2, self.width)
        kernel = self.param("kernel", lambda key, shape: start(key, (pixels, self.width)).reshape(shape), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.width,))
        return product(patches, jnp.asarray(kernel.reshape(pixels, self.width), self.dtype)) + bias.astype(self.dtype).reshape(1, 1, -1)


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests; patch 4), small (CPU; patch 8), ti16, s16, b16, l16, h14 (name and patch).

    Ti, S: Touvron et al. 2021 ("DeiT"), table 1; B, L, H: Dosovitskiy et al. 2021, table 1, H with MAE's patch of 14.
    """
    small = {"mean": (0.45,), "std": (0.25,)}
    return spec(
        ViT,
        **choose(
            size,
            tiny={"width": 8, "depth": 2, "heads": 2, "patch": 4, "grid": (4, 4)},
            small={"width": 128, "depth": 6, "heads": 4, "patch": 8, "grid": (8, 8), **small},
            ti16={"width": 192, "depth": 12, "heads": 3, "patch": 16, **IMAGENET},
            s16={"width": 384, "depth": 12, "heads": 6, "patch": 16, **IMAGENET},
            b16={"width": 768, "depth": 12, "heads": 12, "patch": 16, **IMAGENET},
            l16={"width": 1024, "depth": 24, "heads": 16, "patch": 16, **IMAGENET},
            h14={"width": 1280, "depth": 32, "heads": 16, "patch": 14, "grid": (16, 16), **IMAGENET},
        ),
    )
