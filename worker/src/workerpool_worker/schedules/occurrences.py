"""Keeps exactly one occurrence of each schedule in Redis: the next one, in the delayed set of its queue.

Any worker's main process may do it at any time, and all of them do, every few seconds. One script decides and writes,
so however many workers ask, one occurrence is put in. The rules:

- While an occurrence lies in the delayed set nothing is put in, however long it is due: workers that were away for
  days find one run, not one for each day.
- Of one definition no occurrence is put in that is not later than the last one.
- Who holds another definition of a schedule than the one in Redis stands back, until nobody has stood up for that one
  for a minute. Only a worker that starts takes over at once from others of its pool: the newest configuration wins,
  and a rolling update neither flaps nor doubles. A schedule that is gone from the settings is a definition too (the
  empty one, written by workers of the pool that had put it in); its occurrence is taken out.
- Redis's clock counts, no worker's. If it was set back by more than three hours, what was put in before is void.

Beside the hash of the contract, `workerpool:cron` (name -> due time), there is `workerpool:cron:schedules` (name ->
JSON): which definition, whose, where its occurrence lies, and when somebody last stood up for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from workerpool_worker.messages import headers, keys
from workerpool_worker.messages.wire import encode, message_for
from workerpool_worker.schedules.plan import Schedule

RECORDS = f"{keys.CRON}:schedules"
STALE_S = 60
"""After so long without anybody standing up for it, a definition gives way to another."""

_RENEW_S = 10
_SET_BACK_S = 3 * 3600
_TOMBSTONE_S = 3600

Answer = Literal["kept", "wanted", "put", "removed", "other", "none"]

# KEYS: due times, records, delayed set, its messages. ARGV: name, definition ("": gone), due, tag, value ("": only say
# whether one is wanted), source, starting ("1"). Returns an answer and, for "other", whose definition is in force.
_KEEP = f"""
local name, definition, due, tag, value = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local source, starting = ARGV[6], ARGV[7] == '1'
local now = tonumber(redis.call('TIME')[1])
local readable, record = pcall(cjson.decode, redis.call('HGET', KEYS[2], name) or 'null')
if not readable or type(record) ~= 'table' or not record.definition then record = nil end

local function write(fields)
  for field, content in pairs(fields) do record[field] = content end
  record.renewed = now
  redis.call('HSET', KEYS[2], name, cjson.encode(record))
end
local function take_out()
  if record.tag then
    redis.call('ZREM', record.set, record.tag)
    redis.call('HDEL', record.messages, record.tag)
    record.tag = nil
  end
end

if definition == '' and (not record or record.source ~= source) then return {{'none', ''}} end
local same = record and record.definition == definition
local set_back = record and record.at > now + {_SET_BACK_S}
if record and not same then
  local free = set_back or record.renewed + {STALE_S} < now or record.renewed > now + {_SET_BACK_S}
    or (starting and record.source == source) or (record.definition == '' and record.source ~= source)
  if not free then return {{'other', record.source}} end
end

if definition == '' then
  if same and record.at + {_TOMBSTONE_S} < now then
    redis.call('HDEL', KEYS[2], name)
    redis.call('HDEL', KEYS[1], name)
    return {{'kept', ''}}
  end
  if same then
    if record.renewed + {_RENEW_S} <= now then write({{}}) end
    return {{'kept', ''}}
  end
  take_out()
  write({{definition = '', at = now}})
  return {{'removed', ''}}
end

local lies = record and record.tag and redis.call('ZSCORE', record.set, record.tag)
local last = tonumber(redis.call('HGET', KEYS[1], name) or 0)
local void = set_back or (record and not same and last > now)
if (same and lies and not set_back) or (due <= last and not (void and due > now)) then
  if same and record.renewed + {_RENEW_S} <= now then write({{}}) end
  return {{'kept', ''}}
end
if value == '' then return {{'wanted', ''}} end
if record then take_out() else record = {{}} end
redis.call('HSET', KEYS[4], tag, value)
redis.call('ZADD', KEYS[3], due, tag)
redis.call('HSET', KEYS[1], name, due)
write({{definition = definition, source = source, at = now, tag = tag, set = KEYS[3], messages = KEYS[4]}})
return {{'put', ''}}
"""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What became of a schedule's turn; `whose` is the source of the definition in force where it is another's."""

    name: str
    answer: Answer
    due_s: int = 0
    whose: str = ""


def now_of(client: Any) -> float:
    """Redis's clock, Unix seconds."""
    seconds, micros = client.time()
    return float(seconds + micros / 1e6)


def keep(
    client: Any, app: Any, schedules: Iterable[Schedule], *, source: str, starting: bool, now_s: float
) -> list[Kept]:
    """Give every schedule its turn, and those that are gone from the settings theirs.

    Args:
        client: Of redis-py.
        app: The Celery app that makes the messages.
        schedules: Those in force.
        source: Who asks: the pool; "" for a worker of none, which removes nothing.
        starting: Whether it is the first time in this process.
        now_s: Redis's time, Unix seconds.
    """
    wanted = {schedule.name: schedule for schedule in schedules}
    known = {name.decode() if isinstance(name, bytes) else name for name in client.hkeys(RECORDS)}
    turn = _Turn(client.register_script(_KEEP), client, source=source, starting=starting)
    found = [turn.of(schedule, app, now_s) for schedule in wanted.values()]
    # Workers of no pool cannot tell their own schedules from those of others.
    gone = sorted(known - wanted.keys()) if source else []
    return found + [turn.of_gone(name) for name in gone]


@dataclass(frozen=True)
class _Turn:
    script: Callable[..., Any]
    client: Any
    source: str = field(kw_only=True)
    starting: bool = field(kw_only=True)

    def of(self, schedule: Schedule, app: Any, now_s: float) -> Kept:
        due_s = schedule.next_due_s(now_s)
        if due_s is None:
            return Kept(name=schedule.name, answer="none")
        kept = self._ask(schedule.name, schedule.definition, queue=schedule.queue, due_s=due_s)
        if kept.answer != "wanted":
            return kept
        # Made only now: almost always the occurrence lies there already.
        value = f"{schedule.queue}\n{encode(_message(app, schedule, due_s))}"
        tag = schedule.job_id(due_s)
        return self._ask(schedule.name, schedule.definition, queue=schedule.queue, due_s=due_s, tag=tag, value=value)

    def of_gone(self, name: str) -> Kept:
        return self._ask(name, "")

    def _ask(
        self, name: str, definition: str, *, queue: str = "", due_s: int = 0, tag: str = "", value: str = ""
    ) -> Kept:
        names = [keys.CRON, RECORDS, keys.delayed(queue), keys.delayed_messages(queue)]
        values = [name, definition, due_s, tag, value, self.source, "1" if self.starting else "0"]
        answer, whose = (_text(part) for part in self.script(keys=names, args=values, client=self.client))
        return Kept(name=name, answer=answer, due_s=due_s, whose=whose)  # type: ignore[arg-type]


def _message(app: Any, schedule: Schedule, due_s: int) -> dict[str, Any]:
    job_id = schedule.job_id(due_s)
    # As if it were sent when it comes due: nobody's clock but Redis's decides when that is, and its age counts from it.
    ours = {headers.ENQUEUED_AT: float(due_s), headers.CORRELATION_ID: job_id}
    arguments = schedule.arguments_at(due_s)
    return message_for(app, schedule.task, arguments, job_id=job_id, queue=schedule.queue, headers=ours)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What Redis knows of a schedule. Times are Unix seconds.

    Attributes:
        due_s: Of the occurrence put in last.
        put_at_s: When it was.
        source: The pool that put it in; "" for none.
        waits: Whether it lies in the delayed set still.
    """

    due_s: int
    put_at_s: int
    source: str
    waits: bool


def records(client: Any) -> dict[str, Record]:
    """Every schedule Redis knows, without those that were taken out."""
    dues = {_text(name): int(float(due)) for name, due in client.hgetall(keys.CRON).items()}
    found = {}
    for raw_name, raw in client.hgetall(RECORDS).items():
        name = _text(raw_name)
        try:
            record = json.loads(raw)
            if not record["definition"]:
                continue
            tag = record.get("tag")
            waits = tag is not None and client.zscore(record["set"], tag) is not None
            put_at_s, source = int(record["at"]), str(record["source"])
        except (ValueError, KeyError, TypeError) as error:
            logging.getLogger("workerpool_worker.schedules").warning("%s in %s: %s", name, RECORDS, error)
            continue
        found[name] = Record(due_s=dues.get(name, 0), put_at_s=put_at_s, source=source, waits=waits)
    return found


def forget(client: Any, name: str) -> bool:
    """Take a schedule out of Redis with its occurrence; whether there was one."""
    raw = client.hget(RECORDS, name)
    if raw is None:
        return False
    record = json.loads(raw)
    pipe = client.pipeline(transaction=True)
    if record.get("tag"):
        pipe.zrem(record["set"], record["tag"])
        pipe.hdel(record["messages"], record["tag"])
    pipe.hdel(RECORDS, name)
    pipe.hdel(keys.CRON, name)
    pipe.execute()
    return True


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
