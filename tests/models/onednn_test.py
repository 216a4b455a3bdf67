"""Convolutions and products by oneDNN against PyTorch and NumPy, and what happens where oneDNN cannot be used."""

import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from aeseg import tree
from aeseg.models import layers, norms, onednn, ops, products
from aeseg.training.checkpoints import load_variables
from experiments import pretrain
from experiments.console import cli
from experiments.machine import provenance
from tests import lanes


@pytest.fixture
def one_device(monkeypatch):
    """Let oneDNN see one device, as users' processes have."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(onednn, "_wanted", [True])
    onednn._usable.cache_clear()
    yield
    onednn._usable.cache_clear()


def program(function, *arrays):
    return jax.jit(function).lower(*arrays).as_text()


CASES = [  # batch, height, width, channels, kernels, size, stride, padding
    (2, 9, 11, 3, 5, 3, 1, ((1, 1), (1, 1))),
    (1, 5, 7, 1, 1, 1, 1, ((0, 0), (0, 0))),
    (3, 16, 12, 17, 33, 5, 2, ((2, 2), (1, 2))),
    (2, 8, 8, 64, 96, 3, 1, ((1, 1), (1, 1))),
    (1, 32, 32, 3, 64, 7, 2, ((3, 3), (3, 3))),
    (2, 12, 12, 8, 4, 4, 4, ((0, 0), (0, 0))),
    (2, 6, 6, 4, 8, 3, 1, ((0, 2), (3, 0))),
    (2, 13, 13, 16, 16, 2, 1, ((1, 1), (1, 1))),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_equal_torchs(case, one_device):
    b, h, w, c, d, size, stride, padding = case
    random = np.random.default_rng(0)
    image, kernel = random.standard_normal((b, h, w, c), np.float32), random.standard_normal((size, size, c, d), np.float32)

    def ours(image, kernel):
        return ops.convolve(image, kernel, stride, padding)

    with lanes.optimised():
        value, back = jax.vjp(ours, jnp.asarray(image), jnp.asarray(kernel))
        weights = random.standard_normal(value.shape, np.float32)
        gradients = back(jnp.asarray(weights))
    assert program(ours, image, kernel).count("aeseg_convolution") == 1
    left, right = (torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (image, kernel))
    padded = functional.pad(left.permute(0, 3, 1, 2), (*padding[1], *padding[0]))
    theirs = functional.conv2d(padded, right.permute(3, 2, 0, 1), stride=stride).permute(0, 2, 3, 1)
    (theirs * torch.tensor(weights)).sum().backward()
    for our, their in zip((value, *gradients), (theirs.detach(), left.grad, right.grad), strict=True):
        np.testing.assert_allclose(our, their.numpy(), atol=1e-5 * their.abs().max(), rtol=0)


def test_with_avx2_alone_a_kernels_gradient_copies_long_rows_and_equals_torchs(tmp_path):
    random = np.random.default_rng(0)
    image, gradient = random.standard_normal((2, 5, 64, 65), np.float32), random.standard_normal((2, 5, 64, 70), np.float32)
    np.savez(tmp_path / "given.npz", image, gradient)
    code = """if True:
        import jax, numpy, sys
        from aeseg.models import onednn
        onednn.enable()
        assert onednn.enabled()
        given = numpy.load(sys.argv[1] + "/given.npz")
        numpy.save(sys.argv[1] + "/found.npy", onednn.kernel_gradient(given["arr_0"], given["arr_1"], (3, 3), 1, ((1, 1), (1, 1))))
    """
    variables = {**os.environ, "XLA_FLAGS": "", "ONEDNN_MAX_CPU_ISA": "AVX2", "ONEDNN_VERBOSE": "1"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    finished = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    assert finished.stdout.count("exec,cpu,reorder") == 3, finished.stdout
    expected = torch.nn.grad.conv2d_weight(
        torch.tensor(image, dtype=torch.float64).permute(0, 3, 1, 2),
        (70, 65, 3, 3),
        torch.tensor(gradient).double().permute(0, 3, 1, 2),
        1,
        1,
    ).permute(2, 3, 1, 0)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected.numpy(), atol=1e-5 * expected.abs().max(), rtol=0)


@pytest.mark.parametrize("case", [(2, 9, 11, 3, 3), (1, 16, 12, 40, 7), (4, 14, 14, 16, 5), (2, 5, 5, 1, 1), (1, 3, 4, 24, 7)], ids=str)
def test_depthwise_convolutions_equal_torchs(case, one_device):
    b, h, w, c, size = case
    random = np.random.default_rng(0)
    image, kernel = random.standard_normal((b, h, w, c), np.float32), random.standard_normal((size, size, c), np.float32)
    value, back = jax.vjp(ops.depthwise_convolve, jnp.asarray(image), jnp.asarray(kernel))
    weights = random.standard_normal(value.shape, np.float32)
    gradients = back(jnp.asarray(weights))
    assert "aeseg_convolution" in program(ops.depthwise_convolve, image, kernel)
    left, right = (torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (image, kernel))
    theirs = functional.conv2d(left.permute(0, 3, 1, 2), right.permute(2, 0, 1)[:, None], padding=size // 2, groups=c).permute(0, 2, 3, 1)
    (theirs * torch.tensor(weights)).sum().backward()
    for our, their in zip((value, *gradients), (theirs.detach(), left.grad, right.grad), strict=True):
        np.testing.assert_allclose(our, their.numpy(), atol=1e-5 * their.abs().max(), rtol=0)


def test_transposed_and_upsampling_convolutions_call_it_too(one_device):
    image, kernel = jnp.ones((1, 4, 4, 3)), jnp.ones((4, 4, 3, 2))
    text = program(jax.grad(lambda kernel: ops.transpose_convolve(image, kernel).sum()), kernel)
    assert text.count("call @aeseg_kernel_gradient") + text.count("custom_call @aeseg_kernel_gradient") >= 1
    assert "aeseg_convolution" in program(ops.upsample_convolve, image, kernel[:3, :3])


def test_it_can_be_mapped_over_kernels(one_device):
    images, kernels = jnp.ones((3, 2, 8, 8, 4)), jnp.arange(3 * 9 * 4 * 5.0).reshape(3, 3, 3, 4, 5)
    mapped = jax.jit(jax.vmap(ops.convolve))(images, kernels)
    each = [ops.convolve(image, kernel) for image, kernel in zip(images, kernels, strict=True)]
    np.testing.assert_array_equal(mapped, np.stack(each))


@pytest.mark.parametrize("sizes", [(7, 5, 3), (50, 64, 50), (1, 1, 1), (130, 96, 33)], ids=str)
def test_products_and_their_gradients_equal_numpys(sizes, one_device):
    m, k, n = sizes
    random = np.random.default_rng(0)
    left, right, weights = (random.standard_normal(shape, np.float32) for shape in ((2, m, k), (k, n), (2, m, n)))
    value, back = jax.vjp(products.product, jnp.asarray(left), jnp.asarray(right))
    to_left, to_right = back(jnp.asarray(weights))
    assert program(products.product, left, right).count("aeseg_product") == 1
    expected = (left @ right, weights @ right.T, np.einsum("bmk,bmn->kn", left, weights))
    for our, their in zip((value, to_left, to_right), expected, strict=True):
        np.testing.assert_allclose(our, their, atol=1e-5 * np.abs(their).max(), rtol=0)


@pytest.mark.parametrize("shape", [(2, 7, 5), (3, 4, 6, 16), (1, 1), (2, 50, 192), (130, 33)], ids=str)
def test_layer_norm_and_its_gradients_equal_torchs(shape, one_device):
    random = np.random.default_rng(0)
    values, weights = (3 * random.standard_normal(shape, np.float32) + 1 for _ in range(2))
    scale, bias = (random.standard_normal(shape[-1], np.float32) for _ in range(2))
    layer = layers.LayerNorm(epsilon=1e-6, dtype="float32")

    def ours(values, scale, bias):
        return layer.apply({"params": {"scale": scale, "bias": bias}}, values)

    value, back = jax.vjp(ours, *map(jnp.asarray, (values, scale, bias)))
    assert program(ours, values, scale, bias).count("aeseg_norm") == 1
    left, right, shift = (torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (values, scale, bias))
    theirs = functional.layer_norm(left, shape[-1:], right, shift, 1e-6)
    (theirs * torch.tensor(weights)).sum().backward()
    for our, their in zip((value, *back(jnp.asarray(weights))), (theirs.detach(), left.grad, right.grad, shift.grad), strict=True):
        np.testing.assert_allclose(our, their.numpy(), atol=2e-5 * their.abs().max() + 1e-6, rtol=0)


def test_layer_norm_of_large_numbers_loses_no_more_digits_than_they_have(one_device):
    values = jnp.asarray(1000 + np.random.default_rng(0).standard_normal((6, 64), np.float32))
    exact = functional.layer_norm(torch.tensor(np.asarray(values), dtype=torch.float64), (64,), eps=1e-6).numpy()
    ours = layers.LayerNorm(epsilon=1e-6, dtype="float32").apply({"params": {"scale": jnp.ones(64), "bias": jnp.zeros(64)}}, values)
    np.testing.assert_allclose(ours, exact, atol=2e-4, rtol=0)


@pytest.mark.parametrize("shape", [(8, 64, 64, 16), (3, 50, 41, 11), (2, 9, 9, 12), (70000, 1), (1, 300), (3, 2, 33), (0, 5)], ids=str)
def test_sums_are_those_of_float64(shape, one_device):
    random = np.random.default_rng(0)
    values, others = random.standard_normal(shape, np.float32), 7 + random.standard_normal(shape, np.float32)
    shift = others.mean(tuple(range(len(shape) - 1)), dtype=np.float32) if len(values) else np.zeros(shape[-1], np.float32)
    exact, axes = values.astype(np.float64), tuple(range(len(shape) - 1))
    products = exact * (others.astype(np.float64) - shift)
    assert onednn.enabled()
    for found, terms in zip(onednn.sums(*map(jnp.asarray, (values, others, shift))), (exact, products), strict=True):
        np.testing.assert_allclose(found, terms.sum(axes), atol=3e-7 * np.abs(terms).sum(axes).max(initial=0), rtol=0)


def test_sums_do_not_depend_on_the_number_of_threads(tmp_path):
    code = """if True:
        import numpy, sys
        from aeseg.models import onednn
        onednn.enable()
        assert onednn.enabled()
        values, others = numpy.random.default_rng(0).standard_normal((2, 90000, 7), numpy.float32)
        numpy.save(sys.argv[1], onednn.sums(values, others, numpy.ones(7, numpy.float32)))
    """
    for threads in ("1", "2"):
        variables = {**os.environ, "XLA_FLAGS": "", "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / threads)], env=variables, check=True)
    np.testing.assert_array_equal(*(np.load(tmp_path / f"{threads}.npy") for threads in ("1", "2")))


@pytest.mark.parametrize("shape", [(4, 5, 3, 6), (2, 40, 30, 20)], ids=str)
def test_batch_norm_and_its_gradients_equal_torchs(shape, one_device):
    random = np.random.default_rng(0)
    values, weights = 3 * random.standard_normal(shape, np.float32) + 2, random.standard_normal(shape, np.float32)
    scale, bias = random.standard_normal((2, shape[-1]), np.float32)

    def ours(*arrays):
        return norms.batch_normalised(*arrays, 1e-5)[0]

    value, back = jax.vjp(ours, *map(jnp.asarray, (values, scale, bias)))
    assert program(jax.grad(lambda *arrays: jnp.sum(ours(*arrays) * weights)), values, scale, bias).count("call @aeseg_sums") == 2
    inputs = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (values.transpose(0, 3, 1, 2), scale, bias)]
    theirs = functional.batch_norm(inputs[0], None, None, *inputs[1:], training=True, eps=1e-5)
    (theirs * torch.tensor(weights.transpose(0, 3, 1, 2))).sum().backward()
    expected = theirs.detach().permute(0, 2, 3, 1), inputs[0].grad.permute(0, 2, 3, 1), inputs[1].grad, inputs[2].grad
    for our, their in zip((value, *back(jnp.asarray(weights))), expected, strict=True):
        np.testing.assert_allclose(our, their.numpy(), atol=1e-5 * their.abs().max(), rtol=0)


def test_gelu_and_its_gradient_equal_torchs(one_device):
    values, weights = jnp.linspace(-9, 9, 1001).reshape(7, 11, 13), jnp.linspace(-1, 2, 1001).reshape(7, 11, 13)
    value, back = jax.vjp(products.gelu, values)
    assert program(products.gelu, values).count("aeseg_gelu") == 1
    theirs = torch.tensor(np.asarray(values), dtype=torch.float64, requires_grad=True)
    expected = functional.gelu(theirs)
    (expected * torch.tensor(np.asarray(weights))).sum().backward()
    np.testing.assert_allclose(value, expected.detach().numpy(), atol=2e-6, rtol=0)
    np.testing.assert_allclose(back(weights)[0], theirs.grad.numpy(), atol=2e-6, rtol=0)


def test_for_another_platform_norms_and_gelu_are_xlas(one_device):
    layer, variables = layers.LayerNorm(epsilon=1e-6, dtype="float32"), {"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}
    gradient = jax.jit(jax.grad(lambda values: jnp.sum(products.gelu(layer.apply(variables, values)) ** 2)))
    texts = {name: gradient.trace(jnp.ones((2, 8))).lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "tpu")}
    assert {name: "aeseg" in text for name, text in texts.items()} == {"cpu": True, "tpu": False}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_not_given_to_it(dtype, one_device):
    values = jnp.ones((2, 8), dtype)
    layer, variables = layers.LayerNorm(epsilon=1e-6, dtype=dtype), {"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}
    assert "aeseg" not in program(lambda values: products.gelu(layer.apply(variables, values)), values)


ATTENDED = [  # images, queries, keys, heads, channels, present keys
    (2, 7, 9, 3, 8, None),
    (2, 7, 9, 3, 8, (5, 9)),
    (8, 7, 9, 3, 8, None),
    (4, 50, 50, 4, 64, (50, 1, 37, 2)),
    (16, 1, 1, 1, 1, None),
    (3, 130, 33, 6, 24, (33, 20, 32)),
]


@pytest.mark.parametrize("case", ATTENDED, ids=str)
def test_attention_and_its_gradients_equal_jaxs(case, one_device):
    b, n, m, heads, d, present = case
    random = np.random.default_rng(0)
    query = jnp.asarray(random.standard_normal((b, n, heads, d), np.float32))
    key, value = (jnp.asarray(random.standard_normal((b, m, heads, d), np.float32)) for _ in range(2))
    keys = None if present is None else jnp.asarray(present)

    def jaxs(query, key, value):
        return jax.nn.dot_product_attention(query, key, value, key_value_seq_lengths=keys, implementation="xla")

    def ours(query, key, value):
        return products.attention(query, key, value, keys)

    shared_out = b * heads >= products.SHARED_OUT
    calls = {"aeseg_attention": 1, "aeseg_product": 0} if shared_out else {"aeseg_attention": 0, "aeseg_product": 2}
    assert {name: program(ours, query, key, value).count(name) for name in calls} == calls
    (our, our_back), (their, their_back) = (jax.vjp(form, query, key, value) for form in (ours, jaxs))
    weights = jnp.asarray(random.standard_normal(our.shape, np.float32))
    for one, other in zip((our, *our_back(weights)), (their, *their_back(weights)), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6, rtol=0)


def test_attention_is_the_same_number_in_every_call(one_device):
    random = np.random.default_rng(0)
    query, key, value = (jnp.asarray(random.standard_normal((8, 65, 4, 16), np.float32)) for _ in range(3))
    gradients = jax.jit(jax.grad(lambda *parts: jnp.sum(products.attention(*parts) ** 2), argnums=(0, 1, 2)))
    first = gradients(query, key, value)
    for _ in range(20):
        for one, other in zip(first, gradients(query, key, value), strict=True):
            np.testing.assert_array_equal(one, other)


def test_other_types_and_several_devices_use_xlas_convolutions(one_device, monkeypatch):
    image, kernel = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 4, 4))
    assert "aeseg_convolution" in program(lambda *arrays: ops.convolve(*arrays), image, kernel)
    assert "aeseg_convolution" not in program(lambda *arrays: ops.convolve(*arrays), image.astype("bfloat16"), kernel.astype("bfloat16"))
    assert "aeseg_product" not in program(
        lambda *arrays: products.product(*arrays), image.astype("bfloat16"), kernel[0, 0].astype("bfloat16")
    )
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    onednn._usable.cache_clear()
    assert "aeseg_product" not in program(lambda *arrays: products.product(*arrays), image, kernel[0, 0])
    assert "aeseg_convolution" not in program(lambda *arrays: ops.convolve(*arrays), image, kernel)


def test_it_is_off_until_a_process_asks_for_it(one_device, monkeypatch):
    assert onednn.PACKAGE in provenance.provenance()["versions"]
    monkeypatch.setattr(onednn, "_wanted", [])
    assert not onednn.enabled()
    assert onednn.PACKAGE not in provenance.provenance()["versions"]


def test_it_is_built_while_the_process_starts(one_device, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(onednn, "_wanted", [])
    monkeypatch.setattr(onednn, "_builders", [])
    onednn.enable()
    (builder,) = onednn._builders
    builder.join()
    monkeypatch.setattr(onednn.subprocess, "run", None)
    assert os.path.exists(onednn._built(onednn._compiler(), onednn._library()))


def test_without_the_extra_nothing_changes(one_device, monkeypatch):
    monkeypatch.setattr(onednn, "PACKAGE", "no-such-package")
    assert not onednn.enabled()


def test_without_a_compiler_it_warns_and_changes_nothing(one_device, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler .* Install g\+\+ or set CXX"):
        assert not onednn.enabled()


def test_a_compiler_that_fails_is_no_error(one_device, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.warns(UserWarning, match="cannot be connected to XLA, so training is slower"):
        assert not onednn.enabled()


def test_the_compiled_file_is_kept_and_replaced_if_it_is_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = onednn._built("g++", onednn._library())
    written = os.stat(built).st_mtime_ns
    assert onednn._built("g++", onednn._library()) == built
    assert os.stat(built).st_mtime_ns == written
    with open(built, "r+b") as file:
        file.write(b"damaged")
    monkeypatch.setattr(onednn.subprocess, "run", lambda command, **_: shutil.copy(onednn.SOURCE, command[-1]))
    assert os.path.getsize(onednn._built("g++", onednn._library())) == os.path.getsize(onednn.SOURCE)


def test_a_run_resumes_bit_for_bit(one_device, tmp_path):
    flags = ["--config=scenes:denoising", "--config.steps=2", "--config.save_every=1", "--config.keep=2", "--config.batch_size=8"]
    flags += ["--config.method.encoder.widths=(4,8)", "--config.method.encoder.bottleneck=8", "--config.method.decoder.widths=(8,4)"]
    for name in ("whole", "resumed"):
        assert cli.guarded(pretrain.run, ["pretrain", *flags, f"--workdir={tmp_path / name}"]) == 0
    shutil.rmtree(tmp_path / "resumed/checkpoints/2")
    assert cli.guarded(pretrain.run, ["pretrain", *flags, f"--workdir={tmp_path / 'resumed'}"]) == 0
    whole, resumed = (tree.flatten(load_variables(str(tmp_path / name / "checkpoints"))[1]) for name in ("whole", "resumed"))
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
