"""Gathers real English text that every machine with this package has: the documentation of Python and its packages.

    python docs/demo/gather.py --output DIR

Reads the docstrings of the standard library and of the installed packages, and the topics of Python's own help
(`pydoc_data.topics`). A paragraph counts if it reads like English, and once: what appears again anywhere, in whatever
spacing or case, is left out, so that no two documents share a paragraph. Writes

    corpus.txt            a document a source file, a paragraph a line, blank line between documents
    train.tsv, validation.tsv, test.tsv    package<TAB>text: which package does this paragraph come from?

The three sets of the task hold paragraphs of different source files.
"""

import argparse
import ast
import concurrent.futures
import hashlib
import inspect
import pydoc_data.topics
import re
import sysconfig
import warnings
from pathlib import Path

from bert_tf.files import whole_file

# Packages with long documentation, each a class of the task; "python" is the standard library.
CLASSES = ("keras", "matplotlib", "numpy", "python", "scipy", "sklearn", "tensorflow")
PER_CLASS = 4000
_WORD = re.compile(r"[A-Za-z][a-z']+")


def paragraphs(docstring):
    """The English paragraphs of a docstring, each on one line.

    >>> paragraphs("Adds two numbers and then returns the sum of them to you.\\n\\n    >>> add(1, 2)\\n    3")
    ['Adds two numbers and then returns the sum of them to you.']
    """
    found = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        text = " ".join(block.split())
        words = _WORD.findall(text)
        letters = sum(map(len, words))
        if ">>>" not in text and len(words) >= 8 and letters + len(words) >= 0.75 * len(text):
            found.append(text)
    return found


def documentation(path):
    """The paragraphs of all docstrings of a source file, in its order."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old spellings in other people's code
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):  # templates and test data of some packages are not Python
        return []
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return [paragraph for docstring in docstrings if docstring for paragraph in paragraphs(docstring)]


def source_files():
    """(package, path) of every source file of the standard library and of `CLASSES`, but tests, in a fixed order."""
    paths = sysconfig.get_paths()
    packages, library = Path(paths["purelib"]), Path(paths["stdlib"])
    files = []
    for path in sorted(library.rglob("*.py")):
        if "site-packages" not in path.parts:
            files.append(("python", path))
    for package in CLASSES:
        files += [(package, path) for path in sorted((packages / package).rglob("*.py"))]
    return [(package, path) for package, path in files if not {"test", "tests", "idlelib"} & set(path.parts)]


def gather(output, limit=None):
    """Writes the four files; `limit` keeps that many source files (a spread of them), for a short demo."""
    files = source_files()
    if limit:
        files = files[:: max(1, len(files) // limit)]
    documents = [("python", text.split("\n\n")) for _, text in sorted(pydoc_data.topics.topics.items())]
    documents = [(package, [part for block in blocks for part in paragraphs(block)]) for package, blocks in documents]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        found = pool.map(documentation, [path for _, path in files], chunksize=64)
        documents += [(package, texts) for (package, _), texts in zip(files, found, strict=True)]

    seen, unique = set(), []
    for package, texts in documents:
        fresh = []
        for text in texts:
            key = hashlib.sha256(" ".join(text.lower().split()).encode()).digest()
            if key not in seen:
                seen.add(key)
                fresh.append(text)
        if len(fresh) >= 2:  # a next sentence needs two
            unique.append((package, fresh))

    with whole_file(output / "corpus.txt", "w") as stream:
        stream.write("\n\n".join("\n".join(texts) for _, texts in unique) + "\n")
    write_task(output, unique)
    repeated = sum(len(texts) for _, texts in documents) - len(seen)
    words = sum(len(text.split()) for _, texts in unique for text in texts)
    print(
        f"{len(files):,} source files read; {len(unique):,} documents of {words:,} words written; "
        f"{repeated:,} repeated paragraphs left out"
    )


def write_task(output, documents):
    """Deals whole documents to training (80 %), validation and test (10 % each) by the hash of their text."""
    rows = {"train": [], "validation": [], "test": []}
    for package, texts in documents:
        digest = hashlib.sha256("\n".join(texts).encode()).digest()
        split = {0: "validation", 1: "test"}.get(digest[0] % 10, "train")
        rows[split] += [(package, text) for text in texts]
    for split, pairs in rows.items():
        most = PER_CLASS if split == "train" else PER_CLASS // 10
        with whole_file(output / f"{split}.tsv", "w") as stream:
            stream.write("package\ttext\n")
            for package in CLASSES:
                mine = sorted((pair for pair in pairs if pair[0] == package), key=_shuffled)[:most]
                stream.writelines(f"{package}\t{text}\n" for _, text in mine)


def _shuffled(pair):
    """A fixed order that is as good as random."""
    return hashlib.sha256(pair[1].encode()).digest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the folder to write into")
    parser.add_argument("--limit", type=int, help="read only about so many source files")
    arguments = parser.parse_args()
    gather(arguments.output, arguments.limit)
