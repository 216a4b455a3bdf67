"""ConvNeXt V1 and V2 with the weights of transformers' models: same features and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from aeseg import tree
from aeseg.importers import convnext, convnextv2, files
from aeseg.importers.rules import from_foreign, to_foreign
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.spec import build, differences, spec
from aeseg.types import UserError

FIELDS = {"hidden_sizes": [6, 10, 12], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 2, "image_size": 32}
CASES = {
    "v2": (convnextv2, transformers.ConvNextV2Model, transformers.ConvNextV2Config(**FIELDS)),
    "v2-classifier": (convnextv2, transformers.ConvNextV2ForImageClassification, transformers.ConvNextV2Config(**FIELDS)),
    "v2-backbone": (convnextv2, transformers.ConvNextV2Backbone, transformers.ConvNextV2Config(**FIELDS, out_indices=[1, 3])),
    "v1": (convnext, transformers.ConvNextModel, transformers.ConvNextConfig(**FIELDS)),
    "v1-backbone": (convnext, transformers.ConvNextBackbone, transformers.ConvNextConfig(**FIELDS, out_indices=[1, 2, 3])),
}


def randomised(model):
    """Fill EVERY tensor of the model with random numbers: response norms start at 0, which would test nothing."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=random) * 0.6 - 0.25)
    return model.eval()


def prefixed(family, tensors):
    """Return the names of the tensors inside a larger model, as importers/families does."""
    inside = any(name.startswith(family.prefix) for name in tensors)
    return tensors if inside else {family.prefix + name: array for name, array in tensors.items()}


def near(ours, expected, name, tolerance=1e-5):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-3), err_msg=name)


def nchw(array):
    return torch.from_numpy(np.asarray(array).transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("case", CASES)
def test_features_and_gradients_equal_transformers(tmp_path, case):
    family, kind, config = CASES[case]
    theirs = randomised(kind(config))
    theirs.save_pretrained(tmp_path)
    config, tensors = files.read(str(tmp_path))
    described = family.spec_of(config)
    described.update({"mean": (0.0,), "std": (1.0,)})
    rules, module = family.rules(described), build(described)
    image = jnp.asarray(np.random.default_rng(1).random((2, 24, 16, 3)), jnp.float32)
    like = {"params": {"encoder": jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))["params"]}}
    variables = from_foreign(rules, prefixed(family, tensors), like, family.ignored)

    pixels = nchw(image).requires_grad_()
    if kind in (transformers.ConvNextV2Backbone, transformers.ConvNextBackbone):
        expected = dict(zip(described.normed, theirs(pixels).feature_maps, strict=True))
    else:
        inner = getattr(theirs, family.prefix[:-1], theirs)
        expected = dict(zip(module.strides, inner(pixels, output_hidden_states=True).hidden_states[-3:], strict=True))
    weights = {stride: np.random.default_rng(stride).normal(size=array.shape).astype(np.float32) for stride, array in expected.items()}
    sum((array * torch.from_numpy(weights[stride])).sum() for stride, array in expected.items()).backward()

    def loss(params, image):
        pyramid = module.apply({"params": params["encoder"]}, image, train=False)
        return sum(jnp.sum(pyramid[stride] * weights[stride].transpose(0, 2, 3, 1)) for stride in weights), pyramid

    (slopes, slope), pyramid = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables["params"], image)
    for stride, array in expected.items():
        near(pyramid[stride], array.detach().numpy().transpose(0, 2, 3, 1), f"stride {stride}")
    near(slope, pixels.grad.numpy().transpose(0, 2, 3, 1), "image", 2e-5)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    gradients = prefixed(family, {name: gradient.numpy() for name, gradient in gradients.items()})
    ours = to_foreign(rules, {"params": slopes})
    compared = [name for name in ours if not tree.matches(name, family.ignored)]
    assert set(compared) == gradients.keys()
    for name in compared:
        near(ours[name], gradients[name], name, 2e-5)


@pytest.mark.parametrize("case", ["v2", "v2-backbone", "v1", "v1-backbone"])
def test_an_exported_encoder_loads_in_transformers_and_comes_back_exactly(tmp_path, case):
    family, kind, _ = CASES[case]
    described = spec(
        ConvNeXtV2,
        widths=(6, 10),
        depths=(1, 2),
        normed=(4, 8) if case.endswith("backbone") else (),
        response_norm=family is convnextv2,
        layer_scale=0.0 if family is convnextv2 else 1e-6,
    )
    module = build(described)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False))
    random = np.random.default_rng(0)
    variables = {"params": {"encoder": jax.tree.map(lambda leaf: random.random(leaf.shape, np.float32), shapes["params"])}}
    rules, config = family.rules(described), family.config_of(described)
    tensors = to_foreign(rules, variables)
    assert differences(family.spec_of(config), described) == []
    again = from_foreign(rules, tensors, variables, family.ignored)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    files.write(str(tmp_path), config, tensors, {})
    _, found = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert {name: set(keys) for name, keys in found.items() if name.endswith("keys")} == {
        "missing_keys": set(),
        "unexpected_keys": set(),
        "mismatched_keys": set(),
    }


def test_the_other_version_and_unsupported_options_are_refused():
    first = spec(ConvNeXtV2, response_norm=False, layer_scale=1e-6)
    with pytest.raises(UserError, match=r"has response norms and no layer scale; .* response_norm False, layer_scale 1e-06"):
        convnextv2.config_of(first)
    with pytest.raises(UserError, match="ConvNextModel has no response norms; this encoder has them"):
        convnext.config_of(spec(ConvNeXtV2))
    with pytest.raises(UserError, match=r"has hidden_act 'gelu' and square patches; this config.json says 'relu' and patch_size 4"):
        convnextv2.spec_of({"hidden_act": "relu"})
