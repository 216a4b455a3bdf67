import struct
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.compression import codec as codecs
from aeseg.compression import container
from aeseg.compression.codec import Codec
from aeseg.methods import hyperprior
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted

METHOD = build(hyperprior.recipe("tiny"))
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (160, 176, 3), np.uint8)
SMALL = IMAGE[:37, :50]


def variables_of(seed):
    """Return an untrained network whose features have a standard deviation of 4, as its scales say."""
    row = {"image": jnp.zeros((1, 16, 16, 3)), "valid": jnp.ones(1, bool), "index": jnp.zeros(1, jnp.int32)}
    variables = jax.tree.map(np.array, jitted.init(METHOD, jax.random.key(seed), row, train=False))
    image = jnp.asarray(IMAGE[None], jnp.float32) / 255
    params, spread = variables["params"], np.std(jitted.apply(METHOD, jax.tree.map(jnp.asarray, variables), image, method="latent"))
    params["encoder"]["convolution1"]["kernel"] *= 4 / spread
    params["hyper_decoder"]["last"]["bias"] += np.float32(np.log(4))
    params["decoder"]["last"]["kernel"] *= 0.1
    return variables


@pytest.fixture(scope="module")
def variables():
    return variables_of(0)


@pytest.fixture(scope="module")
def codec(variables):
    return Codec(METHOD, variables)


@pytest.fixture(scope="module")
def file(codec):
    return codec.compress(SMALL)


def resealed(content, place, value):
    """Return a file with other bytes at a place, and a correct checksum."""
    wrong = bytearray(content[:-4])
    wrong[place : place + len(value)] = value
    return bytes(wrong) + struct.pack("<I", zlib.crc32(bytes(wrong)))


@pytest.mark.parametrize("size", [(37, 50), (1, 1)])
def test_the_decompressed_image_is_the_encoders_bit_for_bit(codec, size):
    file = codec.compress(IMAGE[: size[0], : size[1]])
    result = codec.decompress(file.content, "a.aeseg")
    assert result.exact
    np.testing.assert_array_equal(result.image, file.image)
    assert result.image.shape == (*size, 3)


def test_windows_change_nothing_and_the_file_has_the_bits_that_the_method_estimates(codec, variables):
    """IMAGE has 40 x 44 positions, so two windows; the whole image passes through the networks at once for comparison."""
    file = codec.compress(IMAGE)
    batch = {"image": jnp.asarray(IMAGE[None], jnp.float32) / 255, "valid": jnp.ones(1, bool), "index": jnp.zeros(1, jnp.int32)}

    def whole(variables):
        means = METHOD.apply(variables, batch, train=False)
        return METHOD.apply(variables, batch, method="show")["reconstruction"], means["bits"].value()

    reconstruction, bits = jax.jit(whole)(variables)
    expected = np.round(255 * np.asarray(reconstruction[0]))
    assert len(list(codecs._windows((40, 44)))) == 4
    assert np.abs(file.image - expected).max() <= 1
    assert (file.image == expected).mean() > 0.999
    assert len(np.unique(file.image)) > 20, "the test should see an image"
    estimated = float(bits) * 160 * 176 / 8
    assert estimated > 2000
    assert len(file.content) - container.SIZE == pytest.approx(estimated, rel=0.03)


def test_a_coarser_quantiser_gives_smaller_files_and_a_finer_one_larger_files(codec, file):
    coarse, fine = codec.compress(SMALL, 12), codec.compress(SMALL, -12)
    assert len(coarse.content) < len(file.content) < len(fine.content)
    for other in (coarse, fine):
        assert codec.decompress(other.content, "a.aeseg").exact


def test_files_of_another_network_are_refused_by_name(codec, file):
    other = Codec(METHOD, variables_of(1))
    with pytest.raises(UserError, match=rf"compressed with the network {codec.identity.hex()}; --init holds.*Set --init to the workdir"):
        other.decompress(file.content, "a.aeseg")


def test_integers_are_saved_once_and_read_again(codec, variables, tmp_path):
    saved = codecs.saved(str(tmp_path), 7, METHOD, variables, writes=True)
    assert saved.identity == codec.identity
    path = tmp_path / "codec-7.npz"
    content = path.read_bytes()
    again = codecs.saved(str(tmp_path), 7, METHOD, variables, writes=True)
    assert again.identity == codec.identity
    assert path.read_bytes() == content
    for name, array in codec.integers.arrays().items():
        np.testing.assert_array_equal(again.integers.arrays()[name], array)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"codec-7.npz is damaged .*or remove it: it is derived from the checkpoint again"):
        codecs.saved(str(tmp_path), 7, METHOD, variables, writes=False)
    path.unlink()
    codecs.saved(str(tmp_path), 7, METHOD, variables, writes=False)
    assert not path.exists()


def test_integers_that_differ_by_one_make_another_codec(codec, variables):
    counts = codec.integers.scale_tables[20].counts.copy()
    counts[:2] += [1, -1]
    tables = [*codec.integers.scale_tables]
    tables[20] = tables[20]._replace(counts=counts)
    assert Codec(METHOD, variables, codec.integers._replace(scale_tables=tables)).identity != codec.identity


def test_a_changed_payload_with_a_correct_checksum_is_refused(codec, file):
    """The second checksum, of the decoded numbers: what a file of other levels of scale would meet."""
    for place in range(container.SIZE - 4, len(file.content) - 4, 97):
        with pytest.raises(UserError, match=r"a.aeseg cannot be decoded: its codes do not fit their checksum. Compress it again."):
            codec.decompress(resealed(file.content, place, bytes([file.content[place] ^ 0x10])), "a.aeseg")


def test_a_changed_header_with_a_correct_checksum_is_refused_or_told(codec, file):
    accepted = []
    for place in range(4, container.SIZE - 4):
        wrong = resealed(file.content, place, bytes([file.content[place] ^ 0x41]))
        try:
            accepted.append(codec.decompress(wrong, "a.aeseg").exact)
        except UserError:
            continue
    assert accepted == [False] * 4, "only the four bytes of the pixels' checksum"


def test_a_size_that_the_words_cannot_fill_is_refused_before_it_is_allocated(codec, file):
    wrong = resealed(file.content, 7, struct.pack("<II", 2**15, 2**15))
    with pytest.raises(UserError, match="too few for 32,768 x 32,768 pixels"):
        codec.decompress(wrong, "a.aeseg")


def test_other_channels_and_a_network_of_nan_are_refused(codec, variables):
    with pytest.raises(UserError, match="compresses images of 3 channels; got 4 x 4 pixels of 1"):
        codec.compress(IMAGE[:4, :4, :1])
    broken = jax.tree.map(np.copy, variables)
    broken["params"]["encoder"]["convolution0"]["kernel"][0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="values that are not finite"):
        Codec(METHOD, broken).compress(SMALL)
