"""Results as tidy pandas tables: one row per trial or run, units in the column names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.text.scaled_proxies import proxies_front
from reports.text.wording import shape_text
from search.analysis.frontier import frontier
from search.analysis.ranking import are_scaled, extrapolation_of, ranking
from search.space.convolved import convolutions_in
from search.space.ffn_growth import growth_of
from search.space.windowed import windows_in
from search.store.results import SearchResult, TrialRecord

if TYPE_CHECKING:
    from search.quality.law import LawPrediction

# Whole numbers that an untrained trial does not have: pandas' nullable integers keep them whole.
_OPTIONAL_INTEGERS = (
    "repeats_trial",
    "steps",
    "trained_tokens",
    "seed",
    "proxy_hidden_size",
    "proxy_vocab_size",
    "proxy_num_parameters",
)
_OPTIONAL_FLOATS = (
    "decode_tokens_per_s",
    "decode_tokens_per_s_low",
    "decode_tokens_per_s_high",
    "val_bits_per_byte",
    "val_bits_per_byte_se",
    "val_bits_per_byte_full_precision",
    "wall_s",
    "model_val_bits_per_byte",
    "model_val_bits_per_byte_low",
    "model_val_bits_per_byte_high",
)
_TRIAL_COLUMNS = (
    "trial",
    "status",
    "on_frontier",
    "repeats_trial",
    "shape",
    "format",
    "num_layers",
    "executed_layers",
    "hidden_size",
    "intermediate_size",
    "ffn_growth",
    "num_experts",
    "num_experts_per_tok",
    "window_positions",
    "full_every",
    "conv_kernel",
    "attention_every",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "vocab_size",
    "tie_embeddings",
    "sharing_strategy",
    "sharing_repeat",
    "sharing_ends",
    "num_parameters",
    "file_bytes",
    "memory_bytes",
    "decode_tokens_per_s",
    "decode_tokens_per_s_low",
    "decode_tokens_per_s_high",
    "decode_basis",
    "val_bits_per_byte",
    "val_bits_per_byte_se",
    "val_bits_per_byte_full_precision",
    "steps",
    "trained_tokens",
    "wall_s",
    "seed",
    "proxy_hidden_size",
    "proxy_vocab_size",
    "proxy_num_parameters",
    "model_val_bits_per_byte",
    "model_val_bits_per_byte_low",
    "model_val_bits_per_byte_high",
    "violations",
)

# Of scaled proxies, behind `on_frontier`: the column that ranks, and the frontier by what was trained.
_RANKED_COLUMNS = ("ranked_by", "on_frontier_by_proxy")

# What a page's grid of trials shows.
GRID_COLUMNS = (
    *("trial", "status", "on_frontier", "shape", "format", "num_parameters", "file_bytes", "memory_bytes"),
    *("decode_tokens_per_s", "val_bits_per_byte", "val_bits_per_byte_se", "model_val_bits_per_byte"),
    *("steps", "trained_tokens", "wall_s", "violations"),
)


def trials_frame(result: SearchResult) -> pd.DataFrame:
    """Return every trial of a study, infeasible and diverged ones included, by number.

    `proxy_` columns are of the scaled proxy trained in a model's place, `model_` ones what its score means
    for the model; both are empty where the model itself was trained. A study of proxies has two more columns:
    `ranked_by` names the one that `on_frontier` goes by, `on_frontier_by_proxy` goes by what was trained.
    """
    on_front = {record.number for record in frontier(result)}
    found = extrapolation_of(result)
    expected = {} if found is None else found.predictions
    rows = [
        _trial_row(r, r.number in on_front) | _proxy_row(r, expected.get(r.number))
        for r in sorted(result.records, key=lambda r: r.number)
    ]
    frame = pd.DataFrame(rows, columns=list(_TRIAL_COLUMNS))
    types = {name: "Int64" for name in _OPTIONAL_INTEGERS} | {name: "float64" for name in _OPTIONAL_FLOATS}
    frame = frame.astype(types | {"on_frontier": "bool"})
    if are_scaled(result):
        place = _TRIAL_COLUMNS.index("on_frontier") + 1
        frame.insert(place, _RANKED_COLUMNS[1], frame["trial"].isin(proxies_front(result)))
        frame.insert(place, _RANKED_COLUMNS[0], ranking(result).by.value)
    return frame


def rows_with_words(frame: pd.DataFrame, words: str) -> pd.DataFrame:
    """Return the rows that have each of the words, whatever their case, in any of GRID_COLUMNS."""
    texts = [" ".join(map(str, row)).lower() for row in frame[list(GRID_COLUMNS)].itertuples(index=False)]
    return frame[[all(word in text for word in words.lower().split()) for text in texts]]


def frontier_frame(result: SearchResult) -> pd.DataFrame:
    """Return the rows of `trials_frame` that are on the frontier, smallest file first."""
    order = [record.number for record in frontier(result)]
    return trials_frame(result).set_index("trial", drop=False).loc[order].reset_index(drop=True)


_RUN_COLUMNS = (
    "trial",
    "rung",
    "seed",
    "status",
    "steps",
    "trained_tokens",
    "val_bits_per_byte",
    "val_bits_per_byte_se",
    "val_bits_per_byte_full_precision",
    "learning_rate",
    "restarts",
    "wall_s",
    "tokens_per_s",
    "reason",
)


def runs_frame(result: SearchResult) -> pd.DataFrame:
    """Return every run of every trial, by trial, rung and seed: scores of later rungs and replicate seeds."""
    rows = [
        {
            "trial": record.number,
            "rung": run.rung,
            "seed": run.seed,
            "status": run.status.value,
            "steps": run.steps,
            "trained_tokens": run.trained_tokens,
            "val_bits_per_byte": run.val_bits_per_byte,
            "val_bits_per_byte_se": run.val_bits_per_byte_sd,
            "val_bits_per_byte_full_precision": run.val_bits_per_byte_full,
            "learning_rate": run.learning_rate,
            "restarts": run.restarts,
            "wall_s": run.wall_s,
            "tokens_per_s": run.tokens_per_s,
            "reason": run.reason,
        }
        for record in sorted(result.records, key=lambda r: r.number)
        for run in sorted(record.runs, key=lambda run: (run.rung, run.seed))
    ]
    return pd.DataFrame(rows, columns=list(_RUN_COLUMNS))


def _trial_row(record: TrialRecord, on_frontier: bool) -> dict[str, Any]:
    a, decode, proxy = record.candidate.architecture, record.decode_tokens_per_s, record.proxy
    return {
        "trial": record.number,
        "status": record.status.value,
        "on_frontier": on_frontier,
        "repeats_trial": record.repeats,
        "shape": shape_text(a),
        "format": record.candidate.format,
        "num_layers": a.num_layers,
        "executed_layers": a.executed_layers,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "ffn_growth": growth_of(a),
        "num_experts": a.num_experts,
        "num_experts_per_tok": a.num_experts_per_tok,
        "window_positions": windows_in(a).positions,
        "full_every": windows_in(a).full_every,
        "conv_kernel": convolutions_in(a).kernel,
        "attention_every": convolutions_in(a).attention_every,
        "num_heads": a.num_heads,
        "num_kv_heads": a.num_kv_heads,
        "head_dim": a.head_dim,
        "vocab_size": a.vocab_size,
        "tie_embeddings": a.tie_embeddings,
        "sharing_strategy": a.sharing.strategy.value,
        "sharing_repeat": a.sharing.repeat,
        "sharing_ends": a.sharing.ends,
        "num_parameters": record.num_parameters,
        "file_bytes": record.file_bytes,
        "memory_bytes": record.memory_bytes,
        "decode_tokens_per_s": decode.value if decode else None,
        "decode_tokens_per_s_low": decode.low if decode else None,
        "decode_tokens_per_s_high": decode.high if decode else None,
        "decode_basis": decode.basis.value if decode else None,
        "val_bits_per_byte": proxy.val_bits_per_byte if proxy else None,
        "val_bits_per_byte_se": proxy.val_bits_per_byte_sd if proxy else None,
        "val_bits_per_byte_full_precision": proxy.val_bits_per_byte_full if proxy else None,
        "steps": proxy.steps if proxy else None,
        "trained_tokens": proxy.trained_tokens if proxy else None,
        "wall_s": proxy.wall_s if proxy else None,
        "seed": proxy.seed if proxy else None,
        "violations": "; ".join(record.violations),
    }


def _proxy_row(record: TrialRecord, expected: LawPrediction | None) -> dict[str, Any]:
    proxy = record.scaled
    return {
        "proxy_hidden_size": proxy.hidden_size if proxy else None,
        "proxy_vocab_size": proxy.vocab_size if proxy else None,
        "proxy_num_parameters": record.proxy.num_parameters if proxy and record.proxy else None,
        "model_val_bits_per_byte": expected.value if expected else None,
        "model_val_bits_per_byte_low": expected.low if expected else None,
        "model_val_bits_per_byte_high": expected.high if expected else None,
    }
