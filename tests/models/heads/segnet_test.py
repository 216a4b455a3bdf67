import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import tree
from aeseg.models.encoders import vgg
from aeseg.models.heads import fcn_basic, segnet
from aeseg.spec import build
from aeseg.types import UserError
from tests.models.heads.unet_test import Network, pyramid, read


@pytest.mark.parametrize(
    ("encoder", "head", "count", "published"),
    [
        ("vgg16", segnet.recipe("vgg16", classes=11), 29_449_355, 29.46),
        ("vgg16", segnet.recipe("vgg16", classes=12), 29_449_932, 29.46),
        ("bayesian", segnet.recipe("bayesian", classes=11), 29_449_355, 29.46),
        ("basic", segnet.recipe("basic", classes=11), 1_416_587, 1.425),
        ("bayesian_basic", segnet.recipe("bayesian_basic", classes=11), 1_416_587, 1.425),
        ("basic", segnet.recipe("addition", classes=11), 1_416_587, 1.425),
        ("basic", segnet.recipe("single", classes=11), 626_315, 0.625),
        ("basic", fcn_basic.recipe("bilinear", classes=11), 613_003, 0.625),
        ("basic", fcn_basic.recipe("small", classes=11), 646_883, 0.65),
        ("basic", fcn_basic.recipe("unadded", classes=11), 644_023, 0.65),
        ("basic", fcn_basic.recipe("unreduced", classes=11), 1_661_835, 1.625),
        ("basic", fcn_basic.recipe("plain", classes=11), 1_661_835, 1.625),
    ],
)
def test_with_its_encoder_each_variant_has_the_published_number_of_parameters(encoder, head, count, published):
    """Published to 25,000 (table 1); without reduction the paper's number is 2 % smaller than any kernel of whole pixels gives."""
    image = jax.ShapeDtypeStruct((1, 360, 480, 3), jnp.float32)
    network = Network(build(vgg.recipe(encoder)), build(head))
    logits, variables = jax.eval_shape(lambda image: network.init_with_output(jax.random.key(0), image), image)
    assert tree.count(variables["params"]) == count == pytest.approx(1e6 * published, rel=0.025)
    assert logits[1].shape == (1, 360, 480, head.classes)


def test_segnet_basic_equals_torch_on_a_size_that_the_poolings_do_not_divide():
    """With the same weights, in evaluation; torch's own pooling keeps the indices."""
    described = {"widths": (6, 6), "convolutions": (1, 1), "size": 7, "mean": (0.0,), "std": (1.0,)}
    network = Network(vgg.VGG(**described), segnet.SegNetHead(4, size=7, relu=False, last=1))
    image = jax.random.normal(jax.random.key(0), (2, 11, 14, 3))
    random = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: (leaf + 0.3 * random.random(leaf.shape)).astype(np.float32), network.init(jax.random.key(1), image)
    )
    flat = tree.flatten(variables)
    logits = network.apply(variables, image, False)[1]

    def convolved(features, name, norm):
        kernel = torch.tensor(flat[f"params/{name}/kernel"].transpose(3, 2, 0, 1).copy())
        features = torch.nn.functional.conv2d(features, kernel, torch.tensor(flat[f"params/{name}/bias"]), padding="same")
        if norm is None:
            return features
        moments = [torch.tensor(flat[f"batch_stats/{norm}/{each}"]) for each in ("mean", "var")]
        affine = [torch.tensor(flat[f"params/{norm}/{each}"]) for each in ("scale", "bias")]
        return torch.nn.functional.batch_norm(features, *moments, *affine)

    features, places, sizes = torch.tensor(np.asarray(image).transpose(0, 3, 1, 2).copy()), [], []
    for level in range(2):
        features = torch.relu(convolved(features, f"encoder/level{level}/convolution0", f"encoder/level{level}/norm0"))
        sizes.append(features.shape[2:])
        features, where = torch.nn.functional.max_pool2d(features, 2, ceil_mode=True, return_indices=True)
        places.append(where)
    for level in (1, 0):
        features = torch.nn.functional.max_unpool2d(features, places[level], 2, output_size=sizes[level])
        features = convolved(features, f"head/level{2**level}_0_convolution", f"head/level{2**level}_0_norm")
    expected = convolved(features, "head/logits", None).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fields", [{}, {"depthwise": True}, {"addition": True}])
def test_it_climbs_to_the_finest_stride_of_encoders_whose_channels_differ(fields):
    features = {stride: jnp.tile(array, stride) for stride, array in pyramid(2, 4, 8).items()}
    shapes, read_at = read(segnet.SegNetHead(3, **fields), features)
    assert shapes == {2: (1, 8, 8, 3)}
    assert read_at == {2: [2, 4, 8] if fields.get("addition") else [8]}


@pytest.mark.parametrize(("size", "strides"), [("bayesian", [8, 16, 32, 16, 8, 4]), ("bayesian_basic", [8, 16, 8, 4])])
def test_bayesian_segnet_drops_half_of_what_its_central_encoders_and_decoders_give(size, strides):
    """Where the authors' prototxts have their dropout layers: encdrop3 to 5 and decdrop5 to 3, encdrop3 and 4 and decdrop4 and 3."""
    network, dropped = Network(build(vgg.recipe(size)), build(segnet.recipe(size))), []

    def note(method, arguments, keywords, context):
        if isinstance(context.module, nn.Dropout) and context.module.rate == 0.5:
            dropped.append(64 // arguments[0].shape[1])
        return method(*arguments, **keywords)

    with nn.intercept_methods(note):
        jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3))))
    assert dropped == strides


def test_a_number_of_convolutions_for_other_strides_is_refused():
    with pytest.raises(UserError, match=r"convolutions \(1, 2, 3\); the encoder gives 2 strides to climb to, \[2, 1\]. Give one number"):
        segnet.SegNetHead(2, convolutions=(1, 2, 3)).init(jax.random.key(0), pyramid(1, 2, 4), train=False)
