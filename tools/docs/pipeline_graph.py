"""The pipelines as kedro-viz draws them, as one page that opens from disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from made import fingerprint, kept_in

from dg_project.core.files import atomic_folder

# A page from disk may neither import a script nor fetch a file: the script goes into the page, and what it would
# fetch is answered from answers.js.
ANSWERS = """const answers = %s
const fetched = window.fetch
window.fetch = (what, how) => {
  const name = /\\/api\\/(.+)$/.exec(String(what.url ?? what))?.[1]
  if (!(name in answers)) return fetched(what, how)
  return Promise.resolve(new Response(JSON.stringify(answers[name]), {headers: {"Content-Type": "application/json"}}))
}
"""
QUIET = ".feature-hints, .feature-hints__highlightDot { display: none }\n"  # a tour about publishing the page
_FONTS = re.compile(r"\s*<link[^>]*(?:googleapis|gstatic)[^>]*>")
_ASSETS = re.compile(r"\s*<(?:script|link)[^>]*\./assets/[^>]*>(?:</script>)?")


def drawn_pipelines(project: Path) -> Path:
    """Return the folder of the drawn pipelines."""
    return kept_in(project) / "pipelines"


def draw_pipelines(project: Path) -> None:
    """Draw the pipelines if the package or its parameters have changed."""
    folder, key = drawn_pipelines(project), fingerprint(project)
    if (folder / "key").is_file() and (folder / "key").read_text() == key:
        return
    with tempfile.TemporaryDirectory() as name:
        # kedro-viz writes into the folder that it runs in; Kedro refuses a link to the sources.
        shutil.copytree(project / "src", Path(name) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for each in ("pyproject.toml", "conf", "data"):
            (Path(name) / each).symlink_to(project / each)
        _kedro_viz(Path(name))
        page = _standalone(Path(name) / "build")
    with atomic_folder(folder) as aside:
        for file, text in {**page, "key": key}.items():
            (aside / file).write_text(text, encoding="utf-8")


def _kedro_viz(folder: Path) -> None:
    path = os.pathsep.join(filter(None, [str(folder / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, "-m", "kedro", "viz", "build", "--include-hooks"], cwd=folder, text=True,
                          capture_output=True, check=False, env={**os.environ, "PYTHONPATH": path})
    if done.returncode or not (folder / "build" / "index.html").is_file():
        sys.exit(f"kedro viz build failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _standalone(built: Path) -> dict[str, str]:
    """Return the files of a page that needs no server, from what ``kedro viz build`` wrote."""
    answers = {path.relative_to(built / "api").as_posix(): json.loads(path.read_text() or "null")
               for path in sorted((built / "api").rglob("*")) if path.is_file()}
    [script], [style] = (list((built / "assets").glob(f"index-*.{kind}")) for kind in ("js", "css"))
    inline = script.read_text(encoding="utf-8").replace("</script", "<\\/script")
    page = _ASSETS.sub("", _FONTS.sub("", (built / "index.html").read_text(encoding="utf-8")))
    page = page.replace("</head>", '<link rel="stylesheet" href="style.css"><script src="answers.js"></script></head>')
    page = page.replace("</body>", f'<script type="module">{inline}</script></body>')
    return {"index.html": page, "style.css": style.read_text(encoding="utf-8") + QUIET,
            "answers.js": ANSWERS % json.dumps(answers)}
