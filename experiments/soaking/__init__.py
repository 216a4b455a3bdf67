"""Parts of `soak`: real runs that are killed, damaged and refused, bad inputs, and properties of examples.

A part is a file with `cases(seed, scale, folder)`, which yields its cases.  A case is tried whole and recorded when it ends, so a soak
that is interrupted goes on with the next case (journal.py).  Runs and commands are executed by a process of their own (worker.py): it
compiles a model once, and its death or silence is a result.
"""
