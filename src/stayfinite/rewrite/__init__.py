"""Turns the loop body of a user's script into a transaction when the script is loaded.

`project` finds the user's own source, `summary` reads what each function and loop does, `blocks` chooses the loops whose
body is a training step, `transform` puts an attempt loop round that body, `loader` compiles scripts and imports with it,
and `runtime` is the module whose name stands in the compiled code. Nothing here knows a framework: the driver that
decides what an attempt means is set by a framework's session.
"""
