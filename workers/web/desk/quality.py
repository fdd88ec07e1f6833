"""How right the model is where people looked, how much people agree, and how long work waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from pipeline.people import Role
from pipeline.quality import Kappa, agreement, precisions, wilson
from pipeline.records import Label
from pipeline.store.quality import Pair
from workers.web.desk.charts import Series, lines
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

router = APIRouter(include_in_schema=False)


@router.get("/quality", response_class=HTMLResponse)
def quality(
    request: Request,
    deps: Deps,
    person: Annotated[Person, Depends(require(Role.LEAD))],
    days: Annotated[int, Query(ge=1, le=365)] = 30,
) -> HTMLResponse:
    """Of the last `days`; the backlog as it is now."""
    since = deps.clock.now() - timedelta(days=days)
    with deps.stores.transaction() as transaction:
        store = transaction.quality
        sampled, pairs, paces = store.sampled(since), store.pairs(since), store.paces(since)
        per_day, backlog = store.per_day(since), store.backlog()
    return render(
        request,
        "quality.html",
        person,
        days=days,
        precisions=precisions(sampled),
        kappas=kappas(pairs),
        paces=paces,
        backlog=backlog,
        chart=decisions_chart(per_day, since.date(), deps.clock.now().date()),
        decisions=sum(count for _, count in per_day),
        wilson=wilson,
    )


def kappas(pairs: Sequence[Pair]) -> list[tuple[str, Kappa]]:
    """Of all surfaces together, then of each."""
    found = []
    for surface in ("all surfaces", *sorted({pair.surface for pair in pairs})):
        table: Counter[tuple[Label, Label]] = Counter()
        for pair in pairs:
            if surface in ("all surfaces", pair.surface):
                table[pair.first, pair.second] += pair.count
        kappa = agreement(table)
        if kappa is not None:
            found.append((surface, kappa))
    return found


def decisions_chart(per_day: Sequence[tuple[date, int]], first: date, last: date) -> Markup:
    """Days without a decision are zero, not a gap."""
    counts = dict(per_day)
    every = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    points = [(datetime.combine(day, time(), UTC), float(counts.get(day, 0))) for day in every]
    most = max(counts.values(), default=0)
    desc = f"{sum(counts.values()):,} decisions in {len(every)} days; the most on one day were {most:,}."
    return lines([Series("decisions", points)], title="Decisions a day", desc=desc)
