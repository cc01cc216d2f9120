"""Take the pictures of the page that the README shows: `python docs/images/make.py`, from the root of the repository.

It needs selenium (the extra `test`) and Chromium with chromedriver, and draws the committed records of `sparsity`.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from synobench import boards, registry
from synobench.suite import find_suite
from synobench_renderers.page import page

SUITE = "sparsity"
HERE = Path(__file__).parent
COLOURS = 128
POINT = "document.querySelectorAll('.chart use[data-r=\"9\"]')[0].focus({preventScroll: true})"
SHOTS = {
    "page-desktop.png": (1280, 1180, "light", POINT),
    "page-phone.png": (390, 1180, "dark", "document.querySelector('h2').scrollIntoView()"),
}
"""File -> width, height, theme, and what is done before it is taken."""


def main() -> None:
    """Write the pictures beside this file."""
    plugins = registry.load(quiet=True)
    board = boards.build(find_suite(SUITE, plugins), plugins, Path("leaderboards"))
    driver = _browser()
    try:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "index.html"
            place.write_text(page(board), encoding="utf-8")
            for name, shot in SHOTS.items():
                picture = Image.open(io.BytesIO(_taken(driver, place.as_uri(), *shot))).convert("RGB")
                picture.quantize(COLOURS, dither=Image.Dither.NONE).save(HERE / name, optimize=True)
                print(f"{HERE / name}: {(HERE / name).stat().st_size / 1e3:.0f} kB")
    finally:
        driver.quit()


def _browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for option in ("headless=new", "no-sandbox", "hide-scrollbars", "force-prefers-reduced-motion"):
        options.add_argument(f"--{option}")
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def _taken(driver: webdriver.Chrome, address: str, width: int, height: int, theme: str, script: str) -> bytes:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(address)
    driver.execute_script(script)
    return bytes(driver.get_screenshot_as_png())


if __name__ == "__main__":
    main()
