"""What crosses a process boundary, as pydantic models: no I/O, nothing of ours imported.

`schemas.rest` is the published wire (strict), `schemas.workflow` the inputs and outcomes of workflows and
activities (replay-stable, only ever added to), `schemas.errors` the one error tree.
"""
