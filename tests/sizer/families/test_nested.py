"""Text decoders inside vision, audio and omni models: every tensor against transformers' whole model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sizer.errors import SizerError, UnknownName
from sizer.families.hf_config import FAMILIES, architecture_from_config, read_config
from sizer.families.nested import text_part
from sizer.tensors import count_parameters, tensor_specs
from tests.meta_models import Shape, our_shapes

TEXT: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 50,
}
# The vision and audio towers stay at their default size: on the meta device they cost nothing.
WRAPPERS = (
    *("audioflamingo3", "cohere2_vision", "deepseek_vl", "gemma3", "glm4v", "glm_ocr", "got_ocr2"),
    *("granite_speech", "hunyuan_vl", "idefics2", "idefics3", "internvl", "janus", "lfm2_vl", "lighton_ocr"),
    *("llava", "llava_next", "llava_onevision", "mistral3", "paddleocr_vl", "paligemma"),
    *("qwen2_5_vl", "qwen2_audio", "qwen2_vl", "qwen3_asr", "qwen3_vl", "smolvlm", "video_llava", "vipllava"),
    "voxtral",
)
TOWERS = (
    *("vision", "visual", "audio", "image", "video", "projector", "connector", "aligner", "qformer"),
    *("generation", "projection", "vqmodel", "merger", "newline", "perceiver"),
)


def their_text_shapes(config: dict[str, Any]) -> Counter[Shape]:
    """Shapes of all tensors of transformers' model that are not in a tower, tied ones once."""
    import torch
    import transformers

    keys = {key: value for key, value in config.items() if key != "model_type"}
    read = transformers.CONFIG_MAPPING[config["model_type"]](**keys)
    names = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM", "AutoModelForSeq2SeqLM")
    kinds: list[Any] = [getattr(transformers, name) for name in names]
    kind = next(kind for kind in kinds if type(read) in kind._model_mapping)
    with torch.device("meta"):
        model = kind.from_config(read)
    model.tie_weights()
    return Counter(
        tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if not any(part in name for part in TOWERS) and "model.encoder." not in name
    )


@pytest.mark.parametrize(
    ("tied", "text_tied"), [(None, None), (None, True), (None, False), (True, False), (False, True)]
)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_text_decoder_has_the_tensors_it_has_in_the_whole_model(
    wrapper: str, tied: bool | None, text_tied: bool | None
) -> None:
    text = TEXT if text_tied is None else {**TEXT, "tie_word_embeddings": text_tied}
    config: dict[str, Any] = {"model_type": wrapper, "text_config": text}
    if tied is not None:
        config["tie_word_embeddings"] = tied
    assert our_shapes(config) == their_text_shapes(config)


def test_qwens_older_vision_configs_hold_the_text_keys_themselves() -> None:
    config = {**TEXT, "model_type": "qwen2_5_vl", "tie_word_embeddings": True, "vision_config": {"depth": 2}}
    nested = {"model_type": "qwen2_5_vl", "tie_word_embeddings": True, "text_config": TEXT}
    assert our_shapes(config) == our_shapes(nested)
    assert read_config(config).notes[0] == (
        "text decoder of qwen2_5_vl, read from its own keys; not part of it: vision_config"
    )


def test_remote_code_names_it_llm_config_and_omni_models_nest_it_deeper() -> None:
    llm = {**TEXT, "architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True}
    internvl = {
        "model_type": "internvl_chat",
        "llm_config": llm,
        "vision_config": {"model_type": "intern_vit"},
    }
    assert architecture_from_config(internvl).model_type == "qwen2"
    assert architecture_from_config(internvl).tie_embeddings
    omni = {
        "model_type": "qwen2_5_omni",
        "thinker_config": {
            "audio_config": {"model_type": "qwen2_5_omni_audio_encoder"},
            "text_config": {**TEXT, "model_type": "qwen2_5_omni_text"},
        },
        "talker_config": {"model_type": "qwen2_5_omni_talker"},
    }
    assert read_config(omni).notes[0] == (
        "text decoder of qwen2_5_omni, read from thinker_config.text_config; not part of it: audio_config "
        "(qwen2_5_omni_audio_encoder), talker_config (qwen2_5_omni_talker)"
    )


QWEN = {
    **{"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14, "num_hidden_layers": 24},
    **{"num_key_value_heads": 2, "vocab_size": 151_674, "tie_word_embeddings": False},
}
# with InternViT and the projector the published 938,193,024 of InternVL3-1B
QWEN_PARAMETERS = 629_697_920


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "minicpmv", "version": 2.6, "vision_config": {"hidden_size": 1152}, **QWEN},
        {"model_type": "llava_qwen2", "mm_vision_tower": "mobileclip_l_1024", **QWEN},
        {"model_type": "ovis", "llm_config": {"text_config": {"model_type": "qwen2", **QWEN}}},
    ],
    ids=lambda config: config["model_type"],
)
def test_text_keys_lie_where_remote_code_puts_them(config: dict[str, Any]) -> None:
    assert count_parameters(tensor_specs(architecture_from_config(config))).total == QWEN_PARAMETERS


def test_phi_4_multimodals_own_keys_are_its_text_decoders() -> None:
    """3,836,021,760 are the published parameters of Phi-4-mini, its text decoder."""
    config = {
        **{"model_type": "phi4mm", "hidden_size": 3072, "intermediate_size": 8192, "vocab_size": 200_064},
        **{"num_attention_heads": 24, "num_hidden_layers": 32, "num_key_value_heads": 8},
        **{"tie_word_embeddings": True, "vision_lora": {"r": 256}, "audio_processor": {"config": {}}},
    }
    assert count_parameters(tensor_specs(architecture_from_config(config))).total == 3_836_021_760


def test_an_unknown_version_of_minicpm_v_is_not_guessed() -> None:
    with pytest.raises(UnknownName, match="unknown model_type 'minicpmv'"):
        architecture_from_config({"model_type": "minicpmv", "version": 9.9, **QWEN})


def test_gemma_3_4b_as_published_worked_by_hand() -> None:
    # text_config of google/gemma-3-4b-it: 34 layers; the rest are Gemma3TextConfig's defaults
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    a = architecture_from_config({"model_type": "gemma3", "text_config": text})
    layer = 2560 * 256 * (8 + 4 + 4 + 8) + 3 * 2560 * 10240 + 4 * 2560 + 2 * 256
    assert count_parameters(tensor_specs(a)).total == 262_208 * 2560 + 34 * layer + 2560 == 3_880_263_168


def test_a_text_models_own_config_is_not_looked_into() -> None:
    assert text_part({**TEXT, "model_type": "llama", "text_config": {"hidden_size": 1}}, FAMILIES) is None


def test_nested_without_end_is_refused() -> None:
    config: dict[str, Any] = {"model_type": "a"}
    for _ in range(50):
        config = {"thinker_config": config}
    with pytest.raises(SizerError, match="model_type"):
        architecture_from_config(config)
