# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Bring a release's images from a depot into the engine, by the engine's own pull from a registry on loopback.

An image is pulled by the digest of its manifest, under a name on loopback; when all of a release are there, each gets
the name that Compose files say, and the ones on loopback go. So no name that something runs by moves before the
release is whole, and what an interrupted run has pulled is found by its id, and named, by the next.

An image's id is the digest of its configuration on Docker's classic store, and that of its manifest on the containerd
store. A release manifest has both, so either proves that the image is the one that was signed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_registry import check_size, serving
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image, Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_routes import refuse_pinned, repository_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Docker, image_id_argv
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

_PULL_LIMIT = 4 * 3600.0  # seconds for one image: some ten GB from a slow stick onto a slow card
_PULLS = 3  # of one image: two runs may have been killed at it
_ON_LOOPBACK = re.compile(r"127\.0\.0\.1:[0-9]+")
_TAG_LIMIT = 300.0  # seconds; the engine may be busy unpacking for somebody else
_CONTAINERD = "io.containerd.snapshotter"
_CONTAINERD_ROOT = "/var/lib/containerd"
_NO_IMAGE = ("no such image", "not found", "reference does not exist")
# Unpacked files take whole blocks: up to a twelfth more than their tar, measured on images of Debian, Python and nginx.
_UNPACKED = 9 / 8
_LEAST = 64 << 20  # bytes: the engine's notes on images, and room for what runs to go on


class Endpoint(t.Protocol):
    """What is needed of the registry that is pulled from."""

    @property
    def place(self) -> str:
        """Its host and port."""

    @property
    def source(self) -> Source:
        """The depot that it serves."""

    @property
    def trouble(self) -> DepotError | None:
        """What it found wrong with the depot so far, if anything."""


@dataclass(frozen=True)
class Engine:
    """What the engine has: chains of layers from the lowest up, each by SHA-256; and where it keeps them."""

    chains: frozenset[tuple[str, ...]] = frozenset()
    root: str = "/"
    containerd: bool = False

    def lacks(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the layers of an image that are not there. One counts only above the same ones: engines take it so."""
        known = next((count for count in range(len(layers), 0, -1) if layers[:count] in self.chains), 0)
        return layers[known:]


@dataclass(frozen=True)
class PullPlan:
    """What is to be done about a release's images.

    `pulls` are not there, `names` are there under another name or none. `bytes` is what the engine lacks; `room` is
    what its disk must have, in bytes, while that is copied.
    """

    pulls: tuple[Image, ...] = ()
    names: tuple[Image, ...] = ()
    bytes: int = 0
    room: int = 0
    engine: Engine = Engine()

    @property
    def changes(self) -> tuple[str, ...]:
        """The references that the engine does not have yet, or has for other images."""
        return tuple(image.reference for image in (*self.pulls, *self.names))


def pull_images(
    docker: Docker, manifest: Manifest, source: Source, check_mode: bool = False, name: bool = True
) -> PullPlan:
    """Have the engine get what it lacks of a release's images, and name them; return what was done.

    Nothing is changed before it is known that all that is needed is in the depot, with the right sizes, and that the
    engine's disk has room for it. A second run does nothing, and needs no depot.

    Args:
        manifest: of a release that is trusted.
        check_mode: refuse what would be refused, and change nothing.
        name: whether images get their names; those that have none yet get them by a later call.

    Raises:
        DepotError: `image_unavailable`, `blob_missing`, `blob_corrupt`, `base_missing`, `no_space`, or why the depot
            cannot be read.
    """
    try:
        plan = plan_pull(docker, manifest)
        check_depot(manifest, plan, source)
        check_room(plan)
        if plan.changes and not check_mode:
            _carry_out(docker, manifest, plan, source, name)
        return plan
    except ReleaseError as exc:  # the engine, or its command line, is not there or hangs
        raise DepotError(str(exc), reason="image_unavailable", **exc.details) from exc


def _carry_out(docker: Docker, manifest: Manifest, plan: PullPlan, source: Source, name: bool) -> None:
    if plan.pulls:
        with serving(source, [manifest]) as registry:
            for image in plan.pulls:
                pull_image(docker, image, registry, manifest.assumes)
    for image in (*plan.pulls, *plan.names) if name else ():
        name_image(docker, image)


def plan_pull(docker: Docker, manifest: Manifest) -> PullPlan:
    """Find out what the engine lacks.

    Raises:
        DepotError: an image cannot be had under its reference (`image_unavailable`).
        ReleaseError: the engine does not answer.
    """
    wanted = {image.reference: image for image in manifest.images}
    named = {name for name, image in wanted.items() if _is_there(docker, name, image)}
    unnamed = [image for name, image in wanted.items() if name not in named]
    refuse_pinned([image.reference for image in unnamed], "image_unavailable")
    there = [image for image in unnamed if find_id(docker, image)]
    pulls = [image for image in unnamed if image not in there]
    engine = look_at(docker) if pulls else Engine()
    pulls = largest_first(engine, pulls, manifest.blobs)
    lacking = lacking_layers(engine, pulls)
    sizes = [sum(manifest.blobs[layer] for layer in layers) for layers in lacking]
    return PullPlan(tuple(pulls), tuple(there), sum(sizes), room_for(sizes, engine.containerd), engine)


def largest_first(engine: Engine, images: t.Iterable[Image], sizes: t.Mapping[str, int]) -> list[Image]:
    """Return images in the order in which they are pulled.

    Each is on the disk twice for a while; what the others take in the end is room for that as long as they are missing.
    """
    return sorted(images, key=lambda image: -sum(sizes[layer] for layer in engine.lacks(image.layers)))


def lacking_layers(engine: Engine, images: t.Iterable[Image]) -> list[tuple[str, ...]]:
    """Return for each image which layers have to be copied for it, when they are pulled one after the other."""
    lacking = []
    for image in images:
        lacking.append(engine.lacks(image.layers))
        chains = {image.layers[:count] for count in range(1, len(image.layers) + 1)}
        engine = Engine(engine.chains | chains, engine.root, engine.containerd)
    return lacking


def room_for(sizes: t.Sequence[int], containerd: bool) -> int:
    """Return the bytes of disk that pulls need at most, by the bytes of missing layers of each image in turn.

    The classic store writes an image's layers to temporary files, some at a time, and unpacks each when those below it
    are unpacked. From loopback they come faster than they are unpacked: measured, all of an image was there in
    temporary files, whether it had one layer or six. So images are pulled one after the other. The containerd store
    keeps layers packed and unpacked, so each is there twice for good.
    """
    if not sum(sizes):
        return 0
    if containerd:
        return int(sum(sizes) * _UNPACKED) + sum(sizes) + _LEAST
    unpacked = itertools.accumulate(sizes)
    return max(int(so_far * _UNPACKED) + packed for so_far, packed in zip(unpacked, sizes)) + _LEAST


def look_at(docker: Docker) -> Engine:
    """Look at what the engine has.

    Raises:
        ReleaseError: it does not answer.
    """
    told = _json(_must(docker.ask(["docker", "info", "--format", "{{json .}}"]), "docker info"), "docker info")
    listed = _must(docker.ask(["docker", "image", "ls", "--all", "--quiet", "--no-trunc"]), "docker image ls").split()
    chains: set[tuple[str, ...]] = set()
    if listed:
        form = ["--format", "{{json .RootFS.Layers}}"]
        # One that somebody removes meanwhile makes this fail after it has printed the rest, which is what counts.
        answer = docker.ask(["docker", "image", "inspect", *form, "--", *dict.fromkeys(listed)])
        for line in answer.stdout.splitlines():
            layers = tuple(layer.partition(":")[2] for layer in _json(line, "docker image inspect") or ())
            chains.update(layers[:count] for count in range(1, len(layers) + 1))
    containerd = any(_CONTAINERD in value for pair in told.get("DriverStatus") or () for value in pair)
    return Engine(frozenset(chains), told.get("DockerRootDir") or "/", containerd)


def check_depot(manifest: Manifest, plan: PullPlan, source: Source) -> None:
    """Refuse pulls that cannot end well: of each blob that may be asked for, the size must be right.

    Layers that the engine has are looked at, too: one that was built on the host, and not pulled, is asked for again.

    Raises:
        DepotError: `blob_missing`, `blob_corrupt`; or an assumed layer is not on the host (`base_missing`).
    """
    carried = manifest.carried
    for sha256 in dict.fromkeys(blob for image in plan.pulls for blob in image.blobs if blob in carried):
        check_size(source, sha256, carried[sha256])
    for image in plan.pulls:
        for layer in plan.engine.lacks(image.layers):
            if layer in manifest.assumes and source.blob_size(layer) is None:
                raise base_missing(source.shown, image.reference, layer)


def check_room(plan: PullPlan) -> None:
    """Refuse pulls that would fill the engine's disk.

    Raises:
        DepotError: with the figures (`no_space`).
    """
    if not plan.room:
        return
    for place in (plan.engine.root, *([_CONTAINERD_ROOT] if plan.engine.containerd else [])):
        if not os.path.isdir(place):
            continue  # an engine elsewhere, by DOCKER_HOST: its disk cannot be seen from here
        found = os.statvfs(place)
        free = found.f_bavail * found.f_frsize
        if free < plan.room:
            raise DepotError(
                f"{place} has {human(free)} left, and pulling {len(plan.pulls)} images ({human(plan.bytes)}) needs "
                f"{human(plan.room)} for a while. Free some (docker image prune removes images that nothing uses); "
                "then run the same command again. Nothing was touched",
                reason="no_space",
                needed=plan.room,
                available=free,
            )


def loopback_name(place: str, image: Image) -> str:
    """Return the name by which an image is pulled; `place` is the registry's host and port."""
    return f"{place}/{repository_of(image.reference)}@sha256:{image.manifest}"


def pull_argv(name: str) -> list[str]:
    return ["docker", "image", "pull", "--quiet", "--", name]


def tag_argv(image_id: str, reference: str) -> list[str]:
    return ["docker", "image", "tag", "--", image_id, reference]


def untag_argv(name: str) -> list[str]:
    # Never with an id, which would remove the image; and --no-prune keeps its layers whatever happens.
    return ["docker", "image", "rm", "--no-prune", "--", name]


def pull_image(docker: Docker, image: Image, registry: Endpoint, assumes: t.Collection[str] = frozenset()) -> None:
    """Have the engine pull one image, and check that it has the right one then; no name but that on loopback is made.

    Raises:
        DepotError: it does not have it (`image_unavailable`), or the registry found out why: the depot's content is
            wrong or gone (`blob_corrupt`, `blob_missing`, `io_error`, `base_missing`).
        ReleaseError: the engine does not answer.
    """
    # An engine tries again for a minute whatever it fails at; what is known to be wrong need not be waited for.
    argv = pull_argv(loopback_name(registry.place, image))
    for _attempt in range(_PULLS):
        answer = docker.watch(argv, _PULL_LIMIT, lambda: registry.trouble is not None)
        if registry.trouble is not None or not _joined_another(answer, registry.place):
            break
    if registry.trouble is not None:
        layer = registry.trouble.details.get("blob")
        raise base_missing(registry.source.shown, image.reference, layer) if layer in assumes else registry.trouble
    if answer.code == -1:
        raise _unavailable(image, f"it was not through after {_PULL_LIMIT / 3600:g} hours")
    if answer.code != 0:
        raise _unavailable(image, f"the engine says: {printable(answer.stderr, 300)}")
    if find_id(docker, image) is None:
        raise _unavailable(image, f"the engine pulled it, and has no image of id {image.config} or {image.manifest}")


def _joined_another(answer: Answer, place: str) -> bool:
    """Whether a pull failed because an engine goes on with what it was told before, by a run that was killed.

    It downloads each layer once at a time, whoever asks: a pull joins the download that is under way, and fails with it
    at a registry on loopback that went with its run. The next one is not joined to that any more.
    """
    places = set(_ON_LOOPBACK.findall(answer.stderr))
    return answer.code > 0 and bool(places) and place not in places


def name_image(docker: Docker, image: Image) -> None:
    """Give an image that is there the name that Compose files say, and take those on loopback from it.

    Raises:
        DepotError: the engine refuses (`image_unavailable`).
        ReleaseError: it does not answer.
    """
    found = find_id(docker, image)
    if found is None:
        raise _unavailable(image, "somebody removed it while the others were pulled")
    answer = docker.ask(tag_argv(found, image.reference), _TAG_LIMIT)
    if answer.code != 0 or not _is_there(docker, image.reference, image):
        raise _unavailable(image, f"it cannot be named: {printable(answer.stderr, 300)}")
    for name in loopback_names(docker, found, image):
        answer = docker.ask(untag_argv(name), _TAG_LIMIT)
        if answer.code != 0 and not _is_missing(answer):  # another run for the same release may be faster
            raise _unavailable(image, f"its name {name} cannot be taken from it: {printable(answer.stderr, 300)}")


def loopback_names(docker: Docker, image_id: str, image: Image) -> list[str]:
    """Return the names that pulls from us have given to an image: this one's, and those that were interrupted."""
    form = ["--format", "{{json .RepoDigests}}"]
    answer = docker.ask(["docker", "image", "inspect", *form, "--", image_id])
    if answer.code != 0:
        return []
    names = _json(answer.stdout, "docker image inspect") or []
    tail = f"/{repository_of(image.reference)}@sha256:{image.manifest}"
    return [name for name in names if name.startswith("127.0.0.1:") and name.endswith(tail)]


def find_id(docker: Docker, image: Image) -> str | None:
    """Return the id by which the engine has an image, under whatever name; None if it has not."""
    for sha256 in (image.config, image.manifest):
        if _is_there(docker, f"sha256:{sha256}", image):
            return f"sha256:{sha256}"
    return None


def _is_there(docker: Docker, name: str, image: Image) -> bool:
    answer = docker.ask(image_id_argv(name))
    if answer.code != 0:
        if _is_missing(answer):
            return False
        raise _unavailable(image, f"the engine cannot be asked for it: {printable(answer.stderr, 300)}")
    return answer.stdout.strip().rpartition(":")[2] in (image.config, image.manifest)


def _is_missing(answer: Answer) -> bool:
    return any(sign in answer.stderr.lower() for sign in _NO_IMAGE)


def base_missing(shown: str, reference: str, layer: t.Any) -> DepotError:
    """Return the error for a layer that the depot leaves out, and that the engine does not have either."""
    return DepotError(
        f"{shown} leaves out layer {layer} of image {reference}, because its hosts have it, and the engine of this one "
        "has not (or built it itself, and so does not know it by this digest). Write a depot that leaves nothing out, "
        "and use that one for this host",
        reason="base_missing",
        blob=layer,
    )


def _must(answer: Answer, what: str) -> str:
    if answer.code != 0:
        raise DepotError(f"{what} failed: {printable(answer.stderr)}", reason="image_unavailable")
    return answer.stdout


def _json(text: str, what: str) -> t.Any:
    try:
        return json.loads(text)
    except ValueError:
        raise DepotError(f"{what} printed no JSON: {printable(text, 200)!r}", reason="image_unavailable") from None


def _unavailable(image: Image, why: str) -> DepotError:
    return DepotError(
        f"the engine did not get image {image.reference} from the depot: {why}. Images that are through are kept: "
        "run the same command again",
        reason="image_unavailable",
        image=image.reference,
    )
