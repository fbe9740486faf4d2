# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Change daemon.json and have the engine do as it says, or give the file back, in guarded transactions.

Mostly it is one. Where containers are to outlive a restart, live-restore comes first and goes last, each by a reload in
a transaction of its own (`gently`): so containers outlive the way back from a restart that fails, too.
"""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils import _docker_restart
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon import (
    LIVE_RESTORE,
    Action,
    Document,
    Draft,
    Effect,
    Plan,
    Step,
    Wanted,
    between,
    draft,
    draft_of,
    effect_of,
    gently,
    has_credentials,
    make_plan,
    reverse,
    shown,
    taken_text,
    written,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_checks import (
    Surroundings,
    check,
    check_given_back,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_keys import flags_in
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_look import (
    Found,
    Pending,
    have_checked,
    look,
    look_around,
    read_pending,
    write_pending,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import Run, find_engine, run_command
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_restart import (
    Order,
    Report,
    argv_of,
    carry_out,
    is_live,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import (
    Change,
    Commands,
    FileState,
    FileWanted,
    Outcome,
    Shown,
    digest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_back import recover
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_files import write_new, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import (
    Places,
    lock,
    read_content,
    read_kept,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_run import (
    LOCK_TIMEOUT,
    SETTLE,
    Asking,
    transact,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import sync_dir
from ansible_collections.emorobcare.fleet.plugins.module_utils._zipapp import (
    interpreter,
    loaded_source,
    pack,
    sources_of,
)

NAME = "docker-daemon"
PROGRAM = "docker-engine.pyz"


@dataclass(frozen=True)
class Request:
    """What the task asks for.

    :ivar restart: whether the engine may be restarted.
    :ivar mode: None to leave the file's as it is; of a new one 0644.
    :ivar probe: asks what containers can do; None not to ask.
    :ivar settle: seconds until what passed before must pass again.
    :ivar folder: where the host remembers its changes.
    """

    wanted: Wanted
    present: bool = True
    restart: bool = False
    order: Order = field(default_factory=Order)
    mode: int | None = None
    owner: str = "root"
    group: str = "root"
    probe: Asking | None = None
    settle: float = SETTLE
    folder: str = "/var/lib/fleet/host"


@dataclass(frozen=True)
class Due:
    """What is to be done: to the file, and to the engine."""

    found: Found
    draft: Draft
    effect: Effect
    plan: Plan
    pending: Pending = field(default_factory=Pending)

    @property
    def keeps_containers(self) -> bool:
        """Whether there are containers that run on while the engine restarts."""
        live = self.found.live_restore or self.draft.after.get(LIVE_RESTORE) is True
        return bool(self.found.running) and live

    @property
    def live_by_flag(self) -> bool:
        """Whether live-restore is a flag of the engine, which its file must not say again, and which stays on."""
        return LIVE_RESTORE in flags_in(self.found.program.arguments)


@dataclass(frozen=True)
class Done:
    """How it went, or would go; `outcome` of the whole."""

    due: Due
    changed: bool
    outcome: Outcome
    report: Report | None = None


def run(request: Request, *, check_mode: bool, runner: Run = run_command) -> Done:
    """Do what is asked, or tell what would be done.

    :raises HostError: it is refused, or was taken back.
    """
    recovered = () if check_mode else _settle(request.folder)
    due = look_and_plan(request, runner)
    told = transact(_last(request, due, due.plan.action), folder=request.folder, probe=None, check=True)
    told = replace(told, recovered=(*recovered, *told.recovered))
    changed = told.changed or due.plan.action != "none" or bool(recovered)
    if check_mode or not changed:
        return Done(due, changed, told)
    if due.plan.action == "restart" and due.pending.is_left(due.found.text):
        # What would be refused is, before anything that waits is given up.
        whole = look_and_plan(request, runner, due.pending)
        request = _with_mode(request, due)
        _unwrite(request, due)
        due = whole
    outcome, report = _carry_out(request, due, runner)
    _remember(request, due, runner)
    return Done(due, changed, replace(told, before=outcome.before, after=outcome.after), report)


def _carry_out(request: Request, due: Due, runner: Run) -> tuple[Outcome, Report | None]:
    """Change the file and the engine, in as many transactions as it takes for containers to run on."""
    if due.plan.action != "none":
        write_program(request.folder)
    steps: list[Step] = []
    last = due.plan.action
    if last == "restart" and due.keeps_containers and not due.live_by_flag:
        startable = _startable(request, due, runner)
        steps, last = gently(due.draft, live_now=due.found.live_restore, startable=startable)
    document, probes, text = due.draft.before, Outcome(False), due.found.text
    reports: list[Report | None] = []
    for step in steps:
        _keep_promise(due, step.action, runner)
        made = between(document, step.document, written(step.document))
        # Of a reload that is a reload as well: live-restore that stays on harms nothing, and a restart may.
        change = _present(request, due, made, step.action)
        ask = step.action == "restart"
        outcome, report = _transact(request, _from(text, change), step.action, step.action, runner, ask=ask)
        probes = outcome if outcome.before is not None else probes
        reports.append(report)
        document, text = made.after, made.text
    _keep_promise(due, last, runner)
    back = _action_back(request, between(document, due.draft.after, due.draft.text), last)
    ask = last == "restart" or not steps
    outcome, report = _transact(request, _from(text, _last(request, due, back)), last, back, runner, ask=ask)
    probes = outcome if outcome.before is not None else probes
    return probes, next((one for one in (report, *reports) if one), None)


def _keep_promise(due: Due, action: Action, runner: Run) -> None:
    """Refuse a restart that would stop containers which are to run on.

    :raises HostError: the engine has not switched live-restore on, whatever its file says.
    """
    if action == "restart" and due.keeps_containers and not is_live(runner):
        raise HostError(
            f"the engine was told to read {LIVE_RESTORE} in its file and does not have it (docker info), so a restart "
            f"would stop {len(due.found.running)} containers. It was not restarted; its log says why",
            reason="reload_failed",
        )


def _startable(request: Request, due: Due, runner: Run) -> t.Callable[[Document], bool]:
    """Return what tells whether the engine would start with a file, as far as that can be checked."""

    def startable(document: Document) -> bool:
        wanted, made = Wanted(request.wanted.path, document), Draft({}, document, written(document), ())
        try:
            check(wanted, made, Surroundings(due.found.program))
            have_checked(runner, wanted, made, due.found.program)
        except HostError:
            return False
        return True

    return startable


def _settle(folder: str) -> tuple[str, ...]:
    """End what was cut off, so that what is looked at next is what the host has; return a sentence for each."""
    with lock(folder, LOCK_TIMEOUT):
        return recover(folder)


def look_and_plan(request: Request, runner: Run, pending: Pending | None = None) -> Due:
    """Look at all that matters, refuse what must not be, and plan.

    :param pending: what waits, to plan from the file as the engine has taken it, instead of from the one that is there.
    :raises HostError: it is refused.
    """
    wanted = request.wanted
    found = look(runner, wanted.path, request.order.pid_file)
    if pending:
        found = replace(found, text=pending.taken)
    made = draft(found.text, wanted) if request.present else _given_back(request, found)
    if request.present:
        # What a file holds already is checked only by the engine that reads it.
        check(wanted, made, look_around(runner, found, made))
        if made.changed:
            have_checked(runner, wanted, made, found.program)
    elif made.changed:
        check_given_back(made, look_around(runner, found, made))
    effect = effect_of(made)
    if found.silent:
        effect = replace(effect, reload=(), restart=made.changed)  # it could not say that it has read its file
    due = Due(found, made, effect, Plan("none"), read_pending(found.engine))
    plan = make_plan(
        effect,
        due.pending.keys,
        engine_runs=bool(found.engine.pid),
        restart=request.restart,
        kept_alive=due.keeps_containers,
    )
    return replace(due, plan=plan)


def _given_back(request: Request, found: Found) -> Draft:
    """Return what changes when the file of before the first change comes back; nothing if somebody has edited it."""
    gone = Change(NAME, state="absent")
    outcome = transact(gone, folder=request.folder, probe=None, check=True)
    path = request.wanted.path
    if path not in outcome.files:
        return draft_of(found.text, found.text, path)
    places = Places(request.folder, NAME)
    record = read_kept(places).record(path)
    sha256 = record.was.sha256 if record else None
    return draft_of(found.text, read_content(places, sha256).decode() if sha256 else None, path)


def _last(request: Request, due: Due, back: Action) -> Change:
    """Return the transaction that leaves the file as it is wanted."""
    if request.present:
        return _present(request, due, due.draft, back)
    commands = _commands(request, back)
    return Change(NAME, (), commands, commands, "absent")


def _present(request: Request, due: Due, made: Draft, back: Action) -> Change:
    """Return the transaction that leaves a draft. Its commands are for who takes it back for us."""
    commands = _commands(request, back)
    secret = has_credentials(made.text) or has_credentials(due.found.text)
    file = FileWanted(request.wanted.path, made.text, request.mode, request.owner, request.group, diff=not secret)
    return Change(NAME, (file,), commands, commands)


def _from(text: str | None, change: Change) -> Change:
    """Return a change that is refused where the file holds something else by then than what it was made from."""
    made_from = "" if text is None else digest(text.encode())
    return replace(change, files=tuple(replace(file, made_from=made_from) for file in change.files))


def _action_back(request: Request, made: Draft, action: Action) -> Action:
    """Return what makes the file of before count: not always what makes the new one count."""
    if action != "reload":
        return action
    return "restart" if request.restart and effect_of(reverse(made)).restart else "reload"


def _commands(request: Request, action: Action) -> Commands:
    if action == "none":
        return ()
    program = os.path.join(request.folder, PROGRAM)
    return ((interpreter(), "-I", *argv_of(program, action, request.order)),)


def write_program(folder: str) -> None:
    """Leave the program on the host that restarts an engine without Ansible: for who takes a change back."""
    path = os.path.join(folder, PROGRAM)
    name = _docker_restart.__name__.rpartition(".")[2]
    start = f"import sys\n\nfrom {_docker_restart.__name__} import main\n\nraise SystemExit(main(sys.argv[1:]))\n"
    content = pack(sources_of(name, loaded_source), start, interpreter())
    with writing(path):
        if os.path.exists(path):
            with open(path, "rb") as file:
                if file.read() == content:
                    return
        write_new(f"{path}.new", content, FileState("file", 0o755, os.geteuid(), os.getegid()))
        os.rename(f"{path}.new", path)
        sync_dir(folder)


def _transact(
    request: Request, change: Change, action: Action, back: Action, runner: Run, *, ask: bool
) -> tuple[Outcome, Report | None]:
    """Make one transaction.

    :param back: what makes the file of before count again.
    :param ask: whether to ask what containers can do, before and after the engine is told.
    """
    reports: list[Report | None] = []

    def activate(way_back: bool) -> None:
        what = back if way_back else action
        if what != "none":
            reports.append(carry_out(what, request.order, runner, way_back=way_back))

    probe = request.probe if ask and action != "none" else None
    outcome = transact(
        change, folder=request.folder, probe=probe, check=False, activate=activate, settle=request.settle
    )
    if not outcome.files:
        # The file is so already: somebody has written it and not told the engine, or left in it what waits.
        activate(False)
    return outcome, next((report for report in reports if report), None)


def _unwrite(request: Request, due: Due) -> None:
    """Put the file back that the engine runs with, so that what was written since is one change with what comes now.

    Then it is taken back as a whole if the engine does not start with it. Nothing is done to the engine.
    """
    path, text = request.wanted.path, due.pending.taken
    file = FileWanted(path, state="absent") if text is None else FileWanted(path, text, diff=False)
    change = _from(due.found.text, Change(NAME, (file,)))
    transact(change, folder=request.folder, probe=None, check=False, activate=_do_nothing)


def _with_mode(request: Request, due: Due) -> Request:
    """Have a file keep its mode that is removed and written anew."""
    if request.mode is not None or due.found.text is None:
        return request
    return replace(request, mode=stat.S_IMODE(os.stat(request.wanted.path).st_mode))


def _do_nothing(_way_back: bool) -> None:
    pass


def _remember(request: Request, due: Due, runner: Run) -> None:
    """Note what the engine has not taken yet; it is another one if it was restarted."""
    if not due.plan.pending and not due.pending.keys:
        return
    engine = find_engine(runner, request.order.pid_file)
    taken = due.draft.text
    if engine.identity == due.found.engine.identity:
        known = due.pending.taken if due.pending.keys else due.found.text
        taken = taken_text(known, due.draft, due.plan.pending, request.wanted.path)
    write_pending(engine, Pending(due.plan.pending, taken, digest((due.draft.text or "").encode())))


def describe(due: Due, *, check_mode: bool, restart: bool) -> str:
    """Say in a sentence what is done to the engine, or would be."""
    said = _said(due, "would be" if check_mode else "was")
    pending = ", ".join(due.plan.pending)
    if not pending:
        return said
    if restart:
        return f"{said}; {pending}: waits until the engine starts while no container runs, at the next boot say"
    return f"{said}; {pending}: waits until the engine is restarted (restart: true)"


def _said(due: Due, would: str) -> str:
    if not due.found.engine.pid:
        return "the engine does not run, and reads the file when it is started"
    if due.plan.action == "none":
        return "nothing is done to the engine"
    if due.plan.action == "reload":
        return f"the engine {would} told to read its file again, for {', '.join(due.effect.reload)}"
    what = ", ".join(due.effect.restart) or "what an earlier run has written"
    if due.found.silent:
        return f"the engine {would} restarted for {what}; it does not answer as it is"
    if not due.found.running:
        return f"the engine {would} restarted for {what}; no container runs"
    how = "run on meanwhile" if due.keeps_containers else "are stopped by that and started again"
    return f"the engine {would} restarted for {what}; containers that {how}: {len(due.found.running)}"


def differences(done: Done, request: Request) -> list[dict[str, str]]:
    """Return what differs, as Ansible shows it; a file with a password in it without that."""
    path = request.wanted.path
    shown_by_us = [
        Shown(path, shown(done.due.found.text), shown(done.due.draft.text)) if one.path == path else one
        for one in done.outcome.diff
    ]
    return [one.as_result() for one in shown_by_us]
