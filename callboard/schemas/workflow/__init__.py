"""Inputs and outcomes of workflows and activities.

These models are written into Temporal histories: fields are only ever added, with a default, and never
renamed or removed, so that a recorded history can always be read again.
"""
