"""What the size page asks for: its controls, and the fields of a shape that its sliders move."""

from __future__ import annotations

from explorer.controls import Choice, Flag, Number, Text
from sizer.architecture import Architecture, SharingStrategy
from sizer.device import load_devices
from sizer.registry import model, models
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.workload import CACHE_TYPES, Workload

FROM_CATALOGUE, FROM_COUNT, FROM_FILE, BY_HAND = (
    "a known model",
    "a parameter count",
    "a config or GGUF file",
    "by hand",
)
NO_DEVICE = "none"
FIRST_MODEL = "SmolLM2-135M"
FIRST = model(FIRST_MODEL).architecture

START = Choice("start", "Start from", FROM_CATALOGUE, (FROM_CATALOGUE, FROM_COUNT, FROM_FILE, BY_HAND))
MODEL = Choice("model", "Model", FIRST_MODEL, tuple(sorted(models(), key=str.lower)))
COUNT = Text(
    "count",
    "Parameters",
    "125M",
    "A number with K, M or B; the nearest deep and thin shape with a vocabulary of 32,000 is taken.",
)
# what was read from a file, or came with a link: the shape that the sliders start from
SHAPE = Text("shape", "Shape", "")
NAME = Text("name", "Name", "")
ENGINE = Choice("engine", "Engine", "llama.cpp", RUNTIME_NAMES, "What runs the model on the device.")
_FORMATS = dict.fromkeys(name for engine in RUNTIME_NAMES for name in runtime(engine).formats)
FORMAT = Choice("format", "Format", "Q4_K_M", tuple(_FORMATS), "How the engine's file stores the weights.")
DEVICE = Choice("device", "Device", "raspberry-pi-5", (NO_DEVICE, *load_devices()))
CONTEXT = Number("context", "Context (tokens)", Workload().context_tokens, 16, 2**20, 256)
CACHE = Choice("cache", "Cache type", "F16", CACHE_TYPES)
DEPLOYMENT = (ENGINE, FORMAT, DEVICE, CONTEXT, CACHE)

# Set while another page is shown: the address that leads back here is then a link, and wins.
SIZE_LEFT = "size_left"

# The first values of the sliders are those of the shape they start from.
LAYERS = Number(
    "layers", "Layers", FIRST.num_layers, 1, 80, 1, "Stored blocks; sharing runs each more than once."
)
WIDTH = Number("width", "Width", FIRST.hidden_size, 32, 4096, 32, "hidden_size")
FFN = Number(
    "ffn",
    "FFN width",
    FIRST.intermediate_size,
    32,
    32768,
    32,
    "Width of the feed-forward block (intermediate_size), of experts each one's; follows the width when "
    "that moves.",
)
HEADS = Number("heads", "Heads", FIRST.num_heads, 1, 64, 1)
KV_HEADS = Number("kv_heads", "KV heads", FIRST.num_kv_heads, 1, 64, 1, "Must divide the heads.")
HEAD_DIM = Number("head_dim", "Head width", FIRST.head_dim, 8, 256, 8)
VOCABULARY = Number("vocabulary", "Vocabulary", FIRST.vocab_size, 2, 300_000, 1)
TIED = Flag("tied", "Embedding tied to the head", FIRST.tie_embeddings)
SHARING = Choice("sharing", "Sharing", "none", tuple(s.value for s in SharingStrategy))
REPEAT = Number("repeat", "Runs of a block", 2, 2, 8, 1)

SOURCE = (START, MODEL, COUNT, SHAPE, NAME)
SLIDERS = (LAYERS, WIDTH, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, TIED, SHARING, REPEAT)


def ffn_field(architecture: Architecture) -> str:
    """The field that the slider of the feed-forward width moves: of a mixture, the width of each expert."""
    return "intermediate_size" if architecture.moe_intermediate_size is None else "moe_intermediate_size"
