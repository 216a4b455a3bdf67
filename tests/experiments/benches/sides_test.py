"""experiments/benches/sides.py: steps of both sides in processes of their own; bench_test.py compares their losses."""

import builtins
import os
import sys

import pytest

from aeseg.types import UserError
from experiments import bench
from experiments.benches import sides


def test_each_side_has_a_process_of_its_own():
    with sides.apart("denoiser", 32, "fast") as (ours, candidates):
        losses = [ours(1)[0] for _ in range(3)]
        bench.check("denoiser", losses, [candidates["contiguous_format"](1)[0] for _ in range(3)])
        assert losses[2] < losses[0]
        loss, seconds = ours(4)
        assert loss < losses[2]
        assert 0 < seconds < 60
    with pytest.raises(UserError, match="The process of vgg ended with 1"), sides.apart("vgg", 32, "fast"):
        pass


def test_timed_steps_follow_one_another_and_give_their_mean_seconds(monkeypatch):
    clock, losses = iter([10.0, 13.0]), iter([0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
    monkeypatch.setattr(sides.time, "perf_counter", lambda: next(clock))
    assert sides.timed(lambda: next(losses))(6) == (0.05, 0.5)


def test_instructions_are_limited_in_processes_that_start_meanwhile(monkeypatch):
    """PyTorch says which instructions it uses."""
    code = "import jax, torch; jax.devices(); print(torch.backends.cpu.get_cpu_capability())"
    monkeypatch.setenv("XLA_FLAGS", before := "--xla_cpu_enable_fast_math=false")
    with sides.limited():
        assert os.environ["XLA_FLAGS"] == f"{before} --xla_cpu_max_isa=AVX2"
        finished = sides.subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        cache = os.environ["TORCHINDUCTOR_CACHE_DIR"]
    assert finished.stdout == "AVX2\n"
    assert os.environ["XLA_FLAGS"] == before
    assert not os.path.exists(cache)


def test_memory_is_that_of_a_process_of_one_side(capsys, monkeypatch):
    taken = []
    monkeypatch.setattr(sides, "both", lambda torch, *_: (lambda: taken.append("ours"), {"eager": lambda: taken.append("theirs")}))
    for side in ("", "eager"):
        sides.stepped("unet", 16, "fast", side)
        assert 0.05 < float(capsys.readouterr().out) < 30
    assert taken == ["ours"] * 3 + ["theirs"] * 3
    monkeypatch.setattr(sides.subprocess, "run", lambda command, **_: sides.subprocess.CompletedProcess(command, 0, "warning\n1.23456\n"))
    assert sides.peak_of("unet", 16, "fast", "") == 1.235


def test_without_pytorch_the_error_names_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "torch":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"needs PyTorch, which is not installed. Install it: pip install -e '.\[bench\]'"):
        sides.imported_torch()
