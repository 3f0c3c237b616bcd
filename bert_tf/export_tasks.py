"""Which task an export answers, by the model's head and by what its training left beside it."""

from bert_tf.answers import ClassificationAnswers, EmbeddingAnswers
from bert_tf.answers_masks import MaskAnswers
from bert_tf.answers_spans import SpanAnswers
from bert_tf.answers_tags import TagAnswers
from bert_tf.config import read_json

ARCHITECTURES = {  # the class that is opened for a task
    "classification": "BertForSequenceClassification",
    "tagging": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
    "fill-mask": "BertForMaskedLM",
    "embeddings": "BertModel",
}


def usual_task(architecture):
    """The task of a checkpoint of this class: that of its head; the encoder's where there is none of its own."""
    if architecture == "BertForPreTraining":
        return "fill-mask"
    return next((task for task, name in ARCHITECTURES.items() if name == architecture), "embeddings")


def answers_of(task, model, trained, *, pair=False, pooling="mean", normalize=True, top_k=5):
    """The answer of `task` for a model.

    Args:
        trained: the task.json beside the model, or {}: it decides on pairs, and on windows and threshold of a model for
            questions.
        pair: read two texts, whatever `trained` says.
        pooling, normalize: as `EmbeddingAnswers` has them.
        top_k: words a mask.
    """
    pair = pair or trained.get("text_pair") is not None
    if task == "classification":
        return ClassificationAnswers(model.labels, model.problem_type, pair=pair)
    if task == "tagging":
        return TagAnswers(model.labels)
    if task == "fill-mask":
        return MaskAnswers(top_k)
    if task == "embeddings":
        return EmbeddingAnswers(pair=pair, pooling=pooling, normalize=normalize)
    settings = {name: trained[name] for name in ("doc_stride", "max_query_length", "max_answer_length") if trained}
    threshold = trained["null_odds_threshold"] if trained.get("version_2") else None
    return SpanAnswers(**settings, null_odds_threshold=threshold)


def usual_length(task, config, trained):
    """Tokens of a row: as in training, else as many as the model has positions; for questions at most 384."""
    limit = config.max_position_embeddings
    return trained.get("max_seq_length") or (min(limit, 384) if task == "question-answering" else limit)


def training_of(folder):
    """{"metrics", "training"} of the run that a model directory belongs to, else {}."""
    run = folder.parent
    if folder.name != "model" or not (run / "results.json").exists():
        return {}
    return {"metrics": read_json(run / "results.json")["metrics"], "training": read_json(run / "config.json")}
