"""experiments/study/origins.py: a table says what its rows see, start from, and were tuned by."""

import types

from experiments.papers import Row, camvid_labels
from experiments.study import origins

ROWS = (
    Row("denoising", "pretrain", "scenes:denoising,convnet"),
    Row("scratch", "segment", "scenes:unet", {"transfer": "scratch"}, init="denoising"),
    Row("pretrained", "segment", "scenes:unet", init="denoising"),
    Row("probe", "segment", "scenes:unet", {"transfer": "linear-probe"}, init="denoising"),
    Row("other", "segment", "scenes:unet", {"transfer": "scratch", "method.encoder.mean": (0.25,), "method.encoder.std": (0.5,)}),
)


def test_rows_are_grouped_by_input_and_by_their_initial_weights():
    paper = types.SimpleNamespace(ROWS=ROWS, SPLIT="test")
    [text] = origins.paragraphs(paper, ROWS[1:])
    assert (
        "Initial weights: the encoder of the row's start (pretrained), the frozen encoder of the row's start (probe), "
        "random (all others)." in text
    )
    assert "mean 0.25, std 0.5 (other), mean " in text
    assert text.endswith(origins.UNTUNED)
    [same] = origins.paragraphs(paper, ROWS[1:2])
    assert "(" not in same
    assert "Initial weights: random. " in same


def test_a_tuned_table_says_where_its_settings_were_chosen():
    paper = types.SimpleNamespace(ROWS=ROWS, SPLIT="test", CHOSEN=camvid_labels.CHOSEN)
    text = origins.paragraphs(paper, ROWS)[0]
    assert text.endswith(camvid_labels.CHOSEN)
    assert "(the table camvid_labels_tuning)." in text
