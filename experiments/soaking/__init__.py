"""Parts of `soak`: kills, damaged files, full disks, lost ranks, bad inputs, and properties of random examples.

A part is a file with `cases(setting)`, which yields its cases.  The journal records each case when it ends, so an interrupted soak resumes
with the next case (journal.py).  A separate worker process executes runs and commands (worker.py).  It compiles a model once; if it dies or
does not answer, the case fails.
"""
