"""The verbs: one module a command, which decides what is kept and made, and leaves how to the nouns.

May import every folder of nouns. May not import the command line or another verb.
"""
