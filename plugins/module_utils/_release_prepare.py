# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Everything that comes before a release touches what runs: settings, files, a look at the host, refusals."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Compose, Docker
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import ServiceGate, require_library
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import Places as NamedFolders
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import (
    Port,
    Project,
    encode,
    host_override,
    models_in_use,
    parse_project,
    secrets_in_use,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import Release
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import (
    at_once,
    image_ids,
    predicted_hashes,
    pull,
    refuse_taken_ports,
    resolved,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import (
    Places,
    fill_folder,
    folder_is_intact,
    missing_models,
    read_file,
    write_file,
    write_files,
    write_folder,
    writing,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import COLOURS, Colour
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity, Plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_settings import (
    Settings,
    check_parameters,
    check_secrets,
    env_file,
    make_settings,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import (
    Stage,
    all_projects,
    make_stage,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker


@dataclass(frozen=True)
class Site:
    """The host as a run sees it."""

    places: Places
    docker: Docker
    check_mode: bool
    warn: t.Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the task asks for; `keep` counts releases, the committed one included.

    `overrides` are refusals that are not to be made (busy, memory).
    """

    release: Release
    contents: t.Mapping[str, bytes]
    parameters: t.Mapping[str, t.Any]
    secrets: t.Mapping[str, t.Any]
    keep: int
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A request made definite for this host.

    `given` are the secrets of the task, `held` those of the host, `secrets` what counts of both.
    """

    settings: Settings
    identity: Identity
    given: t.Mapping[str, bytes]
    held: t.Mapping[str, bytes]
    secrets: t.Mapping[str, bytes]
    intact: bool
    altered: bool

    @property
    def mask(self) -> Masker:
        values = (*self.given.values(), *self.held.values())  # going back may bring an old value to light
        return Masker(value.decode("utf-8", "replace") for value in values)


@dataclass(frozen=True)
class Layout:
    """Where Compose finds the release's files, and where this host's own Compose file goes.

    `wrote`: something on the host had to be written, or would have to. `path_of`: where the file of a part goes.
    """

    compose: Compose
    override: str
    wrote: bool
    path_of: t.Callable[[str], str]

    @property
    def whole(self) -> Compose:
        return replace(self.compose, files=(*self.compose.files, self.override))


@dataclass(frozen=True)
class Sight:
    """What the host has and what Compose makes of the release there.

    `containers` are those of all the stack's projects. `config` is the whole project as Compose resolves it; where
    there are sides, with the host's own file. `stage` is where the release would run if no side changed.
    `secrets` are those that services mount, `models` the folders of those that each service mounts.
    """

    project: Project
    config: t.Mapping[str, t.Any]
    stage: Stage
    containers: tuple[Container, ...]
    hashes: t.Mapping[str, str]
    images: t.Mapping[str, str | None]
    secrets: tuple[str, ...]
    models: t.Mapping[str, t.Sequence[str]]
    warnings: tuple[str, ...]
    wrote: bool


def prepare(places: Places, request: Request, key: str) -> Prepared:
    """Check parameters and secrets, and name the settings.

    Raises:
        ReleaseError: a parameter or a secret is not as the release declares it.
    """
    release = request.release
    parameters = check_parameters(release.parameters, request.parameters)
    given = check_secrets(release.secrets, request.secrets)
    held = {name: content for name, content in held_secrets(places).items() if name in release.secrets}
    settings = make_settings(parameters, {**held, **given}, key)
    intact = folder_is_intact(places, release)
    return Prepared(
        settings=settings,
        identity=Identity(release.id, settings.digest),
        given=given,
        held=held,
        secrets={**held, **given},
        intact=intact,
        altered=not intact and os.path.lexists(places.release(release.id)),
    )


def held_secrets(places: Places) -> dict[str, bytes]:
    """Return the secrets that the host holds for the stack."""
    names = os.listdir(places.secrets) if os.path.isdir(places.secrets) else []
    files = {name: os.path.join(places.secrets, name) for name in names}
    contents = {name: read_file(path) for name, path in files.items() if os.path.isfile(path)}
    return {name: content for name, content in contents.items() if content}


def secret_values(places: Places) -> set[str]:
    """Return every value of a secret that the host holds for the stack: those that older releases mount too."""
    names = sorted(os.listdir(places.mounted)) if os.path.isdir(places.mounted) else []
    mounted = [read_file(os.path.join(places.mounted, name)) for name in names]
    values = [*held_secrets(places).values(), *filter(None, mounted)]
    return {value.decode("utf-8", "replace") for value in values}


@contextlib.contextmanager
def laid_out(site: Site, request: Request, prepared: Prepared) -> t.Iterator[Layout]:
    """Put the release's files and settings where Compose can read them.

    In check mode that is a folder of the moment. Else they stay, unless the release is refused meanwhile.
    """
    places, release = site.places, request.release
    env = env_file(prepared.settings.parameters, places.secrets)
    if not site.check_mode:
        with _laid_out_to_stay(places, request, prepared, env) as layout:
            yield layout
        return
    with tempfile.TemporaryDirectory() as folder:
        files = os.path.join(folder, "release")
        os.mkdir(files)
        fill_folder(files, places, release, request.contents)
        env_path = os.path.join(folder, "settings.env")
        write_file(env_path, env, 0o600)
        wrote = read_file(places.env_file(prepared.identity)) != env or not prepared.intact
        override = os.path.join(folder, "host.json")
        yield _layout(release, places, files, env_path, override, wrote, lambda part: f"{override}.{part}.json")


@contextlib.contextmanager
def _laid_out_to_stay(places: Places, request: Request, prepared: Prepared, env: bytes) -> t.Iterator[Layout]:
    identity = prepared.identity
    folder, env_path, override = places.release(identity.release), places.env_file(identity), places.override(identity)
    new = [path for path in (folder, env_path, override) if not os.path.lexists(path)]
    try:
        if not prepared.intact:
            write_folder(places, request.release, request.contents)
        with writing("the settings"):
            make_dirs(places.settings, 0o700)
            wrote = write_file(env_path, env, 0o600)
        wrote = wrote or not prepared.intact
        path_of = functools.partial(places.part, identity)
        yield _layout(request.release, places, folder, env_path, override, wrote, path_of)
    except ReleaseError:
        for path in new:
            remove(path)
        raise


def look_at(site: Site, release: Release, layout: Layout, prepared: Prepared, live: Colour | None) -> Sight:
    """Look at the host, in few commands side by side.

    Args:
        live: the side that serves, None without one.

    Raises:
        ReleaseError: the engine does not answer, the Compose files are wrong, or a secret is missing.
    """
    docker, places = site.docker, site.places
    projects = all_projects(release.stack)
    containers, (config, warned) = t.cast(
        "tuple[tuple[Container, ...], tuple[dict[str, t.Any], list[str]]]",
        at_once(lambda: look(docker, *projects), lambda: resolved(docker, layout.compose)),
    )
    project = parse_project(config)
    used = refuse_missing_secrets(places, release, project, prepared)
    folders = named_folders(places, release)
    mounted = {name: places.mounted_secret(name, v) for name, v in prepared.settings.versions.items()}
    override = encode(host_override(project, folders, release.models, mounted))
    known = read_file(places.override(prepared.identity)) == override
    with writing("the settings"):
        write_file(layout.override, override, 0o600)
    colour = (live or COLOURS[0]) if release.rollout.strategy == "blue_green" else None
    if colour:
        config = resolved(docker, layout.whole)[0]
    stage = make_stage(release.stack, colour, layout.whole, config, release.lifecycles, layout.path_of)
    hashes, images = t.cast(
        "tuple[dict[str, str], dict[str, str | None]]",
        at_once(
            lambda: stage_hashes(docker, stage),
            lambda: image_ids(docker, [service.image for service in project.services]),
        ),
    )
    return Sight(
        project=project,
        config=config,
        stage=stage,
        containers=containers,
        hashes=hashes,
        images=images,
        secrets=used,
        models=models_in_use(project, folders, release.models),
        warnings=tuple(warned),
        wrote=layout.wrote or not known,
    )


def stage_hashes(docker: Docker, stage: Stage) -> dict[str, str]:
    """Return the configuration hash of each service that the stage has."""
    composes = [stage.side, *([stage.data] if stage.data else [])]
    found = at_once(*(functools.partial(predicted_hashes, docker, compose) for compose in composes))
    return {name: one for hashes in found for name, one in hashes.items()}


def named_folders(places: Places, release: Release) -> NamedFolders:
    return NamedFolders(places.release(release.id), places.models, places.secrets)


def refuse_missing_secrets(places: Places, release: Release, project: Project, prepared: Prepared) -> tuple[str, ...]:
    """Refuse when an active service mounts a secret that neither the task nor the host has; return those mounted."""
    users = secrets_in_use(project, named_folders(places, release), release.secrets)
    for name, services in sorted(users.items()):
        if name not in prepared.secrets:
            described = release.secrets[name].get("description")
            raise ReleaseError(
                f"secret {name!r}{f' ({described})' if described else ''} is wanted by {', '.join(services)}, and "
                f"this host has none. Set it in fleet_secrets (or compose_deploy_secrets), or put it into the file "
                f"{os.path.join(places.secrets, name)}; then run the same command again. Nothing was touched",
                reason="secret_missing",
                service=services[0],
            )
    return tuple(sorted(users))


def write_mounted_secrets(places: Places, prepared: Prepared, sight: Sight) -> bool:
    """Write the values that containers are going to mount, beside those that others mount now."""
    with writing("the secrets"):
        make_dirs(places.secrets_root, 0o700)
        make_dirs(places.mounted, 0o700)
        files = {places.mounted_secret(name, prepared.settings.versions[name]): name for name in sight.secrets}
        return write_files({path: prepared.secrets[name] for path, name in files.items()}, 0o444)


def keep_given_secrets(places: Places, prepared: Prepared) -> bool:
    """Write the secrets of the task where a later run that is given none finds them."""
    with writing("the secrets"):
        make_dirs(places.secrets, 0o700)
        files = {os.path.join(places.secrets, name): value for name, value in prepared.given.items()}
        return write_files(files, 0o400)


def refuse_missing_library(site: Site, release: Release) -> list[str]:
    """Refuse when the gate cannot be read; in check mode, where nothing was installed, return what is missing."""
    busy = release.rollout.busy
    asked = [ServiceGate(busy.service, checks=(busy.check,))] if busy else []
    try:
        require_library([*release.gate.services, *asked])
    except ReleaseError as exc:
        if not site.check_mode:
            raise
        return [str(exc)]
    return []


def refuse_missing_models(site: Site, release: Release) -> list[str]:
    """Refuse when a model is not published; in check mode, where nothing was published, return what is missing."""
    missing = missing_models(site.places, release)
    if missing and not site.check_mode:
        raise ReleaseError(
            f"not on this host as the release wants it: {'; '.join(missing)}. Publish it with "
            "emorobcare.fleet.model_pull (role model_sync); then run the same command again. Nothing was touched",
            reason="model_missing",
        )
    return missing


def refuse_missing_images(site: Site, release: Release, sight: Sight) -> tuple[Sight, list[str]]:
    """Pull what is missing and can be pulled; return what was seen then.

    In check mode nothing is pulled or refused; what would have to be built or pulled is returned.

    Raises:
        ReleaseError: an image that is built is not there (`image_missing`), or one cannot be pulled.
    """
    missing = sorted(name for name, image in sight.images.items() if image is None)
    if not missing:
        return sight, []
    users = {name: [service.name for service in sight.project.services if service.image == name] for name in missing}
    built = [name for name in missing if name in release.built.values()]
    if site.check_mode:
        return sight, [f"image {name} is not on this host" for name in missing]
    if built:
        raise ReleaseError(
            f"image {built[0]} of service {', '.join(users[built[0]])} is not on this host. Build it with "
            "emorobcare.fleet.image_build (role image_build); then run the same command again. Nothing was touched",
            reason="image_missing",
            service=users[built[0]][0],
        )
    for name in missing:
        pull(site.docker, name, users[name])
    return replace(sight, images={**sight.images, **image_ids(site.docker, missing)}), []


def refuse_ports(
    site: Site, release: Release, sight: Sight, plan: Plan, settings: Settings, ingress: t.Iterable[Port]
) -> None:
    """Refuse when a port is somebody else's; services that are left as they are hold theirs already.

    Args:
        ingress: those that the ingress wants.
    """
    acting = {step.service for step in plan.steps if step.action != "none"}
    ports = [port for service in sight.project.services if service.name in acting for port in service.ports]
    ports += ingress
    kinds = {name: declaration.get("type") for name, declaration in release.parameters.items()}
    settable = {name: value for name, value in settings.parameters.items() if kinds.get(name) == "port"}
    refuse_taken_ports(site.docker, all_projects(release.stack), ports, settable)


def _layout(
    release: Release,
    places: Places,
    files: str,
    env: str,
    override: str,
    wrote: bool,
    path_of: t.Callable[[str], str],
) -> Layout:
    # The project's folder is the final one even where files are read elsewhere: paths are part of hashes.
    compose = Compose(
        project=release.stack,
        directory=places.release(release.id),
        env_file=env,
        files=tuple(os.path.join(files, name) for name in release.compose),
    )
    return Layout(compose, override, wrote, path_of)
