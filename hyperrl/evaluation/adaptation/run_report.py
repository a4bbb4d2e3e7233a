"""The report of how one run adapts."""

from __future__ import annotations

from hyperrl.evaluation.adaptation.figures import draw_curves
from hyperrl.evaluation.adaptation.results import Results
from hyperrl.evaluation.adaptation.summary import SetSummary, Summary, shown_episodes
from hyperrl.evaluation.zero_shot.document import Document, Heading, Part, Picture, Table, Text
from hyperrl.evaluation.zero_shot.figures import png_of
from hyperrl.evaluation.zero_shot.run_report import interval_text, number

PICTURE = "curve.png"


def report(results: Results, summary: Summary) -> Document:
    """Return the report of an evaluation.

    Args:
        results: The episodes.
        summary: Their statistics.
    """
    subject = results.subject
    title = f"Adaptation: {subject.agent} on {subject.env}, seed {subject.run_seed}"
    parts: list[Part] = [Text(_settings(results)), *_curves(results, summary)]
    parts += [*map(_points, summary.sets), _tasks(results, summary)]
    return Document(title, parts)


def headline(one: SetSummary) -> str:
    """Return one line about a set of tasks, for a terminal.

    Args:
        one: Its statistics.
    """
    shown = [
        f"{episodes}: {interval_text(one.points[episodes].iqm)}"
        for episodes in shown_episodes(len(one.points) - 1)
    ]
    return f"  {one.name:<18}{one.tasks:>5} tasks  IQM after {'  '.join(shown)}"


def _settings(results: Results) -> str:
    subject, plan = results.subject, results.plan
    seeds = ", ".join(map(str, plan.seeds))
    text = (
        f"Checkpoint {subject.checkpoint} after {subject.steps:,} steps. The task is "
        f"{', '.join(plan.space.names)}. To each task the agent adapts from nothing by {plan.episodes} "
        f"episodes of data, and plays {plan.evaluations} episodes without exploration before the first and "
        f"after each, of which it learns nothing (evaluation seeds: {seeds}). Resets are the same in all "
        "tasks and after any number of episodes. "
    )
    unit = (
        "draw seeds again, each with all of its tasks, data and episodes"
        if len(plan.seeds) > 1
        else "draw evaluation episodes again, each in all tasks; the data are the same ones"
    )
    return (
        f"{text}Intervals are 95 % bootstrap intervals that {unit}. They are about this one trained policy "
        "and say nothing of another training."
    )


def _curves(results: Results, summary: Summary) -> list[Part]:
    figure = draw_curves({"": {one.name: one.curve for one in summary.sets}}, "IQM of returns")
    caption = (
        "Interquartile mean of the returns over tasks, against the episodes of data, with 95 % intervals"
    )
    shown = shown_episodes(results.plan.episodes)
    head = ["split", "tasks", *(f"after {episodes}" for episodes in shown), "gain"]
    rows = [
        [
            one.name,
            str(one.tasks),
            *(interval_text(one.points[episodes].iqm) for episodes in shown),
            interval_text(one.points[-1].gain),
        ]
        for one in summary.sets
    ]
    about = "The gain is the IQM after all episodes of data minus that before the first."
    return [
        Heading("Return after episodes of data"),
        Picture(PICTURE, png_of(figure), caption),
        Table(head, rows),
        Text(about),
    ]


def _points(one: SetSummary) -> Part:
    rows = [
        [
            str(point.episodes),
            *map(interval_text, (point.iqm, point.mean, point.worst, point.gain)),
            number(point.data),
        ]
        for point in one.points
    ]
    head = ["episodes of data", "IQM", "mean", "worst tenth", "gain", "next episode of data"]
    return Table(head, rows, folded=f"All points of {one.name}")


def _tasks(results: Results, summary: Summary) -> Part:
    shown = shown_episodes(results.plan.episodes)
    head = [
        "split",
        *results.plan.space.names,
        *(f"after {episodes}" for episodes in shown),
        "while exploring",
    ]
    rows = [
        [
            task.split,
            *(f"{value:.4g}" for value in task.values),
            *(number(task.returns[episodes]) for episodes in shown),
            number(sum(task.data) / len(task.data)),
        ]
        for task in summary.tasks
    ]
    return Table(head, rows, folded=f"All {len(rows)} tasks")
