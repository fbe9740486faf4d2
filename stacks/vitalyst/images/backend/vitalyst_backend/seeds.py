# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A few facts of nutrition, so that a fresh graph answers something: vitamins, minerals, where they are, what for."""

from __future__ import annotations

from .graph import Entity, Relation, Store

ENTITIES = {
    "vitamin": ("Vitamin A", "Vitamin B12", "Vitamin C", "Vitamin D", "Vitamin K", "Folate"),
    "mineral": ("Calcium", "Iron", "Magnesium", "Zinc", "Iodine"),
    "food": ("Carrot", "Liver", "Orange", "Salmon", "Spinach", "Milk", "Lentils", "Almonds", "Oyster", "Seaweed"),
    "body": ("Bones", "Blood", "Eyes", "Immune system", "Nerves", "Thyroid"),
}
RELATIONS = (
    "Carrot contains Vitamin A; Liver contains Vitamin A; Liver contains Vitamin B12; Liver contains Iron;"
    " Orange contains Vitamin C; Orange contains Folate; Salmon contains Vitamin D; Salmon contains Vitamin B12;"
    " Spinach contains Vitamin K; Spinach contains Folate; Spinach contains Iron; Spinach contains Magnesium;"
    " Milk contains Calcium; Milk contains Vitamin B12; Lentils contains Iron; Lentils contains Folate;"
    " Almonds contains Magnesium; Almonds contains Calcium; Oyster contains Zinc; Seaweed contains Iodine;"
    " Vitamin A serves Eyes; Vitamin B12 serves Nerves; Vitamin B12 serves Blood; Vitamin C serves Immune system;"
    " Vitamin D serves Bones; Vitamin K serves Blood; Folate serves Blood; Calcium serves Bones; Iron serves Blood;"
    " Magnesium serves Nerves; Zinc serves Immune system; Iodine serves Thyroid; Vitamin C helps Iron;"
    " Vitamin D helps Calcium"
)


def entity_id(label: str) -> str:
    return label.lower().replace(" ", "-")


def plant(store: Store) -> None:
    """Add the facts. They are the same however often they are added."""
    for kind, labels in ENTITIES.items():
        for label in labels:
            store.put_entity(Entity(entity_id(label), label, kind))
    for fact in RELATIONS.split("; "):
        verb = next(verb for verb in (" contains ", " serves ", " helps ") if verb in fact)
        source, _verb, target = fact.strip().partition(verb)
        store.put_relation(Relation(entity_id(source), verb.strip(), entity_id(target)))
