"""What crosses a process boundary, as pydantic models: no I/O, nothing of ours imported.

`callboard.schemas.rest` is the published wire (strict), `callboard.schemas.workflow` the inputs and outcomes of
workflows and activities (replay-stable, only ever added to), `callboard.schemas.errors` the one error tree.
"""
