"""Worlds parsed from settings."""

import pytest

from invertory.portraits import World
from invertory.portraits.settings import canonical_settings, parse_world


def test_words_become_rates_correlations_and_fixed_values():
    words = {
        "beard": "0.5", "glasses|male": "0.8", "glasses | not male": "0.2", "age_years": "70",
        "ood": "0.1", "ood_kinds": "hat, mask", "background": "busy",
    }  # fmt: skip
    assert parse_world(words.items()) == World(
        rates={"beard": 0.5},
        correlations={"glasses | male": 0.8, "glasses | not male": 0.2},
        fixed={"age_years": 70.0},
        ood=0.1,
        ood_kinds=("hat", "mask"),
        background="busy",
    )


def test_no_words_are_the_world_of_the_bundled_networks():
    assert parse_world([]) == World()


def test_a_world_has_one_way_of_writing():
    one = [("glasses|!male", "0.2"), ("beard", "1")]
    other = [("beard", "1"), ("glasses | not male", " 0.2")]
    assert (
        canonical_settings(one)
        == canonical_settings(other)
        == [("beard", "1"), ("glasses|!male", "0.2")]
    )
    assert parse_world(one) == parse_world(other)


@pytest.mark.parametrize(
    ("word", "value", "expected"),
    [
        ("glases", "1", "unknown setting 'glases' of a world; did you mean 'glasses'"),
        ("nmu", "1", "did you mean 'num'"),
        ("glasses", "many", "expected a number for 'glasses', got 'many'"),
        ("hat", "1", "such as ood=0.2 and ood_kinds=hat"),
        ("busy_background", "1", "expected an attribute among"),
        ("male|glasses", "1", "expected a group that is sampled before male"),
        ("glasses", "1.5", "from 0 to 1"),
        ("background", "red", "busy"),
    ],
)
def test_words_that_say_nothing_are_refused(word, value, expected):
    with pytest.raises(ValueError, match=expected):
        parse_world([(word, value)], ("num",))


def test_a_word_stands_once():
    with pytest.raises(ValueError, match="twice; remove one"):
        parse_world([("glasses|!male", "1"), ("glasses|not male", "0")])
