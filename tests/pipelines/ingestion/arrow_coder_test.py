import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from pipelines.ingestion import arrow_coder
from pipelines.ingestion.arrow_coder import RecordBatchCoder
from pipelines.sources.events import EVENT_SCHEMA_WITH_SPLIT


def _batch(size):
    columns = [
        [f"user-{row}" for row in range(size)],
        ["Zoë" if row % 2 else "" for row in range(size)],
        [row / 4 for row in range(size)],
        list(range(size)),
        [None if row % 3 == 0 else "train" for row in range(size)],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, EVENT_SCHEMA_WITH_SPLIT, strict=True)],
        schema=EVENT_SCHEMA_WITH_SPLIT,
    )


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_round_trip(size):
    coder, batch = RecordBatchCoder(), _batch(size)
    decoded = coder.decode(coder.encode(batch))
    assert decoded.equals(batch)
    assert decoded.schema.equals(batch.schema)


def test_a_slice_is_encoded_without_its_neighbours():
    coder, batch = RecordBatchCoder(), _batch(10_000)
    piece = batch.slice(5_000, 3)
    assert coder.decode(coder.encode(piece)).equals(piece)
    assert len(coder.encode(piece)) < len(coder.encode(batch)) / 10


def test_is_the_coder_of_the_type_hint():
    arrow_coder.register()
    assert isinstance(beam.coders.registry.get_coder(pa.RecordBatch), RecordBatchCoder)
    assert not RecordBatchCoder().is_deterministic()


def test_batches_survive_a_shuffle():
    arrow_coder.register()
    with test_pipeline.TestPipeline() as pipeline:
        rows = (
            pipeline
            | beam.Create([0, 1, 2, 3])
            | beam.Map(lambda i: (i % 2, _batch(i + 1))).with_output_types(
                tuple[int, pa.RecordBatch]
            )
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, batches: (key, sorted(b.num_rows for b in batches)))
        )
        assert_that(rows, equal_to([(0, [1, 3]), (1, [2, 4])]))
