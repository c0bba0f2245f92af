"""Initial weights and learning rates that suit every width and depth, so that shapes are compared fairly.

A learning rate wrong by a factor of 2 costs as much as the differences of shape a search looks for. The rules
are those of muP (arXiv 2203.03466) for width and CompleteP (arXiv 2505.01618, alpha = 1) for depth:

- a hidden matrix starts with deviation ~ fan_in^-1/2 and learns at a rate ~ 1 / fan_in, each expert's and the
  router's as well;
- what a block adds to the residual stream is scaled by 1 / executed layers. CompleteP multiplies the branch's
  output; here the factor sits in the initial deviation and the rate of the branch's last matrix, which under
  Adam is the same update, so the trained model stays a plain decoder that any runtime loads;
- the embedding, which tied models also use as head, is between them: deviation and rate ~ width^-1/2, and at
  the base width it learns TABLE_RATE times as fast as hidden matrices, whose rows all move at every token.

Norms, biases and the filters of convolutions, a few weights for each channel whatever the width, learn at the
base rate. Everything is relative to a decoder of 2 layers of width 160.

Rates of the tables and of everything, measured: docs/learning_rates.md. The branch factor, in validation bits
per byte at base rate 2e-3 and TABLE_RATE 1, batch 8 x 128, 500 steps, one seed, with the factor at 2, 1, 1/2,
1/4, 1/8: 4 x 224 2.34 2.21 2.17 2.17 -; 8 x 160 - 2.26 2.21 2.20 -; 16 x 112 - - 2.26 2.25 2.26; 2 x 320 -
2.18 2.16 - -. 24 x 96 at 200 steps: 2.96 with 1/3, 2.85 with the 1/12 it gets.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import nn

from sizer.architecture import Architecture
from sizer.tensors import Group, Role, TensorSpec, tensor_specs

BASE_WIDTH = 160
BASE_LAYERS = 2
# Rate of the embedding tables over the base rate, at the base width; docs/learning_rates.md has others.
TABLE_RATE = 4.0
# Feed-forward width over width at which the rate of the down projection is the base rate (Llama's 8/3).
_BASE_MLP_RATIO = 8 / 3

_HIDDEN_GAIN = 0.5
_BRANCH_GAIN = 0.25  # of the last matrix of a branch, at the base depth
_EMBEDDING_GAIN = 0.32  # 0.02, Hugging Face's default deviation, at width 256
_DOWN = (Role.DOWN, Role.DOWN_EXPERTS)
_LAST_IN_BRANCH = (Role.ATTENTION_OUTPUT, Role.CONV_OUT, *_DOWN)


def _depth_factor(architecture: Architecture) -> float:
    return BASE_LAYERS / architecture.executed_layers


def learning_rate_factor(spec: TensorSpec, architecture: Architecture) -> float:
    """Return the learning rate of a tensor over the base learning rate."""
    if len(spec.shape) == 1 or spec.role is Role.CONV:
        return 1.0
    if spec.role.group in (Group.EMBEDDING, Group.HEAD):
        return TABLE_RATE * sqrt(BASE_WIDTH / architecture.hidden_size)
    base_fan_in = BASE_WIDTH * (_BASE_MLP_RATIO if spec.role in _DOWN else 1)
    factor = base_fan_in / spec.row_length
    return factor * _depth_factor(architecture) if spec.role in _LAST_IN_BRANCH else factor


def initial_deviation(spec: TensorSpec, architecture: Architecture) -> float:
    """Return the deviation of a matrix's initial weights; vectors start at 1 (norms) or 0 (biases, sinks)."""
    if spec.role.group in (Group.EMBEDDING, Group.HEAD):
        return float(_EMBEDDING_GAIN / sqrt(architecture.hidden_size))
    if spec.role is Role.CONV:  # as torch draws them: even from -1 to 1, over the root of the kernel
        return float(1 / sqrt(3 * spec.row_length))
    deviation = float(_HIDDEN_GAIN / sqrt(spec.row_length))
    if spec.role in _LAST_IN_BRANCH:
        deviation *= _BRANCH_GAIN * _depth_factor(architecture)
    return deviation


def initialize(model: nn.Module, architecture: Architecture, generator: torch.Generator) -> None:
    """Draw every weight, in the order of `tensor_specs`, so that a seed means the same in every build."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for spec in tensor_specs(architecture):
            parameter = parameters[spec.name]
            if len(spec.shape) == 1:
                parameter.fill_(0.0 if spec.is_bias or spec.role is Role.ATTENTION_SINKS else 1.0)
            else:
                parameter.normal_(0.0, initial_deviation(spec, architecture), generator=generator)
