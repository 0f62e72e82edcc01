"""Machines: the slots that execute Attempts, each a supervisor with one warm browser below a small keeper.

pool.py              decides which Machine takes the next Attempt, and how many Machines there may be
machine.py           the life of one Machine: start, Attempts, stop, close
keeper.py            the process above the supervisor that lets nothing outlive it, and takes in what is printed
traces.py            redacts the traces of an Attempt; trace_redactor.py has that done in processes beside the worker
attempt_log_file.py  the log of one Attempt, as the worker has it
runner/              the code of the supervisor, of the zygote, and of the process of user code
"""
