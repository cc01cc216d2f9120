"""The command line: its verbs, what they take, and one clear line with exit code 2 for every mistake."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from synobench.errors import BenchError, nearest

USAGE, INTERRUPTED, UNHEARD = 2, 130, 141


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        verb, known = _unknown_verb(message)
        told = f"{verb!r} is no verb{nearest(verb, known)}" if verb else message
        self.exit(USAGE, f"synobench: {told}; see '{self.prog} --help'\n")


def _unknown_verb(message: str) -> tuple[str, list[str]]:
    if "invalid choice: '" not in message or "argument VERB" not in message:
        return "", []
    known = [name.strip("' )") for name in message.split("choose from", 1)[1].split(",")]
    return message.split("invalid choice: '", 1)[1].split("'", 1)[0], known


def parser() -> Parser:
    """Build the parser of every verb."""
    top = Parser(prog="synobench", description="Prune, measure and rank energy-frugal networks under one protocol.")
    top.add_argument("--version", action="store_true", help="print the version and exit")
    top.add_argument("--strict", action="store_true", help="stop at the first broken plugin")
    top.add_argument("-p", "--plugin", action="append", default=[], metavar="FILE", help="load a local plugin file")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    _run(verbs.add_parser("run", help="run what a suite still lacks, then build its board"))
    _plan(verbs.add_parser("plan", help="show what is done, what is pending, and how long it should take"))
    _board(verbs.add_parser("board", help="build a suite's board from its records, or check the committed one"))
    _plugins(verbs.add_parser("plugins", help="list the plugins and their entries, or show one entry"))
    _data(verbs.add_parser("data", help="list the data sets and checkpoints, or fetch one"))
    _verify(verbs.add_parser("verify", help="check the evidence of stored records"))
    _replay(verbs.add_parser("replay", help="run stored cells again and judge the differences"))
    _cite(verbs.add_parser("cite", help="print the BibTeX of everything on a suite's board"))
    _paper(verbs.add_parser("paper", help="write tables, figures, protocol and references of one evaluation section"))
    _compare(
        verbs.add_parser("compare", help="hold two entries, folders of records or git revisions against each other")
    )
    for name in ("run", "plan", "board", "verify", "replay", "cite", "paper", "compare"):
        _loading(verbs.choices[name])
    return top


def _loading(verb: argparse.ArgumentParser) -> None:
    """Let ``-p`` and ``--strict`` stand behind the verb too."""
    # A verb's own values would overwrite those before it, so they have names of their own until both are read.
    verb.add_argument("--strict", action="store_true", dest="strict_behind", help="stop at the first broken plugin")
    verb.add_argument(
        "-p", "--plugin", action="append", default=[], dest="plugin_behind", metavar="FILE", help="load a plugin file"
    )


def _joined(arguments: argparse.Namespace) -> argparse.Namespace:
    arguments.plugin = [*arguments.plugin, *getattr(arguments, "plugin_behind", [])]
    arguments.strict = arguments.strict or getattr(arguments, "strict_behind", False)
    return arguments


def _places(verb: argparse.ArgumentParser) -> None:
    root = os.environ.get("SYNOBENCH_LEADERBOARDS", "leaderboards")
    verb.add_argument(
        "--leaderboards", type=Path, default=Path(root), metavar="DIR", help="records and boards (%(default)s)"
    )


def _cache(verb: argparse.ArgumentParser, held: str = "parents, checkpoints, what boards were made of") -> None:
    kept = os.environ.get("SYNOBENCH_CACHE") or Path.home() / ".cache" / "synobench"
    verb.add_argument("--cache", type=Path, default=Path(kept), metavar="DIR", help=held)


def _grid(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("suite", metavar="SUITE", help="the name of a suite, or the path of a TOML file")
    verb.add_argument("--only", action="append", default=[], metavar="TEXT", help="cells whose label has TEXT in it")
    verb.add_argument("--pruner", action="append", default=[], metavar="SPEC", help="one more pruner, as name[k=v]")
    _places(verb)
    _cache(verb)


def _work(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="cpu", help="cpu or cuda:0 (%(default)s)")
    verb.add_argument("--data", metavar="DIR", help="folder of data files (else $SYNOBENCH_DATA, else the cache)")
    verb.add_argument("--offline", action="store_true", help="fail at once where a download would be needed")
    verb.add_argument(
        "--executor", default="slots", metavar="SPEC", help="where to run: inline, slots[n=2], ... (%(default)s)"
    )


def _run(verb: argparse.ArgumentParser) -> None:
    _grid(verb)
    _work(verb)
    verb.add_argument("--again", action="store_true", help="run what is done once more, parents too, kept as replays")
    verb.add_argument(
        "--resume", action="store_true", help="go on where a run was cut: always so, and here for clarity"
    )
    verb.add_argument(
        "--site", type=Path, default=Path("site"), metavar="DIR", help="where pages are built (%(default)s)"
    )


def _plan(verb: argparse.ArgumentParser) -> None:
    _grid(verb)
    verb.add_argument("--json", action="store_true", help="as JSON")


def _board(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("suite", nargs="*", metavar="SUITE", help="names or TOML files (all that have records)")
    verb.add_argument("--check", action="store_true", help="compare only: 1 when stale, 3 when nothing was compared")
    verb.add_argument(
        "--with", dest="more", action="append", default=[], metavar="COUNTER", help="add a counter's columns"
    )
    verb.add_argument("--afresh", action="store_true", help="compute everything again, whatever was kept")
    verb.add_argument(
        "--site", type=Path, default=Path("site"), metavar="DIR", help="where pages are built (%(default)s)"
    )
    _places(verb)
    _cache(verb, "what boards were made of")


def _plugins(verb: argparse.ArgumentParser) -> None:
    inner = verb.add_subparsers(dest="action", metavar="VERB", parser_class=Parser, required=True)
    listed = inner.add_parser("list", help="every plugin and its entries")
    shown = inner.add_parser("show", help="one entry: parameters, capabilities, citation")
    shown.add_argument("name", help="the name of an entry, or kind/name")
    for one in (listed, shown):
        one.add_argument("--json", action="store_true", help="as JSON")
        _loading(one)


def _data(verb: argparse.ArgumentParser) -> None:
    inner = verb.add_subparsers(dest="action", metavar="VERB", parser_class=Parser, required=True)
    listed = inner.add_parser("list", help="every data set and checkpoint, and whether its files are here")
    fetched = inner.add_parser("fetch", help="download a data set or checkpoint, checked against its digests")
    fetched.add_argument("name", nargs="+", help="the name of a data set or checkpoint")
    fetched.add_argument("--offline", action="store_true", help="fail at once where a download would be needed")
    for one in (listed, fetched):
        one.add_argument("--data", metavar="DIR", help="folder of data files (else $SYNOBENCH_DATA, else the cache)")
        _loading(one)


def _verify(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("suite", nargs="*", metavar="SUITE", help="names of suites (all that have records)")
    verb.add_argument(
        "--base", metavar="REV", help="a git revision: nothing that its merge base holds may have changed since"
    )
    _places(verb)


def _replay(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("key", nargs="*", metavar="KEY", help="keys of records, or their first digits")
    verb.add_argument("--suite", action="append", default=[], metavar="SUITE", help="names or TOML files")
    verb.add_argument("--sample", type=int, metavar="N", help="draw N records in place of keys")
    verb.add_argument("--salt", default="", metavar="TEXT", help="what the sample is drawn by, as the date")
    _places(verb)
    _cache(verb)
    _work(verb)


def _compare(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("a", metavar="A", help="an entry, a folder of records, or a git revision")
    verb.add_argument("b", metavar="B", help="what it is held against; of folders and revisions, the later one")
    verb.add_argument("--suite", metavar="SUITE", help="the suite of two entries, or the only one to compare")
    verb.add_argument(
        "--as", dest="kind", choices=("entries", "folders", "revisions"), help="what A and B are, where it is not clear"
    )
    verb.add_argument(
        "--format", default="text", choices=("text", "markdown", "latex", "json"), help="of the result (%(default)s)"
    )
    _places(verb)


def _cite(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("suite", metavar="SUITE", help="the name of a suite, or the path of a TOML file")
    _places(verb)


def _paper(verb: argparse.ArgumentParser) -> None:
    _cite(verb)
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files are written")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns:
        0 well, 1 a finding or a failed run, 2 a mistake, 3 nothing to compare, 130 Ctrl-C, 141 the reader has gone.
    """
    try:
        code = _obey(argv)
        sys.stdout.flush()
        return code
    except BenchError as error:
        return _say(str(error))
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; Python would complain again while shutting down.
        nothing = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(nothing, stream.fileno())
        return UNHEARD
    except OSError as error:
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        _say("interrupted; what is stored stays, and the same command goes on")
        return INTERRUPTED


def _say(line: str) -> int:
    print(f"synobench: {' '.join(line.split())}", file=sys.stderr)
    return USAGE


def _obey(argv: Sequence[str] | None) -> int:
    arguments = _joined(parser().parse_args(argv))
    if arguments.version:
        from importlib.metadata import version

        print(f"synobench {version('synobench')}")
        return 0
    if arguments.verb is None:
        parser().print_help()
        return USAGE
    from synobench import commands

    return commands.VERBS[arguments.verb](arguments)


if __name__ == "__main__":
    raise SystemExit(main())
