"""Pretraining data the slow way, for benchmarks.prepare_speed: one process, pure Python, a document after the other.

    SLOW_PYTHON -m benchmarks.slow_prepare --sentences FILE --vocab vocab.txt

It stands for google-research/bert's `create_pretraining_data.py`: the Python `BertTokenizer` of transformers 4.x on
each sentence, then pairs of segments up to 128 tokens, a random B half of the time. It does less than the original:
each document once (there ten times), no masks, nothing written, and the sentences come ready (FILE: a JSON list of
sentences a line, a document). Prints {"documents": …, "pairs": …, "seconds": …}; loading is not counted.
"""

import argparse
import json
import random
import time
from pathlib import Path

ROOM = 128 - 3  # [CLS] A [SEP] B [SEP]


def pairs_of(documents, number, draw):
    """(A, B, is random) of one document, as token ids."""
    document, pairs = documents[number], []
    chunk, length, place = [], 0, 0
    while place < len(document):
        chunk.append(document[place])
        length += len(document[place])
        if place == len(document) - 1 or length >= ROOM:
            cut = draw.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            first = [token for sentence in chunk[:cut] for token in sentence]
            is_random = len(chunk) == 1 or draw.random() < 0.5
            if is_random:
                other = documents[draw.randrange(len(documents))]
                start, second = draw.randrange(len(other)), []
                while start < len(other) and len(second) < ROOM - len(first):
                    second.extend(other[start])
                    start += 1
                place -= len(chunk) - cut  # they are used again
            else:
                second = [token for sentence in chunk[cut:] for token in sentence]
            while len(first) + len(second) > ROOM:
                longer = first if len(first) > len(second) else second
                del longer[0 if draw.random() < 0.5 else -1]
            pairs.append((first, second, is_random))
            chunk, length = [], 0
        place += 1
    return pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--vocab", type=Path, required=True)
    arguments = parser.parse_args()
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(str(arguments.vocab))
    texts = [json.loads(line) for line in arguments.sentences.open(encoding="utf-8")]
    draw = random.Random(0)
    began = time.perf_counter()
    documents = []
    for text in texts:
        ids = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(sentence)) for sentence in text]
        documents.append([sentence for sentence in ids if sentence])
    pairs = sum(len(pairs_of(documents, number, draw)) for number in range(len(documents)))
    seconds = time.perf_counter() - began
    print(json.dumps({"documents": len(documents), "pairs": pairs, "seconds": seconds}))


if __name__ == "__main__":
    main()
