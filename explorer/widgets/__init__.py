"""Widgets that several pages of the explorer share."""
