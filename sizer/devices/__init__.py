"""Devices: facts about each, and the speed and energy of models on them."""
