"""Machines: the slots that execute Attempts, each a supervisor with one warm browser below a small keeper.

pool.py              decides which Machine takes the next Attempt, and how many Machines there may be
slot.py              the place of one Machine: starts it, keeps it warm, recycles it
machine.py           one Machine, from Attempt to Attempt; machine_start.py starts it
keeper.py            the process above the supervisor that lets nothing outlive it, and takes in what is printed
trace_redaction.py   redacts the traces of an Attempt; trace_redactor.py has that done in processes beside the worker
attempt_log_file.py  the log of one Attempt, as the worker has it
runner/              the code of the supervisor, of the zygote, and of the process of user code
"""
