"""Revisions on the hub as checkpoints: asked of the hub, or of its cache; nothing is downloaded."""

import json
from pathlib import Path

import pytest
import torch

from creode.development import Checkpoint, list_checkpoints, load_model
from creode.models import save_model
from creode.study.config import DataConfig, StudyConfig

hub = pytest.importorskip("huggingface_hub")
transformers = pytest.importorskip("transformers")
REPO = "someone/some-model"


def cached(root: Path, revisions: dict[str, int]) -> None:
    """A hub cache with a model a revision, of the seed it is given; below 0: without weights."""
    folder = root / f"models--{REPO.replace('/', '--')}"
    for name, seed in revisions.items():
        commit = f"{abs(seed):040x}"
        snapshot = folder / "snapshots" / commit
        if seed < 0:
            snapshot.mkdir(parents=True)
            (snapshot / "config.json").write_text(json.dumps({}))
        elif not snapshot.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                shape = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 6}
                save_model(
                    transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=12, **shape)),
                    snapshot,
                )
        ref = folder / "refs" / name
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def answers(monkeypatch: pytest.MonkeyPatch, branches: dict[str, str], tags: dict[str, str]):
    def refs(repo: str) -> object:
        assert repo == REPO
        made = [
            [hub.hf_api.GitRefInfo(name=n, ref=n, target_commit=c) for n, c in group.items()]
            for group in (branches, tags)
        ]
        return hub.hf_api.GitRefs(branches=made[0], converts=[], tags=made[1])

    monkeypatch.setattr("huggingface_hub.list_repo_refs", refs)


def test_branches_and_tags_come_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(
        monkeypatch,
        {"main": "f", "step1000": "a", "step0": "b", "step-20-tokens4B": "c"},
        {"global_step3000": "d", "v1.0": "f", "checkpoint-4000": "e", "step1000-again": "a"},
    )
    found = list_checkpoints(REPO)
    assert found == [
        Checkpoint(0, REPO, "step0"),
        Checkpoint(20, REPO, "step-20-tokens4B"),
        Checkpoint(1000, REPO, "step1000"),
        Checkpoint(3000, REPO, "global_step3000"),
        Checkpoint(4000, REPO, "checkpoint-4000"),
    ]


def test_two_series_need_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"stage1-step10-tokens1B": "a", "stage2-step10-tokens1B": "b"}, {})
    with pytest.raises(ValueError, match=r"stage1-step10-tokens1B, stage2-.* are all of step 10"):
        list_checkpoints(REPO)
    found = list_checkpoints(REPO, revisions="stage2-*")
    assert found == [Checkpoint(10, REPO, "stage2-step10-tokens1B")]
    with pytest.raises(ValueError, match=r"names a step among those that match 'stage3\*'"):
        list_checkpoints(REPO, revisions="stage3*")
    answers(monkeypatch, {"main": "a"}, {})
    with pytest.raises(ValueError, match=r"on the hub names a step, .*are main"):
        list_checkpoints(REPO)


def test_without_a_connection_the_cache_is_listed_and_loaded(offline: Path) -> None:
    cached(offline, {"main": 9, "step100": 1, "step20": 2, "pr/step7": 3, "step30": -4})
    found = list_checkpoints(REPO)
    assert [(c.step, c.revision) for c in found] == [
        (7, "pr/step7"), (20, "step20"), (100, "step100"),
    ]  # fmt: skip
    folder = offline / "models--someone--some-model"
    for checkpoint in found[1:]:
        model = load_model(checkpoint.path, revision=checkpoint.revision)
        commit = (folder / "refs" / str(checkpoint.revision)).read_text()
        own = load_model(folder / "snapshots" / commit)
        assert all(
            torch.equal(p, q) for p, q in zip(model.parameters(), own.parameters(), strict=True)
        )
    first, second = (load_model(c.path, revision=c.revision) for c in found[1:])
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_a_study_reads_revisions(offline: Path) -> None:
    from creode.study.run import load_study_model

    cached(offline, {"main": 9, "step100": 1, "step20": 2})
    data = DataConfig(source="unused")
    assert StudyConfig(model=REPO, data=data).series() == [None]
    study = StudyConfig(model=REPO, data=data, checkpoints="all")
    assert [c.revision for c in study.series() if c] == ["step20", "step100"]
    chosen = StudyConfig(model=REPO, data=data, checkpoints=(100,), revision="step*").series()
    assert chosen == [Checkpoint(100, REPO, "step100")]
    loaded = load_study_model(study, chosen[0])
    same = load_model(REPO, revision="step100")
    assert torch.equal(loaded.lm_head.weight, same.lm_head.weight)


def test_what_is_neither_here_nor_there_is_refused(offline: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"some-model: neither a local directory nor in the hub's"):
        list_checkpoints(REPO)
    with pytest.raises(ValueError, match="a local directory has no revisions, got revisions='s'"):
        list_checkpoints(tmp_path, revisions="s")
    (tmp_path / "someone" / "some-model" / "step_000003").mkdir(parents=True)
    (tmp_path / "someone" / "some-model" / "step_000003" / "model.safetensors").write_bytes(b"")
    (found,) = list_checkpoints(REPO)  # a directory of that name wins
    assert (found.step, found.revision) == (3, None)
