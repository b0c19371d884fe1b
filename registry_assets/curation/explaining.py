"""Why a picture is kept or left out: the verdicts on one row of `Pictures`, in order and in words.

The verdicts are those of the stages, by the comparisons of `images.verdicts`; what a change of a
threshold or a decision would make of a picture comes from `Pictures.judge`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from registry_assets.curation.deciding import materialize_command
from registry_assets.curation.pictures import Pictures
from registry_assets.curation.placement import Placement
from registry_assets.images.decisions import Decision
from registry_assets.images.judging import OUTCOMES, Outcome, judge, no_decisions
from registry_assets.images.reasons import is_of_video, kind_of, meaning_of
from registry_assets.images.tables import escape_text
from registry_assets.images.verdicts import DAY, FOG, THRESHOLDS, Threshold, verdict_of
from registry_assets.registry.decisions import Decided, DecidedJson, decided_as_json
from registry_assets.units import count_of

Relation = Literal["below", "above", "at most", "at least"]

_MEASURES = {
    "mean_brightness": "mean brightness",
    "mean_horizontal_variance": "mean horizontal variance",
}
_NOT_MET: Mapping[str, Relation] = {"≤": "below", "≥": "above", "<": "at most"}
_MET: Mapping[str, Relation] = {"≤": "at least", "≥": "at most", "<": "above"}
_MOST_FRAMES = 20
_MOST_COPIES = 5


@dataclass(frozen=True)
class StageVerdict:
    """The verdict of one stage, or one threshold of it, on a picture.

    Attributes:
        stage: The stage; empty if the data set has none for it.
        verdict: `intact`, `allowed`, `too dark`, `not too dark`, `day`, or the reason.
        is_kept: Whether the stage passes the picture on.
        measure: The measure that is compared; null for a verdict without a threshold.
        value: Its value.
        comparison: `≤`, `<`, `≥` or `>`: how the value compares with the threshold.
        threshold: The threshold.
        parameter: Its name in `params.yaml`.
        text: All of it in words.
    """

    stage: str
    verdict: str
    is_kept: bool
    measure: str | None
    value: float | None
    comparison: str | None
    threshold: float | None
    parameter: str | None
    text: str

    @property
    def compared(self) -> str:
        """The comparison in words, as in "mean brightness 12.4 ≤ 20"; empty if there is none."""
        if self.value is None or self.threshold is None:
            return ""
        return _compare_in_words(self.measure, self.value, self.comparison, self.threshold)


@dataclass(frozen=True)
class Change:
    """What would have to change for another outcome.

    Attributes:
        becomes: The outcome then: `kept`, a class such as `day/sharp`, or a reason.
        parameter: The threshold to change; null if it takes a command.
        relation: Where the threshold would have to be.
        threshold: Below, above, at most or at least this.
        command: The command; null if it takes a threshold.
    """

    becomes: str
    parameter: str | None = None
    relation: Relation | None = None
    threshold: float | None = None
    command: str | None = None

    def __str__(self) -> str:
        if self.command is not None:
            return f"`{self.command}`"
        return f"{self.parameter} {self.relation} {self.threshold:g}"


@dataclass(frozen=True)
class OtherPicture:
    """Another picture of the data set: a copy, the one kept instead, or a frame of a video.

    Attributes:
        collection: Its collection.
        path: Its path in the collection.
        is_kept: Whether the data set keeps it.
        outcome: `kept`, its class such as `day/sharp`, or the reason for which it is left out.
    """

    collection: str
    path: str
    is_kept: bool
    outcome: str


@dataclass(frozen=True)
class Explanation:
    """Why a picture of a data set is kept or left out.

    Attributes:
        dataset: The path of the data set.
        collection: The collection.
        path: The path in the collection.
        md5: The content; empty if it was not read.
        outcome: `kept`, or the kind of reason for which it is left out, such as `corrupt`.
        reason: The reason in full; empty if it is kept.
        meaning: What the reason means, and what helps.
        image_class: Its class, such as `day/sharp`; empty if it has none.
        stage: The stage that leaves it out; empty if it is kept.
        verdicts: The verdicts of the stages in order, up to the one that leaves it out.
        decision: The decision about it.
        kept_instead: For a duplicate that is left out: the picture kept instead.
        copies: Other pictures of the data set with the same content.
        video: For a frame: the path of its video; otherwise empty.
        frame: For a frame: its number in the video, from 0.
        frames: For a video: how its frames fared.
        note: A problem with the rest of the file, whose first picture is intact.
        output: The last output that holds it, such as `day_images/sharp`; null if none does.
        is_pending: Whether outputs do not agree with the verdicts yet.
        next: The command that makes them agree; null if they do.
        changes: What would have to change for another outcome.
    """

    dataset: str
    collection: str
    path: str
    md5: str
    outcome: str
    reason: str
    meaning: str
    image_class: str
    stage: str
    verdicts: tuple[StageVerdict, ...]
    decision: DecidedJson | None
    kept_instead: OtherPicture | None
    copies: tuple[OtherPicture, ...]
    video: str
    frame: int | None
    frames: tuple[OtherPicture, ...]
    note: str
    output: str | None
    is_pending: bool
    next: str | None
    changes: tuple[Change, ...]


def explain(pictures: Pictures, row: int, placement: Placement | None = None) -> Explanation:
    """Explain the verdicts on a row of a data set with measures.

    Args:
        pictures: The pictures of the data set.
        row: The row.
        placement: Where the stages have put the pictures; pending is not told without it.
    """
    columns = pictures.columns
    outcome, reason = OUTCOMES[pictures.outcomes[row]], pictures.reason(row)
    collection, path = columns.collection_of(row), columns.paths[row]
    md5, source = columns.md5[row].decode(), columns.source[row]
    is_pending = placement is not None and bool(placement.is_pending(pictures)[row])
    held = -1 if placement is None else int(placement.output[row])
    return Explanation(
        dataset=pictures.source,
        collection=collection,
        path=path,
        md5=md5,
        outcome="kept" if outcome.is_kept else kind_of(reason),
        reason=reason,
        meaning=meaning_of(reason),
        image_class="/".join(outcome.image_class or ()),
        stage=pictures.stages.leaving_out(outcome),
        verdicts=tuple(judge_in_order(pictures, row)),
        decision=_decision(pictures, row),
        kept_instead=_kept_instead(pictures, row),
        copies=tuple(_other(pictures, n) for n in columns.rows_with(md5) if n != row),
        video=source,
        frame=int(columns.frame[row]) if source else None,
        frames=tuple(_frames(pictures, row)) if is_of_video(reason) else (),
        note=columns.note[row],
        output=None if placement is None or held < 0 else placement.outputs[held],
        is_pending=is_pending,
        next=materialize_command([collection]) if is_pending else None,
        changes=tuple(_changes(pictures, row)),
    )


def judge_in_order(pictures: Pictures, row: int) -> Iterator[StageVerdict]:
    """Yield the verdicts on a row in the order of the stages, up to the one that leaves it out."""
    stages, reason = pictures.stages, pictures.columns.reason[row]
    intact = stages.intact or stages.thresholds or ""
    if reason:
        yield _plain(intact, reason, is_kept=False)
        return
    yield _plain(intact, "intact", is_kept=True)
    decision = pictures.decisions.get(row)
    if decision is not None:
        is_allowed = decision.verdict == "allow"
        verdict = "allowed" if is_allowed else OUTCOMES[pictures.outcomes[row]].reason
        yield _plain(stages.thresholds or "", verdict, is_kept=is_allowed, said=str(decision))
        if not is_allowed:
            return
    for threshold in THRESHOLDS:
        is_class = threshold in (DAY, FOG)
        if threshold.parameter not in pictures.limits:
            continue
        if is_class and OUTCOMES[pictures.outcomes[row]].image_class is None:
            continue
        found = _compare(
            pictures,
            row,
            threshold,
            (stages.classes if is_class else stages.thresholds) or "",
            is_allowed=decision is not None,
        )
        yield found
        if not found.is_kept:
            return


def _plain(stage: str, verdict: str, *, is_kept: bool, said: str = "") -> StageVerdict:
    # Of a video, the frames go on.
    left_out = "" if is_kept or not stage or is_of_video(verdict) else f", left out by {stage}"
    text = f"{said or escape_text(verdict)}{left_out}"
    if verdict == "intact":
        text = "intact: decodes in full"
    if verdict == "allowed":
        text += ", whatever the thresholds of brightness say"
    return StageVerdict(stage, verdict, is_kept, None, None, None, None, None, text)


def _compare(
    pictures: Pictures, row: int, threshold: Threshold, stage: str, *, is_allowed: bool
) -> StageVerdict:
    value, limit = _value(pictures, row, threshold), pictures.limits[threshold.parameter]
    is_met, is_class = bool(threshold.is_met(value, limit)), bool(threshold.otherwise)
    comparison = threshold.comparison(value, limit)
    if is_class:
        verdict, end = threshold.met if is_met else threshold.otherwise, ""
    elif is_met:
        verdict = threshold.met
        end = ", but allowed" if is_allowed else f", left out by {stage}" if stage else ", left out"
    else:
        verdict, end = f"not {threshold.met}", ""
    said = _compare_in_words(threshold.measure, value, comparison, limit)
    return StageVerdict(
        stage,
        verdict,
        not is_met or is_class or is_allowed,
        threshold.measure,
        value,
        comparison,
        limit,
        threshold.parameter,
        f"{said} ({threshold.parameter}): {verdict}{end}",
    )


def _compare_in_words(
    measure: str | None, value: float, comparison: str | None, limit: float
) -> str:
    return f"{_MEASURES[measure or '']} {_show(value, limit)} {comparison} {limit:g}"


def _value(pictures: Pictures, row: int, threshold: Threshold) -> float:
    return float(getattr(pictures.columns, threshold.measure)[row])


def _show(value: float, limit: float) -> str:
    """A value with as many digits as it takes to be on its side of the limit."""
    for digits in range(1, 12):
        shown = round(value, digits)
        if (shown < limit, shown > limit) == (value < limit, value > limit):
            return f"{shown:.{digits}f}"
    return repr(value)


def _decision(pictures: Pictures, row: int) -> DecidedJson | None:
    decision, dataset = pictures.decisions.get(row), pictures.dataset
    if decision is None or dataset is None:
        return None
    collection = pictures.columns.collection_of(row)
    file = dataset.decisions_file(collection) or ""
    return decided_as_json(Decided(dataset.path, collection, file, decision))


def _kept_instead(pictures: Pictures, row: int) -> OtherPicture | None:
    decision = pictures.decisions.get(row)
    if decision is None or not decision.duplicate_of:
        return None
    collection, _, path = decision.duplicate_of.partition("/")
    other = pictures.columns.row_of(collection, path)
    if other is None:
        return OtherPicture(collection, path, False, "not in the data set")
    return _other(pictures, other)


def _other(pictures: Pictures, row: int) -> OtherPicture:
    outcome = OUTCOMES[pictures.outcomes[row]]
    collection, path = pictures.columns.collection_of(row), pictures.columns.paths[row]
    return OtherPicture(collection, path, outcome.is_kept, pictures.reason(row) or str(outcome))


def _frames(pictures: Pictures, row: int) -> Iterator[OtherPicture]:
    columns = pictures.columns
    own = columns.rows_of(columns.collection_of(row))
    are_frames = columns.source.where(lambda source: source == columns.paths[row])[own]
    for number in np.flatnonzero(are_frames):
        yield _other(pictures, own.start + int(number))


def _changes(pictures: Pictures, row: int) -> Iterator[Change]:
    """What would give the row another outcome: one threshold, or a decision."""
    now = OUTCOMES[pictures.outcomes[row]]
    if pictures.columns.reason[row]:
        return
    decision, md5 = pictures.decisions.get(row), pictures.columns.md5[row].decode()
    takes_decisions = pictures.dataset is not None and pictures.dataset.decisions is not None
    where = "" if pictures.dataset is None else f" --dataset {shlex.quote(pictures.dataset.name)}"
    because = f"{md5}{where} --why '…'"
    if decision is not None:
        without = _outcome(pictures, row, pictures.limits, None)
        if without != now and not decision.duplicate_of:
            yield Change(str(without), command=f"registry decisions {md5}{where} --withdraw")
    for threshold in THRESHOLDS:
        if (change := _move(pictures, row, threshold)) is not None:
            yield change
    if takes_decisions and not now.is_kept:
        allowed = _outcome(pictures, row, pictures.limits, replace(_ALLOW, md5=md5))
        yield Change(str(allowed), command=f"registry allow {because}")
    elif takes_decisions:
        yield Change("denied", command=f"registry deny {because}")


_ALLOW = Decision("", "allow", "", "")


def _move(pictures: Pictures, row: int, threshold: Threshold) -> Change | None:
    """The change of one threshold; None if the outcome would stay the same."""
    if threshold.parameter not in pictures.limits:
        return None
    value, limit = _value(pictures, row, threshold), pictures.limits[threshold.parameter]
    relation = (_NOT_MET if threshold.is_met(value, limit) else _MET)[threshold.symbol]
    # Rounded away from the value, so that what is said is always enough.
    rounded = (math.floor if relation in ("below", "at most") else math.ceil)(value * 10) / 10
    beyond = {"below": rounded - 1e-6, "above": rounded + 1e-6}.get(relation, rounded)
    try:
        then = _outcome(
            pictures,
            row,
            {**pictures.limits, threshold.parameter: beyond},
            pictures.decisions.get(row),
        )
    except ValueError:
        # The range of brightness would be empty.
        return None
    if then == OUTCOMES[pictures.outcomes[row]]:
        return None
    return Change(str(then), threshold.parameter, relation, rounded)


def _outcome(
    pictures: Pictures, row: int, limits: Mapping[str, float], decision: Decision | None
) -> Outcome:
    """What would become of one row with other thresholds or another decision."""
    one = pictures.columns.select(slice(row, row + 1))
    decided = no_decisions(1)
    if decision is not None:
        kind = verdict_of(decision) or "allowed"
        decided = decided._replace(**{kind: np.ones(1, bool)})
    return OUTCOMES[int(judge(one, limits, decided)[0])]


def describe_explanation(found: Explanation) -> Iterator[str]:
    """Describe why a picture is kept or left out, in lines for a terminal."""
    yield f"{found.dataset}: {escape_text(found.collection)}/{escape_text(found.path)}"
    yield f"  {_headline(found)}"
    yield from (f"    {verdict.text}" for verdict in found.verdicts)
    if found.meaning and not found.verdicts[-1].parameter and found.decision is None:
        yield f"    {found.outcome}: {found.meaning}"
    if found.note:
        yield f"    note: {escape_text(found.note)}"
    if found.video:
        yield f"    frame {found.frame} of the video {escape_text(found.video)}"
    if found.kept_instead is not None:
        yield f"    kept instead: {_name(found.kept_instead)}"
    yield from _described("same content", found.copies, _MOST_COPIES)
    yield from _described("frame", found.frames, _MOST_FRAMES)
    yield from _describe_changes(found)
    if found.is_pending:
        where = f"still in {found.output}" if found.output else "in no output yet"
        yield f"  pending: {where}: run `{found.next}`"


def _headline(found: Explanation) -> str:
    if found.frames:
        kept = sum(frame.is_kept for frame in found.frames)
        return f"a video: {kept} of {count_of(len(found.frames), 'frame')} kept"
    if is_of_video(found.reason):
        return "a video without frames"
    if found.reason:
        return f"left out: {escape_text(found.reason)}"
    return f"kept, as {found.image_class}" if found.image_class else "kept"


def _described(what: str, others: tuple[OtherPicture, ...], most: int) -> Iterator[str]:
    yield from (f"    {what}: {_name(other)}" for other in others[:most])
    if len(others) > most:
        yield f"    … and {len(others) - most:,} more, in the JSON"


def _name(other: OtherPicture) -> str:
    return (
        f"{escape_text(other.collection)}/{escape_text(other.path)} ({escape_text(other.outcome)})"
    )


def _describe_changes(found: Explanation) -> Iterator[str]:
    for number, change in enumerate(found.changes):
        lead = "  it would be" if number == 0 else "           or"
        yield f"{lead} {change.becomes} with {change}"
