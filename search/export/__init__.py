"""From a study's trial to files that engines run: Hugging Face folders, GGUF files, and their proof."""
