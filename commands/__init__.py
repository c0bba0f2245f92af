"""The command line's commands, one file per topic; cli.py puts them together."""
