"""Models that were written are read back as they were, and nothing else is."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from creode.models import load_model, load_weights, save_model
from creode.testbeds.decoder import Decoder, DecoderConfig

IDS = torch.arange(12).reshape(2, 6)


class Tied(nn.Module):
    """Two layers of one weight, a buffer, and something to normalise."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(3, 3)
            self.second = nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.norm = nn.BatchNorm1d(3)
            self.norm.running_mean.normal_()


def decoder(**options: object) -> Decoder:
    shape = {"vocab_size": 12, "d_model": 8, "num_layers": 1, "num_heads": 2, "context_length": 6}
    return Decoder(DecoderConfig(**(shape | options)), seed=3).eval()


def pretrained(kind: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    llama = transformers.LlamaConfig(
        vocab_size=12, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=kind == "tied",
        num_labels=3, pad_token_id=0,
    )  # fmt: skip
    gpt2 = transformers.GPT2Config(vocab_size=12, n_embd=8, n_layer=1, n_head=2, n_positions=6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "gpt2":
            return transformers.GPT2LMHeadModel(gpt2).eval()
        if kind == "classifier":
            return transformers.LlamaForSequenceClassification(llama).eval()
        return transformers.LlamaForCausalLM(llama).eval()


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(left[k], right[k]) and left[k].dtype == right[k].dtype for k in left
    )


@pytest.mark.parametrize("kind", ["tied", "untied", "gpt2", "classifier"])
def test_a_transformers_model_is_read_back(tmp_path: Path, kind: str) -> None:
    model = pretrained(kind)
    save_model(model, tmp_path / "model")
    before = torch.get_rng_state()
    loaded = load_model(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)
    assert type(loaded) is type(model)
    assert not loaded.training
    assert same(loaded, model)
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


def test_writing_to_a_read_model_leaves_its_file(tmp_path: Path) -> None:
    save_model(pretrained("tied"), tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with torch.no_grad():
        for p in load_model(tmp_path / "model").parameters():
            p.add_(1.0)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("kind", ["decoder", "tied"])
def test_weights_keep_their_dtype_unless_another_is_asked_for(tmp_path: Path, kind: str) -> None:
    model = decoder() if kind == "decoder" else pretrained(kind)
    save_model(model.to(torch.bfloat16), tmp_path / "model")
    stored, wider = (
        load_model(tmp_path / "model"),
        load_model(tmp_path / "model", dtype=torch.float32),
    )
    for p, q, r in zip(model.parameters(), stored.parameters(), wider.parameters(), strict=True):
        assert (q.dtype, r.dtype) == (torch.bfloat16, torch.float32)
        assert torch.equal(p, q)
        assert torch.equal(p.float(), r)


def test_any_module_is_read_back_into_one_of_its_kind(tmp_path: Path) -> None:
    model, other = Tied(0), Tied(1)
    save_model(model, tmp_path / "model")
    assert not same(model, other)
    load_weights(other, tmp_path / "model")
    assert same(model, other)
    assert other.second.weight is other.first.weight
    with pytest.raises(ValueError, match=r"Tied, which load_model cannot build.*load_weights"):
        load_model(tmp_path / "model")
    with pytest.raises(ValueError, match="exists already"):
        save_model(model, tmp_path / "model")
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


def legacy(state: dict[str, Tensor], file: Path) -> None:
    torch.save(state, file, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("save", [torch.save, legacy])
def test_state_dicts_of_training_scripts_are_read(tmp_path: Path, nested, save) -> None:
    model, other = Tied(0), Tied(1)
    state = dict(model.state_dict())
    save({nested: state, "step": 3} if nested else state, tmp_path / "weights.pt")
    load_weights(other, tmp_path / "weights.pt")
    assert same(model, other)


def test_shards_are_read_together(tmp_path: Path) -> None:
    model = pretrained("untied")
    model.save_pretrained(tmp_path, max_shard_size="1KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    other = pretrained("untied")
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    load_weights(other, tmp_path)
    assert same(model, other)
    assert same(model, load_model(tmp_path))
    gone = sorted(tmp_path.glob("*.safetensors"))[0]
    gone.unlink()
    with pytest.raises(ValueError, match=rf"names \['{gone.name}'\], which are not there"):
        load_weights(other, tmp_path)


def test_weights_take_the_models_dtype(tmp_path: Path) -> None:
    model = Tied(0)
    save_model(model, tmp_path / "model")
    double = Tied(1).double()
    load_weights(double, tmp_path / "model")
    assert double.first.weight.dtype == torch.float64
    assert torch.equal(double.first.weight, model.first.weight.double())


def test_weights_that_do_not_fit_are_named_and_none_is_copied(tmp_path: Path) -> None:
    model = Tied(1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fit = {k: v + 1 for k, v in Tied(0).state_dict().items()}

    def refused(state: dict[str, Tensor], message: str) -> None:
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(ValueError, match=message):
            load_weights(model, tmp_path / "w.pt")
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())

    without = {k: v for k, v in fit.items() if k != "norm.bias"}
    refused(without, "do not fit Tied: missing norm.bias, unexpected nothing")
    refused(fit | {"third": torch.ones(2)}, "missing nothing, unexpected third")
    refused(fit | {f"x{i}": torch.ones(1) for i in range(7)}, "x0, x1, x2, x3, x4 and 2 more")
    both = {"first.weight", "second.weight"}
    neither = {k: v for k, v in fit.items() if k not in both}
    refused(neither, "missing first.weight, second.weight")
    refused(
        fit | {"norm.bias": torch.ones(4)},
        r"norm.bias is \(4,\) in the file and \(3,\) in the model",
    )
    torch.save({k: v for k, v in fit.items() if k != "second.weight"}, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")  # tied weights need one name


class Dangerous:
    """Makes a directory when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    torch.save({"w": Dangerous(tmp_path / "made")}, tmp_path / "w.pt")
    (tmp_path / "v.pt").write_bytes(pickle.dumps(Dangerous(tmp_path / "made"), protocol=2))
    for name in ("w.pt", "v.pt"):
        with pytest.raises(ValueError, match="loading would run code"):
            load_weights(Tied(), tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    save_model(Tied(), tmp_path / "model")
    stored = (tmp_path / "model" / "model.safetensors").read_bytes()
    torch.save(Tied().state_dict(), tmp_path / "whole.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"step": 3}, tmp_path / "numbers.pt")
    (tmp_path / "cut.safetensors").write_bytes(stored[:-4])
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-500])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "weights.npz").write_bytes(b"")
    for name, message in (
        ("list.pt", "no state dict in it"),
        ("numbers.pt", "no state dict in it"),
        ("cut.safetensors", "damaged or cut short"),
        ("cut.pt", "damaged"),
        ("empty.pt", "damaged"),
        ("weights.npz", "suffix '.npz' is not one of .safetensors, .pt"),
        ("absent.pt", "no such file or directory"),
        ("", "no weights"),
    ):
        with pytest.raises(ValueError, match=message):
            load_weights(Tied(), tmp_path / name)


def test_directories_that_are_no_model_are_refused_in_one_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good"
    save_model(pretrained("untied"), good)
    config = json.loads((good / "config.json").read_text())
    stored = (good / "model.safetensors").read_bytes()

    def broken(name: str, change: dict[str, object] | str, weights: bytes | None = stored) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        text = change if isinstance(change, str) else json.dumps(config | change)
        (folder / "config.json").write_text(text)
        if weights is not None:
            (folder / "model.safetensors").write_bytes(weights)
        return folder

    (tmp_path / "empty").mkdir()
    renamed = broken("missing", {"architectures": ["LlamaForSequenceClassification"]})
    for spec, message in (
        (tmp_path / "absent", "absent: no such directory"),
        (str(tmp_path / "absent"), "absent: no such directory"),
        ("./absent", "./absent: no such directory"),
        (good / "config.json", "not a directory; for a file of weights"),
        (tmp_path / "empty", "no config.json"),
        (broken("json", "{"), "not valid JSON"),
        (broken("list", "[]"), "holds list"),
        (broken("cut", {}, stored[:-9]), "weights damaged or cut short"),
        (broken("none", {}, None), "no weights"),
        (broken("type", {"model_type": "nonsense"}), "transformers cannot read it"),
        (broken("masked", {"architectures": ["BertForMaskedLM"]}), "BertForMaskedLM is neither"),
        (
            broken("wide", {"vocab_size": 13}),
            r"lack or do not fit lm_head.weight, model.embed_tokens.weight\.",
        ),
        (renamed, "the stored weights lack or do not fit score.weight"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            load_model(spec)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="a local directory has no revisions, got revision='main'"):
        load_model(good, revision="main")


def test_a_hub_id_that_cannot_be_reached_asks_for_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"someone/some-model: .*give the path of a downloaded"):
        load_model("someone/some-model")
    with pytest.raises(ValueError, match=r"at revision 'step3': .*hub cannot be reached"):
        load_model("someone/some-model", revision="step3")
    save_model(decoder(), tmp_path / "someone" / "some-model")  # a directory of that name wins
    assert isinstance(load_model("someone/some-model"), Decoder)


MEMORY = """
import sys, torch
from creode.models import load_model, load_weights
load_model(sys.argv[1])  # imports, once


def now(key):
    return next(
        int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key)
    )


start = now("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
model = load_model(sys.argv[2])
read = sum(float(p.sum()) for p in model.parameters())
print(now("VmHWM") - start, sum(p.nbytes for p in model.parameters()) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_loading_takes_the_memory_of_the_weights_once(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    large = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
            num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
        )
    )  # fmt: skip
    save_model(pretrained("untied"), tmp_path / "small")
    save_model(large, tmp_path / "large")
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "small"), str(tmp_path / "large")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak, weights = (float(x) for x in run.stdout.split())
    assert weights > 500
    assert peak < 1.1 * weights
