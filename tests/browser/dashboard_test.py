# SPDX-License-Identifier: Apache-2.0
"""The dashboard as a person uses it, in Chromium: see tests/browser.sh.

    dashboard_test.py URL RUNNING_JOB SERVICE_DIR
"""
import json
import os
import signal
import subprocess
import sys
import time

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

WAIT_S = 60
url, running, service = sys.argv[1:]
site = url.split("#")[0]
failures = []


def browser_open():
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--window-size=1280,900", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options)


def expect(expected, got, what):
    print(("ok " if expected == got else "FAIL ") + what)
    if expected != got:
        failures.append(what)
        print(f"    expected {expected!r}, got {got!r}")


def until(what, ready):
    """Whether `ready` becomes true in time; and says so."""
    end, value = time.time() + WAIT_S, None
    while time.time() < end:
        try:
            value = ready()
            if value:
                break
        except Exception as failure:  # noqa: BLE001 (the page is being made)
            value = failure
        time.sleep(0.2)
    expect(True, bool(value) and not isinstance(value, Exception), what + ("" if not isinstance(value, Exception) else f": {value}"))
    return value


def test(name):
    return f"[data-test={name}]"


def one(selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def texts(selector):
    return [e.text for e in page.find_elements(By.CSS_SELECTOR, selector)]


def go(place):
    page.execute_script("location.hash = arguments[0]", place)


def shot(name):
    if os.environ.get("SCREENSHOTS"):
        page.save_screenshot(os.path.join(os.environ["SCREENSHOTS"], name + ".png"))


def row(job):
    return one(f"tr[data-id='{job}']").text


def points(title):
    """Up to which step the first curve of a chart goes. Of a long one Chart.js draws some points, and keeps all as _data."""
    return page.execute_script("""
        const canvas = document.querySelector(`canvas[aria-label='${arguments[0]}']`);
        const set = canvas ? Chart.getChart(canvas).data.datasets[0] : {data: []};
        const points = set._data || set.data;
        return points.length ? points[points.length - 1].x : 0;""", title)


def check_login():
    page.get(url)
    until("the one-time address logs in", lambda: "j-1" in one(test("table")).text)
    expect(site, page.current_url.split("#")[0], "the address without its code")
    expect(False, "login=" in page.current_url, "a code left in the address")
    page.get(site)
    until("a reload stays logged in", lambda: one(test("table")))
    other = browser_open()
    other.get(url)
    time.sleep(1.5)
    expect(True, "Log in" in other.find_element(By.TAG_NAME, "main").text, "the same address a second time does not")
    other.quit()


def check_live():
    until("the stream is live", lambda: one(test("live")).text == "live")
    first = until("a running job's steps are shown", lambda: "running" in row(running) and row(running))
    until("they move by themselves", lambda: row(running) != first)
    shot("jobs")


def check_filter_and_keys():
    body = one("body")
    body.send_keys("/")
    page.switch_to.active_element.send_keys("law")
    until("the filter leaves what fits", lambda: len(texts("tr.link")) == 2)
    page.switch_to.active_element.clear()
    page.switch_to.active_element.send_keys(" ", Keys.BACKSPACE)
    page.execute_script("document.activeElement.blur()")
    body.send_keys("j", "j")
    expect("TR", page.switch_to.active_element.tag_name.upper(), "j goes to a row")
    job = page.switch_to.active_element.get_attribute("data-id")
    page.switch_to.active_element.send_keys(Keys.ENTER)
    until("Enter opens it", lambda: one("h1").text.startswith(job))
    body = one("body")
    body.send_keys("2")
    until("2 goes to the cluster", lambda: one("h1").text == "Cluster")
    body.send_keys("?")
    until("? tells the keys", lambda: "ticks the row" in one(test("help")).text)
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    until("and Esc puts them away", lambda: not page.find_elements(By.TAG_NAME, "dialog"))


def check_states():
    go("#/")
    until("states are counted", lambda: one("[data-state=held]").text == "held 2")
    one("[data-state=held]").click()
    until("one of them alone", lambda: [t.split()[0] for t in texts("tr.link")] == ["j-3", "j-2"])
    expect(True, page.current_url.endswith("#/?state=held"), "the filter stands in the address")
    go("#/jobs/j-2")
    until("a job of it", lambda: one("h1").text.startswith("j-2"))
    one("body").send_keys(Keys.ESCAPE)
    until("Esc goes back to what was filtered", lambda: [t.split()[0] for t in texts("tr.link")] == ["j-3", "j-2"])
    box = one("tr[data-id=j-2] input")
    box.click()
    time.sleep(2)  # the running job's news redraw the table
    expect((True, True), (box.is_selected(), page.switch_to.active_element == box), "news leave a tick and the focus where they are")
    box.click()
    one("[data-state=held]").click()
    until("and all again", lambda: len(texts("tr.link")) == 5)


def check_long():
    """What is longer than a page, by the modules themselves."""
    go("#/")
    whole, cut, steps, all_steps = page.execute_script("""
        const {pages, tail} = await import("/ui/api.js"), path = "/v1/jobs/j-2/metrics";
        const all = await pages(path, "points", 5000), few = await tail(path, "points", 10), every = await tail(path, "points", 1000);
        return [every.entries.length === all.length && !every.cut, few.cut, few.entries.map((p) => p.step), all.map((p) => p.step)];""")
    expect((True, True), (whole, cut), "a short list is read whole, a long one is said to be cut")
    expect(all_steps[-len(steps):], steps, "and its newest are there")
    expect(True, 8 <= len(steps) <= 10, "about as many as asked for")
    shown = page.execute_script("""
        const {chart, clear} = await import("/ui/charts.js");
        const it = chart("Late", [{name: "a", points: []}]);
        const before = it.element.hidden;
        it.add("a", {x: 1, y: 1});
        const after = it.element.hidden;
        clear();
        return [before, after];""")
    expect([True, False], shown, "a chart is hidden until it has a point")


def check_job():
    go(f"#/jobs/{running}")
    had = until("a running job's charts have points", lambda: points("Loss"))
    until("and get more", lambda: points("Loss") > had)
    had = until("so many that they are thinned", lambda: points("Loss") > 3000 and points("Loss"))
    until("and go on", lambda: points("Loss") > had + 50)
    until("its log is there", lambda: len(one("pre[aria-label=Log]").text) > 20)
    shot("job")
    until("cancel can be pressed", lambda: one(test("cancel")).click() or True)
    until("cancel asks first", lambda: "Cancel" in one("dialog").text)
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    until("Esc says no", lambda: not page.find_elements(By.TAG_NAME, "dialog"))
    expect("running", one("main .bar .state").text, "the job goes on")


def check_overlay():
    go("#/compare/j-2/j-3")
    until("two runs lie over each other", lambda: points("Loss") > 10)
    names = page.execute_script("""return Chart.getChart(document.querySelector("canvas[aria-label='Loss']"))
        .data.datasets.map((set) => set.label)""")
    expect(True, "j-2 loss" in names and "j-3 loss" in names, "each under its name")
    shot("compare")


def check_models():
    go("#/models")
    until("lineage", lambda: "local/hh@1" in one(".tree").text and "local/law@2" in one(".tree ul ul ul").text)
    expect(2, page.execute_script("""return Chart.getChart(document.querySelector("canvas")).data.datasets[0].data.length"""),
           "the trade-off has a point a version")
    one("[data-version='local/law@1']").click()
    until("a version's figures", lambda: "lawyers.test.jsonl" in one(test("version")).text)
    expect(True, len(page.find_elements(By.CSS_SELECTOR, test("version") + " canvas")) >= 1, "and its reliability diagram")
    one(test("promote")).click()
    until("to promote it asks first", lambda: "alias prod" in one("dialog").text)
    one(test("confirm")).click()
    until("and does", lambda: "local/law@prod is version 1 now." in texts("p[role=status]"))


def check_hostile():
    go("#/")
    until("the list again", lambda: one(test("table")))
    seen = page.execute_script("""
        const {h} = await import("/ui/dom.js");
        const it = h("p", {}, "<img src=x onerror=alert(1)>\\u202e\\"'");
        document.body.append(it);
        const found = [it.children.length, it.textContent.includes("<img")];
        it.remove();
        return found;""")
    expect([0, True], seen, "a hostile text is text")
    for job in texts("tr.link a"):
        expect(True, job.startswith("j-"), f"{job} is a job")


def check_looks():
    one("#theme").click()
    dark = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    one("#theme").click()
    expect(True, dark != page.execute_script("return getComputedStyle(document.body).backgroundColor"), "dark and light differ")
    for hash_ in ("#/", "#/cluster", "#/models", "#/jobs/j-2"):
        go(hash_)
        time.sleep(1)
        for theme in ("light", "dark"):
            page.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
            time.sleep(0.4)  # colours change softly
            expect([], page.execute_script(CONTRAST), f"contrast of at least 4.5 in {theme} at {hash_}")
        expect([], page.execute_script(UNLABELLED), f"every control has a name at {hash_}")
        page.set_window_size(390, 844)
        time.sleep(0.3)
        wide = page.execute_script("return document.documentElement.scrollWidth - innerWidth")
        expect(True, wide <= 0, f"390 pixels are enough at {hash_}")
        page.set_window_size(1280, 900)


UNLABELLED = """
return [...document.querySelectorAll("button, input, select, a[href], canvas")].filter((e) => e.offsetParent !== null)
  .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && e.labels.length))).map((e) => e.outerHTML);"""
CONTRAST = """
const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll("body *")) {
  if (e.offsetParent === null || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) bad.push(`${e.tagName} "${e.textContent.trim().slice(0, 30)}": ${ratio.toFixed(2)}`);
}
return bad;"""


def check_restart():
    go(f"#/jobs/{running}")
    until("the running job again", lambda: points("Loss"))
    with open(os.path.join(service, "tailord.pid")) as f:
        os.kill(int(f.read()), signal.SIGKILL)
    until("a coordinator that is gone is said to be", lambda: one(test("stale")).is_displayed())
    subprocess.run(["tailor", "up", "--workers", "2", "--data", service, "-q"], check=True, stdout=subprocess.DEVNULL)
    until("it comes back by itself", lambda: one(test("live")).text == "live" and not one(test("stale")).is_displayed())
    had = points("Loss")
    until("and the curves go on", lambda: points("Loss") > had)


def check_cancel():
    until("cancel can be pressed", lambda: one(test("cancel")).click() or True)
    until("the question", lambda: one(test("confirm")))
    until("and answered", lambda: one(test("confirm")).click() or True)
    until("a confirmed cancel ends the job", lambda: "cancelled" in texts(".state"))


def check_session_ends():
    page.delete_all_cookies()
    page.execute_script("""(async () => (await import("/ui/stream.js")).follow(["j-1"], false))()""")  # a new connection
    until("who has no session any more may log in again", lambda: "Log in" in one("main").text)


def check_logs(allowed):
    bad = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    expect([], [text for text in bad if not any(part in text for part in allowed)], "no error on the console")
    asked = {json.loads(entry["message"])["message"].get("params", {}).get("request", {}).get("url", "")
             for entry in page.get_log("performance")}
    expect([], sorted(a for a in asked if a.startswith("http") and not a.startswith(site)), "no request to another host")


page = browser_open()
try:
    check_login()
    check_live()
    check_filter_and_keys()
    check_states()
    check_long()
    check_job()
    check_overlay()
    check_models()
    check_hostile()
    check_looks()
    check_logs([])
    check_restart()
    check_cancel()
    check_session_ends()
    check_logs(["/v1/stream", "net::ERR_"])  # while there was no coordinator
finally:
    page.quit()
print(f"{len(failures)} failed" if failures else "all passed")
sys.exit(bool(failures))
