"""Judging: numbers that carry their interval, their floor and their protocol.

    from safelight.evaluation.evaluate import evaluate
    from safelight.evaluation.estimate import Estimate, Evaluation, Interval
    from safelight.evaluation.protocol import Protocol
    from safelight.evaluation.table import table

Nothing is imported here: streaming moments need numpy alone, and torch is 500 MB of memory.
"""
