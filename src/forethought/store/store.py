"""The store: every record, behind one object.

``Store.open(settings.store_url)`` gives it; the nouns' methods live in the modules named after them.
"""

from __future__ import annotations

from forethought.store.datasets import Datasets
from forethought.store.evaluations import Evaluations
from forethought.store.judgements import Judgements
from forethought.store.models import Models
from forethought.store.problems import Problems
from forethought.store.runs import Runs
from forethought.store.tasks import Tasks
from forethought.store.traces import Traces


class Store(Tasks, Problems, Traces, Judgements, Datasets, Runs, Models, Evaluations):
    """All records. Append-only: only runs change, and what is derived from other records.

    Safe to share between threads and to open from several processes.
    """
