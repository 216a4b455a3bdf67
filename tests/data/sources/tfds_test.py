import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image
from tensorflow_datasets.core.features import image_feature

from aeseg import spec
from aeseg.data.sources.tfds import CITYSCAPES_IDS, DATASETS, Tfds, dataset, from_segments, prepared, recipe
from aeseg.types import IGNORE, UserError
from tests.contract import check_source

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
LABELS = RNG.integers(1, 4, (4, 6, 8), dtype=np.uint8)
DEPTHS = RNG.uniform(0, 10, (4, 6, 8)).astype(np.float16)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def panoptic(label):
    """Segment 1000 * class + 7 written as R + 256 G + 65536 B; void where the class is 3."""
    ids = np.where(label == 3, 0, 1000 * label.astype(np.int64) + 7)
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


class Little(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Images, trimaps, panoptic labels and depth, made here."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = tensorflow_datasets.features
        described = {
            "image": features.Image(shape=(None, None, 3), encoding_format="png"),
            "trimap": features.Image(shape=(None, None, 1), encoding_format="png"),
            "panoptic": features.Image(shape=(None, None, 3), encoding_format="png"),
            "segments": features.Sequence({"id": np.int64, "label": features.ClassLabel(names=["cat", "dog", "sky"])}),
            "depth": features.Tensor(shape=(6, 8), dtype=np.float16),
            "file_name": features.Text(),
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(described),
            metadata=tensorflow_datasets.core.MetadataDict({"classes": ["fore", "back", "border"]}),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(3)), "test": self._generate_examples(range(3, 4))}

    def _generate_examples(self, numbers):
        for i in numbers:
            yield (
                i,
                {
                    "image": png(IMAGES[i]),
                    "trimap": png(LABELS[i]),
                    "panoptic": png(panoptic(LABELS[i])),
                    "segments": [{"id": 1007, "label": 0}, {"id": 2007, "label": 1}],
                    "depth": DEPTHS[i],
                    "file_name": f"{i}.png",
                },
            )


class Plain(Little):
    """Without the segments, of which mock_data would make sequences that do not fit each other."""

    def _info(self):
        info = super()._info()
        features = {key: value for key, value in info.features.items() if key != "segments"}
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=tensorflow_datasets.features.FeaturesDict(features))

    def _generate_examples(self, numbers):
        for i, example in super()._generate_examples(numbers):
            yield i, {key: value for key, value in example.items() if key != "segments"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    place = str(tmp_path_factory.mktemp("tfds"))
    Little(data_dir=place, file_format="array_record").download_and_prepare()
    return place


def little(data_dir, **fields):
    return Tfds(**{"dataset": "little", "data_dir": data_dir, "name_key": "file_name", **fields})


def test_the_contract_of_a_source(data_dir):
    check_source(little(data_dir, label_key="trimap", depth_key="depth", label_map=(-1, 0, 1, 2)))


def test_what_a_builder_wrote_is_read_back_bit_for_bit(data_dir):
    source = little(data_dir, label_key="trimap", depth_key="depth", label_map=(-1, 0, 1, 2))
    assert len(source) == 3
    assert sorted(source[i]["name"] for i in range(3)) == ["0", "1", "2"]  # TFDS shuffles what it writes
    for i in range(3):
        record = source[i]
        number = int(record["name"])
        np.testing.assert_array_equal(record["image"], IMAGES[number])
        np.testing.assert_array_equal(record["label"], LABELS[number] - 1)
        np.testing.assert_array_equal(record["depth"], DEPTHS[number])
        assert record["depth"].dtype == np.float32
        assert record["label"].dtype == np.uint8
    assert [item.name for item in source.classes] == ["fore", "back", "border"]  # from the metadata
    with pytest.raises(IndexError):
        source[3]


def test_tensorflow_is_never_imported(data_dir):
    little(data_dir)[0]
    assert "tensorflow" not in sys.modules


def test_importing_the_source_does_not_import_tensorflow_datasets():
    code = "import aeseg.data.sources.tfds, sys; assert not {'tensorflow_datasets', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_panoptic_labels_become_semantic(data_dir):
    source = little(data_dir, label_key="panoptic", segments_key="segments")
    record = source[0]
    truth = LABELS[int(record["name"])]
    np.testing.assert_array_equal(record["label"], np.where(truth == 3, IGNORE, truth - 1))
    assert [item.name for item in source.classes] == ["cat", "dog", "sky"]


def test_splits_may_be_slices_and_images_stand_alone(data_dir):
    source = little(data_dir, split="train[:67%]")
    assert len(source) == 2
    assert set(source[0]) == {"image", "name"}
    assert source.classes == ()


def test_a_source_travels_to_workers(data_dir):
    source = little(data_dir, label_key="trimap", label_map=(-1, 0, 1, 2))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[1]["label"], source[1]["label"])


def test_the_newest_version_is_taken_unless_one_is_named(tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0", "incomplete.1.11.0"):
        (tmp_path / "little" / version).mkdir(parents=True)
        (tmp_path / "little" / version / "dataset_info.json").touch()
    assert prepared("little", str(tmp_path)).name == "1.10.0"
    assert prepared("little:1.9.0", str(tmp_path)).name == "1.9.0"
    assert prepared("little:2.0.0", str(tmp_path)) is None
    assert prepared("other", str(tmp_path)) is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dataset": "oxford_iiit_pet"}, "pet is not prepared in .* Run: python -m experiments.prepare --name=oxford_iiit_pet"),
        ({"split": "validation"}, "little has the splits train, test; got 'validation'"),
        ({"split": "train[:0]"}, r"The split 'train\[:0\]' of little is empty"),
        ({"label_key": "mask"}, "little has no feature 'mask'; it has .*trimap"),
        ({"label_key": "trimap", "class_table": "2", "label_map": (0, 1, 2)}, r"gives classes below 2, or 255; got \[2\]"),
        ({"label_key": "trimap", "class_table": "absent.json"}, "Cannot read the class table"),
    ],
)
def test_what_is_wrong_is_said_when_the_source_is_built(data_dir, fields, says):
    with pytest.raises(UserError, match=says):
        little(data_dir, **fields)


def test_an_id_that_may_not_occur_is_named_with_its_record(data_dir):
    with pytest.raises(UserError, match=r"little train, record 0 \(\d\) holds the label [123] at x=\d, y=\d; allowed are 0, 255"):
        little(data_dir, label_key="trimap", label_map=(0,))[0]


def test_files_that_are_gone_are_one_sentence(data_dir, tmp_path):
    Little(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    for path in (tmp_path / "little" / "1.0.0").glob("*train.array_record*"):
        path.unlink()
    with pytest.raises(UserError, match=r"little.1.0.0 cannot be opened|Record 0 of .* cannot be read"):
        little(str(tmp_path))[0]
    (tmp_path / "little" / "1.0.0" / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"The metadata in .*1.0.0 cannot be read"):
        little(str(tmp_path))


def test_pet_trimaps_are_1_2_3():
    assert DATASETS["oxford_iiit_pet"]["label_map"] == (-1, 0, 1, 2)


def test_every_cityscapes_id_has_its_train_id():
    published = {  # cityscapesScripts, helpers/labels.py: id -> trainId, all others 255
        7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15,
        31: 16, 32: 17, 33: 18,
    }  # fmt: skip
    stated = DATASETS["cityscapes/semantic_segmentation"]["label_map"]
    assert stated == tuple(published.get(i, IGNORE) for i in range(34))
    assert len(CITYSCAPES_IDS) == 19


def test_ade_leaves_out_what_is_other():
    stated = DATASETS["scene_parse150_semantic"]["label_map"]
    assert (stated[0], stated[1], stated[150], len(stated)) == (IGNORE, 0, 149, 151)


def test_a_panoptic_id_is_red_plus_256_green_plus_65536_blue():
    image = np.array([[(1, 2, 3), (0, 0, 0)], [(255, 255, 255), (1, 2, 3)]], np.uint8)
    ids = np.array([0xFFFFFF, 1 + 2 * 256 + 3 * 65536])
    np.testing.assert_array_equal(from_segments(image, ids, np.array([132, 5]), "x"), [[5, IGNORE], [132, 5]])
    with pytest.raises(UserError, match=r"42.png holds the segment 16777215 at x=0, y=1, not one of its 1 segments"):
        from_segments(image, ids[1:], np.array([5]), "42.png")


def test_every_recipe_survives_json_and_names_its_classes():
    for name in DATASETS:
        config = dataset(name, "train", "somewhere")
        assert spec.from_json(spec.to_json(config)) == config
        with pytest.raises(UserError, match=f"{name} is not prepared in somewhere"):
            spec.build(config)
    assert recipe().dataset == "oxford_iiit_pet"
    assert recipe("tiny").dataset == "cifar10"
    with pytest.raises(UserError, match="tfds has no recipe 'huge'"):
        recipe("huge")


def test_mock_data_reads_like_the_real_ones(tmp_path, monkeypatch):
    # mock_data makes examples from the features of the builder's code and reads no file; TFDS would encode them by TensorFlow.
    monkeypatch.setattr(image_feature._ImageEncoder, "_encode_image", lambda encoder, pixels: png(pixels.squeeze()))
    builder = Plain(data_dir=str(tmp_path), file_format="array_record")
    builder.download_and_prepare()
    monkeypatch.setattr(tensorflow_datasets, "builder_from_directory", lambda directory: builder)
    with tensorflow_datasets.testing.mock_data(num_examples=5, data_dir=str(tmp_path)):
        source = little(str(tmp_path), dataset="plain", depth_key="depth", label_key="trimap", class_table="255")
        record = source[4]
    assert len(source) == 5
    assert record["image"].dtype == record["label"].dtype == np.uint8
    assert record["image"].shape[-1] == 3
    assert record["label"].ndim == 2
    assert record["depth"].shape == (6, 8)
    assert "tensorflow" not in sys.modules
