"""`make chaos`: a whole installation under load, whose parts are killed, stopped and cut off at random.

Afterwards a checker looks from outside at whether every promise was kept.
"""
