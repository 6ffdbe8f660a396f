"""Changing a user's source: pure functions on text. Find the expression that is meant, say what it is, change its span only.

`source` reads one file; `views` says what an expression computes, however it is spelled; `tracing` finds what made an operand;
`changes` collects edits and makes a `Fix` of them, or none. Nothing here guesses: what cannot be changed safely is ``None``.
"""
