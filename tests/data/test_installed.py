"""Python's own texts: which files, and code taken apart from its docstrings."""

import ast

import pytest

from creode.data import installed

SOURCE = '''"""Module docstring,
of two lines."""

X = "not a docstring"  # ä


class A:
    """Of a class."""

    def one(self): "on the line of its def"

    async def two(self):
        """
        Indented.

            Deeper.
        """
        return """not a docstring either"""

    def three(self):
        "alone"
'''

CODE = '''
X = "not a docstring"  # ä


class A:

    def one(self): "on the line of its def"

    async def two(self):
        return """not a docstring either"""

    def three(self):
'''

DOCSTRINGS = (
    "Module docstring,\nof two lines.",
    "Of a class.",
    "on the line of its def",
    "Indented.\n\n    Deeper.",
    "alone",
)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A standard library of these files alone."""
    for function in (installed.python_files, installed.module):
        function.cache_clear()
    monkeypatch.setattr(installed.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    yield tmp_path
    for function in (installed.python_files, installed.module):
        function.cache_clear()


def test_code_and_docstrings_are_taken_apart(library):
    (library / "a.py").write_text(SOURCE, encoding="utf-8")
    assert installed.module("a.py").code == CODE
    assert installed.module("a.py").docstrings == "\n\n".join(DOCSTRINGS)


def test_a_declared_encoding_is_read_and_broken_files_are_empty(library):
    (library / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nx = 'ä'\n".encode("latin-1"))
    (library / "broken.py").write_text("def (:\n")
    (library / "bytes.py").write_bytes(b"x = '\xe4'\n")
    assert "x = 'ä'" in installed.module("latin.py").code
    assert installed.module("broken.py") == installed.module("bytes.py") == ("", "")


def test_tests_packages_and_tables_are_left_out(library):
    kept = ["b.py", "pkg/__init__.py", "a.py"]
    left = ["test/a.py", "pkg/tests/b.py", "site-packages/c.py", "encodings/cp1.py", "a.txt"]
    left += ["_sysconfigdata__linux_.py", "pydoc_data/topics.py", "config-3.11-x/c.py"]
    for name in kept + left:
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text("x = 1\n")
    assert list(installed.python_files()) == sorted(kept)


def test_the_real_library_loses_its_docstrings_and_nothing_else():
    name = "textwrap.py"
    parts = installed.module(name)
    source = installed.python_files()[name].read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree) in parts.docstrings
    assert parts.docstrings.count("Wrap a single paragraph of text") == 1
    assert ast.get_docstring(tree) not in parts.code
    assert set(parts.code.splitlines()) < set(source.splitlines())
    assert "class TextWrapper:" in parts.code
