"""The page in headless Chromium: sort, filter, columns, points, keyboard, themes, and nothing asked of any network."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.testing.records import make_record, make_records
from synobench_renderers.page import page
from synobench_renderers.page.index import write_index

selenium = pytest.importorskip("selenium", reason="selenium is not installed: no page was opened")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
OPTIONS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "force-prefers-reduced-motion")
MEANS = {"magnitude[scope=global]": (188, 150), "magnitude[scope=layer]": (184, 140), "random": (170, 80)}
NETWORKS = [("digits", "snn-conv"), ("mnist", "mlp-300-150-10")]
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "javascript:alert(3)",
    "</style><script>alert(4)",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver is here: no page was opened"),
]


def board_of(records: Any, question: str = "Which weights?") -> Any:
    def effective(ledger: Any) -> Any:
        return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}

    facts = SuiteFacts("demo", "1.0", question, "effective", {"effective": "total"})
    return build_board(facts, records, {"effective": effective})


def open_browser(*more: str) -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (*OPTIONS, *more):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(str(DRIVER)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = open_browser()
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def site(tmp_path_factory: Any) -> Any:
    root = tmp_path_factory.mktemp("site")
    hostile = [{"name": name, "params": {"k": name}} for name in EVIL]
    records = {
        "demo": [*make_records(MEANS, (0.5, 0.9), networks=NETWORKS), make_record("obd", 0.9, 0, 160)],
        "evil": [make_record(e, t, s, 150, model=EVIL[0]) for e in hostile for t in (0.5, 0.9) for s in range(3)],
    }
    for name, held in records.items():
        (root / name).mkdir()
        (root / name / "index.html").write_text(page(board_of(held, EVIL[1])), encoding="utf-8")
    write_index(root)
    return root


@pytest.fixture
def opened(browser: Any, site: Any) -> Any:
    """Open the page anew, without a theme that another test chose."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    address = f"file://{site}/demo/index.html"
    browser.get(address)
    browser.execute_script("localStorage.clear()")
    browser.get("about:blank")
    browser.get(address)
    return browser


def shown(browser: Any) -> list[tuple[str, str]]:
    """Return entry and target of the rows that are seen, in their order."""
    script = """return [...document.querySelectorAll('table.board tbody tr')].filter(r => r.checkVisibility())
        .map(r => [r.cells[1].textContent, r.cells[3].textContent])"""
    return [(entry, target) for entry, target in browser.execute_script(script)]


def heads(browser: Any) -> list[str]:
    script = """return [...document.querySelector('table.board').tHead.rows[0].cells]
        .filter(c => c.checkVisibility()).map(c => c.textContent)"""
    return list(browser.execute_script(script))


def column(browser: Any, head: str) -> list[str]:
    """Return what the first table says in a column, from the top."""
    script = """const t = document.querySelector('table.board'), i = [...t.tHead.rows[0].cells].findIndex(
        c => c.textContent === arguments[0]); return [...t.tBodies[0].rows].map(r => r.cells[i].textContent)"""
    return list(browser.execute_script(script, head))


def amount(text: str) -> float:
    figure, _, prefix = text.partition(" ")
    return float(figure) * {"": 1, "k": 1e3}[prefix]


def choose(browser: Any, name: str, value: str) -> None:
    """Choose in a filter, and wait until it has taken effect."""
    count = browser.find_element(By.ID, "count")
    before = count.text
    field = browser.find_element(By.NAME, name)
    if field.tag_name == "select":
        Select(field).select_by_visible_text(value)
    else:
        field.send_keys(value)
    WebDriverWait(browser, 30, 0.02).until(lambda _: count.text != before)


def button(browser: Any, head: str) -> Any:
    found = browser.find_elements(By.CSS_SELECTOR, "table.board thead button")
    return next(b for b in found if b.get_attribute("textContent") == head)


def said(browser: Any) -> list[Any]:
    """Return what the console says: warnings and errors of the page."""
    return list(browser.get_log("browser"))


def requests(browser: Any) -> list[str]:
    """Return the addresses that were asked for since the last call."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


def test_opening_a_page_asks_for_nothing_but_the_page(opened: Any, site: Any) -> None:
    requests(opened)
    said(opened)
    opened.get(f"file://{site}/demo/index.html?again")
    asked = [address for address in requests(opened) if not address.startswith("data:")]

    assert asked == [f"file://{site}/demo/index.html?again"]
    assert said(opened) == []


def test_the_policy_forbids_what_the_page_does_not_bring(opened: Any) -> None:
    script = (
        """const done = arguments[0]; fetch('data:text/plain,x').then(() => done('reached'), () => done('refused'))"""
    )

    assert opened.execute_async_script(script) == "refused"
    said(opened)


def test_a_filter_shows_what_fits_and_says_how_many(opened: Any) -> None:
    assert opened.find_element(By.ID, "count").text == "13 of 13 rows"
    choose(opened, "family", "magnitude")
    assert {entry.partition("[")[0] for entry, _ in shown(opened)} == {"none", "magnitude"}
    assert opened.find_element(By.ID, "count").text == "8 of 13 rows"
    choose(opened, "target", "sparsity 90 %")
    assert {target for entry, target in shown(opened) if entry != "none"} == {"sparsity 90 %"}
    choose(opened, "data", "mnist")
    assert [h.text for h in opened.find_elements(By.CSS_SELECTOR, "section.network h2") if h.is_displayed()] == [
        "mnist / mlp-300-150-10"
    ]
    choose(opened, "q", "LAYER")
    assert [entry for entry, _ in shown(opened)] == ["none", "magnitude[scope=layer]"]
    assert opened.find_element(By.ID, "count").get_attribute("role") == "status"
    opened.find_element(By.CSS_SELECTOR, "#filters [type=reset]").click()
    WebDriverWait(opened, 30, 0.02).until(lambda b: b.find_element(By.ID, "count").text == "13 of 13 rows")
    assert len(shown(opened)) == 15


def test_a_filter_takes_the_points_with_the_rows(opened: Any) -> None:
    def points() -> int:
        return int(opened.execute_script("return [...document.querySelectorAll('.chart use')].filter("
                                         "p => getComputedStyle(p).display !== 'none').length"))  # fmt: skip

    assert points() == 2 * 15
    choose(opened, "family", "random")
    assert points() == 2 * len(shown(opened)) == 2 * 6


def test_a_view_is_kept_in_the_address(opened: Any, site: Any) -> None:
    choose(opened, "family", "random")
    button(opened, "SynOps").click()
    opened.execute_script("document.querySelector('.columns').open = true")
    opened.find_element(By.CSS_SELECTOR, ".columns label:has(#c5)").click()
    address, view, order = opened.current_url, shown(opened), column(opened, "SynOps")
    assert "family=random" in address
    opened.get("about:blank")
    opened.get(address)

    assert shown(opened) == view
    assert column(opened, "SynOps") == order
    assert "top-1 %" not in heads(opened)
    opened.find_element(By.LINK_TEXT, "mnist / mlp-300-150-10").click()
    assert shown(opened) == view


def test_a_hostile_address_is_ignored(opened: Any, site: Any) -> None:
    opened.get("about:blank")
    opened.get(f"file://{site}/demo/index.html#family=<script>&sort=nothing&show=x&hide=%ff&q=")

    assert len(shown(opened)) == 15
    assert said(opened) == []


def test_a_column_sorts_both_ways_and_back(opened: Any) -> None:
    ranked = column(opened, "entry")
    found = []
    for _ in range(3):
        button(opened, "SynOps").click()
        head = opened.find_element(By.XPATH, "//table[1]//th[button='SynOps']")
        found.append((head.get_attribute("aria-sort"), column(opened, "SynOps")))
    (down, falling), (up, rising), (none, _) = found

    assert (down, up, none) == ("descending", "ascending", None)
    assert falling[0] == rising[-1] == "1.74 k"
    assert [amount(text) for text in falling] == sorted(map(amount, falling), reverse=True)
    assert [amount(text) for text in rising] == sorted(map(amount, falling))
    assert column(opened, "entry") == ranked


def test_gaps_come_last_whichever_way_figures_stand(opened: Any) -> None:
    for _ in range(2):
        button(opened, "to dense").click()
        order = column(opened, "to dense")
        assert order[-1] == "\N{EN DASH}"
        values = [float(t.split(" ")[0].replace("\N{MINUS SIGN}", "-")) for t in order[:-1]]
        assert values in (sorted(values), sorted(values, reverse=True))


def test_columns_are_chosen_with_the_keyboard_alone(opened: Any) -> None:
    assert "family" not in heads(opened)
    opened.find_element(By.CSS_SELECTOR, ".columns summary").send_keys(Keys.ENTER)
    opened.find_element(By.ID, "c3").send_keys(Keys.SPACE)
    assert "family" in heads(opened)
    assert "show=family" in opened.current_url
    opened.find_element(By.ID, "c3").send_keys(Keys.SPACE)
    assert "family" not in heads(opened)


def test_sorting_with_the_keyboard_keeps_the_focus(opened: Any) -> None:
    place = button(opened, "top-1 %")
    place.send_keys(Keys.ENTER)

    assert opened.switch_to.active_element == place
    assert opened.execute_script("return document.querySelector('th[aria-sort]').textContent") == "top-1 %"


def test_the_first_tab_stop_skips_to_the_tables(opened: Any) -> None:
    opened.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)

    assert opened.switch_to.active_element.text == "Skip to the tables"


def test_a_point_tells_its_figures_under_the_pointer(opened: Any) -> None:
    mark = opened.find_element(By.CSS_SELECTOR, ".chart use[data-r='1']")
    told = mark.get_attribute("aria-label")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", mark)
    webdriver.ActionChains(opened).move_to_element_with_offset(mark, 3, 3).perform()
    tip = opened.find_element(By.ID, "tip")

    assert tip.is_displayed()
    row = opened.find_element(By.ID, "r1")
    assert tip.text.split("\n")[:2] == [row.find_element(By.TAG_NAME, "th").text, "sparsity 50 %"]
    assert tip.text.replace("\n", ", ") == told
    assert f"{column(opened, 'top-1 %')[1]} % top-1" in told
    assert "5 seeds" in told
    assert "lit" in row.get_attribute("class")
    webdriver.ActionChains(opened).move_to_element(opened.find_element(By.TAG_NAME, "h1")).perform()
    assert not tip.is_displayed()
    assert "lit" not in row.get_attribute("class")


def test_points_are_walked_with_the_arrow_keys(opened: Any) -> None:
    stops = opened.find_elements(By.CSS_SELECTOR, ".chart use[tabindex='0']")
    assert len(stops) == len(opened.find_elements(By.CSS_SELECTOR, ".chart")) == 4
    opened.execute_script("arguments[0].focus()", stops[0])
    tip = opened.find_element(By.ID, "tip")
    seen = [tip.text]
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.END, Keys.HOME):
        opened.switch_to.active_element.send_keys(key)
        seen.append(tip.text)

    assert seen[0] == seen[5] != seen[1] != seen[2]
    assert seen[1] == seen[3] != seen[4]
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    last = opened.find_elements(By.CSS_SELECTOR, ".chart use")[1]
    opened.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert opened.switch_to.active_element == last
    assert len(opened.find_elements(By.CSS_SELECTOR, ".chart use[tabindex='0']")) == 4
    assert last.get_attribute("tabindex") == "0"


def test_a_chart_is_reached_when_its_first_point_is_filtered_away(opened: Any) -> None:
    choose(opened, "network", "mlp-300-150-10")
    stops = opened.find_elements(By.CSS_SELECTOR, ".chart use[tabindex='0']")

    assert len(stops) == 2
    assert all(stop.is_displayed() for stop in stops)
    choose(opened, "network", "all")
    choose(opened, "family", "random")
    shown_stops = opened.find_elements(By.CSS_SELECTOR, ".chart use[tabindex='0']")
    assert [opened.execute_script("return getComputedStyle(arguments[0]).display", s) for s in shown_stops] == [
        "inline"
    ] * 4


def ground(browser: Any) -> str:
    return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))


def test_the_page_follows_the_system_and_a_choice_outlasts_it(opened: Any) -> None:
    def system(value: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": value}]
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    system("light")
    light = ground(opened)
    system("dark")
    dark = ground(opened)
    assert light != dark
    opened.find_element(By.CSS_SELECTOR, "label:has(#theme-light)").click()
    assert ground(opened) == light
    opened.refresh()
    assert ground(opened) == light
    opened.find_element(By.CSS_SELECTOR, "label:has(#theme-auto)").click()
    assert ground(opened) == dark


CONTRAST = """
const shade = (text) => { const c = document.createElement('canvas').getContext('2d'); c.fillStyle = text;
  c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255); };
const light = (text) => { const [r, g, b] = shade(text).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b; };
const behind = (e) => { for (; e; e = e.parentElement) { const b = getComputedStyle(e).backgroundColor;
  if (b !== 'rgba(0, 0, 0, 0)') return b; } return 'white'; };
const worst = {};
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && !e.closest('script, style, title');
  if (!own || !e.checkVisibility()) continue;
  const svg = e.closest('svg') !== null, style = getComputedStyle(e);
  const [a, b] = [light(svg ? style.fill : style.color), light(behind(svg ? e.closest('svg').parentElement : e))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) worst[e.outerHTML.slice(0, 80)] = ratio;
}
return worst;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened: Any, theme: str) -> None:
    opened.find_element(By.CSS_SELECTOR, f"label:has(#theme-{theme})").click()
    opened.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")

    assert opened.execute_script(CONTRAST) == {}


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_never_wider_than_its_window(opened: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_that_acts_has_a_name(opened: Any) -> None:
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    acting = {"button", "link", "combobox", "searchbox", "checkbox", "radio", "table", "region"}
    held = [n for n in nodes if n.get("role", {}).get("value") in acting and not n.get("ignored")]

    assert len(held) > 30
    assert [n["role"]["value"] for n in held if not n.get("name", {}).get("value")] == []


def test_the_rows_that_are_shown_are_taken_as_csv(opened: Any, tmp_path: Any) -> None:
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    choose(opened, "family", "random")
    opened.find_element(By.ID, "export").click()
    WebDriverWait(opened, 30, 0.05).until(lambda _: (tmp_path / "rows.csv").exists())
    lines = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()

    assert lines[0].startswith("data,network,#,entry,family,target,top-1 %")
    assert len(lines) == 1 + len(shown(opened))


@pytest.mark.parametrize("name", ["evil/index.html", "index.html"])
def test_names_that_are_code_do_nothing(browser: Any, site: Any, name: str) -> None:
    said(browser)
    browser.get(f"file://{site}/{name}")

    assert browser.execute_script("return document.scripts.length") == (1 if "evil" in name else 0)
    assert browser.execute_script("return document.images.length") == 0
    assert said(browser) == []
    if "evil" in name:
        entries = {entry for entry, _ in shown(browser)}
        assert entries == set(EVIL)
        opened = browser.find_elements(By.CSS_SELECTOR, ".chart use")[0]
        browser.execute_script("arguments[0].focus()", opened)
        assert browser.find_element(By.ID, "tip").text.split("\n")[0] in EVIL
        assert said(browser) == []


def test_the_index_leads_to_the_pages_and_back(browser: Any, site: Any) -> None:
    browser.get(f"file://{site}/index.html")
    browser.find_element(By.PARTIAL_LINK_TEXT, "demo").click()
    assert browser.current_url == f"file://{site}/demo/index.html"
    browser.find_element(By.LINK_TEXT, "synobench").click()
    assert browser.current_url == f"file://{site}/index.html"


def test_the_page_reads_without_javascript(site: Any) -> None:
    driver = open_browser("blink-settings=scriptEnabled=false")
    try:
        driver.get(f"file://{site}/demo/index.html")
        text = driver.find_element(By.TAG_NAME, "body").text
        points = driver.find_elements(By.CSS_SELECTOR, ".chart use title")
        before = driver.find_element(By.CSS_SELECTOR, ".board td:nth-child(3)").is_displayed()
        driver.find_element(By.CSS_SELECTOR, ".columns summary").click()
        driver.find_element(By.CSS_SELECTOR, ".columns label:has(#c3)").click()
        after = driver.find_element(By.CSS_SELECTOR, ".board td:nth-child(3)").is_displayed()
        hidden = not driver.find_element(By.ID, "filters").is_displayed()
    finally:
        driver.quit()

    assert "94.90 ± 0.52" in text
    assert "Build it again" in text
    assert len(points) == 30
    assert (before, after) == (False, True)
    assert hidden
