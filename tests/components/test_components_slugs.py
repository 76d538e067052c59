"""Names on disk: readable, one path segment, different for different names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creode.components import slug


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("full", "full"),
        ("l0", "l0"),
        ("l0h11", "l0h11"),
        ("l0kv1", "l0kv1"),
        ("l0 mlp", "l0_mlp"),
        ("l0 attn shared", "l0_attn_shared"),
        ("encoder l0 attn", "encoder_l0_attn"),
        ("pos_embed", "pos_embed"),
        ("model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"),
    ],
)
def test_plain_names_stay_readable(name, expected):
    assert slug(name) == expected


def test_globs_keep_what_is_readable_and_get_a_digest():
    assert re.fullmatch(r"mlp-[0-9a-f]{12}", slug("*.mlp.*"))
    assert re.fullmatch(r"component-[0-9a-f]{12}", slug("*"))
    assert slug("*.mlp.*") != slug("?.mlp.*")
    assert slug("l0 mlp") != slug("l0_mlp")
    assert len(slug("l0h1," * 100)) < 60


PIECES = st.sampled_from(["l0", "h1", "kv2", "l0h1", "mlp", "a", " ", "_", ".", "-", "*", ",", "9"])


@given(st.lists(st.lists(PIECES, max_size=5).map("".join), min_size=2, max_size=40, unique=True))
def test_different_names_have_different_slugs_of_one_path_segment(names):
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", s) for s in slugs)


def test_the_names_of_a_network_have_different_slugs():
    words = ["l0", "l0h1", "a", "mlp", "_", " "]
    names = {x + y + z for x in words for y in words for z in words}
    assert len({slug(name) for name in names}) == len(names)
