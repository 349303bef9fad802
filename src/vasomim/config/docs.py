"""Help of settings, read from the docstrings below their fields, so that nothing is declared twice."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise


def field_docs(cls: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, by field; fields without one are left out."""
    body = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, below in pairwise(body.body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            docs[statement.target.id] = " ".join(below.value.value.split())
    return docs
