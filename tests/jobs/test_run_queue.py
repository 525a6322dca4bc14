"""The queue on every database: one claimant wins, an old token writes nothing, leases end."""

import threading
import time
from datetime import UTC, datetime

import pytest

from forethought.core.records import Progress, Run
from forethought.errors import ConflictError, JobError, NotFoundError
from forethought.store.run_queue import MAX_LEASE_SECONDS, RunQueue


def nobody_is_dead(owner):
    return False


class Clock:
    """The machine's monotonic clock, set by hand; used on SQLite."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def queue(store):
    return RunQueue(store)


@pytest.fixture
def run(queue):
    return queue.enqueue(Run(kind="example-count", config={"steps": 3}, seed=7))


def everything(queue, run_id):
    streams = [queue.stream(name, run_id) for name in ("log", "metrics", "samples")]
    return queue.get(run_id), streams, queue.attempts(run_id)


def test_what_is_queued_comes_back_unchanged(queue, run):
    assert queue.get(run.id) == run
    assert [waiting.id for waiting in queue.waiting()] == [run.id]


def test_an_unknown_run_is_not_found(queue):
    with pytest.raises(NotFoundError, match="no run 'x'"):
        queue.get("x")


def test_of_many_claimants_one_wins(store, run):
    claims, together = [], threading.Barrier(6)

    def claim(number):
        queue = RunQueue(store)
        together.wait()
        claims.append(queue.claim(run.id, f"owner {number}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [claim for claim in claims if claim]
    assert len(won) == 1
    assert won[0].run.status == "running"
    assert won[0].lease.token == 1
    assert not won[0].resuming


def test_the_oldest_waiting_run_of_an_executor_comes_first(queue, run):
    queue.enqueue(Run(kind="example-count", executor="elsewhere"))
    newer = queue.enqueue(Run(kind="example-count"))
    assert queue.claim_next("a").run.id == run.id
    assert queue.claim_next("b").run.id == newer.id
    assert queue.claim_next("c") is None


def test_everything_said_under_a_lease_is_kept_in_order(queue, run):
    lease = queue.claim(run.id, "a").lease
    queue.append(lease, log=["one", "two\x00"], metrics=[(1, {"loss": 0.5, "odd": float("nan")})])
    queue.append(lease, log=["three"], samples=[(2, {"answer": "yes"})], progress=Progress(done=2, total=3))
    lines = queue.stream("log", run.id)
    assert [row.value for row in lines] == ["one", "two\x00", "three"]
    assert [row.value for row in queue.stream("log", run.id, after=lines[0].seq)] == ["two\x00", "three"]
    assert [(row.step, row.value) for row in queue.stream("metrics", run.id)] == [(1, {"loss": 0.5, "odd": None})]
    assert [(row.step, row.value) for row in queue.stream("samples", run.id)] == [(2, {"answer": "yes"})]
    assert queue.get(run.id).progress == Progress(done=2, total=3)


def test_a_finished_run_keeps_what_it_made(queue, run):
    lease = queue.claim(run.id, "a").lease
    queue.finish(lease, "done", metrics={"loss": 0.1}, artefacts={"model": "adapter"})
    done = queue.get(run.id)
    assert (done.status, done.error, done.metrics, done.artefacts) == ("done", "", {"loss": 0.1}, {"model": "adapter"})
    assert done.started_at <= done.finished_at
    assert queue.ended_under(lease)


LATE_WRITES = {
    "append": lambda queue, lease: queue.append(
        lease, log=["late"], metrics=[(1, {"x": 1.0})], progress=Progress(done=1)
    ),
    "heartbeat": lambda queue, lease: queue.heartbeat(lease),
    "finish": lambda queue, lease: queue.finish(lease, "done", metrics={"stolen": 1}),
}


@pytest.mark.parametrize("write", LATE_WRITES)
def test_an_old_token_writes_nothing(queue, run, write):
    old = queue.claim(run.id, "a").lease
    queue.expire(lambda owner: owner == "a")
    queue.requeue(run.id)
    new = queue.claim(run.id, "b")
    assert new.resuming
    assert new.lease.token > old.token
    before = everything(queue, run.id)
    with pytest.raises(ConflictError, match="no longer belongs"):
        LATE_WRITES[write](queue, old)
    assert everything(queue, run.id) == before
    queue.append(new.lease, log=["mine"])
    assert not queue.ended_under(old)


def test_a_run_taken_back_is_not_written_even_before_somebody_takes_it(queue, run):
    lease = queue.claim(run.id, "a").lease
    queue.expire(lambda owner: True)
    with pytest.raises(ConflictError):
        queue.append(lease, log=["late"])
    assert not queue.ended_under(lease)
    assert queue.stream("log", run.id) == []


def test_a_lease_that_is_over_interrupts_the_run_and_says_how_to_go_on(store, run):
    clock = Clock()
    queue = RunQueue(store, lease_seconds=0.2, clock=clock)
    queue.claim(run.id, "a")
    assert queue.expire(nobody_is_dead) == []
    clock.now += 0.3
    time.sleep(0.3)  # for PostgreSQL, whose own clock counts
    (lost,) = queue.expire(nobody_is_dead)
    assert lost == queue.get(run.id)
    assert lost.status == "interrupted"
    assert "vanished" in lost.error
    assert f"forethought runs resume {run.id}" in lost.error
    assert queue.requeue(run.id).status == "queued"
    assert queue.claim(run.id, "b").resuming


def test_a_heartbeat_makes_the_lease_last(store, run):
    clock = Clock()
    queue = RunQueue(store, lease_seconds=0.5, clock=clock)
    lease = queue.claim(run.id, "a").lease
    for _ in range(4):
        clock.now += 0.2
        time.sleep(0.2)
        assert queue.heartbeat(lease) is False
    assert queue.expire(nobody_is_dead) == []


@pytest.mark.parametrize("days", [-1, 1])
def test_leases_hold_when_somebody_sets_the_clock_of_this_machine(store, run, monkeypatch, days):
    queue = RunQueue(store)
    lease = queue.claim(run.id, "a").lease
    jumped = time.time() + days * 86_400
    monkeypatch.setattr(time, "time", lambda: jumped)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumped * 1e9))
    monkeypatch.setattr("forethought.store.run_queue.utc_now", lambda: datetime.fromtimestamp(jumped, UTC))
    assert RunQueue(store).expire(nobody_is_dead) == []
    assert queue.heartbeat(lease) is False
    assert queue.claim(run.id, "b") is None
    assert queue.finish(lease, "done").status == "done"


def test_a_lease_from_before_a_restart_is_over(store, run):
    if store.dialect != "sqlite":
        pytest.skip("PostgreSQL's clock does not begin anew")
    clock = Clock()
    clock.now = 1_000_000.0
    RunQueue(store, clock=clock).claim(run.id, "a")
    clock.now = 5.0
    assert RunQueue(store, clock=clock, lease_seconds=MAX_LEASE_SECONDS).expire(nobody_is_dead) != []


def test_cancelling_a_waiting_run_ends_it_at_once(queue, run):
    assert queue.request_cancel(run.id).status == "cancelled"
    assert queue.claim(run.id, "a") is None
    with pytest.raises(JobError, match="it is cancelled"):
        queue.request_cancel(run.id)


def test_cancelling_a_running_run_reaches_its_holder(queue, run):
    lease = queue.claim(run.id, "a").lease
    assert queue.heartbeat(lease) is False
    assert queue.request_cancel(run.id).status == "running"
    assert queue.heartbeat(lease) is True
    assert queue.finish(lease, "stopped", error="stopped").status == "cancelled"


def test_a_cancelled_run_can_be_resumed_and_is_then_not_cancelled(queue, run):
    lease = queue.claim(run.id, "a").lease
    queue.request_cancel(run.id)
    queue.finish(lease, "stopped")
    queue.requeue(run.id)
    claim = queue.claim(run.id, "b")
    assert claim.resuming
    assert queue.heartbeat(claim.lease) is False


def test_resuming_is_refused_with_the_reason(queue, run):
    with pytest.raises(JobError, match="already waiting"):
        queue.requeue(run.id)
    lease = queue.claim(run.id, "a").lease
    with pytest.raises(JobError, match="still running"):
        queue.requeue(run.id)
    queue.finish(lease, "done")
    with pytest.raises(JobError, match="it is done"):
        queue.requeue(run.id)


def test_only_what_a_worker_lost_is_queued_again_by_itself(queue, run):
    stopped = queue.enqueue(Run(kind="example-count"))
    queue.finish(queue.claim(stopped.id, "a").lease, "stopped", error="asked to")
    queue.claim(run.id, "a")
    assert queue.requeue_lost(max_claims=3) == []
    queue.expire(lambda owner: True)
    assert [lost.id for lost in queue.requeue_lost(max_claims=3)] == [run.id]
    queue.claim(run.id, "a")
    queue.expire(lambda owner: True)
    assert queue.requeue_lost(max_claims=2) == []
    assert queue.get(run.id).status == queue.get(stopped.id).status == "interrupted"


def test_a_run_withdrawn_before_it_began_can_be_resumed(queue, run):
    withdrawn, holder = queue.withdraw(run.id)
    assert (withdrawn.status, holder) == ("interrupted", "")
    queue.requeue(run.id)
    assert not queue.claim(run.id, "a").resuming
    assert queue.withdraw(run.id)[1] == "a"
