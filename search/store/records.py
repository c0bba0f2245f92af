"""Trial records as JSON text and back: what a study stores of each trial."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from search.store.results import Candidate, DeviceFigures, ProxyResult, TrialRecord, TrialStatus
from sizer.architecture import Architecture
from sizer.errors import InvalidFile
from sizer.families.hf_config import architecture_from_config, config_from_architecture
from sizer.prediction import Basis, Prediction

SCHEMA = "sizer.trial/1"
_PREDICTED = ("decode_tokens_per_s", "time_to_first_token_s", "joules_per_token")


def record_to_json(record: TrialRecord) -> str:
    """Return one line of JSON that holds everything in the record."""
    proxy = proxy_to_dict(record.proxy) if record.proxy else None
    document = {
        "schema": SCHEMA,
        "number": record.number,
        "name": record.candidate.architecture.name,
        "config": config_from_architecture(record.candidate.architecture),
        "format": record.candidate.format,
        "cache_type": record.candidate.cache_type,
        "num_parameters": record.num_parameters,
        "file_bytes": record.file_bytes,
        "memory_bytes": record.memory_bytes,
        "decode_tokens_per_s": _to_dict(record.decode_tokens_per_s),
        "proxy": proxy,
        "violations": list(record.violations),
        "repeats": record.repeats,
        "scaled": _scaled_to_dict(record.scaled),
        "separate_tokenizer_bytes": record.separate_tokenizer_bytes,
        "download_bytes": record.download_bytes,
        "time_to_first_token_s": _to_dict(record.time_to_first_token_s),
        "joules_per_token": _to_dict(record.joules_per_token),
        "devices": [_device_to_dict(one) for one in record.devices],
    }
    return json.dumps(document, allow_nan=False)


def record_from_json(text: str) -> TrialRecord:
    """Read a TrialRecord from the text of `record_to_json`; InvalidFile names what is wrong."""
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise InvalidFile(f"trial record: schema {document['schema']!r}; accepted: {SCHEMA}")
        return TrialRecord(
            number=document["number"],
            candidate=Candidate(
                architecture=architecture_from_config(document["config"], document["name"]),
                format=document["format"],
                cache_type=document.get("cache_type"),
            ),
            num_parameters=document["num_parameters"],
            file_bytes=document["file_bytes"],
            memory_bytes=document["memory_bytes"],
            decode_tokens_per_s=_prediction(document["decode_tokens_per_s"]),
            proxy=proxy_from_dict(document["proxy"]) if document["proxy"] is not None else None,
            violations=tuple(document["violations"]),
            repeats=document["repeats"],
            scaled=_scaled_from_dict(document.get("scaled")),
            separate_tokenizer_bytes=document.get("separate_tokenizer_bytes", 0),
            download_bytes=document.get("download_bytes"),
            time_to_first_token_s=_prediction(document.get("time_to_first_token_s")),
            joules_per_token=_prediction(document.get("joules_per_token")),
            devices=tuple(_device_from_dict(one) for one in document.get("devices", ())),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InvalidFile(f"trial record: cannot be read ({error}); accepted: schema {SCHEMA}") from None


def _scaled_to_dict(scaled: Architecture | None) -> dict[str, Any] | None:
    return None if scaled is None else {"name": scaled.name, "config": config_from_architecture(scaled)}


def _scaled_from_dict(values: dict[str, Any] | None) -> Architecture | None:
    return None if values is None else architecture_from_config(values["config"], values["name"])


def _device_to_dict(one: DeviceFigures) -> dict[str, Any]:
    return {
        "device": one.device,
        "memory_bytes": one.memory_bytes,
        **{name: _to_dict(getattr(one, name)) for name in _PREDICTED},
        "violations": list(one.violations),
    }


def _device_from_dict(values: dict[str, Any]) -> DeviceFigures:
    predicted = {name: _prediction(values[name]) for name in _PREDICTED}
    return DeviceFigures(
        device=values["device"],
        memory_bytes=values["memory_bytes"],
        violations=tuple(values["violations"]),
        **predicted,
    )


def _to_dict(prediction: Prediction | None) -> dict[str, Any] | None:
    return None if prediction is None else prediction.to_dict()


def proxy_to_dict(proxy: ProxyResult) -> dict[str, Any]:
    """Return a run's result as JSON values, bits of chunks to 5 decimals."""
    values = asdict(proxy)
    values["val_chunk_bits"] = [round(bits, 5) for bits in proxy.val_chunk_bits]
    return values


def proxy_from_dict(values: dict[str, Any]) -> ProxyResult:
    """Read a ProxyResult from the values of `proxy_to_dict`; keys of later versions are ignored."""
    known = {f.name for f in fields(ProxyResult)}
    read = {key: value for key, value in values.items() if key in known}
    read["val_chunk_bits"] = tuple(read.get("val_chunk_bits", ()))
    return ProxyResult(**{**read, "status": TrialStatus(values["status"])})


def _prediction(values: dict[str, Any] | None) -> Prediction | None:
    if values is None:
        return None
    value, low, high = (values[key] for key in ("value", "low", "high"))
    if not 0 <= low <= value <= high:
        raise ValueError(f"value: must be from low to high, got {value:g} with {low:g} to {high:g}")
    return Prediction(value=value, low=low, high=high, basis=Basis(values["basis"]))
