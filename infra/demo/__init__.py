"""``make demo``: the main job on real servers, with a proof at its end.

The director (``director.py``, read this first) plays it in scenes on a started stack: a stage of its own
(``stage.py``), two sample services (``services/``, the programs to copy from), the tailer as a process that is killed
in the middle (``crew.py``), and a read_committed consumer whose records are compared with the tables' rows
(``records.py``). ``screen.py`` is all that is printed.

Nothing here imports the tailer: the demo uses it as anybody does, by its command and a file.
"""
