"""The split of the BBC corpus (Greene & Cunningham 2006) that the figures of summaries in RESULTS.md are measured on.

    python -m benchmarks.summary_data --data bbc_news_summary.jsonl --output FOLDER

Of each category, in the order of the ids, the articles 9, 19, 29, … are for validation and 10, 20, 30, … for the test;
the rest is for training. An article whose text came before in the file is left out, and counted. The first line of an
article is its headline, which no summary has: it is left out as well, as the first sentences would begin with it.
"""

import argparse
import collections
import json
from pathlib import Path


def split(rows):
    """{"train": rows, "validation": rows, "test": rows} and the number of rows left out as copies."""
    parts, seen, copies = {"train": [], "validation": [], "test": []}, set(), 0
    counts = collections.Counter()
    for row in sorted(rows, key=lambda row: row["id"]):
        article = row["article"].partition("\n")[2].strip()
        if article in seen:
            copies += 1
            continue
        seen.add(article)
        counts[row["category"]] += 1
        part = {9: "validation", 0: "test"}.get(counts[row["category"]] % 10, "train")
        parts[part].append({"id": row["id"], "article": article, "summary": row["summary"]})
    return parts, copies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.data.read_text(encoding="utf-8").splitlines()]
    parts, copies = split(rows)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, chosen in parts.items():
        path = arguments.output / f"{name}.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        path.write_text("".join(lines), encoding="utf-8")
        print(f"{path}: {len(chosen):,} articles")
    print(f"left out: {copies:,} copies")


if __name__ == "__main__":
    main()
