"""Writes sizer/data/quality.toml and accuracy.toml: constants of the law and of accuracy, with their sources.

`python benchmarks/quality/fit.py DIRECTORY` fits tests/data and, from DIRECTORY, the two tables whose rows
are not in this repository (`benchmarks/quality/tables.py` names them). Next to it, left_out.toml holds
the law that all other origins teach, for what is judged on an origin (docs/replay.md, docs/quality.md).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.quality.families import accuracy_document, family_models, fit_map
from benchmarks.quality.learn import LEFT_OUT_FILE, START, TEACHERS, learned, priors_without_each
from benchmarks.quality.mobilellm import LEAST_BITS
from benchmarks.quality.tables import QualityTable, not_shipped, shipped
from benchmarks.quality.tasks import fit_tasks, tasks_text
from sizer.quality.constants import ACCURACY_FILE, QUALITY_FILE
from sizer.quality.law import NATS, PARAMETERS
from sizer.quality.posterior import Prior

_HEADER = """\
# Written by benchmarks/quality/fit.py; do not edit. The law is sizer/quality/law.py.
# value: the constant that tables agree on (means of their fits, each origin counting once); sd: of its
# natural logarithm between tables, chosen where tables left out are predicted best (docs/quality.md).
"""
_SOURCES = {
    "gemstones_cooled": "Gemstones, arXiv 2502.06857, mcleish7/gemstone-scaling-laws@5f420478f6",
    "gemstones_constant": "the same, losses on FineWeb-Edu",
    "olmo_ladder": "OLMo ladder, arXiv 2412.04403, allenai/OLMo-ladder@67a3f440f7",
    "cerebras_gpt": "Cerebras-GPT, arXiv 2304.03208",
    "datablations": "arXiv 2305.16264, huggingface/datablations@13701315b1, one epoch",
    "chinchilla": "arXiv 2203.15556 read by arXiv 2404.10102, epoch-research/analyzing-chinchilla@9225883742",
    "marin": "marin-community/speedrun@8c942e9bec, bits a byte on C4",
    "lts": "Lite Transformer Search, arXiv 2203.02094, microsoft/archai@4777041",
}


def main(directory: str) -> None:
    """Fit all tables and write the file."""
    tables = shipped() | not_shipped(Path(directory))
    if missing := sorted(set(_SOURCES) - set(tables)):
        sys.exit(f"{directory}: has no table {', '.join(missing)}")
    prior = learned(tables.values())
    lines = [_HEADER]
    lines += ["sources = [", *(f'    "{name}: {text}",' for name, text in _SOURCES.items()), "]", ""]
    for name, value, in_nats in zip(PARAMETERS, np.exp(prior.mean), NATS, strict=True):
        lines += ["[[constant]]", f'name = "{name}"', f"value = {value:.4g}", f"sd = {START[name][1]:g}"]
        lines += [f'unit = "{"nats" if in_nats else "1"}"', ""]
    for name, (least, most) in _ranges(
        [table for table in tables.values() if table.name in TEACHERS]
    ).items():
        lines += ["[[range]]", f'name = "{name}"', f"least = {least:.6g}", f"most = {most:.6g}", ""]
    QUALITY_FILE.write_text("\n".join(lines), encoding="utf-8")
    LEFT_OUT_FILE.write_text(_left_out(priors_without_each(tables)), encoding="utf-8")
    models = family_models()
    tasks = fit_tasks(models, *fit_map(models))
    ACCURACY_FILE.write_text("\n".join([accuracy_document(), *tasks_text(tasks)]), encoding="utf-8")


def _ranges(tables: Sequence[QualityTable]) -> dict[str, tuple[float, float]]:
    """Return the least and the most of each column of the law among the models that teach it."""
    found = {}
    for name in ("weights", "aspect", "head_dim", "ffn_ratio"):
        values = np.concatenate([getattr(table.models, name) for table in tables])
        found[name] = float(np.nanmin(values)), float(np.nanmax(values))
    return found | {"bits": (LEAST_BITS, 16.0)}


def _left_out(priors: Mapping[str, Prior]) -> str:
    """Return the text of left_out.toml."""
    lines = [
        "# Written by benchmarks/quality/fit.py; do not edit. The law's constants by all others.",
        "",
    ]
    for origin, prior in priors.items():
        lines += ["[[law]]", f'without = "{origin}"']
        lines += [f"{n} = {value:.6g}" for n, value in zip(PARAMETERS, np.exp(prior.mean), strict=True)]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
