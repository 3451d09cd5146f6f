"""Reasoning composed from a pair: its terms, where the passage has them, and how many it has.

No teacher model wrote these. The same pair always gets the same trace. Its wording depends on the form of the query
and on a random seed made from the pair. Knows nothing about tokens, files or training.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

MOST_TERMS, QUOTED_WORDS, OPENING_WORDS = 4, 3, 6
STOPWORDS = frozenset(Path(__file__).with_name("stopwords.txt").read_text().split())
_EDGES = "\"'`()[]{}<>.,;:!?…“”\u2018\u2019*"
_SUFFIXES = (
    "ational", "ations", "ation", "ments", "ment", "ities", "ity", "ings", "ing", "ions", "ion", "ives", "ive",
    "ness", "ally", "ies", "ied", "ers", "es", "ed", "ly", "er", "al", "s", "e", "y",
)  # fmt: skip


class Term(NamedTuple):
    """A content word of a query, how rare it is, and the matching words of the passage, or None."""

    word: str
    weight: float
    quote: str | None


def compose_trace(query: str, passage: str, weights: Mapping[str, float]) -> str:
    """The reasoning about a pair. `weights` are the rarities of stems, see `weigh_stems`."""
    chance = random.Random(f"{query}\n{passage}")
    terms = find_terms(query, passage, weights)
    parts = (
        _open(query, terms, chance),
        _quote_start(passage, chance),
        _list_terms(terms, chance),
        _conclude(terms, chance),
    )
    return " ".join(part for part in parts if part)


def find_terms(query: str, passage: str, weights: Mapping[str, float]) -> list[Term]:
    """The rarest content words of a query, at most `MOST_TERMS`, in its order, each with the match in the passage."""
    words = {stem(word): word for word in reversed(content_words(query))}
    rare = sorted(words, key=lambda key: -_weight(key, weights))[:MOST_TERMS]
    places = _index_words(passage.split())
    ordered = [key for key in dict.fromkeys(map(stem, content_words(query))) if key in rare]
    return [Term(words[key], _weight(key, weights), _quote(passage.split(), places.get(key))) for key in ordered]


def coverage(terms: Sequence[Term]) -> float:
    """The share of terms that the passage has. Rare terms count more. 0 if there are no terms."""
    total = sum(term.weight for term in terms)
    return sum(term.weight for term in terms if term.quote) / total if total else 0.0


def weigh_stems(texts: Iterable[str]) -> dict[str, float]:
    """How rare each stem is in `texts`: log(texts ÷ texts that have it)."""
    texts = list(texts)
    counts = Counter(key for text in texts for key in {stem(word) for word in content_words(text)})
    return {key: math.log((1 + len(texts)) / count) for key, count in counts.items()}


def content_words(text: str) -> list[str]:
    """The words of a text without punctuation around them and without stopwords."""
    words = [word.strip(_EDGES) for word in text.split()]
    return [word for word in words if re.search(r"\w", word) and word.lower() not in STOPWORDS]


@cache
def stem(word: str) -> str:
    """A word in small letters without its ending, so that `mutations` meets `mutation`."""
    word = word.strip(_EDGES).lower().removesuffix("'s").removesuffix("\u2019s")
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= (3 if suffix == "s" else 4):
            return word.removesuffix(suffix)
    return word


def _weight(key: str, weights: Mapping[str, float]) -> float:
    return weights[key] if key in weights else max(weights.values(), default=1.0)


def _index_words(words: Sequence[str]) -> dict[str, int]:
    """Stem → its first position. Parts of hyphenated words count where the stem does not stand alone."""
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        places.setdefault(stem(word), place)
    for place, word in enumerate(words):
        for part in re.split(r"[-/\u2013]", word):
            places.setdefault(stem(part), place)
    return places


def _quote(words: Sequence[str], place: int | None) -> str | None:
    """Up to `QUOTED_WORDS` words from `place` on, within the same phrase."""
    if place is None:
        return None
    return _cut_phrase(words[place : place + QUOTED_WORDS])


def _cut_phrase(words: Sequence[str]) -> str:
    """The words up to the first that ends in a punctuation mark, without marks around them."""
    end = next((place for place, word in enumerate(words) if word[-1] in ".,;:!?"), len(words) - 1)
    return " ".join(words[: end + 1]).strip(_EDGES)


def _open(query: str, terms: Sequence[Term], chance: random.Random) -> str:
    """What the query asks for: its two rarest terms, in words that fit its form."""
    rare = sorted(terms, key=lambda term: -term.weight)[:2]
    named = " and ".join(term.word for term in terms if term in rare)
    if not named:
        return "The query names nothing in particular."
    if query.rstrip().endswith("?"):
        ways = ["The question is about {}.", "It asks about {}.", "The question asks for {}."]
    elif len(query.split()) > 5:
        ways = ["The claim is about {}.", "The query speaks of {}.", "This is a claim on {}."]
    else:
        ways = ["The query looks for {}.", "The query is on {}."]
    return chance.choice(ways).format(named)


def _quote_start(passage: str, chance: random.Random) -> str:
    words = _cut_phrase(passage.split()[:OPENING_WORDS])
    return chance.choice(['The passage begins with "{}".', 'The passage starts: "{}".']).format(words)


def _list_terms(terms: Sequence[Term], chance: random.Random) -> str:
    """Each term and its match. The term comes first, then whether the passage has it."""
    if len(terms) < MOST_TERMS:
        found = ['for {0} it has "{1}"', 'on {0} it says "{1}"']
        missing = ["for {0} it has nothing", "on {0} it says nothing"]
        ways = [(found if term.quote else missing)[chance.randrange(2)].format(*term[::2]) for term in terms]
        return "; ".join(ways)[:1].upper() + "; ".join(ways)[1:] + "." if ways else ""
    return " ".join(
        f'{term.word} is met: "{term.quote}".' if term.quote else f"{term.word} is missing." for term in terms
    )


def _conclude(terms: Sequence[Term], chance: random.Random) -> str:
    """How much of the query the passage answers, in words, and the rarest term that is missing."""
    share = coverage(terms)
    missing = max((term for term in terms if not term.quote), key=lambda term: term.weight, default=None)
    left_out = missing.word if missing else ""
    if not missing:
        ways = ["So all of it is there.", "The passage meets every part of it."]
    elif share >= 0.6:
        ways = ["So most of it is there, only {} is not.", "Most parts meet, but {} does not."]
    elif share >= 0.25:
        ways = ["So a part of it is there, but not {}.", "Only some parts meet, and {} does not."]
    else:
        ways = ["So next to nothing of it is there.", "Hardly any part meets, above all not {}."]
    return chance.choice(ways).format(left_out)
