"""Trial records as JSON text and back: what a study stores of each trial."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from search.store.results import Candidate, ProxyResult, TrialRecord, TrialStatus
from sizer.architecture import Architecture
from sizer.errors import InvalidFile
from sizer.hf_config import architecture_from_config, config_from_architecture
from sizer.prediction import Basis, Prediction

SCHEMA = "sizer.trial/1"


def record_to_json(record: TrialRecord) -> str:
    """One line of JSON holding everything in the record."""
    proxy = proxy_to_dict(record.proxy) if record.proxy else None
    document = {
        "schema": SCHEMA,
        "number": record.number,
        "name": record.candidate.architecture.name,
        "config": config_from_architecture(record.candidate.architecture),
        "format": record.candidate.format,
        "num_parameters": record.num_parameters,
        "file_bytes": record.file_bytes,
        "memory_bytes": record.memory_bytes,
        "decode_tokens_per_s": record.decode_tokens_per_s.to_dict() if record.decode_tokens_per_s else None,
        "proxy": proxy,
        "violations": list(record.violations),
        "repeats": record.repeats,
        "scaled": _scaled_to_dict(record.scaled),
    }
    return json.dumps(document, allow_nan=False)


def record_from_json(text: str) -> TrialRecord:
    """TrialRecord from the text of `record_to_json`; InvalidFile names what is wrong."""
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise InvalidFile(f"trial record: schema {document['schema']!r}; accepted: {SCHEMA}")
        return TrialRecord(
            number=document["number"],
            candidate=Candidate(
                architecture=architecture_from_config(document["config"], document["name"]),
                format=document["format"],
            ),
            num_parameters=document["num_parameters"],
            file_bytes=document["file_bytes"],
            memory_bytes=document["memory_bytes"],
            decode_tokens_per_s=_prediction(document["decode_tokens_per_s"]),
            proxy=proxy_from_dict(document["proxy"]) if document["proxy"] is not None else None,
            violations=tuple(document["violations"]),
            repeats=document["repeats"],
            scaled=_scaled_from_dict(document.get("scaled")),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InvalidFile(f"trial record: cannot be read ({error}); accepted: schema {SCHEMA}") from None


def _scaled_to_dict(scaled: Architecture | None) -> dict[str, Any] | None:
    return None if scaled is None else {"name": scaled.name, "config": config_from_architecture(scaled)}


def _scaled_from_dict(values: dict[str, Any] | None) -> Architecture | None:
    return None if values is None else architecture_from_config(values["config"], values["name"])


def proxy_to_dict(proxy: ProxyResult) -> dict[str, Any]:
    """A run's result as JSON values; chunks' bits to 5 decimals."""
    values = asdict(proxy)
    values["val_chunk_bits"] = [round(bits, 5) for bits in proxy.val_chunk_bits]
    return values


def proxy_from_dict(values: dict[str, Any]) -> ProxyResult:
    """ProxyResult from the values of `proxy_to_dict`; keys of later versions are left out."""
    known = {f.name for f in fields(ProxyResult)}
    read = {key: value for key, value in values.items() if key in known}
    read["val_chunk_bits"] = tuple(read.get("val_chunk_bits", ()))
    return ProxyResult(**{**read, "status": TrialStatus(values["status"])})


def _prediction(values: dict[str, Any] | None) -> Prediction | None:
    if values is None:
        return None
    return Prediction(
        value=values["value"], low=values["low"], high=values["high"], basis=Basis(values["basis"])
    )
