"""Embeddings for each layer (Gemma 3n and 4), and Gemma 3n's AltUp and Laurel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sizer.tensor_spec import Access, Role, TensorSpec, matrix, vector


@dataclass(frozen=True, slots=True, kw_only=True)
class PerLayerInputs:
    """A row of `size` for every token and layer, from a table in addition to the token embedding."""

    vocab_size: int
    size: int
    altup_inputs: int | None = None  # Gemma 3n: parallel residual streams (AltUp, arXiv 2301.13310)
    laurel_rank: int | None = None  # Gemma 3n: rank of the learned residual (Laurel, arXiv 2411.07501)

    def table_tensors(self, num_layers: int, hidden_size: int) -> Iterator[TensorSpec]:
        """List the tensors before and after the blocks; AltUp's matrices together, as in GGUF files."""
        d, width = hidden_size, num_layers * self.size
        yield TensorSpec(
            name="model.embed_tokens_per_layer.weight",
            shape=(self.vocab_size, width),
            role=Role.PER_LAYER_EMBEDDING,
            layer=None,
            access=Access.LOOKUP,
        )
        yield from matrix(Role.PER_LAYER_PROJECTION, "model.per_layer_model_projection", width, d, None)
        yield vector(Role.PER_LAYER_NORM, "model.per_layer_projection_norm.weight", (self.size,), None)
        if self.altup_inputs is None or self.altup_inputs == 1:
            return
        for role, name in (
            (Role.ALTUP_PROJECTIONS, "altup_projections"),
            (Role.ALTUP_UNEMBED_PROJECTIONS, "altup_unembed_projections"),
        ):
            yield TensorSpec(
                name=f"model.{name}.weight",
                shape=(self.altup_inputs - 1, d, d),
                role=role,
                layer=None,
                access=Access.MATMUL,
            )

    def block_tensors(self, hidden_size: int, prefix: str, layer: int) -> Iterator[TensorSpec]:
        """List the tensors of one layer in addition to attention and feed-forward block."""
        d, inputs, rank = hidden_size, self.altup_inputs, self.laurel_rank
        if inputs is not None:
            altup = f"{prefix}.altup"
            yield vector(Role.ALTUP_SCALE, f"{altup}.correct_output_scale", (d,), layer)
            yield from matrix(Role.ALTUP_CORRECTION, f"{altup}.correction_coefs", inputs, inputs, layer)
            yield from matrix(Role.ALTUP_PREDICTION, f"{altup}.prediction_coefs", inputs**2, inputs, layer)
            yield from matrix(Role.ALTUP_ROUTER, f"{altup}.modality_router", inputs, d, layer)
            yield vector(Role.ALTUP_ROUTER_NORM, f"{altup}.router_norm.weight", (d,), layer)
        if rank is not None:
            yield from matrix(Role.LAUREL_LEFT, f"{prefix}.laurel.linear_left", rank, d, layer)
            yield from matrix(Role.LAUREL_RIGHT, f"{prefix}.laurel.linear_right", d, rank, layer)
            yield vector(Role.LAUREL_NORM, f"{prefix}.laurel.post_laurel_norm.weight", (d,), layer)
        yield from matrix(Role.PER_LAYER_GATE, f"{prefix}.per_layer_input_gate", self.size, d, layer)
        yield from matrix(Role.PER_LAYER_OUT, f"{prefix}.per_layer_projection", d, self.size, layer)
        yield vector(Role.POST_PER_LAYER_NORM, f"{prefix}.post_per_layer_input_norm.weight", (d,), layer)
