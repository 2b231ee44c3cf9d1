r"""Celery on Redis, as kombu 5 lays it out.

Every key has the producers' ``global_keyprefix`` (here: ``key_prefix``) in front.

==============================================  ============  =====================================================
key                                             type          holds
==============================================  ============  =====================================================
``{queue}``                                     list          waiting jobs of priority 0; LPUSH in, BRPOP out
``{queue}\x06\x16{step}``                         list          those of the other priority steps (3, 6, 9)
``workerpool:delayed:{queue}``                  sorted set    the bundled worker's delayed jobs by when they are due
``unacked``                                     hash          fetched, not acknowledged: tag → [message, exchange, key]
``unacked_index``                               sorted set    the same tags by the time they were fetched
``workerpool:{namespace}:{pool}:unacked``       hash          the same for one pool, where its workers set the
``workerpool:{namespace}:{pool}:unacked_index`` sorted set    transport options ``unacked_key``, ``unacked_index_key``
``/{db}.celeryev/worker.heartbeat`` (channel)   pub/sub       every worker, every 2 s: jobs active and started so far
==============================================  ============  =====================================================

A queue's delayed set is read before its lists, and those before the hash: a job on its way from one to the next is then
counted twice for one poll, not missed. (Only a job that goes from the hash into the delayed set may be missed for one
poll, when nobody needs to run it.)
"""

from workerpool_operator.queues.celery.control import CeleryControl
from workerpool_operator.queues.celery.reader import CeleryReader

__all__ = ["CeleryControl", "CeleryReader"]
