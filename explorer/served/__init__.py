"""What the explorer's server shows, and to whom: navigation, guard, the address with its token.

Streamlit takes a folder `pages` next to the script that it runs for its multipage folder, so the script is
here.
"""
