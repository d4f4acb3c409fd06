"""How data sets number the things in their masks, and which of Cityscapes' 19 train ids each number stands for."""

from __future__ import annotations

from dg_project.parameters import SEMANTIC_CLASSES as SEMANTIC_CLASSES

IGNORE = 255
"""Train id of the pixels that are neither trained on nor scored."""

COLOURS = ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
           (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
           (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32))
"""RGB of every train id in Cityscapes' colours."""

IGNORED_COLOURS = ((0, 0, 0), (20, 20, 20), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140),
                   (180, 165, 180), (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110))
"""RGB of the labels that have no train id: unlabelled, static, dynamic, ground, parking, rail track, ..."""

CITYSCAPES = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13,
              27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
"""Label id of Cityscapes, and of GTA5 -> train id."""

CITYSCAPES_LABELS = 35
"""Label ids are 0..34; Cityscapes stores its license plates as unlabelled, GTA5 as 34."""

SYNTHIA = {1: 10, 2: 2, 3: 0, 4: 1, 5: 4, 6: 8, 7: 5, 8: 13, 9: 7, 10: 11, 11: 18, 12: 17, 15: 6, 16: 9, 17: 12,
           18: 14, 19: 15, 20: 16, 21: 3}
"""Class of SYNTHIA-RAND-CITYSCAPES -> train id."""

SYNTHIA_LABELS = 23
"""Classes are 0 (void) .. 22 (lane marking)."""

MAPILLARY = {
    2: ("construction--barrier--curb", 1), 3: ("construction--barrier--fence", 4),
    6: ("construction--barrier--wall", 3), 13: ("construction--flat--road", 0),
    15: ("construction--flat--sidewalk", 1), 17: ("construction--structure--building", 2), 19: ("human--person", 11),
    20: ("human--rider--bicyclist", 12), 21: ("human--rider--motorcyclist", 12),
    22: ("human--rider--other-rider", 12), 24: ("marking--general", 0), 27: ("nature--sky", 10),
    29: ("nature--terrain", 9), 30: ("nature--vegetation", 8), 41: ("object--manhole", 0),
    45: ("object--support--pole", 5), 47: ("object--support--utility-pole", 5), 48: ("object--traffic-light", 6),
    50: ("object--traffic-sign--front", 7), 52: ("object--vehicle--bicycle", 18), 54: ("object--vehicle--bus", 15),
    55: ("object--vehicle--car", 13), 57: ("object--vehicle--motorcycle", 17), 58: ("object--vehicle--on-rails", 16),
    61: ("object--vehicle--truck", 14),
}
"""Label id of Mapillary Vistas v1.2 -> its name and its train id, as the Cityscapes protocols have it."""

MAPILLARY_LABELS = 66
"""Label ids of v1.2 are 0..65; v2.0 has 124 and other numbers."""

VOC = {2: 18, 6: 15, 7: 13, 14: 17, 15: 11, 19: 16}
"""Class of Pascal VOC (bicycle, bus, car, motorbike, person, train) -> train id."""

VOC_LABELS = 21
"""Classes are 0 (background) .. 20 (tv monitor)."""

FIRST_THING = 11
"""Train ids from here on (person, rider, vehicles) have instances, and so boxes."""
