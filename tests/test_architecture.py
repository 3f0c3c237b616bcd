"""Enforces the design by reading the source: who may import whom, where TensorFlow may stand, how files are cut.

    bert_tf  <-  pretraining        bert_tf imports neither of the others; these two never import each other;
    bert_tf  <-  downstream         nothing imports a script (`__main__`); the script of bert_tf may import all three

With `KERAS_BACKEND=jax` no TensorFlow is needed to import the packages and to train: the modules that import it when
they are imported are listed here, and a new one must be put on the list on purpose.
"""

import ast
import functools
import importlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bert_tf", "pretraining", "downstream")
SCRIPTS = tuple(f"{package}.__main__" for package in PACKAGES)

# The graph of the tokenizer and of the export, and the training step of one backend.
TENSORFLOW_AT_IMPORT = {
    "bert_tf.answers",
    "bert_tf.answers_masks",
    "bert_tf.answers_spans",
    "bert_tf.answers_tags",
    "bert_tf.canonical_order",
    "bert_tf.litert_format",
    "bert_tf.model_inputs",
    "bert_tf.serving.exported",
    "bert_tf.special_tokens",
    "bert_tf.tensorflow_step",
    "bert_tf.text_spans",
    "bert_tf.text_tokens",
    "bert_tf.text_windows",
    "bert_tf.tokenizer",
    "bert_tf.wordpiece",
}
JAX_AT_IMPORT = {"bert_tf.jax_step"}
BACKENDS = {"tensorflow", "jax", "torch"}


def module_name(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


@functools.cache
def tree_of(module):
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imported_by(node, module):
    """The full names in one import statement; of `from a import b` both a and a.b, as b can be a module."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module} has a relative import in line {node.lineno}; write the whole name"
        return {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def all_imports(module):
    """Everything that a module imports anywhere, in functions too, and the modules that it names in strings."""
    names = set()
    for node in ast.walk(tree_of(module)):
        names |= imported_by(node, module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in FILES:
            names |= {node.value} if "." in node.value else set()  # for importlib.import_module
    return names


def imports_at_import(module):
    """What is imported when the module is: the statements outside functions."""

    def visit(node):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return set()
        return imported_by(node, module).union(*(visit(child) for child in ast.iter_child_nodes(node)))

    return visit(tree_of(module))


def packages_of(names):
    return {name.split(".")[0] for name in names}


def with_parents(name):
    """ "a.b.c" -> "a", "a.b", "a.b.c": importing a module imports the packages above it."""
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def reached_at_import(module):
    """Every module of the packages that is imported together with this one."""
    reached, waiting = set(), {module}
    while waiting:
        reached |= waiting
        names = set().union(*(with_parents(name) for found in waiting for name in imports_at_import(found)))
        waiting = {name for name in names if name in FILES} - reached
    return reached


def test_the_source_is_there():
    """The checks below see the files that they are about, and both kinds of imports."""
    assert {"bert_tf", "bert_tf.model", "pretraining.heads", "downstream.heads", *SCRIPTS} <= set(FILES)
    assert "bert_tf.attention" in imports_at_import("bert_tf.model")
    assert "tensorflow" in all_imports("bert_tf.export")
    assert "tensorflow" not in imports_at_import("bert_tf.export")
    assert "pretraining.heads" in all_imports("pretraining")
    assert {"bert_tf.model", "bert_tf.embeddings", "bert_tf.errors", "bert_tf"} <= reached_at_import(
        "pretraining.heads"
    )


# Directions


@pytest.mark.parametrize("module", sorted(FILES))
def test_direction_of_imports(module):
    forbidden = {"bert_tf": {"pretraining", "downstream"}, "pretraining": {"downstream"}, "downstream": {"pretraining"}}
    names = all_imports(module)
    if module != "bert_tf.__main__":
        assert not packages_of(names) & forbidden[module.split(".")[0]]
    assert not [name for name in names if name.endswith("__main__")], "scripts import; nothing imports a script"
    assert not packages_of(names) & {"tests", "benchmarks"}


def test_no_cycle_at_import():
    """The graph of imports can be drawn from the bottom up."""
    for module in FILES:
        direct = {name for name in imports_at_import(module) if name in FILES and name not in PACKAGES}
        for name in direct - {module}:
            assert module not in reached_at_import(name) or module in PACKAGES, f"{module} and {name} import each other"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names(package):
    """Each name is fetched from its home when it is first asked for; another name is an ordinary AttributeError."""
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'BertModle'"):
        _ = module.BertModle


# Backends


def test_tensorflow_and_jax_at_import():
    for backend, expected in (("tensorflow", TENSORFLOW_AT_IMPORT), ("jax", JAX_AT_IMPORT)):
        assert {module for module in FILES if backend in packages_of(imports_at_import(module))} == expected


@pytest.mark.parametrize("module", ["bert_tf", "bert_tf.model", "bert_tf.training", "pretraining", *SCRIPTS,
                                    "pretraining.train", "pretraining.evaluation", "pretraining.heads",
                                    "downstream", "downstream.heads", "downstream.objective"])  # fmt: skip
def test_imported_without_a_backend(module):
    """Directly or through others, none of these imports TensorFlow or JAX before it is asked to."""
    assert not reached_at_import(module) & (TENSORFLOW_AT_IMPORT | JAX_AT_IMPORT)


def is_model_code(module):
    return bool(all_imports(module) & {"keras.ops", "bert_tf.pretrained.PretrainedModel"})


def test_what_model_code_is():
    """The next check is about these at least."""
    names = "attention embeddings encoder model inputs pretrained optimization lamb muon"
    expected = {f"bert_tf.{name}" for name in names.split()} | {"pretraining.heads", "pretraining.objective"}
    expected |= {"downstream.heads", "downstream.objective"}
    assert expected <= {module for module in FILES if is_model_code(module)}


@pytest.mark.parametrize("module", [module for module in FILES if is_model_code(module)])
def test_models_heads_and_losses_use_keras_ops_alone(module):
    """No backend anywhere in them, not inside a function either, so that one code runs on both."""
    assert not packages_of(all_imports(module)) & BACKENDS
    source = FILES[module].read_text(encoding="utf-8")
    assert not re.search(r"keras\.(src|backend\.(tensorflow|jax))", source)


@pytest.mark.parametrize("module", ["bert_tf.model", "pretraining.heads", "downstream.heads"])
@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_onednn(module, given, expected):
    """On x86 it is on before Keras is there, whichever package is the first; a user's choice stays."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("TensorFlow has its own defaults on other processors")
    code = f"""
import builtins, os
real, seen = builtins.__import__, []
def watched(name, *rest):
    if name.split(".")[0] in ("keras", "tensorflow") and not seen:
        seen.append(os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
        raise KeyboardInterrupt
    return real(name, *rest)
builtins.__import__ = watched
try:
    import {module}
except KeyboardInterrupt:
    print(*seen)
"""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": given} if given else {}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected]


# Files


@pytest.mark.parametrize("module", sorted(FILES))
def test_files(module):
    """At most 350 lines, opened by a docstring, named by what they hold; no pickle is loaded."""
    lines = FILES[module].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 350
    assert ast.get_docstring(tree_of(module))
    assert module.split(".")[-1] not in {"utils", "util", "helpers", "common", "misc"}
    assert not packages_of(all_imports(module)) & {"pickle", "dill", "joblib"}
    assert not [line for line in lines if re.search(r"allow_pickle\s*=\s*True", line)]


def layer_classes():
    for module in FILES:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.ClassDef) and any(
                ast.unparse(base).endswith("layers.Layer") for base in node.bases
            ):
                yield module, node


def test_layers_take_plain_arguments():
    """The configuration stops at the model."""
    names = set()
    for module, node in layer_classes():
        names.add(node.name)
        arguments = {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
        assert "config" not in arguments, f"{node.name} in {module} takes a config"
    assert {"MultiHeadAttention", "EncoderBlock", "BertEmbeddings", "FeedForward", "MaskedLMHead"} <= names
