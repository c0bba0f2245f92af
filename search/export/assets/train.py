"""Train the model of this folder from scratch: torch and transformers, one process, one card or a CPU.

    python train.py --data tokens.npy --out run1
    python train.py --data tokens.npy --out run1 --steps 20 --batch-tokens 64 --seq-len 64 --device cpu  (try)

`--data` is one array of token numbers (numpy .npy, uint16 or int32), made by your tokenizer, whose number of
tokens must not exceed vocab_size of config.json. First weights, learning rates by tensor, blocks that share
weights and the schedule are in plan.json; plan.md says which of them were validated and which were not.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy
import torch
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent


def build(plan: dict, generator: torch.Generator) -> torch.nn.Module:
    """Return the model with first weights of plan.json; blocks that share weights are one module."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(HERE))
    model.to_empty(device="cpu")
    rotary = model.model.rotary_emb
    model.model.rotary_emb = type(rotary)(config=model.config)  # its buffers are values, not weights
    blocks = model.model.layers
    for run, block in enumerate(plan["shared_blocks"]):
        if run != block:  # the run keeps its own number, for the cache, and takes the block's parts
            for name, part in blocks[block].named_children():
                if name != "self_attn":
                    setattr(blocks[run], name, part)
            for name, part in blocks[block].self_attn.named_children():
                setattr(blocks[run].self_attn, name, part)
    if model.config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    rules = plan["tensors"]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            deviation = rules[name]["deviation"]
            if deviation is None:
                parameter.fill_(0.0 if name.endswith(("bias", "sinks")) else 1.0)
            else:
                parameter.normal_(0.0, deviation, generator=generator)
    count = sum(p.numel() for p in model.parameters())
    assert count == plan["parameters"], f"built {count} parameters, the plan has {plan['parameters']}"
    return model


def groups(model: torch.nn.Module, plan: dict) -> list[dict]:
    """Return the optimizer's groups: parameters with one rate and one weight decay."""
    found: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rule = plan["tensors"][name]
        found.setdefault((rule["rate"], rule["decay"]), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "factor": rate, "lr": 0.0}
        for (rate, decay), members in found.items()
    ]


def rate_share(step: int, steps: int, plan: dict) -> float:
    """Return the share of the rate at a step: warm-up, constant, linear fall to zero."""
    warm = min(1.0, step / max(1, round(plan["warmup_share"] * steps)))
    return min(warm, (steps - step + 1) / max(1.0, plan["cooldown_share"] * steps))


def batch(tokens: numpy.ndarray, count: int, length: int, generator: numpy.random.Generator) -> torch.Tensor:
    """Return windows at random places, `[count, length]`."""
    starts = generator.integers(0, len(tokens) - length, count)
    return torch.from_numpy(numpy.stack([tokens[s : s + length] for s in starts]).astype(numpy.int64))


def main() -> None:
    """Train, print the loss, and save a folder that transformers loads."""
    plan = json.loads((HERE / "plan.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=plan["steps"])
    parser.add_argument("--batch-tokens", type=int, default=plan["batch_tokens"])
    parser.add_argument("--micro-batch", type=int, default=8, help="sequences at a time on the device")
    parser.add_argument("--seq-len", type=int, default=plan["seq_len"])
    parser.add_argument("--rate", type=float, default=plan["base_rate"], help="sweep x0.5, x1, x2 first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()

    tokens = numpy.load(given.data, mmap_mode="r", allow_pickle=False)
    vocabulary = AutoConfig.from_pretrained(HERE).vocab_size
    highest = int(tokens[:10_000_000].max())
    assert highest < vocabulary, f"token {highest} in {given.data}, vocab_size is {vocabulary}"
    assert len(tokens) > given.seq_len, f"{given.data} has {len(tokens)} tokens, fewer than a window"
    model = build(plan, torch.Generator().manual_seed(given.seed)).to(given.device).train()
    optimizer = torch.optim.AdamW(groups(model, plan), betas=tuple(plan["betas"]), eps=plan["epsilon"])
    random = numpy.random.default_rng(given.seed)
    sequences = max(1, given.batch_tokens // given.seq_len)
    began = time.monotonic()
    for step in range(1, given.steps + 1):
        total = 0.0
        for start in range(0, sequences, given.micro_batch):
            count = min(given.micro_batch, sequences - start)
            windows = batch(tokens, count, given.seq_len, random).to(given.device)
            with torch.autocast(given.device.split(":")[0], torch.bfloat16, enabled=given.device != "cpu"):
                loss = model(input_ids=windows, labels=windows).loss
            (loss * count / sequences).backward()
            total += loss.item() * count / sequences
        assert math.isfinite(total), f"the loss is not finite at step {step}: try a lower --rate"
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan["clip"])
        for group in optimizer.param_groups:
            group["lr"] = given.rate * rate_share(step, given.steps, plan) * group["factor"]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step <= 10 or step % 10 == 0 or step == given.steps:
            speed = step * sequences * given.seq_len / (time.monotonic() - began)
            left = (given.steps - step) * sequences * given.seq_len / speed
            pace = f"{speed:,.0f} tokens/s  eta {left:,.0f} s"
            print(f"step {step:,} of {given.steps:,}  loss {total:.4f}  {pace}", flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    from safetensors.torch import save_file

    save_file(state, given.out / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(given.out)


if __name__ == "__main__":
    main()
