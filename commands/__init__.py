"""Commands of the command line, one file each; cli.py assembles them."""
