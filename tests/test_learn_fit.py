"""The loop: equal to a bare torch loop, killed and resumed to the same bytes, stopped and kept as the settings say.

Run as a script, it trains in forked children that kill themselves: `python test_learn_fit.py FOLDER`.
"""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lightning.fabric import Fabric
from pydantic import ValidationError
from torch import nn

from vigie.core.errors import VigieError
from vigie.learn import checkpoint
from vigie.learn.fit import LOG, FitSettings, Task, connect, fit
from vigie.learn.windows import Batch

STEPS = {"steps": 12, "checkpoint_every": 3, "validate_every": 4, "log_every": 2, "warmup_steps": 3}
KILLS = ("after step 2", "after step 8", "while writing step 6", "while renaming step 9")


class Tiny(nn.Module):
    """One convolution over the mean band; dropout and batch norm, so that random numbers and buffers count."""

    def __init__(self, classes=3):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.drop, self.last = nn.Dropout2d(0.2), nn.Conv2d(8, classes, 1)

    def forward(self, x, mask, bands):
        features = torch.cat([x.mean(1, keepdim=True), mask], 1)
        return self.last(self.drop(torch.relu(self.norm(self.first(features)))))


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Tiny()


def batch(step, size=8):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(4, 2, size, size, generator=generator)
    rows = (x.mean(1) > 0).long() + (x.mean(1) > 1).long()
    rows[:, 0] = -1
    mask = (x > -1).float()
    return Batch(x, mask, torch.zeros(2, 5), rows, torch.eye(3), (rows >= 0).float(), ("a", "b", "c", "d"))


def loss(logits, batch, progress=1.0):
    rows, weight = batch.rows, batch.weight
    inside = (logits.softmax(1).permute(0, 2, 3, 1) @ batch.matrix.T).gather(-1, rows.clamp(min=0)[..., None])[..., 0]
    return -(inside.clamp(min=1e-9).log() * weight).sum() / weight.sum()


def score(network):
    held = batch(10**6)
    return -float(loss(network(held.x, held.mask, held.bands), held))


def train(folder, batches=batch, net=None, report=lambda facts: None, validate=score, **wanted):
    wanted = FitSettings(**STEPS | wanted)
    return fit(Task(net or network(), loss, batches, validate, seed=5), wanted, folder, connect(wanted, "cpu"), report)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def doomed(folder, when):
    """Train and be killed: while drawing a batch, in the midst of a checkpoint, or just before it gets its name."""
    if when.startswith("after step"):
        fatal = int(when.split()[-1])
        train(folder, lambda step: kill() if step == fatal else batch(step), prefetch=0)
    written, step = checkpoint.write_tensors, int(when.split()[-1])

    def write(path, tensors):
        written(path, tensors)
        if f"step-{step:08d}" in path.parent.name and path.stem == "optimiser":
            kill()

    def replace(source, target, rename=os.replace):
        if f"step-{step:08d}" in str(target):
            kill()
        rename(source, target)

    if "writing" in when:
        checkpoint.write_tensors = write
    else:
        os.replace = replace
    train(folder)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != LOG}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder for each kill, left as the kernel left it."""
    folder = tmp_path_factory.mktemp("killed")
    child = subprocess.run([sys.executable, __file__, str(folder)], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return folder


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, train(folder)


@pytest.mark.parametrize("when", KILLS)
def test_a_killed_training_resumes_and_ends_with_the_same_bytes(when, killed, unbroken):
    folder = killed / when.replace(" ", "-")
    left = sorted(p.name for p in folder.iterdir())
    steps = []
    # Where there is a checkpoint, the network that is handed in no longer matters.
    fitted = train(
        folder, net=network(0 if when == "after step 2" else 99), batches=lambda step: steps.append(step) or batch(step)
    )
    expected = {"after step 2": 0, "after step 8": 6, "while writing step 6": 3, "while renaming step 9": 6}[when]
    assert steps == list(range(expected, 12)), left
    assert contents(folder) == contents(unbroken[0])
    assert fitted.score == unbroken[1].score and fitted.steps == 12
    assert all(torch.equal(fitted.weights[name], tensor) for name, tensor in unbroken[1].weights.items())
    told = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    whole = [json.loads(line) for line in (unbroken[0] / LOG).read_text().splitlines()]
    assert [{k: t[k] for k in ("step", "loss", "lr")} for t in told] == [
        {k: t[k] for k in ("step", "loss", "lr")} for t in whole
    ]


def test_a_finished_training_is_not_done_again(unbroken, tmp_path):
    before = contents(unbroken[0])
    fitted = train(unbroken[0], net=network(3), batches=lambda step: pytest.fail("drew a batch"))
    assert contents(unbroken[0]) == before and fitted.score == unbroken[1].score
    assert all(torch.equal(fitted.weights[name], tensor) for name, tensor in unbroken[1].weights.items())


def test_prefetching_and_logging_change_nothing(unbroken, tmp_path):
    train(tmp_path, prefetch=0, log_every=5, checkpoint_every=12)
    last = "step-00000012"
    ours, theirs = ({k: v for k, v in contents(f).items() if k.startswith(last)} for f in (tmp_path, unbroken[0]))
    assert ours == theirs


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_loop_is_adamw_with_its_schedule_clipping_and_average(average, tmp_path):
    """Oracle: the same written plainly with torch."""
    settings = FitSettings(**STEPS | {"average": average, "clip_norm": 0.5, "weight_decay": 0.1})
    fitted = train(tmp_path, validate=None, average=average, clip_norm=0.5, weight_decay=0.1)
    plain = network().to(memory_format=torch.channels_last)
    matrices = [p for p in plain.parameters() if p.ndim > 1]
    rest = [p for p in plain.parameters() if p.ndim == 1]
    adam = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}])
    averaged = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    for step in range(12):
        torch.manual_seed((5 * 1_000_003 + step) * 1_009)
        for group in adam.param_groups:
            group["lr"] = settings.rate(step)
        drawn = batch(step).to("cpu")
        loss(plain(drawn.x, drawn.mask, drawn.bands), drawn).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        adam.step()
        adam.zero_grad()
        decay = min(average, (1 + step) / (10 + step))
        for name, tensor in plain.state_dict().items():
            averaged[name] = averaged[name] * decay + tensor * (1 - decay) if tensor.is_floating_point() else tensor
    for name, tensor in (averaged if average else plain.state_dict()).items():
        torch.testing.assert_close(fitted.weights[name], tensor, rtol=1e-5, atol=1e-6)


def test_the_second_of_two_devices_takes_every_second_batch_and_writes_nothing(tmp_path):
    class Second(Fabric):
        world_size, global_rank, is_global_zero = 2, 1, False

    steps, wanted = [], FitSettings(**STEPS | {"steps": 4})
    task = Task(network(), loss, lambda step: steps.append(step) or batch(step), score)
    fit(task, wanted, tmp_path, Second(accelerator="cpu", devices=1))
    assert steps == [1, 3, 5, 7] and list(tmp_path.iterdir()) == []


def test_it_learns(tmp_path):
    told = []
    train(tmp_path, report=told.append, steps=150, learning_rate=0.03, log_every=10, validate_every=50, checkpoint_every=150)
    assert told[-1]["loss"] < 0.5 * told[0]["loss"] and told[-1]["score"] > -0.5
    assert [t["step"] for t in told] == list(range(10, 151, 10)) and all(t["samples_per_s"] > 0 for t in told)


def test_training_stops_when_the_score_no_longer_rises_and_keeps_the_best(tmp_path):
    scores, seen = iter([1.0, 3.0, 2.0, 2.5, 9.0]), []

    def validate(network):
        assert not network.training
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(scores)

    net = network()
    fitted = train(tmp_path, net=net, validate=validate, validate_every=2, patience=2)
    assert fitted.steps == 8 and fitted.score == 3.0 and len(seen) == 4
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, seen[1][name]) and torch.equal(fitted.weights[name], tensor)
    again = train(tmp_path, batches=lambda step: pytest.fail("went on"), validate=validate, validate_every=2, patience=2)
    assert again.steps == 8 and again.score == 3.0


def test_a_loss_is_told_the_progress(tmp_path):
    told = []

    def growing(logits, batch, progress):
        told.append(progress)
        return loss(logits, batch)

    wanted = FitSettings(**STEPS | {"steps": 4})
    fit(Task(network(), growing, batch), wanted, tmp_path, connect(wanted, "cpu"))
    assert told == [0.0, 0.25, 0.5, 0.75]


def test_bfloat16_trains(tmp_path):
    fitted = train(tmp_path, precision="bf16-mixed")
    assert all(tensor.dtype != torch.bfloat16 and tensor.isfinite().all() for tensor in fitted.weights.values())


@pytest.mark.parametrize(
    ("able", "precision"), [({"amx_bf16": True}, "bf16-mixed"), ({"avx2": True, "avx512_bf16": False}, "32-true")]
)
def test_auto_takes_the_arithmetic_that_the_processor_has(able, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    fabric = connect(FitSettings(precision="auto"), "cpu")
    assert fabric._precision.precision == precision


def test_the_global_generator_is_left_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train(tmp_path, steps=2)
    assert torch.equal(torch.rand(1), expected)


def test_a_diverging_training_is_stopped_with_its_last_sound_checkpoint(tmp_path):
    def poisoned(step):
        drawn = batch(step)
        drawn.x[:] = float("nan") if step == 7 else drawn.x
        return drawn

    with pytest.raises(VigieError, match=r"diverged near step 8; found loss nan.*learning_rate"):
        train(tmp_path, batches=poisoned)
    tensors, facts = checkpoint.latest(tmp_path)
    assert facts["step"] == 6 and all(t.isfinite().all() for t in tensors["weights"].values())


@pytest.mark.parametrize("fatal", [7, 11])
def test_an_infinite_gradient_of_a_finite_loss_leaves_no_checkpoint(fatal, tmp_path):
    """The loss of the step is sound, and at the last step no other loss would tell."""

    def steep(logits, batch, progress):
        broken = torch.sqrt(logits - logits.detach()).sum() if round(12 * progress) == fatal else 0.0
        return loss(logits, batch) + broken

    wanted = FitSettings(**STEPS)
    with pytest.raises(VigieError, match=rf"near step {fatal + 1}; found loss [0-9.]+, norm of the gradient (inf|nan)"):
        fit(Task(network(), steep, batch), wanted, tmp_path, connect(wanted, "cpu"))
    tensors, facts = checkpoint.latest(tmp_path)
    assert facts["step"] == {7: 6, 11: 9}[fatal]
    assert all(t.isfinite().all() for group in tensors.values() for t in group.values())


def test_other_settings_or_another_network_do_not_resume(tmp_path):
    train(tmp_path, steps=2)
    with pytest.raises(VigieError, match=r"other settings; found \(then, now\): {'learning_rate': \(0.001, 0.1\)}"):
        train(tmp_path, steps=2, learning_rate=0.1)
    with pytest.raises(VigieError, match="checkpoint's weights do not fit the network; found 2 tensors"):
        train(tmp_path, steps=2, net=Tiny(classes=5))
    target = next(tmp_path.glob("step-*")) / "weights.safetensors"
    target.write_bytes(target.read_bytes()[:100])
    with pytest.raises(VigieError, match=r"weights cannot be read.*weights\.safetensors"):
        train(tmp_path, steps=2)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.sampled_from(["cosine", "one-cycle", "constant"]), st.integers(1, 500), st.integers(0, 500), st.floats(1e-6, 1.0))
def test_every_schedule_rises_to_the_rate_and_then_never_rises(schedule, steps, warmup, rate):
    settings = FitSettings(steps=steps, schedule=schedule, warmup_steps=warmup, learning_rate=rate)
    rates = [settings.rate(step) for step in range(steps)]
    assert all(0 <= r <= rate * (1 + 1e-12) for r in rates)
    top = min(warmup, steps)
    assert rates[:top] == sorted(rates[:top])
    assert rates[max(0, top - 1) :] == sorted(rates[max(0, top - 1) :], reverse=True)
    if warmup < steps:
        assert max(rates) == pytest.approx(rate)


def test_settings_are_strict():
    for wrong in ({"lr": 1.0}, {"precision": "16"}, {"average": 1.0}, {"steps": 0}, {"schedule": "linear"}):
        with pytest.raises(ValidationError):
            FitSettings(**wrong)


def main(folder: Path) -> None:
    """Fork a child for each kill, before any thread runs, and see that each died by SIGKILL."""
    torch.set_num_threads(1)
    for when in KILLS:
        child = os.fork()
        if child == 0:
            run = partial(doomed, folder / when.replace(" ", "-"), when)
            run()
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (when, status)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
