import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.importers import families
from aeseg.methods import denoising, masked, maskgit
from aeseg.runs import features, init
from aeseg.spec import build
from aeseg.types import UserError
from tests.experiments import untrained

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)


@pytest.fixture
def workdir(monkeypatch):
    """Let every workdir hold an untrained method; return its (config, variables)."""

    def hold(method):
        trained = untrained.autoencoder(method)
        monkeypatch.setattr(init, "of_workdir", lambda path: (trained.run.config, trained.variables))
        return trained.run.config, trained.variables

    return hold


def expected(encoder, variables, image):
    pyramid = jax.jit(lambda image: build(encoder).apply(variables, image, train=False))(image)
    return np.asarray(pyramid[max(pyramid)]).mean(axis=(1, 2))


def test_features_are_the_coarsest_features_averaged_over_positions(workdir):
    config, variables = workdir(denoising.recipe("tiny"))
    given = features.pooled(features.encoder_of("anywhere"))(IMAGES)
    own = {name: leaves["encoder"] for name, leaves in variables.items()}
    np.testing.assert_allclose(given, expected(config.method.encoder, own, jnp.asarray(IMAGES) / 255), rtol=1e-5, atol=1e-6)
    assert np.ptp(given, axis=0).min() > 0


def test_a_prior_lends_the_encoder_of_its_autoencoder(workdir):
    config, variables = workdir(maskgit.recipe("tiny"))
    frozen = variables["autoencoder"]["frozen"]["weights"]
    own = {name: leaves["encoder"] for name, leaves in frozen.items() if "encoder" in leaves}
    given = features.pooled(features.encoder_of("anywhere"))(IMAGES)
    encoder = config.method.autoencoder.encoder
    np.testing.assert_allclose(given, expected(encoder, own, jnp.asarray(IMAGES) / 255), rtol=1e-5, atol=1e-6)


def test_public_weights_give_features_of_images_resized_to_their_patches(tmp_path):
    trained = untrained.autoencoder(masked.recipe("tiny"))
    families.save(str(tmp_path / "public"), trained.run.config.method, trained.variables)
    extract = features.pooled(features.encoder_of(str(tmp_path / "public")))
    encoder, own = trained.run.config.method.encoder, {"params": trained.variables["params"]["encoder"]}
    np.testing.assert_allclose(extract(IMAGES), expected(encoder, own, jnp.asarray(IMAGES) / 255), rtol=1e-4, atol=1e-5)
    public = families.load(str(tmp_path / "public"))
    encoder, own = public.described.encoder, {"params": jax.device_put(public.variables["params"]["encoder"])}
    side = encoder.patch * round(15 / encoder.patch)
    resized = jax.image.resize(jnp.asarray(IMAGES[:, :15, :15]) / 255, (3, side, side, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(extract(IMAGES[:, :15, :15]), expected(encoder, own, resized), rtol=1e-4, atol=1e-5)


def test_a_run_without_an_encoder_is_refused(workdir):
    _, variables = workdir(denoising.recipe("tiny"))
    del variables["params"]["encoder"]
    with pytest.raises(UserError, match="Expected a run with one encoder; runs/a has none"):
        features.encoder_of("runs/a")
