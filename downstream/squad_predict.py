"""`bert-finetune predict --task squad`: the answers of a fine-tuned model to the questions of a SQuAD file."""

import json
from pathlib import Path

from bert_tf.checkpoints import model_directory
from bert_tf.files import whole_file
from downstream.batches import choose_lengths
from downstream.features import open_tokenizer
from downstream.forward import compile_forward
from downstream.heads import BertForQuestionAnswering
from downstream.squad_answers import AnswerSettings, find_answers
from downstream.squad_questions import read_questions
from downstream.squad_windows import WindowSettings, make_windows
from downstream.task_file import read_task_file
from downstream.token_outputs import read_token_outputs


def predict_answers(model, input, output, *, batch_size=32):
    """Writes {question id: text} to a .json file, "" for no answer; the questions need no answers.

    Args:
        model: the directory of a model or a run of `bert-finetune squad`: its windows, its longest answer and its
            threshold for no answer are used.
        input, output: .json files.

    Raises:
        InputError: a model that was trained for something else; see `downstream.squad_questions`.
    """
    folder = model_directory(model)
    settings = read_task_file(folder, "squad")
    threshold, version_2 = settings.pop("null_odds_threshold"), settings.pop("version_2")
    answer_settings = AnswerSettings(settings.pop("max_answer_length"), settings.pop("n_best"))
    questions = read_questions(input, version_2=version_2, with_answers=False)
    network = BertForQuestionAnswering.from_pretrained(folder)
    tokenizer = open_tokenizer(folder, network.config)
    windows = make_windows(questions, tokenizer, WindowSettings(**settings), network.config.pad_token_id)
    features = windows.features
    print(f"{input}: {len(questions):,} questions, {len(features):,} windows, {windows.long_questions:,} questions cut")
    logits, _ = read_token_outputs(compile_forward(network), features, choose_lengths(features.lengths), batch_size)
    answers = find_answers(questions, windows, logits["start_logits"], logits["end_logits"], answer_settings)
    with whole_file(Path(output), "w") as stream:
        stream.write(json.dumps(answers.decide(threshold), indent=2, ensure_ascii=False) + "\n")
    print(f"{output}: {len(questions):,} answers")
