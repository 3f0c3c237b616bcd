"""What `/metrics` tells Prometheus: requests by status, their seconds, texts, batch sizes, the queue."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Measures:
    """The figures of one server."""

    def __init__(self):
        self._registry = CollectorRegistry()

        def new(kind, name, text, *labels, **options):
            return kind(f"bert_tf_{name}", text, labels, registry=self._registry, **options)

        self.requests = new(Counter, "requests", "Answered requests for predictions", "status")
        self.texts = new(Counter, "instances", "Answered instances")
        self.seconds = new(Histogram, "request_seconds", "Seconds from the request's head to its answer")
        self.batches = new(
            Histogram, "batch_size", "Instances of one call of the model", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
        )
        self.queue = new(Gauge, "queue_length", "Instances that wait")

    def text(self):
        """In the text format of Prometheus, bytes."""
        return generate_latest(self._registry)
