"""Jobs at known times, without a process of their own for it: each schedule's next occurrence lies in Redis."""
