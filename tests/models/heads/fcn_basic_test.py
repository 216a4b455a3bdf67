import jax
import numpy as np
import pytest

from aeseg import images
from aeseg.models.heads import fcn_basic
from aeseg.types import UserError
from tests.models.heads.unet_test import pyramid, read


@pytest.mark.parametrize(
    ("fields", "strides"),
    [({}, [1, 2, 4]), ({"addition": False}, [4]), ({"reduction": False}, [1, 2, 4]), ({"addition": False, "learnt": False}, [4])],
)
def test_logits_stand_at_the_finest_stride_and_depend_on_what_is_added(fields, strides):
    shapes, read_at = read(fcn_basic.FCNBasicHead(3, **fields), pyramid(1, 2, 4))
    assert shapes == {1: (1, 16, 16, 3)}
    assert read_at == {1: strides}


def test_bilinear_interpolation_upsamples_the_coarsest_scores():
    features = pyramid(1, 2, 4)
    head = fcn_basic.FCNBasicHead(3, addition=False, learnt=False)
    logits, variables = head.init_with_output(jax.random.key(0), features, train=False)
    kernel = variables["params"]["reduction4"]["kernel"][0, 0]
    twice = images.resize(images.resize(features[4] @ kernel, 8, 8), 16, 16)
    np.testing.assert_allclose(logits[1], twice, rtol=1e-5, atol=1e-6)


def test_one_stride_is_refused():
    with pytest.raises(UserError, match=r"FCNBasicHead joins features whose strides double .*; the encoder gives \[8\]. Take such"):
        fcn_basic.FCNBasicHead(2).init(jax.random.key(0), pyramid(8), train=False)
