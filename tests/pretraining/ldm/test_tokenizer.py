"""The tokenizer learned from captions."""

from __future__ import annotations

from dg_project.pretraining.ldm.architecture import build_tokenizer

CAPTIONS = ["a picture of a cat", "a picture of a dog", "a photo", "a photo of a cat", "a photo of a dog", "an art",
            "an art of a cat", "an art of a dog"]


def test_fixed_tokenizer_is_the_same_each_time() -> None:
    vocabularies = [build_tokenizer(CAPTIONS, fixed=True).get_vocab() for _ in range(30)]
    assert all(found == vocabularies[0] for found in vocabularies)
    tokenizer = build_tokenizer(CAPTIONS, fixed=True)
    assert tokenizer.tokenize("a Photo of a dog") == ["a</w>", "photo</w>", "of</w>", "a</w>", "dog</w>"]
    assert tokenizer.decode(tokenizer("unheard words").input_ids, skip_special_tokens=True) == "unheard words"
