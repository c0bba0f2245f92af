"""Results as text, frames, figures and pages; empty on purpose, so that text needs no pandas or plotly."""
