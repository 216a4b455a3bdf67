"""ConvNeXt blocks for encoders and decoders: version 1 (Liu et al. 2022) and version 2 (Woo et al. 2023)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg.models import layers

EPSILON = 1e-6
"""Epsilon in the division of the response norm."""


class ResponseNorm(nn.Module):
    """Global response normalisation (Woo et al. 2023, equations 1 to 3): gamma (x N(G(x))) + beta + x.

    G is the Euclidean norm of each channel over an image; N divides it by its mean over channels. The layer starts as the identity
    (gamma and beta are 0). With zeros at hidden positions, G covers the visible positions of each image, as in the paper and its
    dense code. The paper's sparse code takes G over the visible positions of the batch.
    """

    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        gamma = self.param("gamma", nn.initializers.zeros_init(), features.shape[-1:]).reshape(1, 1, 1, -1)
        beta = self.param("beta", nn.initializers.zeros_init(), features.shape[-1:]).reshape(1, 1, 1, -1)
        square = jnp.sum(jnp.square(features.astype(jnp.float32)), axis=(1, 2), keepdims=True)
        norm = jnp.sqrt(jnp.where(square > 0, square, 1)) * (square > 0)  # the square root has an infinite gradient at 0
        response = norm / (jnp.mean(norm, axis=-1, keepdims=True) + EPSILON)
        return (1 + gamma * response).astype(self.dtype) * features + beta.astype(self.dtype)


class Block(nn.Module):
    """Residual block: 7x7 depthwise convolution, layer norm, expansion by 4, GELU, response norm, reduction.

    response_norm   version 2 has it, version 1 does not
    layer_scale     initial value of a learned factor per channel of the branch (version 1: 1e-6); 0: none (version 2)
    drop_path       probability that the branch of a row is dropped in training (Huang et al. 2016)
    """

    response_norm: bool = True
    layer_scale: float = 0.0
    drop_path: float = 0.0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, features: Float[Array, "b h w d"], *, train: bool, hidden: Bool[Array, "b i j"] | None = None
    ) -> Float[Array, "b h w d"]:
        width = features.shape[-1]
        branch = layers.DepthwiseConvolution(7, dtype=self.dtype, name="depthwise")(features)
        branch = layers.layer_norm(branch, self.dtype, "norm")
        branch = layers.gelu(self._linear(4 * width, "expand")(branch))
        if self.response_norm:
            branch = ResponseNorm(self.dtype, name="response")(layers.visible_only(branch, hidden))
        branch = self._linear(width, "reduce")(branch)
        if self.layer_scale:
            scale = self.param("layer_scale", nn.initializers.constant(self.layer_scale), (width,))
            branch = branch * scale.astype(self.dtype).reshape(1, 1, 1, -1)
        if self.drop_path:
            drop = nn.Dropout(self.drop_path, broadcast_dims=(1, 2, 3), rng_collection="drop_path", deterministic=not train)
            branch = drop(branch)
        return layers.visible_only(features + branch, hidden)

    def _linear(self, width: int, name: str) -> nn.Dense:
        return layers.Dense(width, kernel_init=layers.INITIALISERS["narrow"], dtype=self.dtype, name=name)
