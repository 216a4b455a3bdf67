"""The section of a run that restores."""

from experiments.pages.restorations import restorations

ENTRY = {
    "methods": {
        "bicubic <b>": {"psnr": 27.512, "ssim": 0.8, "gain": 1.234, "better": 0.95},
        "network": {"psnr": 28.746, "ssim": 0.85, "gain": 0.0, "better": 0.0},
    },
    "noise": ["Downsampled(factor=2)"],
    "seed": 3,
    "images": 40,
    "step": 7,
}


def test_a_table_of_each_task_has_the_best_method_first():
    made = restorations({"superresolve": ENTRY})
    assert made.index(">network<") < made.index("bicubic &lt;b&gt;")
    for text in ("Restoration: superresolve", ">27.51<", ">+1.23<", ">95<", "Downsampled(factor=2); seed 3, 40 images, step 7."):
        assert text in made


def test_without_numbers_there_is_no_section():
    assert restorations({}) is None
