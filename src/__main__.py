"""Run a command by its name: ``mpvss train ...`` where the package is installed, ``python -m src train ...`` in a checkout."""

import runpy
import sys

from src.files.own_package import NAME, package_path

COMMANDS = {
    "train": "train one stage: segmentor, flow, propagation or fusion",
    "eval": "evaluate methods, prediction files or flows over clips",
    "predict": "predict a video: label maps and an overlay of every frame",
    "demo": "serve a page on this machine to try a model on video",
    "benchmark": "measure cost and speed of a model",
    "convert": "convert published weights to ours and back",
    "push": "upload a model with its card to the Hugging Face hub",
    "export": "export a model's networks for a runtime",
}
SCRIPTS = {
    "check_data": "check every frame and label of a dataset",
    "prepare_vspw": "resize VSPW to 480p",
    "extract_cityscapes": "extract the used frames of the Cityscapes archives",
    "make_shards": "write a dataset to shards, for remote and slow storage",
    "sweep_table": "tabulate and plot the runs of a multirun",
}


def main() -> None:
    """Run the command that the first argument names, with the further arguments, as the process's main module.

    Raises:
        SystemExit: with the exit code of the command, and with 1 if there is no such command.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        rows = (f"  {command:20}{purpose}\n" for command, purpose in (COMMANDS | SCRIPTS).items())
        usage = "usage: python -m src <command> [<option>=<value> ...]"
        sys.stdout.write(f"{usage}\n\n{''.join(rows)}\npython -m src <command> --help lists the options of a command.\n")
        return
    if name not in COMMANDS | SCRIPTS:
        from src.options.check import did_you_mean  # takes a tenth of a second

        names = [*COMMANDS, *SCRIPTS]
        sys.exit(f"{name} is no command; expected {' | '.join(names)}{did_you_mean(name, names)}")
    del sys.argv[1]
    # As by `python -m`, whose name of the main module processes started by Lightning and multiprocessing take over.
    if name in COMMANDS:
        runpy.run_module(f"{NAME}.{name}", run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(str(package_path("scripts") / f"{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
