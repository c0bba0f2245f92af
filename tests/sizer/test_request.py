"""EstimateRequest: batch lines and the command line ask for the same, and a request becomes a command."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import cli
from sizer.errors import SizerError
from sizer.registry import model
from sizer.request import EstimateRequest


def _request(values: dict[str, Any]) -> EstimateRequest:
    if values["device"] is None:
        values["min_decode"] = None
    return EstimateRequest(**values)


REQUESTS = (
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["SmolLM2-135M", "MobileLLM-125M"]),
            "num_layers": st.none() | st.integers(1, 40),
            "tie_embeddings": st.none() | st.booleans(),
            "sharing": st.sampled_from([None, "immediate", "reverse"]),
            "format": st.sampled_from(["Q4_0", "Q8_0"]),
            "device": st.sampled_from([None, "raspberry-pi-5"]),
            "context": st.none() | st.integers(256, 4096),
            "cache_type": st.sampled_from([None, "q8_0"]),
            "batch_size": st.none() | st.integers(1, 3),
            "lora_rank": st.none() | st.integers(1, 16),
            "sparsity": st.sampled_from([None, 0.25, 0.5]),
            "max_memory": st.sampled_from([None, "200MB", "1 GiB", 300_000_000]),
            "min_decode": st.sampled_from([None, 20.0, 1e6]),
            "gpu_layers": st.sampled_from([None, 0, 5, 99]),
            "draft": st.sampled_from([None, "MobileLLM-125M"]),
        }
    )
    .map(_request)
    .filter(lambda asked: not (asked.device and asked.gpu_layers))
)


@given(REQUESTS)
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_a_request_becomes_the_command_that_gives_it(request: EstimateRequest) -> None:
    asked = request.run().to_dict()
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("commands.estimate.out_json", lambda document: printed.append(json.dumps(document)))
        assert cli.main(["estimate", *request.to_arguments(), "--json"]) in (0, 1)
    assert json.loads(printed[0]) == json.loads(json.dumps(asked))


def test_a_shape_is_written_in_full() -> None:
    shape = replace(model("SmolLM2-135M").architecture, num_layers=7, name="mine")
    words = EstimateRequest(architecture=shape, format="Q4_0").to_arguments()
    assert words[0].startswith("shape:")
    assert words[1:] == ["--format", "Q4_0"]


def test_a_batch_line_holds_the_same_fields() -> None:
    line = {"model": "SmolLM2-135M", "sharing": {"strategy": "immediate", "repeat": 3}, "context": 512}
    request = EstimateRequest.from_json(line)
    assert request == EstimateRequest(model="SmolLM2-135M", sharing="immediate", repeat=3, context=512)


def test_tokens_of_a_batch_line_may_be_text() -> None:
    tokens = {"context": "8k", "prompt": "2k", "generate": "100", "ubatch": "1k"}
    load = EstimateRequest.from_json({"model": "SmolLM2-135M", **tokens}).run().estimate.workload
    counted = (load.context_tokens, load.prompt_tokens, load.generated_tokens, load.ubatch_tokens)
    assert counted == (8192, 2048, 100, 1024)
    step = {"model": "SmolLM2-135M", "training": True, "sequence_length": "1k", "context": 4096.0}
    training = EstimateRequest.from_json(step).run().training
    assert training is not None
    assert training.to_dict()["sequence_length"] == 1024
    with pytest.raises(SizerError, match=r"^sequence_length: cannot read 'long'; accepted: whole tokens"):
        EstimateRequest.from_json({**step, "sequence_length": "long"}).run()
    with pytest.raises(SizerError, match=r"^prompt: cannot read 'long'; accepted: whole tokens"):
        EstimateRequest.from_json({"model": "SmolLM2-135M", "prompt": "long"}).run()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"model": "SmolLM2-135M", "bits": "4"}, "bits: must be a number, got '4'"),
        ({"model": "SmolLM2-135M", "format": 4}, "format: must be text, got 4"),
        ({"model": "SmolLM2-135M", "max_memory": True}, 'max_memory: must be text such as "2GB"'),
        ({"model": "SmolLM2-135M", "min_decode": "fast"}, "min_decode: must be a number"),
        ({"model": "SmolLM2-135M", "flash_attention": 1}, "flash_attention: must be true or false, got 1"),
        ({"model": "SmolLM2-135M", "hidden_size": 64}, "hidden_size: unknown key"),
        ({"bits": 4}, "config: missing"),
        ([], "line: not a JSON object"),
    ],
)
def test_a_bad_line_names_its_key(line: object, named: str) -> None:
    with pytest.raises(SizerError, match=named.replace("(", r"\(")):
        EstimateRequest.from_json(line)


def test_every_field_is_an_option_or_the_model_itself() -> None:
    from commands.estimate import _OPTIONS

    others = {"model", "config", "architecture", "hypothetical", "runtime", "device"}
    assert set(EstimateRequest._fields) == others | set(_OPTIONS)


# facts of two published models; counts: transformers 5.23 on the meta device
NOT_IN_LLAMA_CPP = {
    125_239_296: {
        "model_type": "opt",
        "do_layer_norm_before": True,
        "ffn_dim": 3072,
        "hidden_size": 768,
        "max_position_embeddings": 2048,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "vocab_size": 50272,
        "word_embed_proj_dim": 768,
    },
    2_651_307_520: {
        "model_type": "gpt_neo",
        "attention_types": [[["global", "local"], 16]],
        "hidden_size": 2560,
        "max_position_embeddings": 2048,
        "num_heads": 20,
        "num_layers": 32,
        "vocab_size": 50257,
        "window_size": 256,
    },
}


@pytest.mark.parametrize(("count", "config"), NOT_IN_LLAMA_CPP.items())
def test_a_model_that_llama_cpp_cannot_run_is_sized_for_transformers(
    count: int, config: dict[str, Any]
) -> None:
    found = EstimateRequest.from_json({"config": config}).run().estimate
    assert found.runtime == "transformers"
    assert found.parameters.total == count
    assert found.assumptions[0].startswith("llama.cpp runs no model of this kind")
    assert found.assumptions[0].endswith("sized for transformers")
    assert found.unsupported == {}


@pytest.mark.parametrize("asked", [{"runtime": "llama.cpp"}, {"format": "Q8_0"}, {"cache_type": "q8_0"}])
@pytest.mark.parametrize(("count", "config"), NOT_IN_LLAMA_CPP.items())
def test_asked_of_llama_cpp_it_has_its_count_and_the_reason(
    count: int, config: dict[str, Any], asked: dict[str, Any]
) -> None:
    line = {"config": config, "device": "raspberry-pi-5", **asked}
    document = EstimateRequest.from_json(line).run().to_dict()
    assert document["parameters"]["total"] == count
    missing = ("weights", "memory", "latency", "energy")
    assert [document[part] for part in missing] == [None] * 4
    assert set(document["unsupported"]) == set(missing)
    (reason,) = set(document["unsupported"].values())
    assert "runtimes that do: transformers, transformers.js, transformers.js-webgpu" in reason


def test_pruning_and_training_of_what_a_runtime_cannot_hold() -> None:
    (config, *_) = NOT_IN_LLAMA_CPP.values()
    line = {"config": config, "runtime": "llama.cpp", "sparsity": 0.5, "training": True}
    answer = EstimateRequest.from_json(line).run()
    assert answer.estimate.weights is None
    assert answer.sparsity is None
    assert answer.training is not None
    assert answer.training.parts["weights_bytes"] == 4 * 125_239_296


def test_limits_that_are_broken_are_named() -> None:
    line = {"model": "SmolLM2-135M", "device": "raspberry-pi-5", "max_memory": "100MB", "min_decode": 1e6}
    answer = EstimateRequest.from_json(line).run()
    memory, decode = answer.to_dict()["violations"]
    assert memory.endswith(" > 100 MB")
    assert decode.endswith(" tokens/s < 1e+06 tokens/s")
    assert answer.estimate.memory.budget_bytes == 100_000_000
    roomy = EstimateRequest.from_json(line | {"max_memory": "64GB", "min_decode": 1}).run()
    assert roomy.to_dict()["violations"] == []
    budget = roomy.estimate.memory.budget_bytes
    assert budget is not None
    assert budget < 8 * 2**30  # the device's limit is smaller


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"min_decode": 20}, "min_decode: needs a device"),
        ({"min_decode": -1, "device": "raspberry-pi-5"}, "min_decode: must be tokens per second above 0"),
        ({"max_memory": "2 apples"}, "max_memory: cannot read '2 apples'; accepted: a number with B, KB"),
    ],
)
def test_a_limit_that_cannot_be_read(asked: dict[str, Any], named: str) -> None:
    with pytest.raises(SizerError, match=named):
        EstimateRequest.from_json({"model": "SmolLM2-135M"} | asked).run()


XLM = {
    **{"model_type": "xlm", "emb_dim": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 1000},
    **{"max_position_embeddings": 128, "n_langs": 1},
}


@pytest.mark.slow
def test_a_config_that_only_transformers_knows_has_its_count_and_plain_weights() -> None:
    # tables, their norm; two blocks: four projections, FFN of 4 x width, two norms; the head's bias
    block = 4 * (64 * 64 + 64) + (64 * 256 + 256) + (256 * 64 + 64) + 2 * 128
    count = (1000 + 128) * 64 + 128 + 2 * block + 1000
    document = EstimateRequest(config=XLM).run().to_dict()
    assert document["parameters"]["total"] == count
    assert document["weights"]["runtime"] == "transformers"
    assert document["weights"]["tensor_bytes"] == 2 * count
    assert document["memory"] is None
    asked = EstimateRequest(config=XLM, runtime="llama.cpp").run().to_dict()
    assert asked["weights"] is None
    assert asked["unsupported"]["weights"].endswith("runtimes that do: transformers")


def test_a_model_type_that_nobody_knows_is_refused_at_once() -> None:
    with pytest.raises(SizerError, match="unknown model_type 'mpt-typo'"):
        EstimateRequest(config={**XLM, "model_type": "mpt-typo"}).run()
