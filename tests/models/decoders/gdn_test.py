import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg.models.decoders.gdn import GDNDecoder
from aeseg.models.gdn import GDN
from aeseg.types import UserError
from tests import jitted

PYRAMID = {4: jax.random.normal(jax.random.key(0), (2, 4, 6, 5))}


def test_it_is_torchs_transposed_convolutions_and_inverse_normalisation():
    decoder = GDNDecoder((4,))
    variables = jitted.init(decoder, jax.random.key(1), PYRAMID, train=False)
    params, features = variables["params"], torch.tensor(np.asarray(PYRAMID[4])).permute(0, 3, 1, 2)
    for name in ("convolution0", "last"):
        kernel, bias = (torch.tensor(np.asarray(params[name][leaf])) for leaf in ("kernel", "bias"))
        features = torch.nn.functional.conv_transpose2d(features, kernel.permute(2, 3, 0, 1), bias, stride=2, padding=1)
        if name != "last":
            normed = jitted.apply(GDN(inverse=True), {"params": params["gdn0"]}, jnp.asarray(features.permute(0, 2, 3, 1).numpy()))
            features = torch.tensor(np.asarray(normed)).permute(0, 3, 1, 2)
    found = jitted.apply(decoder, variables, PYRAMID, train=False)
    np.testing.assert_allclose(found, features.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def test_another_stride_is_refused():
    with pytest.raises(UserError, match="GDNDecoder reads stride 4; the encoder gives"):
        GDNDecoder((4,)).init(jax.random.key(0), {2: PYRAMID[4]}, train=False)
