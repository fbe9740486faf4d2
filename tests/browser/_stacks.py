# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each stack's page is for: what its services say, what a person does, and what the page then shows."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.tests.browser._browser import Browser
from ansible_collections.emorobcare.fleet.tests.browser._server import Answer, Answers


@dataclass(frozen=True)
class Use:
    """A stack's main action: answers of its services, the doing, and the words that the page then shows, and where."""

    answers: Answers
    act: t.Callable[[Browser], None]
    shows: str
    where: str = "body"


def submit(form: str, **fields: str) -> t.Callable[[Browser], None]:
    """Return the act of filling in fields, by id, and sending a form."""

    def act(browser: Browser) -> None:
        for name, text in fields.items():
            place = browser.find(f"#{name}")
            place.clear()
            place.send_keys(text)
        browser.find(f"{form} button").click()

    return act


READY = Answer({"ready": True, "status": "ready", "parts": {}})

USES: dict[str, Use] = {
    "emorobcare": Use(
        answers={
            "GET /api/ready": READY,
            "GET /asr/ready": READY,
            "GET /api/documents": Answer({"total": 12, "documents": []}),
            "GET /api/search": Answer({"results": [{"text": "Nobody visits me", "score": 0.83}]}),
        },
        act=submit("#search", q="I feel alone"),
        shows="Nobody visits me\n83 %",
        where="#hits",
    ),
    "emotion": Use(
        answers={
            "GET /api/ready": READY,
            "POST /api/detect": Answer(
                {
                    "faces": [
                        {
                            "box": {"left": 10, "top": 10, "size": 50},
                            "emotion": "happy",
                            "emotions": {"happy": 0.9, "sad": 0.1},
                            "stress": 0.07,
                            "stress_level": "low",
                        }
                    ]
                }
            ),
        },
        act=submit("#look"),
        shows="Face 1: happy, stress low (7 %)",
        where="#faces",
    ),
    "vitalyst": Use(
        answers={
            "GET /api/ready": READY,
            "POST /api/dev/token": Answer({"token": "t"}),
            "GET /api/entities": Answer({"entities": [{"id": "zinc", "label": "Zinc", "kind": "mineral"}]}),
        },
        act=submit("#search", q="zin"),
        shows="Zinc (mineral)",
        where="#found",
    ),
    "newscast": Use(
        answers={
            "GET /api/items": Answer({"total": 0, "items": []}),
            "GET /api/feeds": Answer({"feeds": []}),
            "POST /api/feeds": Answer({"id": 1, "url": "http://a.example/", "title": "Morning news", "problem": ""}),
        },
        act=submit("#subscribe", url="http://a.example/"),
        shows="Subscribed to Morning news.",
        where="#subscribe-said",
    ),
    "samplemind": Use(
        answers={
            "GET /api/ready": READY,
            "GET /api/samples": Answer({"samples": []}),
            "POST /api/samples": Answer({"id": "a1", "name": "Tone of 440 Hz", "state": "done"}),
            "GET /api/samples/a1": Answer(
                {
                    "id": "a1",
                    "name": "Tone of 440 Hz",
                    "state": "done",
                    "problem": "",
                    "features": {
                        "duration": 0.6,
                        "tempo": 0,
                        "centroid": 440.2,
                        "rolloff": 441.4,
                        "rms": 0.43,
                        "peak": 0.61,
                    },
                }
            ),
            "GET /api/samples/a1/similar": Answer({"similar": [{"id": "b2", "name": "Another tone", "alike": 0.99}]}),
        },
        act=submit("#add"),
        shows="440 Hz",
        where="#features",
    ),
}
