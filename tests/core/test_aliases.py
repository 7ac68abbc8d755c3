"""Keys with more than one name."""

from __future__ import annotations

from sam2_training.core.aliases import alias_sections, canonical, in_written_words, renamed

ALIASES = {"old.size": "part.size", "part.former": "part.files"}


def test_a_name_means_one_key_and_a_section_hands_it_on() -> None:
    names = ["old.size", "part.size", "part.former.folder", "part.former", "old.other", "seed"]
    assert [canonical(name, ALIASES) for name in names] == [
        *("part.size", "part.size", "part.files.folder", "part.files", "old.other", "seed"),
    ]


def test_of_two_names_the_keys_own_counts() -> None:
    assert renamed({"part.size": 1, "old.size": 2}, ALIASES) == {"part.size": 1}
    assert renamed({"old.size": 2, "part.former.folder": "a"}, ALIASES) == {"part.size": 2, "part.files.folder": "a"}


def test_a_section_may_exist_for_aliases_only() -> None:
    assert alias_sections(ALIASES, ["seed", "part", "part.size", "part.files"]) == {"old"}


def test_a_sentence_names_keys_as_they_were_written() -> None:
    written = {"part.size": "old.size", "part.files": "part.former"}
    sentence = "part.size=3 does not go with part.sizes, other_part.size and x.part.size; set part.files.folder"
    assert in_written_words(sentence, written) == (
        "old.size=3 does not go with part.sizes, other_part.size and x.part.size; set part.former.folder"
    )
