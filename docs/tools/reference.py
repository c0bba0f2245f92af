"""Write the site's reference pages from the code: commands, configuration and JSON documents.

`mkdocs` runs this while it builds (`mkdocs.yml`), so that no page can differ from the program.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mkdocs_gen_files
import typer
from typer.cli import get_docs_for_click

import cli
from search.config.config import TABLES
from search.config.reference import axes_table, settings_table

ROOT = Path(__file__).resolve().parents[2]
STUDY = ("guided-0", "--storage", f"sqlite:///{ROOT / 'docs' / 'studies.db'}")

# Schema and a command that prints such a document in seconds; others need a trained model or a cluster.
DOCUMENTS = {
    "sizer.estimate/1": ("estimate", "SmolLM2-135M", "--device", "galaxy-s24", "--tokens", "1T"),
    "sizer.compare/1": ("compare", "SmolLM2-135M", "Qwen3-0.6B", "--device", "galaxy-s24"),
    "sizer.solve/1": ("solve", "--device", "galaxy-s24", "--max-size", "60MB", "--top", "1"),
    "sizer.inspect/1": ("inspect", "CONFIG"),
    "sizer.frontier/1": ("search", "frontier", *STUDY),
    "sizer.trust/1": ("search", "trust", *STUDY),
    "sizer.decisions/1": ("search", "decisions", *STUDY),
}
JSON_HEAD = """# JSON documents

Every command takes `--json` and then prints one document and nothing else. `schema` names its form:
keys are added to a form, never taken away or given another meaning. A list is described by its
first element; `null` stands where a value is not known, with the reason under `unsupported`.

Not shown here: `sizer.export/1`, `sizer.verify/1`, `sizer.score/1` and `sizer.generate/1`
([export](../export.md)), `sizer.recipe/1` (`plan.json`), `sizer.live/1` (`runs/NAME/live.json`),
`sizer.cluster/1`, `sizer.calibration/1`, `sizer.report/1`.

"""
_CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


def commands_page() -> str:
    """Return every command with its options and examples, as Markdown."""
    root = typer.main.get_command(cli.build())
    text = get_docs_for_click(
        obj=root, ctx=typer.Context(root, info_name="sizer"), name="sizer", title="Commands"
    )
    # examples are indented lines, which Markdown would join
    return re.sub(r"^Examples:\n((?:  .*\n)+)", r"Examples:\n\n```\n\1```\n", text, flags=re.MULTILINE)


def configuration_page() -> str:
    """Return the axes and every field of a search's TOML file, as Markdown."""
    tables = (settings_table(name) for name in TABLES)
    return "\n\n".join(
        (
            "# Configuration of a search",
            "The tables of the TOML file that `sizer search run --config FILE` reads; every field is "
            "an option of `sizer search run` as well. [How they work together](../search.md).",
            "## Axes",
            axes_table(),
            "## Fields",
            *tables,
            "",
        )
    )


def json_page() -> str:
    """Return the keys of each JSON document with types and an example, read off what the commands print."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(_CONFIG), encoding="utf-8")
        parts = [_document(schema, command, config) for schema, command in DOCUMENTS.items()]
    return JSON_HEAD + "\n".join(parts)


def _document(schema: str, command: tuple[str, ...], config: Path) -> str:
    arguments = [str(config) if word == "CONFIG" else word for word in command]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = cli.main([*arguments, "--json"])
    if code not in (0, 1):
        raise SystemExit(f"{schema}: `sizer {' '.join(arguments)} --json` ended with {code}")
    document = json.loads(out.getvalue())
    if document.get("schema") != schema:
        raise SystemExit(f"{schema}: the command prints {document.get('schema')}")
    shown = " ".join(word.replace(str(ROOT) + "/", "") for word in command).replace("CONFIG", "config.json")
    rows = "\n".join(f"| `{path}` | {kind} | `{example}` |" for path, kind, example in _leaves(document))
    return f"## {schema}\n\n`sizer {shown} --json`\n\n| key | type | example |\n|---|---|---|\n{rows}\n"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key, JSON type and an example of every plain value in a document."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        yield from _leaves(value[0], f"{path}[]")
    else:
        kinds = {bool: "boolean", int: "integer", float: "number", str: "text", list: "list", dict: "object"}
        text = json.dumps(value, ensure_ascii=False).replace("|", "\\|").replace(str(ROOT), "")
        yield path, kinds.get(type(value), "null"), text if len(text) <= 60 else f"{text[:57]}..."


PAGES = {
    "reference/commands.md": commands_page,
    "reference/configuration.md": configuration_page,
    "reference/json.md": json_page,
}

if __name__ in ("__main__", "<run_path>"):
    for name, page in PAGES.items():
        with mkdocs_gen_files.open(name, "w") as file:
            file.write(page())
