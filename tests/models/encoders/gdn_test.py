import jax
import jax.numpy as jnp
import numpy as np
import torch

from aeseg.models.encoders.gdn import GDNEncoder
from aeseg.models.gdn import GDN
from tests import jitted

IMAGE = jax.random.uniform(jax.random.key(0), (2, 16, 24, 3))


def test_its_strides_are_torchs_convolutions_and_divisive_normalisation():
    encoder = GDNEncoder((4, 5), mean=(0.4,), std=(0.2,))
    variables = jitted.init(encoder, jax.random.key(1), IMAGE, train=False)
    params, found = variables["params"], jitted.apply(encoder, variables, IMAGE, train=False)
    features = (torch.tensor(np.asarray(IMAGE)).permute(0, 3, 1, 2) - 0.4) / 0.2
    for level in range(2):
        kernel, bias = (torch.tensor(np.asarray(params[f"convolution{level}"][name])) for name in ("kernel", "bias"))
        padded = torch.nn.functional.pad(features, (1, 2, 1, 2))  # SAME
        features = torch.nn.functional.conv2d(padded, kernel.permute(3, 2, 0, 1), bias, stride=2)
        if level == 0:
            normed = jitted.apply(GDN(), {"params": params["gdn0"]}, jnp.asarray(features.permute(0, 2, 3, 1).numpy()))
            features = torch.tensor(np.asarray(normed)).permute(0, 3, 1, 2)
        np.testing.assert_allclose(found[2 ** (level + 1)], features.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
    assert sorted(found) == [2, 4]
