from src.data.datasets.vspw_classes import VSPW_CLASSES


def test_the_names_have_the_published_label_values():
    """Label values 1, 19, 29, 49, 61, 67, 102 and 124 of label_num_dic_final.json."""
    assert len(set(VSPW_CLASSES)) == len(VSPW_CLASSES) == 124
    known = {1: "wall", 19: "road", 29: "sky", 49: "car", 61: "person", 67: "tree", 102: "Microwave_oven", 124: "train"}
    assert {value: VSPW_CLASSES[value - 1] for value in known} == known
