"""The layers against their plain forms in jax and in PyTorch."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from aeseg.models import fast_cpu, layers
from aeseg.types import UserError
from tests import jitted, lanes


def plain_convolve(image, kernel, stride=1, padding="SAME"):
    return lax.conv_general_dilated(image, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def normal(seed, *shape, dtype="float32"):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def value_and_gradients(function, *arrays):
    """Return the value, and the gradients of a weighted sum of it, of the program that users compile."""
    shape = jax.eval_shape(function, *arrays).shape
    weights = normal(9, *shape)  # drawn outside: XLA takes longer to optimise random numbers than convolutions

    def weighted(arrays, weights):
        value = function(*arrays)
        return jnp.sum(value * weights.astype(value.dtype)).astype(jnp.float32), value

    with lanes.optimised():
        gradients, value = jax.jit(jax.grad(weighted, has_aux=True))(arrays, weights)
    return (value, *gradients)


def torchs(function, *arrays):
    """Return the value and the gradients of `value_and_gradients`, by torch."""
    tensors = [torch.tensor(np.asarray(array, np.float32), requires_grad=True) for array in arrays]
    value = function(*tensors)
    (value * torch.tensor(np.asarray(normal(9, *value.shape)))).sum().backward()
    return (value.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors))


@functools.cache
def of_the_plain_form(size, stride, h, w, c, d):
    image, kernel = normal(0, 2, h, w, c), normal(1, size, size, c, d)
    return value_and_gradients(lambda image, kernel: plain_convolve(image, kernel, stride), image, kernel)


def assert_near(ours, plain, tolerance=2e-5):
    for our, their in zip(ours, plain, strict=True):
        our, their = np.asarray(our, np.float32), np.asarray(their, np.float32)
        assert our.shape == their.shape
        np.testing.assert_allclose(our, their, atol=tolerance * max(1, np.abs(their).max()), rtol=0)


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("pixels", [12, 512])
@pytest.mark.parametrize(
    ("size", "stride", "h", "w", "c", "d"),
    [
        (3, 1, 8, 8, 2, 3),
        (3, 1, 13, 6, 4, 2),
        (3, 1, 1, 3, 2, 4),
        (3, 2, 7, 9, 3, 2),
        (1, 2, 5, 4, 1, 1),
        (7, 2, 13, 6, 4, 2),
        (2, 1, 5, 4, 3, 2),
        (3, 1, 2, 3, 2, 12),  # a kernel nearly as large as the image
        (3, 2, 3, 4, 2, 9),
        (7, 2, 3, 4, 2, 9),
    ],
)
def test_convolutions_equal_the_plain_form_in_value_and_gradients(monkeypatch, copies, pixels, size, stride, h, w, c, d):
    monkeypatch.setattr(fast_cpu, "pixels", lambda c: pixels)
    monkeypatch.setattr(fast_cpu, "IN_CACHE", pixels * d)
    monkeypatch.setattr(fast_cpu, "convolves_without_copies", lambda: not copies)
    image, kernel = normal(0, 2, h, w, c), normal(1, size, size, c, d)
    ours = value_and_gradients(lambda image, kernel: layers.convolve(image, kernel, stride), image, kernel)
    assert_near(ours, of_the_plain_form(size, stride, h, w, c, d))


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((3, 0), (0, 2))])
@pytest.mark.parametrize("stride", [1, 2])
def test_any_zero_padding_is_supported(padding, stride):
    image, kernel = normal(0, 2, 7, 6, 3), normal(1, 2, 3, 3, 2)
    ours = value_and_gradients(lambda image, kernel: layers.convolve(image, kernel, stride, padding), image, kernel)
    assert_near(ours, value_and_gradients(lambda image, kernel: plain_convolve(image, kernel, stride, padding), image, kernel))


def test_convolutions_in_bfloat16_are_near_float32():
    image, kernel = normal(0, 2, 9, 8, 3), normal(1, 3, 3, 3, 4)
    low = [array.astype(jnp.bfloat16) for array in (image, kernel)]
    ours = value_and_gradients(layers.convolve, *low)
    assert {array.dtype for array in ours} == {jnp.dtype("bfloat16")}
    assert_near(ours, value_and_gradients(plain_convolve, image, kernel), tolerance=2e-2)


@pytest.mark.parametrize("function", [layers.convolve, layers.upsample_convolve, layers.depthwise_convolve])
def test_convolutions_work_under_vmap_remat_and_a_second_derivative(function):
    images = normal(0, 3, 1, 5, 6, 2)
    kernel = normal(1, 3, 3, 2) if function is layers.depthwise_convolve else normal(1, 3, 3, 2, 2)

    def error(image, kernel):
        return jnp.sum(function(image, kernel) ** 2)

    slope = jax.jit(jax.grad(error, argnums=1))
    alone = jnp.stack([slope(image, kernel) for image in images])
    mapped = jax.jit(jax.vmap(jax.grad(jax.checkpoint(error), argnums=1), in_axes=(0, None)))(images, kernel)
    assert_near([mapped], [alone])
    _, change = jax.jit(lambda *along: jax.jvp(slope, (images[0], kernel), along))(jnp.zeros_like(images[0]), kernel)
    assert_near([change], [alone[0]])  # the error is quadratic in the kernel


def test_convolutions_are_the_same_on_eight_devices():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    image, kernel = normal(0, 8, 16, 20, 3), normal(1, 3, 3, 3, 4)
    shared = jax.device_put(image, NamedSharding(mesh, PartitionSpec("data")))
    for function in (
        layers.convolve,
        layers.upsample_convolve,
        lambda image, kernel: layers.max_pool(plain_convolve(image, kernel)),
    ):
        assert_near(value_and_gradients(function, shared, kernel), value_and_gradients(function, image, kernel), 1e-5)


@pytest.mark.parametrize("backend", ["cpu", "tpu"])
@pytest.mark.parametrize("present", [None, (1, 4, 6)])
def test_attention_equals_torchs_in_value_and_gradients(monkeypatch, backend, present):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    query, key, value = (normal(seed, 3, length, 2, 4) for seed, length in enumerate((5, 6, 6)))
    mask = None if present is None else torch.arange(6) < torch.tensor(present)[:, None, None, None]

    def ours(*parts):
        return layers.attention(*parts, None if present is None else jnp.asarray(present))

    def theirs(*parts):
        parts = [part.transpose(1, 2) for part in parts]
        return torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=mask).transpose(1, 2)

    assert_near(value_and_gradients(ours, query, key, value), torchs(theirs, query, key, value))


def test_the_softmax_of_attention_is_float32_in_half_precision():
    low = [normal(seed, 2, 64, 2, 8).astype(jnp.bfloat16) for seed in range(3)]
    ours = value_and_gradients(layers.attention, *low)
    assert {array.dtype for array in ours} == {jnp.dtype("bfloat16")}
    full = value_and_gradients(layers.attention, *(part.astype(jnp.float32) for part in low))
    np.testing.assert_allclose(ours[0].astype(jnp.float32), full[0], atol=0.01)
    assert_near(ours[1:], full[1:], tolerance=1e-2)


def test_gelu_equals_torchs_in_value_and_gradient():
    values = jnp.concatenate([jnp.linspace(-12, 12, 97), jnp.asarray([-1e4, -0.0, 1e-20, 1e4])])
    assert_near(value_and_gradients(layers.gelu, values), torchs(torch.nn.functional.gelu, values), 2e-7)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_dense_equals_torchs_in_value_and_gradients(shape):
    features, kernel, bias = normal(0, *shape), normal(1, 5, 6), normal(2, 6)

    def ours(features, kernel, bias):
        return layers.Dense(6).apply({"params": {"kernel": kernel, "bias": bias}}, features)

    def theirs(features, kernel, bias):
        return torch.nn.functional.linear(features, kernel.T, bias)

    assert_near(value_and_gradients(ours, features, kernel, bias), torchs(theirs, features, kernel, bias))


def test_the_gradient_of_dense_copies_and_transposes_no_features():
    features, kernel = normal(0, 4, 50, 32), normal(1, 32, 128)

    def loss(kernel):
        return jnp.sum(jnp.sin(layers.Dense(128, use_bias=False).apply({"params": {"kernel": kernel}}, features)))

    with lanes.optimised():
        assert " transpose(" not in jax.jit(jax.grad(loss)).lower(kernel).compile().as_text()


def test_products_of_the_same_features_save_them_once_in_a_scan():
    """Queries, keys and values share their features; saved three times, they take 100 MB in MAE's decoder."""

    def total(kernels):
        def block(tokens, kernels):
            shared = 2 * tokens
            return sum(layers.product(shared, kernel) for kernel in kernels), None

        return jnp.sum(lax.scan(block, jnp.ones((2, 3, 4)), kernels)[0])

    program = jax.make_jaxpr(jax.grad(total))(tuple(jnp.ones((5, 4, 4)) for _ in range(3)))
    forward = next(equation for equation in program.eqns if equation.primitive.name == "scan")
    shapes = [each.aval.shape for each in forward.outvars]
    assert [shape for shape in shapes if np.prod(shape) == 5 * 2 * 3 * 4] == [(5, 2, 3, 4)]


def test_the_choice_of_form_leaves_no_conditional_in_the_program():
    image, kernel = normal(0, 2, 8, 8, 3), normal(1, 3, 3, 3, 4)
    program = jax.jit(jax.grad(lambda image, kernel: jnp.sum(layers.convolve(image, kernel) ** 2), argnums=1)).lower(image, kernel)
    with lanes.optimised():
        assert " conditional(" not in program.compile().as_text()


@pytest.mark.parametrize("terms", [4, 64])
@pytest.mark.parametrize(("size", "h", "w"), [(7, 9, 6), (7, 1, 3), (3, 5, 13), (5, 2, 2)])
def test_depthwise_convolutions_equal_the_plain_form_in_value_and_gradients(monkeypatch, terms, size, h, w):
    monkeypatch.setattr(fast_cpu, "TERMS", terms)
    image, kernel = normal(0, 2, h, w, 5), normal(1, size, size, 5)
    layers.depthwise_convolve.clear_cache()  # it was traced with other terms
    ours = value_and_gradients(layers.depthwise_convolve, image, kernel)

    def plain(image, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(image, kernel[:, :, None], (1, 1), "SAME", dimension_numbers=layout, feature_group_count=5)

    assert_near(ours, value_and_gradients(plain, image, kernel))


def test_a_cpu_runs_the_depthwise_form_for_cpus():
    image, kernel = normal(0, 2, 8, 8, 3), normal(1, 7, 7, 3)
    program = jax.jit(jax.grad(lambda image, kernel: jnp.sum(layers.depthwise_convolve(image, kernel) ** 2), argnums=(0, 1)))
    with lanes.optimised():
        text = program.lower(image, kernel).compile().as_text()
    assert " convolution(" not in text
    assert " conditional(" not in text


def test_the_depthwise_convolution_equals_torch():
    image = normal(0, 2, 6, 9, 4)
    module = layers.DepthwiseConvolution(7)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, jitted.init(module, jax.random.key(1), image))
    theirs = torch.nn.Conv2d(4, 4, 7, padding=3, groups=4)
    theirs.weight.data = torch.tensor(np.asarray(variables["params"]["kernel"]).transpose(3, 2, 0, 1))
    theirs.bias.data = torch.tensor(np.asarray(variables["params"]["bias"]))
    expected = theirs(torch.tensor(np.asarray(image).transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)
    assert_near([jitted.apply(module, variables, image)], [expected])


def test_convolution_has_the_parameters_and_values_of_linen():
    image = normal(0, 2, 7, 6, 3)
    for size, stride in ((3, 1), (3, 2), (1, 1)):
        ours, plain = layers.Convolution(5, size=size, stride=stride), nn.Conv(5, (size, size), (stride, stride))
        variables = jitted.init(ours, jax.random.key(1), image)
        assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, jitted.init(plain, jax.random.key(1), image))
        variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)  # a bias that is not 0
        assert_near([jitted.apply(ours, variables, image)], [jitted.apply(plain, variables, image)])


def test_convolution_equals_torch():
    image, kernel = normal(0, 2, 6, 8, 3), normal(1, 3, 3, 3, 4)

    def theirs(image, kernel):
        value = torch.nn.functional.conv2d(image.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding=1)
        return value.permute(0, 2, 3, 1)

    assert_near(value_and_gradients(layers.convolve, image, kernel), torchs(theirs, image, kernel))


@pytest.mark.parametrize(("h", "w"), [(4, 4), (3, 5), (1, 1), (1, 6)])
def test_fused_upsampling_and_convolution_equal_both_in_turn(h, w):
    image, kernel = normal(0, 2, h, w, 3), normal(1, 3, 3, 3, 4)

    def two(image, kernel):
        return plain_convolve(layers.upsample(image), kernel)

    assert_near(value_and_gradients(layers.upsample_convolve, image, kernel), value_and_gradients(two, image, kernel))


def test_upsampling_repeats_each_pixel():
    np.testing.assert_array_equal(
        layers.upsample(jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1))[0, :, :, 0],
        [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]],
    )


@pytest.mark.parametrize(("h", "w"), [(4, 6), (5, 7), (2, 2), (3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_max_pooling_equals_the_plain_form_bit_for_bit_with_ties(h, w, dtype):
    image = jnp.round(normal(0, 2, h, w, 3)).astype(dtype)  # many ties
    ours = value_and_gradients(layers.max_pool, image)
    plain = value_and_gradients(lambda image: nn.max_pool(image, (2, 2), (2, 2)), image)
    for our, their in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(our, their)


def test_max_pooling_equals_torch():
    image = jnp.round(normal(0, 2, 5, 6, 3))
    theirs = torch.tensor(np.asarray(image).transpose(0, 3, 1, 2), requires_grad=True)
    value = torch.nn.functional.max_pool2d(theirs, 2)
    value.backward(torch.tensor(np.asarray(normal(9, 2, 2, 3, 3)).transpose(0, 3, 1, 2).copy()))
    ours, gradient = value_and_gradients(layers.max_pool, image)
    np.testing.assert_array_equal(ours, value.detach().numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(gradient, theirs.grad.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize(("h", "w"), [(4, 6), (5, 7)])
def test_index_unpooling_equals_torch(h, w):
    image = jnp.round(2 * normal(0, 2, h, w, 3))  # many ties
    numbers = normal(1, 2, -(-h // 2), -(-w // 2), 3)
    before, theirs = (torch.tensor(np.asarray(each).transpose(0, 3, 1, 2).copy(), requires_grad=True) for each in (image, numbers))
    pooled, places = torch.nn.functional.max_pool2d(before, 2, ceil_mode=True, return_indices=True)
    value = torch.nn.functional.max_unpool2d(theirs, places, 2, output_size=(h, w))
    value.backward(torch.tensor(np.asarray(normal(9, 2, h, w, 3)).transpose(0, 3, 1, 2).copy()))
    np.testing.assert_array_equal(layers.max_pool(layers.even(image)), pooled.detach().numpy().transpose(0, 2, 3, 1))
    ours, gradient, none = value_and_gradients(layers.max_unpool, numbers, image)
    np.testing.assert_array_equal(ours, value.detach().numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(gradient, theirs.grad.numpy().transpose(0, 2, 3, 1))
    assert not none.any()


def test_the_up_convolution_equals_torch():
    image = normal(0, 2, 3, 5, 4)
    module = layers.UpConvolution(6)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, jitted.init(module, jax.random.key(1), image))
    assert jax.tree.map(jnp.shape, variables["params"]) == {"kernel": (2, 2, 4, 6), "bias": (6,)}
    theirs = torch.nn.ConvTranspose2d(4, 6, 2, 2)
    theirs.weight.data = torch.tensor(np.asarray(variables["params"]["kernel"]).transpose(2, 3, 0, 1))
    theirs.bias.data = torch.tensor(np.asarray(variables["params"]["bias"]))
    expected = theirs(torch.tensor(np.asarray(image).transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)
    assert_near([jitted.apply(module, variables, image)], [expected])


@pytest.mark.parametrize(("size", "padding", "behind"), [(3, 0, 0), (3, 1, 1), (4, 1, 0), (8, 3, 0)])
def test_the_transposed_convolution_equals_torch(size, padding, behind):
    image = normal(0, 2, 3, 5, 4)
    module = layers.TransposedConvolution(6, size, padding=padding if size == 3 else 0)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, jitted.init(module, jax.random.key(1), image))
    theirs = torch.nn.ConvTranspose2d(4, 6, size, 2, padding, output_padding=behind)
    theirs.weight.data = torch.tensor(np.asarray(variables["params"]["kernel"]).transpose(2, 3, 0, 1))
    theirs.bias.data = torch.tensor(np.asarray(variables["params"]["bias"]))
    expected = theirs(torch.tensor(np.asarray(image).transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)
    assert_near([jitted.apply(module, variables, image)], [expected[:, :6, :10]])


@pytest.mark.parametrize("few", [1, 100])
@pytest.mark.parametrize(("size", "padding", "behind"), [(3, 0, 0), (3, 1, 1), (4, 1, 0), (8, 3, 0)])
def test_the_gradients_of_the_transposed_convolution_equal_torchs(monkeypatch, few, size, padding, behind):
    monkeypatch.setattr(fast_cpu, "SMALL_KERNEL", few)
    image, kernel = normal(0, 2, 3, 5, 4), normal(1, size, size, 4, 6)

    def ours(image, kernel):
        return layers.transpose_convolve(image, kernel, padding if size == 3 else 0)

    def theirs(image, kernel):
        image, kernel = image.permute(0, 3, 1, 2), kernel.permute(2, 3, 0, 1)
        value = torch.nn.functional.conv_transpose2d(image, kernel, None, 2, padding, output_padding=behind)
        return value[:, :, :6, :10].permute(0, 2, 3, 1)

    assert_near(value_and_gradients(ours, image, kernel), torchs(theirs, image, kernel))


def test_kernels_are_initialised_as_by_he():
    image = jnp.zeros((1, 8, 8, 64))
    kernel = jitted.init(layers.Convolution(256), jax.random.key(0), image)["params"]["kernel"]
    assert float(jnp.std(kernel)) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.01)


def test_a_bilinear_initialisation_upsamples_as_resizing_does():
    image = normal(0, 1, 6, 5, 3)
    for size in (4, 8):
        upsampled, _ = layers.TransposedConvolution(3, size, initialiser="bilinear").init_with_output(jax.random.key(0), image)
        assert_near([upsampled[:, 1:-1, 1:-1]], [layers.resize(image, 12, 10)[:, 1:-1, 1:-1]])  # zeros beyond the image edge


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_norms_give_zero_mean_and_unit_variance(norm):
    image = 3 * normal(0, 4, 8, 8, 4) + 2
    module = layers.ConvolutionBlock(4, norm=norm)
    variables = jitted.init(module, jax.random.key(0), image, train=True)
    value, state = jitted.apply(module, variables, image, train=True, capture_intermediates=True, mutable=True)
    before_relu = state["intermediates"]["norm0"]["__call__"][0]
    np.testing.assert_allclose(before_relu.mean(), 0, atol=1e-5)
    np.testing.assert_allclose(before_relu.std(), 1, atol=1e-2)
    np.testing.assert_array_equal(value, nn.relu(before_relu))


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize("train", [False, True])
def test_norms_in_masked_mode_use_the_statistics_of_the_visible_positions(norm, train):
    """The statistics equal those of only the visible positions, equally many per image."""
    image = 3 * normal(0, 2, 4, 6, 4) + 2
    hidden = jnp.array([[[True, False, False], [False, True, True]], [[False, True, False], [True, False, True]]])
    visible = ~np.kron(np.asarray(hidden), np.ones((1, 2, 2), bool))
    alone = jnp.stack([image[row][visible[row]] for row in range(2)])[:, :, None]  # b n 1 c

    class Norm(nn.Module):
        @nn.compact
        def __call__(self, image, hidden=None):
            return layers.normalise(image, norm, train=train, dtype="float32", name="norm", hidden=hidden)

    variables = jax.tree.map(lambda leaf: leaf + 0.5, jitted.init(Norm(), jax.random.key(0), image))
    found, statistics = jitted.apply(Norm(), variables, image, hidden, mutable=["batch_stats"])
    expected, expected_statistics = jitted.apply(Norm(), variables, alone, mutable=["batch_stats"])
    assert_near([found[row][visible[row]] for row in range(2)], list(expected[:, :, 0]), 1e-5)
    assert_near(jax.tree.leaves(statistics), jax.tree.leaves(expected_statistics), 1e-5)


def test_an_unknown_norm_is_named():
    with pytest.raises(UserError, match=r"one of none, batch, group, layer; this model's is 'instance'. Set norm"):
        jitted.init(layers.ConvolutionBlock(4, norm="instance"), jax.random.key(0), jnp.zeros((1, 4, 4, 1)), train=True)


def test_channel_dropout_drops_whole_channels_or_nothing():
    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, features):
            return layers.dropout(self, features, 0.5, train=True, whole=True)

    found = jitted.apply(Dropped(), {}, jnp.ones((2, 3, 3, 64)), rngs={"dropout": jax.random.key(0)})
    assert set(np.unique(found).tolist()) == {0, 2}
    np.testing.assert_array_equal(found, jnp.broadcast_to(found[:, :1, :1], found.shape))
