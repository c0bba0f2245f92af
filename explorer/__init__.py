"""The explorer's pages, one file each; app.py is their navigation."""
