"""Tokens back to text, as the WordPiece decoder of Hugging Face's `tokenizers` and `transformers` put them together."""

# The decoder replaces these within each token and the space before it, so most of them only ever meet single tokens.
_IN_TOKENS = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
# `transformers` replaces these in the whole text if clean_up_tokenization_spaces is set.
_IN_TEXT = tuple(pair for pair in _IN_TOKENS if pair[0] != " do not")


def detokenize(tokens, *, clean_up_spaces):
    """Joins tokens: "##" continues the word before, any other token begins a new one.

    Example: ["they", "'", "re", "here", "##to", "."] is "they ' re hereto.", with clean_up_spaces "they're hereto.".

    Args:
        tokens: list of str.
        clean_up_spaces: bool, take out spaces before punctuation and around apostrophes in the whole text.
    """
    parts = [
        token if index == 0 else token.removeprefix("##") if token.startswith("##") else f" {token}"
        for index, token in enumerate(tokens)
    ]
    text = "".join(_replace(part, _IN_TOKENS) for part in parts)
    return _replace(text, _IN_TEXT) if clean_up_spaces else text


def _replace(text, pairs):
    for old, new in pairs:
        text = text.replace(old, new)
    return text
