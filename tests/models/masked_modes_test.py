import pytest

from aeseg.models import masked_modes
from aeseg.models.encoders.dense import DenseEncoder
from aeseg.types import UserError


def test_an_encoder_without_a_masked_mode_is_named_with_the_encoders_that_have_one():
    with pytest.raises(UserError, match=r"SimMIM needs .* \(tokens or sparse\); DenseEncoder has none. Those of .*: "):
        masked_modes.check_masked_mode(DenseEncoder(), "SimMIM")


def test_an_encoder_that_cannot_embed_only_visible_patches_is_named_with_the_encoders_that_can():
    with pytest.raises(UserError, match=r"Masked needs .* \(embed_visible\); DenseEncoder does not. Those of aeseg/models/encoders"):
        masked_modes.check_embeds_visible(DenseEncoder(), "Masked")
