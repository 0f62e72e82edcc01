"""What crosses a process boundary, as pydantic models: no I/O, nothing of ours imported.

`contract.rest` is the published wire (strict), `contract.flow` the inputs and outcomes of workflows and
activities (replay-stable, only ever added to), `contract.errors` the one error tree.
"""
