"""The closed loop: what the model finds hard decides what is synthesised next.

The DRSF paper names it as future work; everything here is ours. ``loop.py`` is the algorithm, the other files are its
pure parts: who gets how many images, which words are put together, and how hard a domain is.
"""
