"""Machines: the slots that execute Attempts, each a child process with one warm browser below a small keeper.

pool.py      which Machine takes the next Attempt; how many there may be
machine.py   the life of one: start, Attempts, stop, close
keeper.py    the process above the child that lets nothing outlive it, and takes in what it prints
traces.py    traces of an Attempt, as they may be shown; trace_redactor.py has them made so beside the worker
logbook.py   the log of one Attempt, as the worker has it
runner/      the code inside the child
"""
