"""What is known: frozen values without tensors, JSON both ways.

Every other part of the program takes records and returns records. Nothing in a record keeps a model, a tensor, a
frame or a file alive, so a recording can be written, read on another machine and rendered long after the run died.
"""
