"""Which pods go when a pool shrinks, and which come back first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from workerpool_operator.kube.objects import Name, PodObject
from workerpool_operator.ports import WorkerBeat
from workerpool_operator.queues.cordon import FRESH_S

HOST_NAME_MAX = 63


def host_of(beat: WorkerBeat) -> str:
    """The host a heartbeat comes from, by Celery's node name."""
    return beat.hostname.rpartition("@")[2]


def host_names(pod: PodObject) -> tuple[str, str]:
    """What a worker in a pod calls its host: the pod's name, which the bundled worker is told, or the host name.

    The kubelet cuts the latter to the 63 characters that Linux allows.
    """
    return pod.name[1], pod.name[1][:HOST_NAME_MAX].rstrip("-.")


def beats_of(pod: PodObject, by_host: Mapping[str, Sequence[WorkerBeat]]) -> Sequence[WorkerBeat]:
    """The heartbeats of a pod's workers."""
    whole, cut = host_names(pod)
    return by_host.get(whole) or by_host.get(cut) or ()


def by_host(beats: Iterable[WorkerBeat]) -> dict[str, list[WorkerBeat]]:
    """Heartbeats by the host they come from."""
    found: dict[str, list[WorkerBeat]] = {}
    for beat in beats:
        found.setdefault(host_of(beat), []).append(beat)
    return found


def choose(
    pods: Iterable[PodObject],
    beats: Iterable[WorkerBeat],
    count: int,
    *,
    since_s: Mapping[tuple[str, int], float] | None = None,
    deaf: Collection[str] = (),
) -> tuple[Name, ...]:
    """The pods that should go, the first to go first.

    Those not ready first, then the idle, then those nobody hears, the busy last. Of the busy, those with the fewest
    jobs, and of these the one that has started no job for the longest: it is the nearest to its end, as far as anybody
    can tell, and holds what it holds whatever it is told. Busy pods that do not listen come after all others.

    Args:
        pods: Those to choose from.
        beats: The heartbeats of their workers.
        count: How many should go.
        since_s: When each worker (host name and process) started its last job, in any seconds.
        deaf: Names of pods whose workers do not answer when they are told something.
    """
    fresh = by_host(beat for beat in beats if beat.age_s <= FRESH_S)
    known_s = since_s or {}

    def standing(pod: PodObject) -> tuple[int, int, float, Name]:
        own = beats_of(pod, fresh)
        jobs = sum(beat.active for beat in own)
        if not pod.ready:
            return 0, 0, 0.0, pod.name
        if not own:
            return 2, 0, 0.0, pod.name
        if not jobs:
            return 1, 0, 0.0, pod.name
        last_s = max(known_s.get((beat.hostname, beat.pid), 0.0) for beat in own)
        return (4 if pod.name[1] in deaf else 3), jobs, last_s, pod.name

    return tuple(pod.name for pod in sorted(pods, key=standing)[:count])


def first_back(
    names: Iterable[str],
    beats: Mapping[str, Iterable[WorkerBeat]],
    count: int,
    *,
    since_s: Mapping[tuple[str, int], float],
) -> tuple[str, ...]:
    """The cordoned pods that should be given back, the first to come first: idle ones, then those with the latest work.

    An idle one takes a job at once. Of the others the one that started last would leave last.

    Args:
        names: The pods to choose from.
        beats: The heartbeats of each one's workers.
        count: How many should come back.
        since_s: When each worker (host name and process) started its last job, in any seconds.
    """

    def standing(name: str) -> tuple[bool, float, str]:
        own = tuple(beats.get(name, ()))
        busy = any(beat.active for beat in own)
        return busy, -max((since_s.get((beat.hostname, beat.pid), 0.0) for beat in own), default=0.0), name

    return tuple(sorted(names, key=standing)[:count])
