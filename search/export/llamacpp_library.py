"""llama.cpp through the C symbols of the package xllamacpp: quantized rows, and logits of tokens.

The package is one shared library that exports llama.h and ggml.h. Structures are passed by value as blocks of
bytes that are larger than any version's, which the x86-64 and arm64 calling conventions allow; only the first
three numbers of the context's parameters are set, and `check` reads their defaults first. A broken file can
end the process: what loads a model runs in a separate process (llamacpp_worker.py).
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy

from sizer.errors import MeasurementError

PACKAGE = "xllamacpp"
_DEFAULT_SIZES = (512, 2048, 512)  # n_ctx, n_batch and n_ubatch of llama_context_default_params
_ERROR_LEVEL = 4  # ggml_log_level
_PIECE_BYTES = 1024  # of one token; longer ones are none of a text


class _Parameters(ctypes.Structure):
    """Parameters passed by value: more bytes than either structure has."""

    _fields_ = (("sizes", ctypes.c_uint32 * 3), ("rest", ctypes.c_ubyte * 1012))


class _Batch(ctypes.Structure):
    """llama_batch of llama.h."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int32
# Function: result and arguments, as llama.h and ggml.h declare them.
_FUNCTIONS = {
    "ggml_quantize_chunk": (
        ctypes.c_size_t,
        (ctypes.c_int, _POINTER, _POINTER, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, _POINTER),
    ),
    "llama_log_set": (None, (_LOG, _POINTER)),
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (_Parameters, ()),
    "llama_context_default_params": (_Parameters, ()),
    "llama_model_load_from_file": (_POINTER, (ctypes.c_char_p, _Parameters)),
    "llama_init_from_model": (_POINTER, (_POINTER, _Parameters)),
    "llama_set_n_threads": (None, (_POINTER, _INT, _INT)),
    "llama_batch_init": (_Batch, (_INT, _INT, _INT)),
    "llama_batch_free": (None, (_Batch,)),
    "llama_decode": (_INT, (_POINTER, _Batch)),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), (_POINTER, _INT)),
    "llama_get_memory": (_POINTER, (_POINTER,)),
    "llama_memory_clear": (None, (_POINTER, ctypes.c_bool)),
    "llama_model_get_vocab": (_POINTER, (_POINTER,)),
    "llama_vocab_n_tokens": (_INT, (_POINTER,)),
    "llama_vocab_is_eog": (ctypes.c_bool, (_POINTER, _INT)),
    "llama_model_n_ctx_train": (_INT, (_POINTER,)),
    "llama_token_to_piece": (_INT, (_POINTER, _INT, ctypes.c_char_p, _INT, _INT, ctypes.c_bool)),
    "llama_tokenize": (
        _INT,
        (_POINTER, ctypes.c_char_p, _INT, ctypes.POINTER(_INT), _INT, ctypes.c_bool, ctypes.c_bool),
    ),
    "llama_free": (None, (_POINTER,)),
    "llama_model_free": (None, (_POINTER,)),
}


def library_path() -> Path:
    """Return the path of the shared library; MeasurementError if the package is not installed."""
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    found = sorted(folder.glob(f"{PACKAGE}*.so")) if folder is not None else []
    if not found:
        raise MeasurementError(
            f"llama.cpp: needs the package {PACKAGE} (extra `calibrate`), which is not installed; "
            'accepted: pip install "sizer[calibrate]"'
        )
    return found[0]


@cache
def library() -> ctypes.CDLL:
    """Return the shared library with its functions' types; MeasurementError where one is missing."""
    loaded = ctypes.CDLL(str(library_path()))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name, None)
        if function is None:
            raise MeasurementError(
                f"llama.cpp: this build of {PACKAGE} does not export {name}; accepted: a build for Linux"
            )
        function.restype, function.argtypes = result, arguments
    return loaded


def quantize_rows(ggml_type: int, weights: numpy.ndarray, num_bytes: int) -> bytes:
    """Return rows `[rows, columns]` of float32 as ggml's own quantizer stores them, in `num_bytes` bytes."""
    rows, columns = weights.shape
    source = numpy.ascontiguousarray(weights, dtype=numpy.float32)
    stored = ctypes.create_string_buffer(num_bytes)
    written = library().ggml_quantize_chunk(
        ggml_type, source.ctypes.data, ctypes.addressof(stored), 0, rows, columns, None
    )
    if written != num_bytes:
        raise MeasurementError(f"llama.cpp: wrote {written:,} bytes for {rows} rows, expected {num_bytes:,}")
    return stored.raw


class Engine:
    """A GGUF file loaded for scoring: one sequence, logits of every token asked for."""

    def __init__(self, path: str, *, context_tokens: int, threads: int) -> None:
        self._lib = library()
        self._log = _LOG(_print_errors)
        self._lib.llama_log_set(self._log, None)
        self._lib.llama_backend_init()
        self._model = self._lib.llama_model_load_from_file(
            path.encode(), self._lib.llama_model_default_params()
        )
        if not self._model:
            raise MeasurementError(f"llama.cpp: cannot load {path!r}")
        parameters = self._lib.llama_context_default_params()
        if tuple(parameters.sizes) != _DEFAULT_SIZES:
            raise MeasurementError(
                f"llama.cpp: this build's default sizes are {tuple(parameters.sizes)}, expected "
                f"{_DEFAULT_SIZES}: its parameters are laid out otherwise"
            )
        parameters.sizes[:] = (context_tokens, context_tokens, min(context_tokens, _DEFAULT_SIZES[2]))
        self._context = self._lib.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise MeasurementError(f"llama.cpp: cannot make a context of {context_tokens} tokens")
        self._lib.llama_set_n_threads(self._context, threads, threads)
        self._vocabulary = self._lib.llama_model_get_vocab(self._model)
        self.context_tokens = context_tokens
        self.vocab_size: int = self._lib.llama_vocab_n_tokens(self._vocabulary)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Return the tokens of a text; `special` adds the first token where the file asks for one."""
        data = text.encode()
        room = len(data) + 8
        ids = (_INT * room)()
        count = self._lib.llama_tokenize(self._vocabulary, data, len(data), ids, room, special, False)
        if count < 0:
            raise MeasurementError(f"llama.cpp: cannot tokenize a text of {len(data)} bytes")
        return list(ids[:count])

    def log_probabilities(self, tokens: Sequence[int], first: int = 1) -> list[float]:
        """Return the natural logarithm of each token's probability from index `first`, given those before.

        The tokens are one sequence of at most `context_tokens` + 1.
        """
        asked = tokens[first:]
        return [
            float(row[token] - _log_sum_exp(row))
            for row, token in zip(self._logits(tokens[:-1], first - 1), asked, strict=True)
        ]

    def is_greedy(self, tokens: Sequence[int], first: int) -> bool:
        """Return whether every token from index `first` is the likeliest after those before it."""
        rows = self._logits(tokens[:-1], first - 1)
        return all(int(row.argmax()) == token for row, token in zip(rows, tokens[first:], strict=True))

    @property
    def trained_context_tokens(self) -> int:
        """Context that the file names."""
        return int(self._lib.llama_model_n_ctx_train(self._model))

    def ends_text(self, token: int) -> bool:
        """Return whether a token ends a text."""
        return bool(self._lib.llama_vocab_is_eog(self._vocabulary, token))

    def piece(self, token: int) -> bytes:
        """Return the bytes that a token stands for; none for one that is not text."""
        room = ctypes.create_string_buffer(_PIECE_BYTES)
        size = self._lib.llama_token_to_piece(self._vocabulary, token, room, _PIECE_BYTES, 0, False)
        return room.raw[: max(0, size)]

    def next_logits(self, tokens: Sequence[int], position: int) -> numpy.ndarray:
        """Return the logits, float64 `[vocabulary]`, after tokens at a position; at 0 a new text begins."""
        logits = next(self._logits(tokens, len(tokens) - 1, position))
        if not numpy.isfinite(logits).all():
            raise MeasurementError("its probabilities are no numbers (NaN)")
        return logits

    def _logits(self, tokens: Sequence[int], first: int, position: int = 0) -> Iterator[numpy.ndarray]:
        """Yield the logits, float64 `[vocabulary]`, after each token from index `first`."""
        lib, count = self._lib, len(tokens)
        if not 0 < position + count <= self.context_tokens:
            raise MeasurementError(f"llama.cpp: {count} tokens; accepted: 1 to {self.context_tokens}")
        if bad := [token for token in tokens if not 0 <= token < self.vocab_size]:
            raise MeasurementError(f"llama.cpp: token {bad[0]}; accepted: 0 to {self.vocab_size - 1}")
        if position == 0:
            lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        with self._batch(tokens, first, position) as batch:
            code = lib.llama_decode(self._context, batch)
        if code:
            raise MeasurementError(f"llama.cpp: llama_decode returned {code}")
        for index in range(first, count):
            row = lib.llama_get_logits_ith(self._context, index)
            yield numpy.ctypeslib.as_array(row, (self.vocab_size,)).astype(numpy.float64)

    @contextmanager
    def _batch(self, tokens: Sequence[int], first: int, position: int) -> Iterator[_Batch]:
        batch = self._lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, position + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = index >= first
        try:
            yield batch
        finally:
            self._lib.llama_batch_free(batch)

    def close(self) -> None:
        """Free the model."""
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)


def _log_sum_exp(row: numpy.ndarray) -> float:
    top = float(row.max())
    return top + math.log(float(numpy.exp(row - top).sum()))


def _print_errors(level: int, text: bytes, data: object) -> None:
    if level == _ERROR_LEVEL:
        sys.stderr.write(text.decode(errors="replace"))
