import jax
import jax.numpy as jnp
import pytest

from aeseg.models.heads.dense import DenseHead
from aeseg.types import UserError
from tests import jitted


@pytest.mark.parametrize(("output_stride", "shape"), [(1, (2, 8, 16, 3)), (4, (2, 2, 4, 3))])
def test_every_pixel_or_square_of_pixels_is_classified(output_stride, shape):
    head = DenseHead(classes=3, width=2, stride=4, output_stride=output_stride)
    logits, variables = head.init_with_output(jax.random.key(0), {4: jnp.ones((2, 2, 4, 5))}, train=False)
    assert logits[output_stride].shape == shape
    assert variables["params"]["logits"]["kernel"].shape == (2 * 4 * 2, shape[1] * shape[2] * 3)


def test_another_image_size_than_at_initialisation_is_refused():
    head = DenseHead(classes=3, width=2, stride=4)
    variables = jitted.init(head, jax.random.key(0), {4: jnp.ones((1, 2, 2, 5))}, train=False)
    with pytest.raises(UserError, match=r"DenseHead has fully connected layers for one size of image: logits was made for 8"):
        jitted.apply(head, variables, {4: jnp.ones((1, 2, 3, 5))}, train=False)


def test_an_output_stride_that_does_not_divide_the_image_is_refused():
    with pytest.raises(UserError, match=r"DenseHead gives logits at stride 3; the image is 8 x 8. Set output_stride to a divisor"):
        jitted.init(DenseHead(classes=3, stride=4, output_stride=3), jax.random.key(0), {4: jnp.ones((1, 2, 2, 5))}, train=False)


def test_a_stride_that_the_encoder_lacks_is_named_with_its_strides():
    with pytest.raises(UserError, match=r"DenseHead reads stride 8; the encoder gives \[4\]. Set"):
        jitted.init(DenseHead(classes=2), jax.random.key(0), {4: jnp.zeros((1, 4, 4, 3))}, train=False)
