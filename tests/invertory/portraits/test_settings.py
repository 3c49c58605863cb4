"""A world in words."""

import pytest

from invertory.portraits import World
from invertory.portraits.settings import words_of, world_of


def test_words_become_rates_correlations_and_fixed_values():
    words = {
        "beard": "0.5", "glasses|male": "0.8", "glasses | not male": "0.2", "age_years": "70",
        "ood": "0.1", "ood_kinds": "hat, mask", "background": "busy",
    }  # fmt: skip
    assert world_of(words.items()) == World(
        rates={"beard": 0.5},
        correlations={"glasses | male": 0.8, "glasses | not male": 0.2},
        fixed={"age_years": 70.0},
        ood=0.1,
        ood_kinds=("hat", "mask"),
        background="busy",
    )


def test_no_words_are_the_world_of_the_bundled_networks():
    assert world_of([]) == World()


def test_a_world_has_one_way_of_writing():
    one = [("glasses|!male", "0.2"), ("beard", "1")]
    other = [("beard", "1"), ("glasses | not male", " 0.2")]
    assert words_of(one) == words_of(other) == [("beard", "1"), ("glasses|!male", "0.2")]
    assert world_of(one) == world_of(other)


@pytest.mark.parametrize(
    ("word", "value", "expected"),
    [
        ("glases", "1", "unknown setting 'glases' of a world; did you mean 'glasses'"),
        ("nmu", "1", "did you mean 'num'"),
        ("glasses", "many", "expected a number for 'glasses', got 'many'"),
        ("hat", "1", "such as ood=0.2 and ood_kinds=hat"),
        ("busy_background", "1", "expected an attribute among"),
        ("male|glasses", "1", "expected a group that is decided before male"),
        ("glasses", "1.5", "from 0 to 1"),
        ("background", "red", "busy"),
    ],
)
def test_words_that_say_nothing_are_refused(word, value, expected):
    with pytest.raises(ValueError, match=expected):
        world_of([(word, value)], ("num",))


def test_a_word_stands_once():
    with pytest.raises(ValueError, match="twice; remove one"):
        world_of([("glasses|!male", "1"), ("glasses|not male", "0")])
