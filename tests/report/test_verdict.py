"""A sentence for each dataset, what needs attention first, and who is best and worst."""

from polycli.report.verdict import Verdict, best_and_worst, worst_first


def verdict(standing, value, measure="error", better="lower"):
    return Verdict(standing=standing, sentence="s", advice="a", measure=measure, value=value, better=better)


def test_what_needs_attention_stands_first_whatever_its_name():
    found = {
        "a": verdict("good", 0.2),
        "b": verdict("good", 0.4),
        "c": verdict("poor", 1.2),
        "d": verdict("mixed", None),
        "e": verdict("mixed", 0.9),
    }
    assert worst_first(found) == ["c", "d", "e", "b", "a"]


def test_best_and_worst_follow_the_direction_of_the_score():
    lower = {"a": verdict("good", 0.2), "b": verdict("good", 0.4)}
    higher = {name: verdict("good", one.value, better="higher") for name, one in lower.items()}
    assert best_and_worst(lower).startswith("Best: a (0.200); worst: b (0.400)")
    assert best_and_worst(higher).startswith("Best: b (0.400); worst: a (0.200)")


def test_scores_of_different_kinds_and_one_alone_are_not_ranked():
    assert best_and_worst({"a": verdict("good", 0.2)}) == ""
    assert best_and_worst({"a": verdict("good", 0.2), "b": verdict("good", 0.4, measure="other")}) == ""


def test_a_score_is_shown_with_its_interval_where_it_has_one():
    alone = verdict("good", 0.25)
    both = Verdict(standing="good", sentence="s", advice="a", measure="m", value=0.25, interval=(0.2, 0.3))
    assert (alone.shown, both.shown) == ("0.250", "0.250 (0.200 to 0.300)")
