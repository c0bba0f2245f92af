"""Names that people type for models: found, listed where several are meant, refused where nobody knows."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cli
import sizer.registry
from sizer.errors import InvalidFile, UnknownName
from sizer.families.hf_config import FAMILIES
from sizer.model_names import keys
from sizer.readers import read_model
from sizer.registry import Catalogue, model, models
from sizer.request import EstimateRequest
from sizer.tensors import count_parameters, tensor_specs
from sizer.unread_models import unread_models

CATALOGUE = Path(sizer.registry.__file__).parent / "data" / "architectures.toml"

MEANT = {
    # case, publisher, separators
    "smollm2-135m": "SmolLM2-135M",
    "HuggingFaceTB/SmolLM2-135M": "SmolLM2-135M",
    "llama 3.2 1b": "Llama-3.2-1B",
    "Llama_3.2_1B": "Llama-3.2-1B",
    "phi-1.5": "phi-1_5",
    "opt_125m": "opt-125m",
    # variants and quantizations
    "SmolLM2-135M-Instruct": "SmolLM2-135M",
    "gemma-3-1b-it": "gemma-3-1b",
    "gemma-3-1b-pt": "gemma-3-1b",
    "OLMo-1B": "OLMo-1B-hf",
    "qwen2.5-coder:1.5b": "Qwen2.5-1.5B",
    "stablelm-2-zephyr-1_6b": "stablelm-2-1_6b",
    "Llama-3.2-1B-Instruct-q4f16_1-MLC": "Llama-3.2-1B",
    "Qwen2.5-0.5B-Instruct-q0f32-MLC": "Qwen2.5-0.5B",
    # the version or month, where only one is known
    "mixtral:8x7b": "Mixtral-8x7B-v0.1",
    "OLMoE-1B-7B": "OLMoE-1B-7B-0924",
    "gemma-3-4b-it": "gemma-3-4b-text",
    "meta-llama/Llama-3.2-1B-Instruct-FP8-dynamic": "Llama-3.2-1B",
    "mistralai/Mistral-7B-Instruct-v0.3": "Mistral-7B-v0.3",
    "bartowski/google_gemma-3-1b-it-GGUF": "gemma-3-1b",
    "Meta-Llama-3-8B-Instruct-Q4_K_M.gguf": "Llama-3-8B",
    "unsloth/Qwen3-0.6B-UD-Q4_K_XL": "Qwen3-0.6B",
    "Qwen2.5-0.5B-Instruct-GPTQ-Int4": "Qwen2.5-0.5B",
    "mlx-community/Qwen3-1.7B-4bit": "Qwen3-1.7B",
    "Phi-3-mini-4k": "Phi-3-mini-4k-instruct",
    "EleutherAI/pythia-160m-deduped": "pythia-160m",
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "Qwen3-30B-A3B-2507",
    "Qwen/Qwen3-VL-2B-Instruct": "Qwen3-VL-2B-text",
    "mistralai/Ministral-3-3B-Instruct-2512": "Ministral-3-3B-text",
    "meta-llama/Llama-3.3-70B-Instruct": "Llama-3.1-70B",
    "HuggingFaceH4/zephyr-7b-beta": "Mistral-7B-v0.1",
    "Qwen/Qwen3.5-9B": "Qwen3.5-9B-text",
    "internlm/internlm3-8b-instruct": "internlm3-8b",
    "tiiuae/Falcon-H1-1.5B-Deep-Instruct": "Falcon-H1-1.5B-Deep",
    "Qwen/Qwen3-Reranker-0.6B": "Qwen3-Embedding-0.6B",
    "LiquidAI/LFM2-VL-450M": "LFM2-VL-450M-text",
    "mistralai/Mistral-Small-3.2-24B-Instruct-2506": "Mistral-Small-24B-2501",
    # retrainings of a known shape, and what a maker calls it
    "Qwen/Qwen3-VL-2B-Thinking": "Qwen3-VL-2B-text",
    "allenai/Olmo-3.1-32B-Think": "Olmo-3-32B",
    "aisingapore/Qwen-SEA-LION-v4-4B-VL": "Qwen3-VL-4B-text",
    "SakanaAI/TinySwallow-1.5B-Instruct": "Qwen2.5-1.5B",
    "scb10x/llama3.2-typhoon2-1b-instruct": "Llama-3.2-1B",
    "granite-4.0-h-nano-350m": "granite-4.0-h-350m",
    "speakleash/Bielik-1.5B-v3.0-Instruct": "Bielik-1.5B-v3.0",
    "zai-org/GLM-4.6V-Flash": "GLM-4.6V-Flash-text",
    "openbmb/MiniCPM-V-4_5": "MiniCPM-V-4_5-text",
    "deepseek-ai/DeepSeek-OCR": "DeepSeek-OCR-text",
    "kakaocorp/kanana-1.5-2.1b-instruct-2505": "kanana-nano-2.1b",
    # ollama's tags
    "granite4:350m": "granite-4.0-350m",
    "tinyllama:1.1b-chat-v1-q4_0": "TinyLlama-1.1B",
    "deepseek-r1:8b": "DeepSeek-R1-0528-Qwen3-8B",
    "llama3.2:1b": "Llama-3.2-1B",
    "qwen2.5:0.5b": "Qwen2.5-0.5B",
    "qwen2.5:0.5b-instruct-q4_K_M": "Qwen2.5-0.5B",
    "gemma3:1b": "gemma-3-1b",
    "smollm2:135m": "SmolLM2-135M",
    "stablelm2:1.6b": "stablelm-2-1_6b",
    "deepseek-r1:1.5b": "DeepSeek-R1-Distill-Qwen-1.5B",
    "tinyllama": "TinyLlama-1.1B",
    # as tables call them
    "BLOOM-1.7B": "bloom-1b7",
    "Falcon-1B": "falcon-rw-1b",
    "BitNet-b1.58-700M": "bitnet_b1_58-large",
    "MobileLLM-LS-125M": "MobileLLM-LS-125M",
    # vision models, by their text decoders
    "HuggingFaceTB/SmolVLM-256M-Instruct": "SmolVLM-256M-text",
    "SmolVLM2-500M-Video-Instruct": "SmolVLM-500M-text",
    "Qwen/Qwen2.5-VL-3B-Instruct": "Qwen2.5-VL-3B-text",
    "google/gemma-4-E2B-it": "gemma-4-E2B-text",
    "gemma4:e4b": "gemma-4-E4B-text",
    # large ones that small ones are compared with
    "gpt-oss:120b": "gpt-oss-120b",
    "deepseek-ai/DeepSeek-R1": "DeepSeek-V3",
    "Qwen3-Next-80B-A3B-Instruct": "Qwen3-Next-80B-A3B",
    "Zyphra/Zamba2-1.2B-instruct": "Zamba2-1.2B",
    "ibm-fms/Bamba-9B": "Bamba-9B",
}


@pytest.mark.parametrize(("typed", "meant"), MEANT.items(), ids=MEANT)
def test_names_are_found_as_people_type_them(typed: str, meant: str) -> None:
    assert model(typed).architecture.name == meant


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("llama-3.2", "Llama-3.2-1B, Llama-3.2-3B"),
        ("mistral:7b", "Mistral-7B-v0.1, Mistral-7B-v0.2, Mistral-7B-v0.3"),
        ("qwen2.5", "Qwen2.5-0.5B, Qwen2.5-1.5B"),
        ("smollm-instruct", "SmolLM-1.7B, SmolLM-135M, SmolLM-360M"),
        ("Falcon-H1", "Falcon-H1-0.5B, Falcon-H1-1.5B, Falcon-H1-1.5B-Deep, Falcon-H1-34B, Falcon-H1-3B"),
        ("OLMoE", "OLMoE-1B-7B-0924; accepted: one of these"),
        ("helium", "helium-1-2b; accepted: one of these"),  # another size may be what is meant
    ],
)
def test_a_name_without_its_size_lists_the_sizes(typed: str, names: str) -> None:
    with pytest.raises(UnknownName, match=rf"model: '{typed}' may be .*{names}"):
        model(typed)


@pytest.mark.parametrize(
    ("typed", "near"),
    [("llama-3.2-2b", "Llama-3.2-1B"), ("smolm2-135m", "SmolLM2-135M"), ("gemma-3-2b", "gemma-2-2b")],
)
def test_a_size_that_does_not_exist_is_never_another(typed: str, near: str) -> None:
    with pytest.raises(
        UnknownName, match=rf"unknown model '{typed}'; did you mean .*{near}.*\? known: \d+ mod"
    ):
        model(typed)


@pytest.mark.parametrize("typed", ["opt-13b", "qwen2.5-74b", "pythia-1.5b", "gemma-31b", "gpt4all", "phi-15"])
def test_numbers_that_look_alike_are_told_apart(typed: str) -> None:
    with pytest.raises(UnknownName, match="unknown model"):
        model(typed)


UNPUBLISHED = [
    *("HyperCLOVA X DASH", "gpt-4", "GPT-4o", "gpt-4o-mini", "gpt-4-turbo", "openai/gpt-3.5-turbo"),
    *("Gemini", "gemini-1.5-pro", "gemini 2.5 flash", "claude-3-opus", "claude-sonnet-4", "PaLM 2", "Grok-3"),
]


@pytest.mark.parametrize("typed", UNPUBLISHED)
def test_models_of_unpublished_shape_are_answered_with_that(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["estimate", typed]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "its shape is not published (" in printed.err
    assert printed.err.count("\n") == 1


UNREAD = {
    "rwkv7-g1-0.4b": "RWKV's layers have no reader here",
    "LLaDA-8B-Instruct": "a diffusion model",
    "Ouro-1.4B": "whose blocks run several times for each token",
    "SmallThinker-4BA0.6B-Instruct": "model_type smallthinker",
    "t5gemma-s-s": "an encoder and a decoder",
    "PleIAs/Baguettotron": "no public copy of its config.json was found",
    "moondream3-preview": "its code comes with the model",
    "Hymba-1.5B-Instruct": "side by side, have no reader here",
    "RWKV7-Goose-World3-1.5B": "RWKV's layers have no reader here",
    "Ling-mini-2.0": "model_type bailing_moe",
    "flan-t5-base": "an encoder and a decoder",
    "arcee-ai/Trinity-Mini": "model_type afmoe",
}


@pytest.mark.parametrize(("typed", "reason"), UNREAD.items(), ids=UNREAD)
def test_models_without_a_reader_are_answered_with_the_reason(typed: str, reason: str) -> None:
    with pytest.raises(UnknownName, match=rf"^model: .*{reason}.*accepted: a config.json or file of it"):
        model(typed)


def test_models_that_only_transformers_counts_are_named_with_their_count() -> None:
    for typed in ("bert-base-uncased", "google-bert/bert-base-uncased"):
        with pytest.raises(UnknownName, match=r"an encoder: .*type bert\).*109,482,240 parameters;"):
            model(typed)


def test_an_unread_family_is_counted_by_transformers_as_published() -> None:
    with pytest.raises(UnknownName, match=r"model_type minimax_m2\).*228,689,748,992 parameters;"):
        model("MiniMaxAI/MiniMax-M2")


def test_unread_models_are_in_no_other_list() -> None:
    catalogue = models()
    read = {key for name in (*catalogue, *catalogue.aliases()) for key in keys(name)}
    assert not read & unread_models().keys()
    for row in unread_models().values():
        assert row.config["model_type"] not in FAMILIES
        assert row.source


def test_a_published_file_that_is_not_here_is_its_model_and_that_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = "SmolLM2-135M-Instruct-Q5_K_M.gguf"
    sized = EstimateRequest(model=typed).run().estimate
    assert sized.weights is not None
    assert sized.to_dict()["weights"]["format"] == "Q5_K_M"
    assert f"no file {typed} is here: the known model SmolLM2-135M in its place" in sized.assumptions
    for missing in ("nosuch.gguf", str(tmp_path / typed)):
        with pytest.raises(InvalidFile, match="No such file"):
            EstimateRequest(model=missing).run()
    (tmp_path / typed).write_bytes(b"GGUF")  # a file that is here is read, whatever it is called
    with pytest.raises(InvalidFile):
        EstimateRequest(model=typed).run()


def test_a_name_is_looked_for_as_a_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_model("llama3.2:1b").name == "Llama-3.2-1B"
    with pytest.raises(UnknownName, match=r"unknown model \(nor is it a config.json"):
        read_model("no such model")


def test_no_two_rows_go_by_one_name() -> None:
    catalogue = models()
    spelled: dict[str, str] = {}
    for name, own in [*((name, name) for name in catalogue), *catalogue.aliases().items()]:
        for key in keys(name):
            assert spelled.setdefault(key, own) == own, f"{name}: {spelled[key]} goes by that name"
    text = CATALOGUE.read_text(encoding="utf-8")
    rows = tomllib.loads(text)["model"]
    assert [row["name"] for row in rows] == list(catalogue)
    assert list(catalogue) == sorted(catalogue, key=str.lower)
    assert text.isascii()


@pytest.mark.parametrize("name", models())
def test_every_row_has_its_source_and_its_published_count(name: str) -> None:
    row = models()[name]
    assert row.source
    assert (row.params_published is None) == (row.params_source is None)
    if row.params_published is not None:
        assert count_parameters(tensor_specs(row.architecture)).total == row.params_published


def test_one_name_reads_one_row() -> None:
    read: list[str] = []

    class Watched(Catalogue):
        def __getitem__(self, name: str) -> sizer.registry.CatalogueModel:
            read.append(name)
            return super().__getitem__(name)

    catalogue = Watched(CATALOGUE.read_text(encoding="utf-8"))
    assert catalogue["opt-125m"].config["ffn_dim"] == 3072
    assert read == ["opt-125m"]
    assert len(catalogue._rows) == 1


@given(
    st.text(max_size=40)
    | st.from_regex(r"[a-zA-Z]{2,8}[-_ :.]?[0-9.]{0,4}[-_ :]?[0-9.]{0,4}[bm]?", fullmatch=True)
)
def test_any_text_means_one_model_or_is_refused_in_one_line(text: str) -> None:
    try:
        found: str | UnknownName = model(text).architecture.name
    except UnknownName as error:
        found = error
    assert str(found).isprintable()
    assert len(str(found)) < 500


def test_a_long_name_is_refused_in_time() -> None:
    start = time.process_time()
    for text in ("a" * 100_000, "-instruct" * 10_000, "1_" * 50_000, "q4_k" + "_a" * 50_000):
        with pytest.raises(UnknownName):
            model(text)
    assert time.process_time() - start < 1
