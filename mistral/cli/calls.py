"""Calls that are more than one request: upload, validate, find a failed task."""

from __future__ import annotations

from typing import Any

from mistral import errors
from mistral.cli.rest import Service, decoded
from mistral.cli.texts import Definition


def validate(
    service: Service, definition: Definition, namespace: str, strict: bool
) -> dict[str, Any]:
    """``{"file", "kind", "valid", "error", "warnings"}``; an older service sends
    no warnings.

    :param namespace: where actions and workflows are looked for.
    :param strict: what is advised against is not valid.
    """
    query = {"namespace": namespace, "strict": "true" if strict else ""}
    answer = service.post_text(
        definition.kind, "validate", text=definition.text, **query
    )
    return {
        "file": str(definition.path),
        "kind": definition.kind,
        "valid": answer["valid"],
        "error": answer.get("error"),
        "warnings": answer.get("warnings", []),
    }


def upload(
    service: Service,
    definition: Definition,
    namespace: str,
    *,
    public: bool = False,
    strict: bool = False,
    prune: bool = False,
) -> list[dict[str, Any]]:
    """Creates what the file defines, or updates it where it exists already.

    :param strict: refuse what is advised against.
    :param prune: delete members that an earlier text of the workbook had.
    :return: ``{"kind", "name", "done", "id"}`` of each thing stored, and of members
        that are left behind or were deleted.
    :raises Conflict: some of a file's members exist and others do not; the
        service takes them all together or none. Or all are new, and something else
        is in their way, such as a trigger.
    """
    query = {
        "namespace": namespace,
        "scope": "public" if public else "",
        "strict": "true" if strict else "",
        "prune": "true" if prune and definition.kind == "workbooks" else "",
    }
    try:
        answer = service.post_text(definition.kind, text=definition.text, **query)
        done = "created"
    except errors.Conflict as conflict:
        try:
            answer = service.put_text(definition.kind, text=definition.text, **query)
        except errors.NotFound as missing:
            if not _has_some(service, definition, namespace):
                raise errors.Conflict(
                    f"{definition.path}: {conflict.message}"
                ) from missing
            raise errors.Conflict(
                f"{definition.path}: some of it exists and some does not, and one"
                f" file is stored as a whole: {conflict.message} {missing.message}"
                " Put what is new into a file of its own."
            ) from missing
        done = "updated"
    except errors.BadRequest as refusal:
        raise errors.BadRequest(f"{definition.path}: {refusal.message}") from refusal
    stored = answer.get(definition.kind, [answer])
    kind = definition.kind.removesuffix("s")
    rows = [
        {"kind": kind, "name": member["name"], "done": done, "id": member["id"]}
        for member in stored
    ]
    others = (("left_behind", "left behind"), ("pruned", "deleted"))
    rows += [
        {**member, "done": word}
        for attribute, word in others
        for member in answer.get(attribute, ())
    ]
    return rows


def _has_some(service: Service, definition: Definition, namespace: str) -> bool:
    """Whether something of the file exists already."""
    if definition.kind != "workflows":
        # A workbook is one thing, which has just not been found; of actions nothing
        # but their own names can be taken.
        return definition.kind == "actions"
    for name in definition.workflows:
        try:
            service.get("workflows", name, namespace=namespace)
        except errors.NotFound:
            continue
        return True
    return False


def startable(definition: Definition, wanted: str | None) -> str:
    """The name under which the file's workflow is started.

    :raises BadRequest: it has none, or not this one.
    """
    names = definition.workflows
    if not names:
        raise errors.BadRequest(f"{definition.path} defines no workflow to run")
    if wanted is None:
        return names[0]
    for name in names:
        if wanted in (name, name.rpartition(".")[2]):
            return name
    raise errors.BadRequest(
        f"{definition.path} has no workflow '{wanted}', only {', '.join(names)}"
    )


def failed_task(service: Service, given: str, name: str | None) -> dict[str, Any]:
    """The task with the id ``given``, or the failed one of that execution.

    :raises NotFound: neither a task nor an execution, or nothing failed there.
    :raises BadRequest: several tasks failed and ``name`` does not choose one.
    """
    try:
        return decoded(service.get("tasks", given))
    except (errors.NotFound, errors.BadRequest):
        pass
    try:
        every = list(service.all("tasks", "executions", given, "tasks", state="ERROR"))
    except (errors.NotFound, errors.BadRequest) as missing:
        raise errors.NotFound(
            f"there is neither a task nor an execution with the id {given}"
        ) from missing
    failed = [task for task in every if name in (None, task["name"])]
    if not failed:
        which = "no failed task" if name is None else f"no failed task '{name}'"
        raise errors.NotFound(f"{which} in the execution {given}")
    if len(failed) > 1:
        names = ", ".join(f"{task['name']} ({task['id']})" for task in failed)
        raise errors.BadRequest(f"several tasks failed, name one: {names}")
    return failed[0]
