"""A folder of examples as `recall ingest` leaves it, from sequences given as lists."""

import json

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.ingestion import examples as example_writer
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary


def write_examples(examples_dir, sequences, num_items, max_history_length, identity="test"):
    """Writes leave-one-out splits of one training window per user.

    Args:
        examples_dir: Folder to create.
        sequences: One list of item numbers from 0 per user, at least four
            items, at most `max_history_length` + 3.
        num_items: Items of the catalogue.
        max_history_length: The setting that the examples are said to be made with.
        identity: Stands for the log the examples were made of.
    """
    splits = {"train": {}, "valid": {}, "test": {}}
    for user, sequence in enumerate(sequences):
        dense, user_id = np.asarray(sequence) + FIRST_ITEM_ID, f"u{user}".encode()
        bucket = 1 << int(np.ceil(np.log2(len(dense) - 3)))
        train = example_writer.train_example(dense[:-2])
        splits["train"].setdefault(bucket, []).append(train)
        for split, cut in (("valid", -2), ("test", -1)):
            positive = dense[cut : len(dense) + cut + 1]
            example = example_writer.held_out_example(user_id, dense[:cut], positive)
            splits[split].setdefault(0, []).append(example)
    statistics = {"splits": {}}
    for split, buckets in splits.items():
        folder = example_writer.split_dir(examples_dir, split)
        folder.mkdir(parents=True)
        files = statistics["splits"].setdefault(split, {"files": {}})["files"]
        for bucket, examples in buckets.items():
            name = example_writer.file_name(bucket, 0, 1)
            with tf.io.TFRecordWriter(str(folder / name), "GZIP") as writer:
                for example in examples:
                    writer.write(example)
            files[name] = len(examples)
    (examples_dir / "statistics.json").write_text(json.dumps(statistics))
    vocabulary = ItemVocabulary([f"i{number}" for number in range(num_items)])
    records.write_vocabulary(examples_dir, vocabulary)
    ingest = {"protocol": "leave_one_out", "num_targets": 5}
    settings = {"ingest": ingest, "model": {"max_history_length": max_history_length}}
    record = records.build_record("ingest", settings, {"events": identity})
    records.write_record(examples_dir, record)


@pytest.fixture(scope="session")
def examples_writer():
    """`write_examples`, for test files, which cannot import each other."""
    return write_examples
