from scripts.sweep_runs import distinguishing_keys


def test_of_an_interpolated_value_the_shortest_name_is_shown():
    configs = [
        {"run_dir": f"runs/{n}", "seed": "0", "model.flow.layers": n, "stage.flow.layers": n, "mask_loss.deep": deep, "lr": "1"}
        for n, deep in (("0", "t"), ("3", "t"), ("0", "f"), ("3", "f"))
    ]
    assert sorted(distinguishing_keys(configs)) == ["mask_loss.deep", "model.flow.layers"]
