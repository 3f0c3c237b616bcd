"""`prepare` under Apache Beam, for a corpus beyond one machine.

Each input is read by a worker, its texts are encoded wherever there is room, the pieces of each shard come together by
its number, and the shard is made: the same bytes as on one machine.

    --runner direct                           this machine, in memory: for tests
    --runner dataflow|flink|spark             with `--beam-option project=…`, `flink_master=…`, `spark_master_url=…`, …

Every worker needs this package with the `beam` extra (a container image, or `--beam-option setup_file=…`) and reads and
writes the inputs and the output itself, by fsspec: give URLs that all of them reach.
"""

from bert_tf.errors import InputError
from bert_tf.extras import needed

RUNNERS = {
    "direct": "FnApiRunner",
    "dataflow": "DataflowRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
}
ENCODED_TOGETHER = 2**22  # characters in an element that goes from a reader to an encoder


def run_on_beam(maker, inputs, runner, options):
    """Makes the shards that are missing.

    Args:
        maker: `ShardMaker`.
        inputs: see inputs.py; one input is read by one worker.
        runner: a key of RUNNERS.
        options: "name=value" or "name", for Beam's `PipelineOptions`.

    Raises:
        InputError: no Beam; a local path for Dataflow; an option with a value that Beam refuses; the pipeline failed.
    """
    local = [one for one in (maker.output, *inputs) if "://" not in str(one) and not str(one).startswith("tfds:")]
    if runner == "dataflow" and local:
        raise InputError(f"the workers of Dataflow cannot reach {local[0]}: give a URL such as gs://…")
    with needed(f"--runner {runner}", "beam"):
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    missing = maker.missing()
    if len(missing) < maker.shards:
        print(f"going on in {maker.output}: {maker.shards - len(missing)} shards are there")
    wanted = frozenset(missing)
    flags = PipelineOptions([f"--runner={RUNNERS[runner]}", *(f"--{option}" for option in options)])
    try:
        flags.get_all_options()
    except SystemExit:  # of argparse, which has said what is wrong
        raise InputError(f"Beam does not take the options {' '.join(options)}: it says above why") from None
    try:
        with beam.Pipeline(options=flags) as pipeline:
            texts = pipeline | "inputs" >> beam.Create(inputs) | "spread inputs" >> beam.Reshuffle()
            texts = texts | "read" >> beam.FlatMap(_batches) | "spread texts" >> beam.Reshuffle()
            pieces = texts | "encode" >> beam.FlatMap(maker.encode)
            pieces = pieces | "missing alone" >> beam.Filter(lambda piece: piece[0] in wanted)
            every = pipeline | "every shard" >> beam.Create([(shard, b"") for shard in missing])
            shards = (pieces, every) | beam.Flatten() | beam.GroupByKey()
            shards | "make" >> beam.MapTuple(lambda shard, found: maker.make(shard, filter(None, found)))
    except Exception as error:  # each runner has its own, with the worker's traceback in its text
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"the Beam pipeline failed: {reason[-1]}") from error


def _batches(one):
    """Lists of documents of an input, of some Mi characters."""
    batch, characters = [], 0
    for document in one.documents():
        batch.append(document)
        characters += len(document)
        if characters >= ENCODED_TOGETHER:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
