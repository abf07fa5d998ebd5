import numpy as np

from twotower.data.near_duplicates import near_duplicate_groups


def jaccard(one, two, width=4):
    def shingles(text):
        words = text.lower().split()
        return {tuple(words[start : start + width]) for start in range(max(len(words) - width + 1, 1))}

    first, second = shingles(one), shingles(two)
    return len(first & second) / len(first | second)


def variants(generator, count):
    words = np.array([f"w{number}" for number in range(50)])
    texts = []
    for _ in range(count):
        base = generator.choice(words, 60)
        texts.append(" ".join(base))
        for changes in (1, 3, 12):
            other = base.copy()
            other[generator.integers(0, 60, changes)] = generator.choice(words, changes)
            texts.append(" ".join(other))
    return texts


def test_groups_equal_the_components_of_all_pairs_compared():
    texts = variants(np.random.default_rng(0), 25)
    for threshold in (0.75, 0.8, 1.0):
        parent = list(range(len(texts)))
        for one in range(len(texts)):
            for two in range(one):
                if jaccard(texts[one], texts[two]) >= threshold:
                    old, new = parent[one], parent[two]
                    parent = [new if item == old else item for item in parent]
        found = near_duplicate_groups(texts, threshold=threshold)
        assert len(set(zip(found.tolist(), parent, strict=True))) == len(set(parent)) == len(set(found.tolist()))


def test_case_punctuation_and_blanks_do_not_matter():
    groups = near_duplicate_groups(["Return the sum, of x.", "return  the SUM of x", "return the mean of x"])
    assert groups[0] == groups[1] != groups[2]


def test_short_and_empty_texts():
    groups = near_duplicate_groups(["one", "One!", "two", "", "..."])
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 4
    assert len(near_duplicate_groups([])) == 0
    assert len(set(near_duplicate_groups(["", ""]).tolist())) == 2


def test_result_is_the_same_every_time():
    texts = variants(np.random.default_rng(1), 10)
    assert np.array_equal(near_duplicate_groups(texts), near_duplicate_groups(texts))
