"""The shop page and the console in a real browser: light and dark, phone and desktop, by keyboard, without scripts."""

import json
from urllib.parse import quote

import browser
import pytest
from page_shop import GATE, OUT, SCRIPT, STRANGER, TITLES, served

from schemas.words import SOURCES

pytestmark = pytest.mark.needs(browser.executable() or "chromium", "apt-get install --no-install-recommends chromium")
LOOKS = [(360, False), (360, True), (1400, False), (1400, True)]
SHOP, CONSOLE = "/?user=ann&n=12&item=i0&segment=category%3DBath", "/console"
POOR = """(() => {
  const parse = (text) => { const found = text.match(/[\\d.]+/g).map(Number);
    return found.length < 4 ? [...found, 1] : found };
  const light = (rgb) => { const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const ground = (node) => { for (; node; node = node.parentElement) {
    const found = parse(getComputedStyle(node).backgroundColor);
    if (found[3] === 1) return found } return [255, 255, 255] };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own && !node.matches("input")) continue;
    const style = getComputedStyle(node), pair = [light(parse(style.color)), light(ground(node))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push([node.tagName, node.textContent.slice(0, 30), ratio]);
  }
  return found;
})()"""  # what has too little contrast for WCAG AA


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with served(tmp_path_factory.mktemp("copies")) as service:
        yield service


@pytest.fixture(scope="module")
def chromium():
    with browser.browser() as found:
        yield found


@pytest.fixture
def page(shop, chromium):
    """The browser at this shop; whatever it did, nothing came from elsewhere and nothing was complained of."""
    chromium.requested.clear()
    chromium.complaints.clear()
    chromium.look(1400)
    yield chromium
    assert not chromium.complaints
    assert {url for url in chromium.requested if not url.startswith(f"{shop.url}/")} == set()


def texts(page, selector):
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((n) => n.innerText.trim())")


def api(shop, path):
    return json.loads(shop.get(path))


@pytest.mark.parametrize("path", [SHOP, CONSOLE], ids=["shop", "console"])
def test_readable_in_each_scheme_and_width(shop, page, path):
    grounds = {}
    for width, dark in LOOKS:
        page.look(width, dark)
        page.open(shop.url + path)
        assert page.run("[document.documentElement.scrollWidth, document.body.scrollWidth]") == [width, width]
        assert page.run(POOR) == []
        touched = "nav a, button, input:not([type=hidden]), select"
        small = f"[...document.querySelectorAll('{touched}')].filter((n) => n.offsetHeight < 44).length"
        assert page.run(small) == 0  # for a finger
        grounds[dark] = page.run("getComputedStyle(document.body).backgroundColor")
    assert grounds == {False: "rgb(255, 255, 255)", True: "rgb(18, 22, 27)"}


def test_a_slate_is_shown_as_the_api_has_it_with_its_reasons_in_words(shop, page):
    page.open(f"{shop.url}/?user=ann&n=12")
    items = api(shop, "/v1/users/ann/recommendations?n=12")["items"]
    assert texts(page, ".main .title") == [item["title"] or item["item_id"] for item in items]
    because = [f"because of {item['because_of']['title']} · " if item["because_of"] else "" for item in items]
    assert texts(page, ".main .why") == [
        why + SOURCES[item["source"]] for why, item in zip(because, items, strict=True)
    ]
    assert texts(page, ".main .about")[0] == "Kitchen · 8.15"
    assert texts(page, ".main .origin") == ["From their own slate, made 5 h ago."]
    assert not page.run("document.querySelector('.banner')")


def test_what_is_written_in_titles_and_ids_is_text(shop, page):
    page.open(f"{shop.url}/?user={quote(SCRIPT)}&item={quote(SCRIPT)}&segment={quote(SCRIPT)}")
    assert texts(page, "#slate, #item-title") == [f"For {SCRIPT}", SCRIPT]
    page.open(f"{shop.url}/?user=ann")
    assert SCRIPT in texts(page, ".title")
    assert page.run("document.title") == "For ann – Nightshelf"  # noqa: RUF001
    assert page.run("document.querySelectorAll('main script, main img').length") == 0


def test_an_item_leads_to_what_goes_with_it(shop, page):
    page.open(f"{shop.url}/?user=ann&n=4")
    page.wait_load(lambda: page.run("document.querySelectorAll('.main .title')[1].click()"))
    assert texts(page, "#item-title") == [TITLES[2]]
    lists = [
        [item["title"] for item in api(shop, f"/v1/items/i2/{way}?n=6")["items"]]
        for way in ("similar", "bought-together")
    ]
    assert texts(page, "#item .title") == [title for found in lists for title in found]
    assert texts(page, "#slate") == ["For ann"]  # whose slate it was is not lost
    assert page.run("location.hash") == "#item"


def test_trending_has_segments(shop, page):
    page.open(f"{shop.url}/?segment=country%3DFrance")
    assert page.run("document.querySelector('#segment').selectedOptions[0].text") == "France"
    assert texts(page, "[aria-labelledby=trending] .title") == [
        item["title"] for item in api(shop, "/v1/trending?n=6&segment=country%3DFrance")["items"]
    ]


def test_what_is_not_known_or_not_there_is_told(shop, page):
    page.open(f"{shop.url}/?user={quote(STRANGER)}&item=i{OUT}&segment=country%3DMars")
    assert texts(page, ".banner") == [
        "Nobody we know by this id has a slate: this is what rises for everybody.",
        "Not available now, so it is not recommended.",
    ]
    assert "this is what rises for everybody" in texts(page, "[aria-labelledby=trending] .origin")[0]
    page.open(f"{shop.url}/?item=nothing")
    assert texts(page, "#item .banner") == ["No item of this id is in the catalogue."]
    page.open(f"{shop.url}/?n=0")
    assert "allowed" in texts(page, "[role=alert]")[0]
    page.complaints.clear()  # of the status 400, which is meant


def test_the_keyboard_alone_gets_there(shop, page):
    page.open(shop.url)
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    page.press("Enter")
    page.press("Tab")
    assert page.run("document.activeElement.id") == "user"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.type("u000796")
    page.wait_load(lambda: page.press("Enter"))
    assert texts(page, "#slate") == ["For u000796"]


@pytest.mark.parametrize("path", [SHOP, CONSOLE], ids=["shop", "console"])
def test_a_screen_reader_hears_names_and_landmarks(shop, page, path):
    page.open(shop.url + path)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    heard = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    for role in ("link", "button", "textbox", "spinbutton", "combobox", "region", "table", "rowheader", "heading"):
        assert all(name for found, name in heard if found == role), role
    roles = [role for role, _ in heard]
    assert {"banner", "navigation", "main"} <= set(roles)
    assert page.run("document.querySelectorAll('h1').length") == 1


def test_without_scripts_both_pages_say_the_same(shop, page):
    page.scripts(False)
    try:
        page.open(shop.url + CONSOLE)
        page.scripts(True)
        assert texts(page, "#figures dd")[0] == "2"
        assert len(texts(page, "#surfaces tbody tr")) == 4
    finally:
        page.scripts(True)


def test_the_console_says_what_the_api_says(shop, page):
    for _ in range(5):
        shop.get("/v1/users/ann/recommendations")
    page.open(shop.url + CONSOLE)
    release = api(shop, "/v1/release")
    rows = [row.split("\t") for row in texts(page, "#surfaces tbody tr")]
    assert {row[0].lower().replace(" ", "_") + "/control": [*row[1:2], *row[4:]] for row in rows} == {
        name: [entry["base"], str(entry["n_keys"]), release["previous"][name][0]["base"]]
        for name, entry in release["surfaces"].items()
    }
    assert texts(page, "#figures dd")[0] == str(release["epoch"])
    assert texts(page, "#alarms p") == ["All is as it should be."]
    catalogue = dict(zip(texts(page, "#catalogue th"), texts(page, "#catalogue td"), strict=True))
    assert (catalogue["Items"], catalogue["Taken out since"]) == (str(len(TITLES)), "1")
    assert texts(page, "#gate-slates td")[:2] == ["0.9731", "at least 0.5"]
    assert texts(page, "#gate-slates .origin") == [f"Passed; {GATE['slates']['warnings'][0]}."]
    assert texts(page, "#gate-trending th")[-1] == "n_for_all"


def test_the_console_keeps_itself_fresh_and_touches_only_what_changed(shop, page):
    page.open(shop.url + CONSOLE)
    row = "document.querySelector('#start tbody tr')"
    before = int(page.run(f"{row}.cells[1].textContent").replace(",", ""))
    page.run(f"{row}.kept = document.querySelector('#surfaces').kept = true")
    for _ in range(20):
        shop.get("/v1/users/ann/recommendations?n=1")
    page.wait(f"Number({row}.cells[1].textContent.replaceAll(',', '')) >= {before + 20}")
    assert page.run(f"{row}.kept && document.querySelector('#surfaces').kept")
    lines = [line.rpartition(" ") for line in shop.get("/metrics").decode().splitlines() if line[0] != "#"]
    counted = {name: float(value) for name, _, value in lines}
    answers = counted['nightshelf_requests_total{status="200",surface="for_you"}']
    assert answers >= before + 20
    assert counted["nightshelf_workers"] == shop.workers() == 2
    page.wait(f"Number({row}.cells[1].textContent.replaceAll(',', '')) === {answers}")
    assert page.run("document.querySelectorAll('#tiers svg').length") > 0


def test_with_redis_away_both_pages_say_so(shop, page):
    """The last one: Redis does not come back."""
    page.open(shop.url + CONSOLE)
    shop.server.stop()
    shop.wait(lambda: api(shop, "/console.json")["state"]["service"]["degraded"] == 2)
    page.run("look()")
    page.wait("document.querySelector('#alarms').innerText.includes('Redis is away')")
    assert texts(page, "#figures dd")[10] == "away"
    page.open(f"{shop.url}/?user=ann")
    assert texts(page, ".banner")[0].startswith("Degraded. Redis is away")
    assert texts(page, ".main .title")
