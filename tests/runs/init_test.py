"""aeseg/runs/init.py: initial weights from a workdir or Hugging Face, adapted to the run's images."""

import contextlib

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import positions, tree
from aeseg.importers import families
from aeseg.runs import init, transfer
from aeseg.spec import build, recipe, to_json
from aeseg.training.checkpoints import Checkpoints, load_variables
from aeseg.training.state import TrainState
from aeseg.types import UserError
from experiments import pretrain, segment
from experiments.console import cli
from tests.importers.cases import find_toys, random_variables, same, toy_directory

SCENES = [f"--config.data.{split}.{field}=16" for split in ("train", "validation") for field in ("height", "width", "records")]
SMALL = ["--config.window=(16,16)", "--config.batch_size=8", "--config.steps=1", *SCENES]
SEGMENT = [
    "--config=segment:linear",
    "--config.data.fraction=1.0",
    "--config.method.head.stride=4",
    "--config.transfer=linear-probe",
    *SMALL,
]
PRETRAIN = ["--config=pretrain:reconstruction,tiny", *SMALL]
STILL = ("--config.optimiser.learning_rate=1e-30", "--config.optimiser.weight_decay=0.0")


def fresh(config):
    """Return the initial state of a run."""
    variables = jax.tree.map(jnp.asarray, random_variables(families.shapes(config.method, tuple(config.window), 3), seed=1))
    return TrainState(jnp.int32(0), variables.pop("params"), variables, opt_state={}, ema={})


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    find_toys(monkeypatch)


def workdir(path, config, seed=0):
    """Write the workdir of a finished run of the config with random weights; return its path and the weights."""
    variables = random_variables(families.shapes(config.method, tuple(config.window), 3), seed)
    leaves = jax.tree.map(jnp.asarray, variables)
    (path / "checkpoints").mkdir(parents=True)
    state = TrainState(jnp.int32(config.steps), leaves.pop("params"), leaves, opt_state={}, ema={})
    with contextlib.closing(Checkpoints(str(path / "checkpoints"))) as kept:
        kept.save(state, {})
    (path / "config.json").write_text(to_json(config))
    return str(path), variables


def run(module, *flags):
    return cli.guarded(module.run, ["program", *map(str, flags)])


def params(workdir):
    return tree.flatten(load_variables(str(workdir / "checkpoints"))[1]["params"])


def test_a_segmenter_starts_from_the_encoder_of_a_foreign_model(tmp_path, capsys):
    path, tensors = toy_directory(tmp_path / "theirs", "segmenter")
    assert run(segment, *SEGMENT, f"--init={path}", f"--workdir={tmp_path / 'run'}") == 0
    assert "Took 12 arrays (" in capsys.readouterr().err
    np.testing.assert_array_equal(
        params(tmp_path / "run")["encoder/level0/convolution0/kernel"], tensors["toy.level.0.convolution.weight"].transpose(2, 3, 1, 0)
    )


def test_pretraining_continues_from_all_weights_of_its_own_method(tmp_path, capsys):
    path, tensors = toy_directory(tmp_path / "theirs", "autoencoder")
    assert run(pretrain, *PRETRAIN, *STILL, f"--init={path}", f"--workdir={tmp_path / 'warm'}") == 0
    assert "Took 6 arrays of the decoder, too." in capsys.readouterr().err
    last = tensors["decoder.last.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(params(tmp_path / "warm")["decoder/last/kernel"], last, rtol=1e-6)
    assert run(pretrain, *PRETRAIN, *STILL, f"--init={tmp_path / 'warm'}", f"--workdir={tmp_path / 'warmer'}") == 0
    np.testing.assert_allclose(params(tmp_path / "warmer")["decoder/last/kernel"], last, rtol=1e-6)


def test_a_decoder_that_does_not_fit_is_listed_and_keeps_its_initial_values(tmp_path, capsys):
    path, _ = toy_directory(tmp_path / "theirs", "autoencoder")
    assert run(pretrain, *PRETRAIN, f"--init={path}", "--config.method.decoder.widths=(6,4)", f"--workdir={tmp_path / 'run'}") == 0
    said = capsys.readouterr().err
    assert "The decoder keeps its initial values." in said
    assert "params/decoder/convolution0/bias: model (6,), checkpoint (8,)" in said


def test_only_the_encoder_is_loaded_from_another_method(tmp_path):
    path, _ = toy_directory(tmp_path / "theirs", "autoencoder")
    config = cli.load_config("pretrain:denoising,tiny")
    begin = init.weights(config, {}, path, "what fits")
    started, lines = begin(fresh(config))
    assert [line for line in lines if "decoder" in line] == []
    assert same(started.params["decoder"], fresh(config).params["decoder"])


def test_weights_follow_the_run_s_channels_line_by_line(tmp_path, capsys):
    for index in range(16):
        (tmp_path / "own" / "images").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "own" / "images" / f"{index:02d}.png"), np.full((16, 16), index, np.uint8))
    path, tensors = toy_directory(tmp_path / "theirs", "encoder")
    grey = ["--config.data.source.channels=1"]
    own = ["--config=folder:reconstruction", f"--config.data.root={tmp_path / 'own'}", *grey, "--config.method.decoder.channels=1"]
    fitting = ["--config.method.decoder.widths=(8,4)", "--config.window=(16,16)", "--config.batch_size=8", "--config.steps=1"]
    assert run(pretrain, *own, *fitting, *STILL, f"--init={path}", f"--workdir={tmp_path / 'run'}") == 0
    said = capsys.readouterr().err
    assert "config.method.encoder.mean: [0.5, 0.5, 0.5] -> [0.5]" in said
    assert "encoder/level0/convolution0/kernel: 3 channels to 1 (their sum)." in said
    expected = tensors["toy.level.0.convolution.weight"].transpose(2, 3, 1, 0).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(params(tmp_path / "run")["encoder/level0/convolution0/kernel"], expected, rtol=1e-5)


def test_the_command_line_s_fields_of_a_foreign_encoder_are_kept_or_refused(tmp_path, capsys):
    path, _ = toy_directory(tmp_path / "theirs", "encoder")
    assert run(segment, *SEGMENT, f"--init={path}", "--config.method.encoder.dtype=bfloat16", f"--workdir={tmp_path / 'run'}") == 0
    assert 'config.method.encoder.dtype: "float32" -> "bfloat16"' in capsys.readouterr().err
    assert run(segment, *SEGMENT, f"--init={path}", "--config.method.encoder.widths=(4,16)", f"--workdir={tmp_path / 'no'}") == 2
    assert "encoder/level1/convolution0/bias: model (16,), checkpoint (8,)" in capsys.readouterr().err


@pytest.mark.parametrize("described", ["segment:unet", "camvid_small:unet,vit"])
def test_a_segmenter_continues_from_all_weights_of_another_at_another_window(tmp_path, described):
    """With a neck: encoder, neck, head and batch statistics are loaded; the optimiser and the step are reset."""
    config = cli.load_config(described)
    path, variables = workdir(tmp_path / "first", config)
    config.window, config.method.objective = (64, 96), "dice"
    begin = init.weights(config, {}, path, "all")
    before = fresh(config)
    started, lines = begin(before)
    assert same(started.params, variables["params"])
    assert same(started.collections, {"batch_stats": variables["batch_stats"]})
    assert "head" in started.collections["batch_stats"]
    assert not same(before.params["head"], started.params["head"])
    assert (int(started.step), started.opt_state) == (0, {})
    assert "of the head, too." in lines[-1 if described == "segment:unet" else -2]


def test_continuing_needs_a_segmenter_with_the_same_head_and_neck(tmp_path, capsys):
    path, _ = workdir(tmp_path / "autoencoder", cli.load_config("pretrain:denoising,tiny"))
    assert run(segment, *SEGMENT, "--config.transfer=continue", f"--init={path}", f"--workdir={tmp_path / 'no'}") == 2
    assert (
        f"Expected a complete model to continue, aeseg.methods.segmenter:Segmenter; {path} holds aeseg.methods.denoising:Denoising. "
        "Name a workdir of `segment`, or take only the encoder with --config.transfer=fine-tune." in capsys.readouterr().err
    )
    first = cli.load_config("camvid_small:unet,vit")
    path, _ = workdir(tmp_path / "segmenter", first)
    for field, value, line in (
        ("head.convolutions", 2, "config.method.head.convolutions: 1 -> 2"),
        ("classes", 12, "config.method.head.classes: 11 -> 12"),
        ("neck", (), "config.method.neck: 1 parts -> 0"),
    ):
        config = cli.load_config("camvid_small:unet,vit")
        config.update_from_flattened_dict({f"method.{field}": value})
        with pytest.raises(UserError, match=rf"(?s)the model of .* differs:\n  {line}\nGive the run this head and neck"):
            init.weights(config, {}, path, "all")
    config = cli.load_config("camvid_small:unet,vit")
    config.method.neck[0].norm = "none"
    with pytest.raises(UserError, match=r'config\.method\.neck\[0\]\.norm: "batch" -> "none"'):
        init.weights(config, {}, path, "all")
    config = cli.load_config("camvid_small:unet,vit")
    config.dtype = "bfloat16"
    init.weights(config, {}, path, "all")
    assert run(segment, *SEGMENT, "--config.transfer=continue", f"--workdir={tmp_path / 'no'}") == 2
    assert "transfer=continue needs a trained segmenter; got none. Set --init" in capsys.readouterr().err


def test_a_mask_token_is_kept_only_by_masked_methods(tmp_path):
    """SimMIM's encoder has a mask token; encoders of segmenters and MAE do not."""
    simmim, masked = (recipe("aeseg.methods", name, "tiny") for name in ("simmim", "masked"))
    for name, described in (("simmim", simmim), ("masked", masked)):
        config = cli.load_config("pretrain:masked,tiny")
        config.method, config.window = described, (16, 16)
        workdir(tmp_path / name, config)
    segmenting = cli.load_config("segment:unet,vit")
    begin = init.weights(segmenting, {}, str(tmp_path / "simmim"), "encoder")
    assert not segmenting.method.encoder.has_mask_token
    started, lines = begin(fresh(segmenting))
    assert "Left out the encoder's mask_token: this run hides nothing from it." in lines
    assert "mask_token" not in started.params["encoder"]
    hiding = cli.load_config("pretrain:simmim,tiny")
    begin = init.weights(hiding, {}, str(tmp_path / "masked"), "what fits")
    before = fresh(hiding)
    started, lines = begin(before)
    assert "The encoder's mask_token keeps its initial value: the checkpoint has none." in lines
    np.testing.assert_array_equal(started.params["encoder"]["mask_token"], before.params["encoder"]["mask_token"])


def test_a_vision_transformer_s_positions_and_the_run_s_own_fields_follow_the_run(tmp_path):
    described = recipe("aeseg.methods", "masked", "tiny")
    described.encoder.update({"positions": "learned", "drop_path": 0.1})
    described.decoder.update({"positions": "learned", "depth": 2})
    families.save(str(tmp_path), described, random_variables(families.shapes(described, (16, 16), 3)))
    config = cli.load_config("pretrain:masked,tiny")
    config.window, config.dtype, config.method.encoder.remat = (16, 32), "bfloat16", True
    begin = init.weights(config, {}, str(tmp_path), "what fits")
    encoder, decoder = config.method.encoder, config.method.decoder
    assert (encoder.grid, encoder.positions, encoder.dtype, encoder.remat) == ((4, 8), "learned", "bfloat16", True)
    assert (decoder.grid, decoder.depth, decoder.dtype) == ((4, 8), 2, "bfloat16")
    started, lines = begin(fresh(config))
    assert "params/decoder/position_table: positions of a grid 4x4 resized to 4x8 (bicubic)." in lines
    assert "Took 24 arrays of the decoder, too." in lines
    assert started.params["encoder"]["position_table"].shape == (33, 8)
    config = cli.load_config("segment:unet")
    config.dtype = "bfloat16"
    init.weights(config, {}, str(tmp_path), "encoder")
    assert config.method.encoder.dtype == "bfloat16", "for any encoder"


@pytest.mark.parametrize("window", [(32, 64), (16, 16)])
def test_fixed_positions_of_a_workdir_become_parameters_resized_as_mae_s_fine_tuning_does(tmp_path, window):
    """As in MAE's `interpolate_pos_embed`: torch's bicubic interpolation of the pretraining's 4 x 4 table; the first row is kept."""
    pretraining = cli.load_config("pretrain:masked,tiny")
    pretraining.window = (16, 16)
    path, _ = workdir(tmp_path / "pretrained", pretraining)
    config = cli.load_config("segment:unet,vit")
    config.window = window
    begin = init.weights(config, {}, path, "encoder")
    transfer.chosen(config, begin)
    grid = tuple(side // 4 for side in window)
    assert (config.method.encoder.positions, config.method.encoder.grid) == ("trained", grid)
    table = torch.tensor(positions.sine_cosine(4, 4, 8)).T.reshape(1, 8, 4, 4)
    theirs = torch.nn.functional.interpolate(table, size=grid, mode="bicubic", align_corners=False).reshape(8, -1).T
    started, lines = begin(fresh(config))
    found = started.params["encoder"]["position_table"]
    np.testing.assert_allclose(found[1:], theirs, atol=2e-6)
    np.testing.assert_array_equal(found[0], 0)
    assert "The fixed positions of 4 x 4 patches are parameters now (--config.position_tables)." in lines
    assert ("params/encoder/position_table: positions of a grid 4x4 resized to 8x16 (bicubic)." in lines) == (window == (32, 64))


def test_positions_stay_fixed_if_the_run_keeps_them_and_in_pretraining(tmp_path):
    pretraining = cli.load_config("pretrain:masked,tiny")
    pretraining.window = (16, 16)
    path, _ = workdir(tmp_path / "pretrained", pretraining)
    config = cli.load_config("segment:unet,vit")
    config.window, config.position_tables = (16, 16), "kept"
    transfer.chosen(config, init.weights(config, {}, path, "encoder"))
    assert config.method.encoder.positions == "fixed"
    again = cli.load_config("pretrain:simmim,tiny")
    init.weights(again, {}, path, "what fits")
    assert again.method.encoder.positions == "fixed"


def test_from_scratch_a_vision_transformer_starts_at_the_sine_cosine_table_of_its_window_and_trains_it():
    config = cli.load_config("segment:unet,vit,tiny")
    config.window = (16, 32)
    transfer.chosen(config, None)
    encoder = build(config.method.encoder)
    image = jnp.asarray(np.random.default_rng(0).random((1, 16, 32, 3)), jnp.float32)
    variables = jax.jit(lambda: encoder.init(jax.random.key(0), image, train=False))()
    np.testing.assert_array_equal(variables["params"]["position_table"], positions.sine_cosine(4, 8, 8, leading=1))
    same = encoder.clone(positions="fixed").apply({"params": {**variables["params"]}}, image, train=False)
    np.testing.assert_allclose(encoder.apply(variables, image, train=False)[4], same[4], atol=1e-6)
    slope = jax.grad(lambda variables: jnp.sum(jnp.square(encoder.apply(variables, image, train=True)[4][..., 0])))(variables)
    assert np.all(np.any(np.asarray(slope["params"]["position_table"]) != 0, axis=1))


def test_a_pretrained_u_net_decoder_becomes_the_head_but_for_its_last_layer(tmp_path):
    """As in Brempong et al. 2022: all blocks of the denoiser's decoder and their batch statistics; the last layer is new."""
    pretraining = cli.load_config("pretrain:denoising")
    pretraining.method.decoder, pretraining.window = recipe("aeseg.models.decoders", "unet"), (16, 16)
    path, variables = workdir(tmp_path / "pretrained", pretraining)
    config = cli.load_config("segment:unet")
    config.window, config.transfer = (16, 16), "fine-tune-decoder"
    begin = init.weights(config, {}, path, transfer.taken(config.transfer))
    assert transfer.chosen(config, begin) is begin
    before = fresh(config)
    started, lines = begin(before)
    theirs, ours = variables["params"]["decoder"]["path"], started.params["head"]
    assert {name for name in ours if not same(ours[name], theirs[name])} == {"logits1"}
    assert same(ours["logits1"], before.params["head"]["logits1"])
    assert same(started.collections["batch_stats"]["head"], variables["batch_stats"]["decoder"]["path"])
    assert same(started.params["encoder"], variables["params"]["encoder"])
    assert "of the decoder into the head; its last layer keeps its initial values." in lines[-1]
    with pytest.raises(UserError, match="transfer=fine-tune-decoder needs an autoencoder with a decoder; got none"):
        transfer.chosen(config, None)


def test_another_decoder_does_not_become_the_head(tmp_path):
    pretraining = cli.load_config("pretrain:denoising,tiny")
    path, _ = workdir(tmp_path / "pretrained", pretraining)
    with pytest.raises(UserError, match=r"Expected a U-Net decoder .* has aeseg\.models\.decoders\.convolutional:Conv.*transfer=fine-tune"):
        init.weights(cli.load_config("segment:unet"), {}, path, "decoder")


def test_a_linear_probe_continues_with_a_trainable_encoder(tmp_path):
    """LP-FT in two runs (Kumar et al. 2022): the probe's encoder, its statistics and the head are loaded, and all train."""
    probe = cli.load_config("segment:unet")
    probe.transfer = "linear-probe"
    transfer.chosen(probe, lambda state: (state, []))
    assert probe.method.frozen_encoder
    path, variables = workdir(tmp_path / "probe", probe)
    config = cli.load_config("segment:unet")
    config.transfer = "continue"
    begin = transfer.chosen(config, init.weights(config, {}, path, transfer.taken(config.transfer)))
    assert not config.method.frozen_encoder
    assert config.optimiser.freeze == ()
    started, _ = begin(fresh(config))
    assert same(started.params, variables["params"])
    assert same(started.collections, {"batch_stats": variables["batch_stats"]})
