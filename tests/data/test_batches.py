import numpy as np
import pytest
import torch

from twotower.data.batches import RelevantGroups, TrainLoader
from twotower.data.collection import normalised
from twotower.data.negatives import PoolNegatives, RandomNegatives
from twotower.text.tokenizer import Tokenizer


@pytest.fixture
def parts(collection):
    tokenizer = Tokenizer.train(collection.document_texts() + collection.query_texts, {"min_frequency": 1})
    return collection, tokenizer.encode(collection.query_texts), tokenizer.encode(collection.document_texts())


def loader(parts, **changes):
    collection, query_tokens, document_tokens = parts
    settings = {"batch_size": 8, "split": "train", "seed": 3, **changes}
    return TrainLoader(collection=collection, query_tokens=query_tokens, document_tokens=document_tokens, **settings)


def rows_of(batch):
    """The token ids of every query and document of a batch, as tuples."""
    return [
        [tuple(part.tolist()) for part in torch.tensor_split(side.ids_T, side.offsets_B1[1:-1])]
        for side in (batch.query, batch.document)
    ]


def test_mask_equals_plain_loops(parts, reference):
    collection = parts[0]
    generator = np.random.default_rng(1)
    judgements = collection.judgements["train"]
    positive = np.flatnonzero(judgements.positive)
    texts = [normalised(text) for text in collection.document_texts()]
    forbidden = reference(collection, "train")
    for _ in range(20):
        chosen = generator.choice(positive, 9)
        query, document = judgements.query[chosen], judgements.document[chosen]
        document = np.concatenate([document, generator.integers(0, len(texts), 13)])
        mask = RelevantGroups(collection, ["train"]).mask(query, document)
        expected = [
            [texts[item] in forbidden[row] and column != place for column, item in enumerate(document)]
            for place, row in enumerate(query)
        ]
        assert mask.tolist() == expected


def test_dev_judgements_do_not_reach_the_training_mask(parts, reference):
    collection = parts[0]
    relevance = RelevantGroups(collection, ["train"])
    rows = np.arange(len(collection.query_ids))
    documents = np.arange(len(collection.document_ids))
    found = relevance.contains(np.repeat(rows, len(documents)), np.tile(documents, len(rows))).reshape(len(rows), -1)
    texts = [normalised(text) for text in collection.document_texts()]
    forbidden = reference(collection, "train")
    assert found.tolist() == [[text in forbidden[row] for text in texts] for row in rows]


def test_every_positive_pair_comes_once_an_epoch(parts):
    collection, query_tokens, document_tokens = parts
    judgements = collection.judgements["train"]
    expected = sorted(
        (tuple(query_tokens.row(query)), tuple(document_tokens.row(document)))
        for query, document in zip(
            judgements.query[judgements.positive], judgements.document[judgements.positive], strict=True
        )
    )
    for bucket in (False, True):
        batches = list(loader(parts, bucket_by_length=bucket, batch_size=7))
        pairs = sorted(pair for batch in batches for pair in zip(*rows_of(batch), strict=True))
        assert pairs == expected
        assert [batch.query.size for batch in batches].count(7) >= len(batches) - 1


def test_order_depends_on_seed_and_epoch_alone(parts):
    def epoch(number, **changes):
        chosen = loader(parts, **changes)
        chosen.set_epoch(number)
        return [batch.document.ids_T.tolist() for batch in chosen]

    assert epoch(1) == epoch(1)
    assert epoch(0) != epoch(1)
    assert epoch(0) != epoch(0, seed=4)
    one = loader(parts)
    list(one)
    assert [batch.document.ids_T.tolist() for batch in one] == epoch(0)


def test_length_and_the_single_last_pair(parts):
    pairs = loader(parts).pairs
    for size in (2, 3, pairs - 1, pairs, pairs + 5):
        chosen = loader(parts, batch_size=size)
        sizes = [batch.query.size for batch in chosen]
        assert len(sizes) == len(chosen)
        assert sum(sizes) == pairs - (pairs % size == 1)
        assert min(sizes) > 1


def test_bucketing_puts_like_lengths_together(parts):
    def padding(**changes):
        lengths = [batch.document.lengths for batch in loader(parts, batch_size=8, **changes)]
        return sum(int(item.max() * len(item) - item.sum()) for item in lengths)

    assert padding(bucket_by_length=True) < padding() / 2


def test_negatives_follow_the_positives_and_are_never_relevant(parts, reference):
    collection, _, document_tokens = parts
    relevance = RelevantGroups(collection, ["train"])
    negatives = RandomNegatives(relevance=relevance, documents=len(collection.document_ids), count=3)
    words = {tuple(document_tokens.row(row)): normalised(text) for row, text in enumerate(collection.document_texts())}
    forbidden = reference(collection, "train")
    queries = {tuple(parts[1].row(row)): row for row in range(len(collection.query_ids))}
    for batch in loader(parts, negatives=negatives):
        query_rows, document_rows = rows_of(batch)
        count = len(query_rows)
        assert batch.mask_BN.shape == (count, count * 4)
        for place, query in enumerate(query_rows):
            own = document_rows[count + 3 * place : count + 3 * place + 3]
            assert not {words[item] for item in own} & forbidden[queries[query]]


def test_places_without_a_negative_are_masked_for_all(parts):
    collection = parts[0]
    nothing = PoolNegatives(
        query=np.array([], dtype=np.int32),
        document=np.array([], dtype=np.int32),
        relevance=RelevantGroups(collection, ["train"]),
        queries=len(collection.query_ids),
        count=2,
    )
    batch = next(iter(loader(parts, negatives=nothing)))
    assert batch.mask_BN[:, 8:].all()
    assert not batch.mask_BN[:, :8].all()


def test_ranks_share_the_pairs_without_overlap(parts):
    shares = [list(loader(parts, rank=rank, world_size=2, batch_size=4)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    whole = loader(parts)
    order = np.random.default_rng([3, 0]).permutation(len(whole.query))
    first = shares[0][0].query.lengths.tolist()
    assert first == parts[1].lengths[whole.query[order[0:8:2]]].tolist()


def test_goes_on_in_the_middle_of_an_epoch(parts):
    relevance = RelevantGroups(parts[0], ["train"])
    negatives = RandomNegatives(relevance=relevance, documents=len(parts[0].document_ids), count=2)
    whole = [batch.document.ids_T.tolist() for batch in loader(parts, negatives=negatives)]
    stopped = loader(parts, negatives=negatives)
    iterator = iter(stopped)
    next(iterator), next(iterator)
    state = stopped.state_dict()
    again = loader(parts, negatives=negatives)
    again.load_state_dict(state)
    assert [batch.document.ids_T.tolist() for batch in again] == whole[2:]
    again.load_state_dict(state)
    again.set_epoch(1)
    assert len(list(again)) == len(whole)


def test_lightning_tells_the_epoch(parts):
    from pytorch_lightning.utilities.combined_loader import CombinedLoader

    chosen = loader(parts)
    assert chosen.sampler is chosen
    combined = CombinedLoader(chosen)
    iter(combined)
    assert len(combined) == len(chosen)
    assert chosen.pairs == len(chosen.query)
