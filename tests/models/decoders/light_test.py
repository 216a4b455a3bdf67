"""SparK's decoder against torch's layers, as in the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import masking
from aeseg.models.decoders.light import LightDecoder
from aeseg.types import UserError
from tests import jitted

PYRAMID = {2: (2, 8, 12, 3), 4: (2, 4, 6, 5), 8: (2, 2, 3, 7)}


def features(seed=0):
    return {stride: jax.random.normal(jax.random.key(seed + stride), shape) for stride, shape in PYRAMID.items()}


def randomised(variables):
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(random.uniform(0.1, 0.5, leaf.shape), jnp.float32), variables)


def torch_convolution(image, leaves, transposed=False):
    kernel = torch.tensor(np.asarray(leaves["kernel"]))
    bias = torch.tensor(np.asarray(leaves["bias"])) if "bias" in leaves else None
    if transposed:
        return torch.nn.functional.conv_transpose2d(image, kernel.permute(2, 3, 0, 1), bias, stride=2, padding=1)
    return torch.nn.functional.conv2d(image, kernel.permute(3, 2, 0, 1), bias, padding=kernel.shape[0] // 2)


def torch_norm(image, variables, name):
    affine, statistics = variables["params"][name], variables["batch_stats"][name]
    values = (statistics["mean"], statistics["var"], affine["scale"], affine["bias"])
    return torch.nn.functional.batch_norm(image, *(torch.tensor(np.asarray(value)) for value in values), eps=1e-5)


def test_it_equals_torchs_layers():
    decoder, pyramid = LightDecoder(width=16), features()
    variables = randomised(jitted.init(decoder, jax.random.key(0), pyramid, train=False))
    params, image = variables["params"], 0
    for stride in (8, 4, 2):
        features_here = torch.tensor(np.asarray(pyramid[stride]).transpose(0, 3, 1, 2))
        image = image + torch_convolution(features_here, params[f"projection{stride}"])
        image = torch_convolution(image, params[f"up{stride}"], transposed=True)
        image = torch.nn.functional.relu6(torch_norm(torch_convolution(image, params[f"first{stride}"]), variables, f"first{stride}_norm"))
        image = torch_norm(torch_convolution(image, params[f"second{stride}"]), variables, f"second{stride}_norm")
    expected = torch_convolution(image, params["pixels"]).numpy().transpose(0, 2, 3, 1)
    found = jitted.apply(decoder, variables, pyramid, train=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_hidden_features_are_mask_embeddings_at_every_stride(norm):
    decoder = LightDecoder(width=16, strides=(4, 8), densify_norm=norm)
    pyramid, hidden = features(), jnp.array([[[True, False, False], [False, True, True]]] * 2)
    variables = randomised(jitted.init(decoder, jax.random.key(0), pyramid, train=False, hidden=hidden))
    assert {name for name in variables["params"] if "token" in name} == {"mask_token4", "mask_token8"}
    run = jax.jit(lambda variables, pyramid: decoder.apply(variables, pyramid, train=True, hidden=hidden, mutable=["batch_stats"])[0])
    image = run(variables, pyramid)
    other = {
        stride: jnp.where(masking.spread(hidden, 8 // stride)[..., None], 9.0, array) for stride, array in pyramid.items() if stride > 2
    }
    np.testing.assert_array_equal(run(variables, {**other, 2: pyramid[2] + 1}), image)
    for stride in (4, 8):
        params = {**variables["params"], f"mask_token{stride}": variables["params"][f"mask_token{stride}"] + 1}
        assert np.any(run({**variables, "params": params}, pyramid) != image)


def test_a_width_that_cannot_be_halved_so_often_is_named():
    with pytest.raises(UserError, match=r"halves its width 12 at each doubling from stride 8.*Set width to a multiple of 8"):
        jitted.init(LightDecoder(width=12), jax.random.key(0), features(), train=False)
